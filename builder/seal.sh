# Runs as root on the instance, after the last provisioner and before it is stopped.
fail() { echo "still there: $*" >&2; exit 1; }

rm -f /etc/ssh/ssh_host_*
for home in /root /home/*; do
  rm -f "$home/.ssh/authorized_keys"
  rm -rf "$home"/.goldsmith-agent-*
  rm -f "$home/.bash_history"
done
if command -v cloud-init >/dev/null; then
  cloud-init clean --logs >/dev/null
fi
rm -rf /var/lib/cloud/instance /var/lib/cloud/instances
apt-get clean 2>/dev/null || true
rm -rf /var/lib/apt/lists/*
# A database server that runs keeps its UUID in memory; it makes another at its next start.
rm -f /var/lib/mysql/auto.cnf
rm -f /var/lib/systemd/random-seed /var/lib/dbus/machine-id
rm -rf /var/lib/goldsmith/*
: >/etc/machine-id

for path in /etc/ssh/ssh_host_* /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys /root/.goldsmith-agent-* /home/*/.goldsmith-agent-* /var/lib/cloud/instances /var/lib/mysql/auto.cnf; do
  if [ -e "$path" ]; then fail "$path"; fi
done
if [ -s /etc/machine-id ]; then fail "content of /etc/machine-id"; fi
sync
