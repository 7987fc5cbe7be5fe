package mysql

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/mysqlsetup"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// ubuntus is the profile of Ubuntu's mysql-server-8.0, shortened where nothing is of interest.
const ubuntus = `# vim:syntax=apparmor
# Last Modified: Tue Feb 09 15:28:30 2016
#include <tunables/global>

/usr/sbin/mysqld {
  #include <abstractions/base>
  #include <abstractions/nameservice>
  #include <abstractions/user-tmp>
  #include <abstractions/mysql>
  #include <abstractions/winbind>

# Allow config access
  /etc/mysql/** r,

# Allow pid, socket, socket lock and other file access
  /run/mysqld/* rw,

# Allow execution of server binary
  /usr/sbin/mysqld mr,
  /usr/sbin/mysqld-debug mr,

# Allow data dir access
  /var/lib/mysql/ r,
  /var/lib/mysql/** rwk,

  # Site-specific additions and overrides. See local/README for details.
  #include <local/usr.sbin.mysqld>
}
`

// TestProfileOfMySQL runs the tasks on the profile as the package ships it, and once more.
func TestProfileOfMySQL(t *testing.T) {
	const flagged = "/usr/sbin/mysqld flags=(attach_disconnected) {"
	for _, c := range []struct{ name, header, want string }{
		{"as Ubuntu has it", "/usr/sbin/mysqld {", flagged},
		{"with a name", "profile mysqld /usr/sbin/mysqld {", "profile mysqld " + flagged},
		{"complaining", "/usr/sbin/mysqld flags=(complain) {", strings.Replace(flagged, ")", ",complain)", 1)},
		{"already so", flagged, flagged},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			before := strings.Replace(ubuntus, "/usr/sbin/mysqld {", c.header, 1)
			path, local := filepath.Join(dir, profile), filepath.Join(dir, "local", profile)
			if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
				t.Fatal(err)
			}
			runAll(t, confine(flavors["mysql"], dir, nil))
			text, err := os.ReadFile(path)
			if wanted := strings.Replace(before, c.header, c.want, 1); err != nil || string(text) != wanted {
				t.Errorf("the profile is\n%s%v", text, err)
			}
			more, err := os.ReadFile(local)
			if err != nil || !strings.Contains(string(more), "\n"+mysqlsetup.CertificateKeyPath+" r,\n") {
				t.Errorf("the additions are %q, %v", more, err)
			}
			if again := runAll(t, confine(flavors["mysql"], dir, nil)); again > 0 {
				t.Errorf("%d tasks change something once more", again)
			}
		})
	}
	none := t.TempDir()
	if changed := runAll(t, confine(flavors["mysql"], none, nil)); changed > 0 {
		t.Errorf("%d tasks change something where there is no profile", changed)
	}
	if left, err := os.ReadDir(none); err != nil || len(left) > 0 {
		t.Errorf("they left %v, %v", left, err)
	}
}

// runAll runs commands as the engine does and tells how many had something to do. A kernel that has AppArmor is not
// asked for it.
func runAll(t *testing.T, tasks []task.Task) (changed int) {
	t.Helper()
	for _, each := range tasks {
		command := each.Spec.(task.Command)
		if exec.Command(command.OnlyIf[0], command.OnlyIf[1:]...).Run() != nil ||
			exec.Command(command.Unless[0], command.Unless[1:]...).Run() == nil {
			continue
		}
		changed++
		script := strings.ReplaceAll(command.Shell, "/sys/module/apparmor", "/nonexistent")
		if out, err := exec.Command("/bin/sh", "-euc", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", each.Name, err, out)
		}
	}
	return changed
}
