package mysql

import (
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/mysqlsetup"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// profileDir has AppArmor's profiles, and profile is that of MySQL's packages. Debian's packages of MariaDB confine
// nothing.
const (
	profileDir = "/etc/apparmor.d"
	profile    = "usr.sbin.mysqld"
)

// confine has the profile let the server do two things, where the package brought one, as Ubuntu's does: read the
// certificate that first boot makes, and be in file systems of the unit's own. Without attach_disconnected a path there
// is no path to AppArmor, that of systemd's socket for one, and the server could not say that it has started. The flag
// stands in the profile's first line, which the package's file for additions cannot change.
func confine(f flavor, dir string, notify []string) []task.Task {
	if f.name != "mysql" {
		return nil
	}
	const (
		rules = "/run/goldsmith/tls/ r,\n" + mysqlsetup.CAPath + " r,\n" + mysqlsetup.CertificatePath + " r,\n" +
			mysqlsetup.CertificateKeyPath + " r,\n/run/systemd/notify w,\n"
		header = `^[^#]*/usr/sbin/mysqld.*\{[[:space:]]*$`
		load   = "\n[ \"$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)\" != Y ] || " +
			"apparmor_parser --replace "
	)
	path, local := dir+"/"+profile, dir+"/local/"+profile
	return []task.Task{
		{Name: "AppArmor lets the server read its certificate", Notify: notify, Spec: task.Command{
			OnlyIf: []string{"/usr/bin/test", "-e", path},
			Unless: []string{"/bin/grep", "-qsF", mysqlsetup.CertificateKeyPath, local},
			Shell:  "mkdir -p " + dir + "/local\ncat >>" + local + " <<'END'\n" + rules + "END" + load + path,
		}},
		{Name: "AppArmor lets the server be kept in", Notify: notify, Spec: task.Command{
			OnlyIf: []string{"/usr/bin/test", "-e", path},
			Unless: []string{
				"/bin/sh", "-c", "! grep -E '" + header + "' " + path + " | grep -qv attach_disconnected",
			},
			Shell: "sed -i -E '\\!" + header + "!{/attach_disconnected/b;s/flags=\\(/&attach_disconnected,/;t;" +
				"s/\\{[[:space:]]*$/flags=(attach_disconnected) {/}' " + path + load + path,
		}},
	}
}
