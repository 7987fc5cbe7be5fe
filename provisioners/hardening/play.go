package hardening

import (
	"embed"
	"fmt"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

//go:embed files
var files embed.FS

// embedded is the content of a file of this package.
func embedded(name string) []byte {
	content, err := files.ReadFile("files/" + name)
	if err != nil {
		panic(err) // the names are constants of this package
	}
	return content
}

func (c *Config) render(path string, facts task.Facts) ([]byte, error) {
	return render.File(path, map[string]any{
		"allow_tcp_forwarding": c.AllowTCPForwarding, "ipv6": c.IPv6, "unattended_upgrades": c.UnattendedUpgrades,
		"vars": c.Vars, "facts": render.Facts(facts),
	})
}

const (
	testSSH   = "test all of the SSH server's configuration"
	reloadSSH = "reload the SSH server"
)

// included fails where the server would never read what was written for it.
const included = `file=/etc/ssh/sshd_config
grep -Eqi '^[[:space:]]*include[[:space:]]+("?)/etc/ssh/sshd_config\.d/\*\.conf' $file || {
  echo "/etc/ssh/sshd_config has no line: Include /etc/ssh/sshd_config.d/*.conf" >&2
  exit 1
}`

// play orders what it does by how long it takes to fail: the packages come first, and the SSH server, by which the
// build itself is connected, last. A reload leaves connections alone; a configuration that does not pass sshd's own
// test reaches neither the file nor the server.
func (c *Config) play(facts task.Facts, _ task.Blob) (task.Play, error) {
	sshd, err := c.render(c.SSHD, facts)
	if err != nil {
		return task.Play{}, fmt.Errorf("sshd: %w", err)
	}
	sysctl, err := c.render(c.Sysctl, facts)
	if err != nil {
		return task.Play{}, fmt.Errorf("sysctl: %w", err)
	}
	play := task.Play{Name: "hardening", Handlers: []task.Task{
		{Name: testSSH, Spec: task.Command{Shell: "/usr/sbin/sshd -t\n" + included}},
		{Name: reloadSSH, Spec: task.Service{Unit: "ssh.service", State: task.Reloaded}},
	}}
	for _, tasks := range [][]task.Task{
		c.packages(),
		kernel(sysctl, facts),
		accounts(),
		permissions(),
		records(),
		c.upgrades(),
		ssh(sshd),
	} {
		play.Tasks = append(play.Tasks, tasks...)
	}
	return play, nil
}

// unwanted are servers of protocols that send passwords in the clear, super-servers, and compilers, by which an
// intruder would make programs for this very machine.
var unwanted = []string{
	"telnetd",
	"telnetd-ssl",
	"inetutils-telnetd",
	"rsh-server",
	"rsh-redone-server",
	"xinetd",
	"openbsd-inetd",
	"inetutils-inetd",
	"rlinetd",
	"ypserv",
	"nis",
	"tftpd",
	"tftpd-hpa",
	"atftpd",
	"prelink",
	"gcc",
	"g++",
	"cpp",
	"clang",
	"tcc",
	"make",
	"binutils",
}

// packages are the tasks that install packages and remove others, in one transaction of apt. Units that the kernel of a
// container refuses get their condition before, so that no installation fails for it.
func (c *Config) packages() []task.Task {
	var tasks []task.Task
	for _, unit := range []string{"auditd.service", "audit-rules.service", "acct.service"} {
		tasks = append(
			tasks,
			task.Task{
				Name: unit + " not in a container",
				Spec: task.Unit{
					Unit:    unit,
					DropIn:  "10-goldsmith.conf",
					Content: task.Bytes(embedded("not-in-container.conf")),
				},
			},
		)
	}
	wanted := []string{"auditd", "acct", "libpam-passwdqc", "debsums"}
	absent := unwanted
	if c.UnattendedUpgrades {
		wanted = append(wanted, "unattended-upgrades")
	} else {
		absent = append([]string{"unattended-upgrades"}, unwanted...)
	}
	return append(tasks,
		task.Task{Name: "packages that watch over the system", Spec: task.Package{Names: wanted}},
		task.Task{Name: "packages that it has no use for", Spec: task.Package{Names: absent, State: task.Absent}})
}

// kernel are the tasks for kernel parameters and modules, mount options and core dumps. All of it is for the next boot.
func kernel(sysctl []byte, facts task.Facts) []task.Task {
	yes := true
	modules := embedded("modprobe.conf")
	if facts.OS.ID != "ubuntu" { // whose snaps are file systems of this kind
		modules = append(modules, "install squashfs /bin/true\n"...)
	}
	return []task.Task{
		{
			Name: "kernel parameters",
			Spec: task.File{Path: "/etc/sysctl.d/99-goldsmith.conf", Content: task.Bytes(sysctl)},
		},
		{
			Name: "kernel modules that stay out",
			Spec: task.File{Path: "/etc/modprobe.d/goldsmith.conf", Content: task.Bytes(modules)},
		},
		{
			Name: "goldsmith-mounts.service",
			Spec: task.Unit{
				Unit:    "goldsmith-mounts.service",
				Content: task.Bytes(embedded("goldsmith-mounts.service")),
			},
		},
		{Name: "enable goldsmith-mounts.service", Spec: task.Service{Unit: "goldsmith-mounts.service", Enabled: &yes}},
		{
			Name: "no core dumps in sessions",
			Spec: task.File{
				Path:    "/etc/security/limits.d/90-goldsmith.conf",
				Content: task.Bytes(embedded("limits.conf")),
			},
		},
		{Name: "directory for systemd's settings", Spec: task.Directory{Path: "/etc/systemd/system.conf.d"}},
		{
			Name: "no core dumps in services",
			Spec: task.File{
				Path:    "/etc/systemd/system.conf.d/90-goldsmith.conf",
				Content: task.Bytes([]byte("[Manager]\nDefaultLimitCORE=0\n")),
			},
		},
		{Name: "directory for settings of core dumps", Spec: task.Directory{Path: "/etc/systemd/coredump.conf.d"}},
		{
			Name: "no core dumps on the disk",
			Spec: task.File{
				Path:    "/etc/systemd/coredump.conf.d/90-goldsmith.conf",
				Content: task.Bytes([]byte("[Coredump]\nStorage=none\nProcessSizeMax=0\n")),
			},
		},
	}
}

// accounts are the tasks for passwords, shells and the texts of logins.
func accounts() []task.Task {
	var tasks []task.Task
	for _, setting := range [][2]string{
		{"UMASK", "027"},
		{"PASS_MAX_DAYS", "60"},
		{"PASS_MIN_DAYS", "7"},
		{"PASS_WARN_AGE", "7"},
		{"LOGIN_RETRIES", "5"},
		{"LOGIN_TIMEOUT", "60"},
		{"ENCRYPT_METHOD", "YESCRYPT"},
		{"SHA_CRYPT_MIN_ROUNDS", "65536"},
		{"SHA_CRYPT_MAX_ROUNDS", "65536"},
	} {
		tasks = append(tasks, task.Task{Name: "login.defs " + setting[0], Spec: task.Line{Path: "/etc/login.defs",
			Regexp: `^#?\s*` + setting[0] + `\s`, Line: setting[0] + "\t" + setting[1]}})
	}
	return append(
		tasks,
		// Without this, who has no password but a key would be locked out after PASS_MAX_DAYS, and could not use sudo
		// either.
		task.Task{Name: "a key does not expire with the password", Spec: task.Line{
			Path:   "/etc/pam.d/common-account",
			Regexp: `^account\s.*\spam_unix\.so`,
			Line:   "account\t[success=1 new_authtok_reqd=done default=ignore]\tpam_unix.so no_pass_expiry",
		}},
		task.Task{
			Name: "settings of shells",
			Spec: task.File{Path: "/etc/profile.d/goldsmith.sh", Content: task.Bytes(embedded("profile.sh"))},
		},
		task.Task{
			Name: "what a console says",
			Spec: task.File{Path: "/etc/issue", Content: task.Bytes(embedded("issue"))},
		},
		task.Task{
			Name: "what a network login says",
			Spec: task.File{Path: "/etc/issue.net", Content: task.Bytes(embedded("issue"))},
		},
	)
}

// setID are programs that need not run with another's rights where nobody has a password and nobody but root mounts.
// The package manager is told, so that an update does not bring the rights back.
const setID = `for f in /usr/lib/openssh/ssh-keysign /usr/bin/chfn /usr/bin/chsh /usr/bin/newgrp /usr/bin/gpasswd \
  /usr/bin/mount /usr/bin/umount; do
  [ ! -e "$f" ] || dpkg-statoverride --list "$f" >/dev/null || `

// permissions are those of files that packages bring.
func permissions() []task.Task {
	tasks := []task.Task{{Name: "no set-id where there is no need", Spec: task.Command{
		Shell:  setID + `dpkg-statoverride --update --add root root 0755 "$f"; done`,
		Unless: []string{"/bin/sh", "-euc", setID + "exit 1; done"},
	}}}
	for _, dir := range []string{"cron.d", "cron.daily", "cron.hourly", "cron.weekly", "cron.monthly"} {
		tasks = append(
			tasks,
			task.Task{Name: "/etc/" + dir + " is root's", Spec: task.Directory{Path: "/etc/" + dir, Mode: "0700"}},
		)
	}
	return append(tasks, mode("/etc/crontab", "0600"), mode("/etc/ssh/sshd_config", "0600"),
		mode("/etc/passwd", "0644"), mode("/etc/group", "0644"))
}

// mode is the task that gives a file of root's a mode and leaves its content alone.
func mode(path, octal string) task.Task {
	return task.Task{Name: path + " is " + octal, Spec: task.Command{
		Argv:   []string{"chmod", octal, path},
		Unless: []string{"/bin/sh", "-euc", `[ ! -e "$1" ] || [ "$(stat -c %04a "$1")" = "$2" ]`, "sh", path, octal},
	}}
}

// records are accounts of what was done on an instance.
func records() []task.Task {
	tasks := []task.Task{
		{
			Name: "rules of the audit",
			Spec: task.File{
				Path:    "/etc/audit/rules.d/50-goldsmith.rules",
				Mode:    "0640",
				Content: task.Bytes(embedded("audit.rules")),
			},
		},
		// The seal takes the file away with the logs, and accounting does not begin without it.
		{
			Name: "file for process accounting",
			Spec: task.File{
				Path:    "/etc/tmpfiles.d/goldsmith-acct.conf",
				Content: task.Bytes([]byte("f /var/log/account/pacct 0640 root adm\n")),
			},
		},
	}
	for _, setting := range [][2]string{
		{"max_log_file_action", "keep_logs"},
		{"space_left", "75"},
		{"space_left_action", "SYSLOG"},
		{"admin_space_left", "50"},
		{"admin_space_left_action", "SUSPEND"},
		{"disk_full_action", "SUSPEND"},
	} {
		tasks = append(
			tasks,
			task.Task{Name: "auditd.conf " + setting[0], Spec: task.Line{Path: "/etc/audit/auditd.conf",
				Regexp: `^` + setting[0] + `\s*=`, Line: setting[0] + " = " + setting[1]}},
		)
	}
	return tasks
}

// upgrades has apt's timers run or not.
func (c *Config) upgrades() []task.Task {
	content := "attended.conf"
	if c.UnattendedUpgrades {
		content = "unattended.conf"
	}
	// It comes after the distribution's 20auto-upgrades and 50unattended-upgrades.
	tasks := []task.Task{
		{
			Name: "upgrades by themselves",
			Spec: task.File{Path: "/etc/apt/apt.conf.d/60goldsmith-upgrades", Content: task.Bytes(embedded(content))},
		},
	}
	off := !c.UnattendedUpgrades
	for _, timer := range []string{"apt-daily.timer", "apt-daily-upgrade.timer"} {
		spec := task.Service{Unit: timer, Masked: &off}
		if off {
			spec.State = task.Stopped
		}
		tasks = append(tasks, task.Task{Name: timer, Spec: spec})
		if c.UnattendedUpgrades {
			yes := true
			tasks = append(tasks, task.Task{Name: "enable " + timer, Spec: task.Service{Unit: timer, Enabled: &yes}})
		}
	}
	return tasks
}

// ssh is the SSH server's configuration, and nothing else that lets in: newer systemd makes sockets for sshd of its
// own.
func ssh(content []byte) []task.Task {
	return []task.Task{
		{Name: "directory for generators", Spec: task.Directory{Path: "/etc/systemd/system-generators"}},
		{
			Name: "no SSH sockets but the server's",
			Spec: task.Link{Path: "/etc/systemd/system-generators/systemd-ssh-generator", Target: "/dev/null"},
		},
		{
			Name:   "the SSH server",
			Notify: []string{testSSH, reloadSSH},
			Spec: task.File{Path: "/etc/ssh/sshd_config.d/00-goldsmith.conf", Mode: "0600",
				Content: task.Bytes(content), Test: []string{"/usr/sbin/sshd", "-t", "-f", "%s"}},
		},
	}
}
