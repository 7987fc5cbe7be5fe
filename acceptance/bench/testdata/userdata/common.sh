#!/bin/sh
# What both machines get that are set up at boot. The names between at signs are the files that the images have, as
# rendered, and PARAMETERS is the prefix of the stack's parameters. PACKAGES are the tier's.
set -eu
export DEBIAN_FRONTEND=noninteractive AWS_DEFAULT_REGION=us-east-1
# They need what the kernel gives no container.
ln -s /dev/null /etc/systemd/system/auditd.service
ln -s /dev/null /etc/systemd/system/audit-rules.service
ln -s /dev/null /etc/systemd/system/acct.service
apt-get -q=2 update
apt-get -q=2 upgrade -y
apt-get -q=2 install --no-install-recommends -y @PACKAGES@ auditd acct libpam-passwdqc debsums awscli
parameter() { aws ssm get-parameter --with-decryption --name "@PARAMETERS@/db/$1" --query Parameter.Value --output text; }

cat >/etc/sysctl.d/99-goldsmith.conf <<'END'
@SYSCTL@
END
sysctl --system >/dev/null 2>&1 || true
cat >/etc/ssh/sshd_config.d/00-goldsmith.conf <<'END'
@SSHD@
END
sshd -t
systemctl reload ssh
for f in /usr/lib/openssh/ssh-keysign /usr/bin/chfn /usr/bin/chsh /usr/bin/newgrp /usr/bin/gpasswd /usr/bin/mount /usr/bin/umount; do
  [ ! -e "$f" ] || dpkg-statoverride --update --add root root 0755 "$f"
done
sed -i -E 's/^(UMASK\s+).*/\1027/; s/^(PASS_MAX_DAYS\s+).*/\160/; s/^(PASS_MIN_DAYS\s+).*/\17/' /etc/login.defs
systemctl -q mask --now apt-daily.timer apt-daily-upgrade.timer
