package main

import (
	"fmt"
	"strings"
)

// linuxCommon reads the kernel's parameters twice: as they are configured, where the last of several counts, and as
// they are. A container cannot set those of its host's kernel, and a kernel may lack one; "-" stands for both.
const linuxCommon = `
sysctls=$(systemd-analyze cat-config --no-pager sysctl.d)
parameter() {
  printf '%s\n' "$sysctls" | awk -F= -v key="$1" '/^[[:space:]]*[#;]/ { next }
    { k = $1; gsub(/[[:space:]]/, "", k); sub(/^-/, "", k); if (index(k, ".") == 0) gsub("/", ".", k) }
    k == key { v = $2; gsub(/^[[:space:]]+|[[:space:]]+$/, "", v); last = v }
    END { print last == "" ? "not configured" : last }'
  file=/proc/sys/$(echo "$1" | tr . /)
  if [ -w "$file" ]; then cat "$file"; else echo -; fi
}
# options DIRECTORY OPTION... prints the options that a file system lacks, if the directory is one.
options() {
  dir=$1; shift
  mountpoint -q "$dir" || return 0
  has=,$(findmnt -no OPTIONS "$dir" | tail -n 1),
  for option; do case $has in *,$option,*) ;; *) echo "$option" ;; esac; done
}
definition() { awk -v key="$1" '$1 == key { print $2 }' /etc/login.defs; }
auditd() { sed -n "s/^$1[[:space:]]*=[[:space:]]*//p" /etc/audit/auditd.conf; }
setid="/usr/bin/rcp /usr/bin/rlogin /usr/bin/rsh /usr/libexec/openssh/ssh-keysign /usr/lib/openssh/ssh-keysign
  /sbin/netreport /usr/sbin/usernetctl /usr/sbin/userisdnctl /usr/sbin/pppd /usr/bin/lockfile
  /usr/bin/mail-lock /usr/bin/mail-unlock /usr/bin/mail-touchlock /usr/bin/dotlockfile
  /usr/bin/arping /usr/sbin/uuidd /usr/bin/mtr /usr/lib/pt_chown
  /usr/lib/eject/dmcrypt-get-device /usr/lib/mc/cons.saver"
apt_option() { apt-config dump "$1" | sed -n 's/^[^ ]* "\(.*\)";$/\1/p'; }`

// parameters are the kernel's, with what dev-sec's Linux baseline wants.
var parameters = [][2]string{
	{"net.ipv4.ip_forward", "0"},
	{"net.ipv4.conf.all.forwarding", "0"},
	{"net.ipv4.conf.all.rp_filter", "1"},
	{"net.ipv4.conf.default.rp_filter", "1"},
	{"net.ipv4.icmp_ignore_bogus_error_responses", "1"},
	{"net.ipv4.icmp_echo_ignore_broadcasts", "1"},
	{"net.ipv4.icmp_ratelimit", "100"},
	{"net.ipv4.icmp_ratemask", "88089"},
	{"net.ipv4.tcp_timestamps", "0"},
	{"net.ipv4.tcp_rfc1337", "1"},
	{"net.ipv4.tcp_syncookies", "1"},
	{"net.ipv4.conf.all.arp_ignore", "[12]"},
	{"net.ipv4.conf.all.arp_announce", "2"},
	{"net.ipv4.conf.all.shared_media", "1"},
	{"net.ipv4.conf.default.shared_media", "1"},
	{"net.ipv4.conf.all.accept_source_route", "0"},
	{"net.ipv4.conf.default.accept_source_route", "0"},
	{"net.ipv4.conf.all.accept_redirects", "0"},
	{"net.ipv4.conf.default.accept_redirects", "0"},
	{"net.ipv4.conf.all.secure_redirects", "0"},
	{"net.ipv4.conf.default.secure_redirects", "0"},
	{"net.ipv4.conf.all.send_redirects", "0"},
	{"net.ipv4.conf.default.send_redirects", "0"},
	{"net.ipv4.conf.all.log_martians", "1"},
	{"net.ipv4.conf.default.log_martians", "1"},
	{"net.ipv6.conf.all.forwarding", "0"},
	{"net.ipv6.conf.all.accept_redirects", "0"},
	{"net.ipv6.conf.default.accept_redirects", "0"},
	{"net.ipv6.conf.default.router_solicitations", "0"},
	{"net.ipv6.conf.all.accept_ra", "0"},
	{"net.ipv6.conf.default.accept_ra", "0"},
	{"net.ipv6.conf.default.accept_ra_rtr_pref", "0"},
	{"net.ipv6.conf.default.accept_ra_pinfo", "0"},
	{"net.ipv6.conf.default.accept_ra_defrtr", "0"},
	{"net.ipv6.conf.default.autoconf", "0"},
	{"net.ipv6.conf.default.dad_transmits", "0"},
	{"net.ipv6.conf.default.max_addresses", "1"},
	{"kernel.sysrq", "0"},
	{"kernel.randomize_va_space", "2"},
	{"kernel.yama.ptrace_scope", "[23]"},
	{"fs.suid_dumpable", "[02]"},
	{"fs.protected_fifos", "[12]"},
	{"fs.protected_hardlinks", "1"},
	{"fs.protected_symlinks", "1"},
	{"fs.protected_regular", "2"},
}

// loginDefs are the settings of /etc/login.defs.
var loginDefs = [][2]string{
	{"UMASK", "027"},
	{"PASS_MAX_DAYS", "60"},
	{"PASS_MIN_DAYS", "7"},
	{"PASS_WARN_AGE", "7"},
	{"LOGIN_RETRIES", "5"},
	{"LOGIN_TIMEOUT", "60"},
}

// auditdSettings are those of auditd.conf.
var auditdSettings = [][2]string{
	{"max_log_file_action", "keep_logs"},
	{"space_left", "75"},
	{"space_left_action", "SYSLOG"},
	{"admin_space_left", "50"},
	{"admin_space_left_action", "SUSPEND"},
	{"disk_full_action", "SUSPEND"},
}

// fileModes are the owner and mode of each file.
var fileModes = [][2]string{
	{"/etc/shadow", "root:shadow 640"},
	{"/etc/passwd", "root:root 644"},
	{"/etc/group", "root:root 644"},
	{"/etc/crontab", "root:root [0-7]00"},
	{"/etc/cron.d", "root:root [0-7]00"},
	{"/etc/cron.hourly", "root:root [0-7]00"},
	{"/etc/cron.daily", "root:root [0-7]00"},
	{"/etc/cron.weekly", "root:root [0-7]00"},
	{"/etc/cron.monthly", "root:root [0-7]00"},
}

// mountOptions are the mount options that each mount point needs.
var mountOptions = [][2]string{
	{"/tmp", "noexec nosuid nodev"},
	{"/var/tmp", "noexec nosuid nodev"},
	{"/dev/shm", "noexec nosuid nodev"},
	{"/dev", "noexec nosuid"},
	{"/run", "nosuid nodev"},
	{"/var/log", "noexec nosuid nodev"},
	{"/var/log/audit", "noexec nosuid nodev"},
	{"/home", "nosuid nodev"},
}

// otherControls are those that no table says.
var otherControls = []control{
	{
		"trust by host name",
		`ls -d /etc/hosts.equiv /etc/shosts.equiv 2>/dev/null; find /root /home -xdev \( -name .rhosts -o -name ` +
			`.shosts -o -name .netrc \)`,
		``,
	},
	{"PATH of root", `env -i HOME=/root bash -lc 'echo ":$PATH:"' | grep -E '::|:\.:|:[^/:]' || true`, ``},
	{"set-id programs", `for f in $setid; do if [ -e "$f" ]; then find "$f" -perm /6000; fi; done`, ``},
	{"user ids are unique", `cut -d: -f3 /etc/passwd | sort | uniq -d`, ``},
	{"group ids are unique", `cut -d: -f3 /etc/group | sort | uniq -d`, ``},
	{"user names are unique", `cut -d: -f1 /etc/passwd | sort | uniq -d`, ``},
	{"nobody but root is 0", `awk -F: '$3 == 0 { print $1 }' /etc/passwd`, `root`},
	{"nobody has a password", `awk -F: '$2 !~ /^[!*]/ { print $1 }' /etc/shadow`, ``},
	{
		"legacy servers",
		`dpkg-query -W -f '${db:Status-Status} ${Package}\n' xinetd openbsd-inetd inetutils-inetd telnetd ` +
			`inetutils-telnetd telnetd-ssl rsh-server ypserv nis tftpd tftpd-hpa atftpd prelink 2>/dev/null | grep ` +
			`'^installed' || true`,
		``,
	},
	{"compilers", `for p in cc gcc g++ c++ clang tcc as ld make; do command -v $p || true; done`, ``},
	{
		"auditd",
		`dpkg-query -W -f '${db:Status-Status}' auditd; systemctl is-enabled auditd`,
		`installedenabled`,
	},
	{
		"process accounting",
		`systemctl is-enabled acct; stat -c "%U:%G %a" /var/log/account/pacct`,
		`enabled\nroot:adm 640`,
	},
	{
		"CPU vulnerabilities",
		`systemd-detect-virt -qc || grep -l Vulnerable /sys/devices/system/cpu/vulnerabilities/* || true`,
		``,
	},
	{"core dumps of sessions", `env -i HOME=/root bash -lc 'ulimit -Hc; ulimit -Sc'`, `0\n0`},
	{"core dumps of services", `systemctl show -P LimitCORE cron.service`, `0`},
	{"umask of sessions", `env -i HOME=/root bash -lc umask`, `0027`},
	{
		"quality of passwords",
		`grep -cE '^password.*pam_(passwdqc|pwquality|cracklib)\.so' /etc/pam.d/common-password`,
		`1`,
	},
	{
		"keys outlive passwords",
		`grep -cE '^account.*pam_unix\.so.*no_pass_expiry' /etc/pam.d/common-account`,
		`1`,
	},
	{"banner", `grep -lE '\\[mrsv]|Debian|Ubuntu' /etc/issue /etc/issue.net || true`, ``},
	{"files that all may write", `find / -xdev -type f -perm -0002`, ``},
	{"directories that all may write", `find / -xdev -type d -perm -0002 ! -perm -1000`, ``},
	{"files of nobody", `find / -xdev \( -nouser -o -nogroup \)`, ``},
	{
		"upgrades by themselves",
		`apt_option APT::Periodic::Unattended-Upgrade; systemctl is-enabled apt-daily-upgrade.timer || true`,
		`0\nmasked`,
	},
	{"failed units", `systemctl --failed --no-legend --plain`, ``},
}

// linuxControls are the values of dev-sec's Linux baseline, and what the image promises besides.
func linuxControls() []control {
	var all []control
	for _, p := range parameters {
		all = append(all, control{"sysctl " + p[0], "parameter " + p[0], fmt.Sprintf(`%[1]s\n(?:%[1]s|-)`, p[1])})
	}
	for _, module := range strings.Fields("cramfs freevxfs jffs2 hfs hfsplus squashfs udf vfat") {
		all = append(
			all,
			control{
				"modprobe " + module,
				`grep -hsE "^install +` + module + ` " /etc/modprobe.d/*.conf || echo "it can be loaded"`,
				`install +` + module + ` +/bin/(true|false)`,
			},
		)
	}
	for _, d := range loginDefs {
		all = append(all, control{"login.defs " + d[0], "definition " + d[0], d[1]})
	}
	for _, d := range auditdSettings {
		all = append(all, control{"auditd.conf " + d[0], "auditd " + d[0], d[1]})
	}
	for _, f := range fileModes {
		all = append(all, control{"mode of " + f[0], `stat -c "%U:%G %a" ` + f[0], f[1]})
	}
	for _, m := range mountOptions {
		all = append(all, control{"mount options of " + m[0], "options " + m[0] + " " + m[1], ""})
	}
	return append(all, otherControls...)
}
