//go:build acceptance

package bakes

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// hardened is the provisioner's block with these attributes.
func hardened(attributes string) string {
	return fmt.Sprintf(
		"provisioner \"goldsmith-hardening\" {\nsshd = \"%[1]s/files/ssh/sshd.conf.tmpl\"\n"+
			"sysctl = \"%[1]s/files/linux/sysctl.conf.tmpl\"\n%s\n}\n",
		rig.Repository,
		attributes,
	)
}

// sshAttempt logs in to the web instance with OpenSSH and these options, and returns what ssh printed and its exit
// status.
func sshAttempt(t *testing.T, user string, options ...string) (string, int) {
	t.Helper()
	arguments := []string{
		"-v",
		"-o",
		"BatchMode=yes",
		"-o",
		"StrictHostKeyChecking=no",
		"-o",
		"UserKnownHostsFile=/dev/null",
		"-o",
		"IdentityAgent=none",
		"-o",
		"ConnectTimeout=15",
	}
	arguments = append(append(arguments, options...), user+"@"+aws.ToString(rig.Tier(t, "web").PublicIpAddress), "true")
	var out bytes.Buffer
	cmd := exec.Command("ssh", arguments...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// stackKey is the private key of the stack's own key pair.
func stackKey() []string {
	return []string{
		"-o",
		"IdentitiesOnly=yes",
		"-i",
		filepath.Join(os.Getenv("HOME"), ".goldsmith", rig.StackName+".pem"),
	}
}

// TestSSHTakesKeysOnly knocks at the web instance from outside.
func TestSSHTakesKeysOnly(t *testing.T) {
	if out, status := sshAttempt(t, "admin", stackKey()...); status != 0 {
		t.Fatalf("the stack's key is refused: %s", out)
	}
	out, status := sshAttempt(t, "admin", "-o", "PubkeyAuthentication=no", "-o",
		"PreferredAuthentications=password,keyboard-interactive")
	if status == 0 || !regexp.MustCompile(`Authentications that can continue: publickey\r?\n`).MatchString(out) {
		t.Errorf("a password is asked for, or no answer says otherwise:\n%s", rig.End(t, out))
	}
	// Root with a key that is root's: what is refused is root.
	rig.MustOnInstance(
		t,
		"web",
		"sudo sh -c 'install -d -m 700 /root/.ssh && install -m 600 /home/admin/.ssh/authorized_keys "+
			"/root/.ssh/authorized_keys'",
	)
	t.Cleanup(func() { rig.MustOnInstance(t, "web", "sudo rm -r /root/.ssh") })
	if out, status := sshAttempt(t, "root", stackKey()...); status == 0 ||
		!strings.Contains(out, "Permission denied (publickey)") {
		t.Errorf("root gets in, or something else went wrong:\n%s", rig.End(t, out))
	}
}

// TestSSHSettingsInForce asks the server itself, on both instances.
func TestSSHSettingsInForce(t *testing.T) {
	for name, forwarding := range map[string]string{"db": "no", "web": "local"} {
		settings := "\n" + rig.MustOnInstance(t, name, "sudo /usr/sbin/sshd -T") + "\n"
		for _, want := range []string{
			"permitrootlogin no",
			"passwordauthentication no",
			"kbdinteractiveauthentication no",
			"authenticationmethods publickey",
			"maxauthtries 2",
			"allowtcpforwarding " + forwarding,
			"allowagentforwarding no",
			"x11forwarding no",
			"loglevel VERBOSE",
			"macs hmac-sha2-512-etm@openssh.com,hmac-sha2-256-etm@openssh.com,umac-128-etm@openssh.com",
			"subsystem sftp /usr/lib/openssh/sftp-server",
		} {
			if !strings.Contains(settings, "\n"+want+"\n") {
				t.Errorf("%s: %q is not in force", name, want)
			}
		}
	}
}

// TestSFTPWorks: images are made through it.
func TestSFTPWorks(t *testing.T) {
	cmd := exec.Command(
		"sftp",
		append(
			[]string{
				"-b",
				"-",
				"-o",
				"StrictHostKeyChecking=no",
				"-o",
				"UserKnownHostsFile=/dev/null",
				"-o",
				"IdentityAgent=none",
			},
			append(stackKey(), "admin@"+aws.ToString(rig.Tier(t, "web").PublicIpAddress))...)...)
	cmd.Stdin = strings.NewReader("pwd\n")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "/home/admin") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestKeyOutlivesPassword makes the user's password, which nobody has, years old: a key must go on to open, and sudo
// too.
func TestKeyOutlivesPassword(t *testing.T) {
	aged := rig.MustOnInstance(
		t,
		"web",
		"sudo chage --lastday 2020-01-01 --maxdays 60 admin && sudo chage --list admin",
	)
	t.Cleanup(func() { rig.MustOnInstance(t, "web", "sudo chage --lastday $(date +%F) --maxdays 99999 admin") })
	if !regexp.MustCompile(`Maximum number of days between password change\s+: 60`).MatchString(aged) ||
		!regexp.MustCompile(`Password expires\s+: Mar 01, 2020`).MatchString(aged) {
		t.Fatalf("the password is not old:\n%s", aged)
	}
	if got := rig.MustOnInstance(t, "web", "sudo -n id --user --name"); got != "root" {
		t.Errorf("sudo makes %q of admin", got)
	}
}

// TestSystemInForce looks at what only a boot shows.
func TestSystemInForce(t *testing.T) {
	for _, name := range []string{"db", "web"} {
		for _, c := range []struct{ what, shell, want string }{
			{"programs in /tmp", "findmnt -no OPTIONS /tmp | tr , '\\n' | grep -cxE 'noexec|nosuid|nodev'", "3"},
			{"kernel parameter of the network", "/usr/sbin/sysctl -n net.ipv4.conf.all.log_martians", "1"},
			{"kernel parameter of the host",
				"systemd-analyze cat-config sysctl.d | grep -x 'kernel.yama.ptrace_scope = 2'",
				"kernel.yama.ptrace_scope = 2"},
			{"systemd-sysctl", "systemctl is-active systemd-sysctl", "active"},
			{"audit in a container", "systemctl show -P ConditionResult auditd", "no"},
			{"umask of a session", "umask", "0007"}, // the group is the user's own
			{"umask of root", "sudo sh -c umask", "0027"},
			{"upgrades by themselves",
				"apt-config dump APT::Periodic::Unattended-Upgrade; systemctl is-enabled apt-daily.timer " +
					"apt-daily-upgrade.timer || true",
				"APT::Periodic::Unattended-Upgrade \"0\";\nmasked\nmasked"},
			{"package of the upgrades",
				"dpkg-query -W -f '${Status}' unattended-upgrades 2>&1 | grep -c 'install ok installed' || true", "0"},
		} {
			if got := rig.MustOnInstance(t, name, c.shell); got != c.want {
				t.Errorf("%s: %s: %q, want %q", name, c.what, got, c.want)
			}
		}
	}
}

// TestHardeningTwice runs the provisioner twice in one bake, with upgrades on: the second time nothing changes, and the
// build's own connection is never cut.
func TestHardeningTwice(t *testing.T) {
	look := rig.Command(`apt-config dump >/run/apt-config
for line in 'APT::Periodic::Unattended-Upgrade "1";' 'APT::Periodic::Update-Package-Lists "1";' \
  'Unattended-Upgrade::Automatic-Reboot "false";'; do
  grep -qxF "$line" /run/apt-config || { echo "there is no $line" >&2; exit 1; }
done
[ "$(grep -c '^Unattended-Upgrade::Origins-Pattern:: "' /run/apt-config)" = 2 ]
[ "$(grep -c '^Unattended-Upgrade::Origins-Pattern:: ".*-security' /run/apt-config)" = 2 ]
systemctl is-enabled apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service`)
	before := rig.Inventory(t)
	on := hardened("unattended_upgrades = true")
	out, err := rig.Bake{Provisioners: on + on + look}.Run(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, rig.End(t, out))
	}
	rig.DeregisterNow(t, rig.ImageNamed(t, "t-*"))
	rig.AssertNothingLeft(t, before)
	recaps := regexp.MustCompile(`PLAY RECAP hardening.*changed=(\d+)`).FindAllStringSubmatch(out, -1)
	if len(recaps) != 2 || recaps[0][1] == "0" || recaps[1][1] != "0" {
		t.Errorf("the recaps are %q:\n%s", recaps, rig.End(t, out))
	}
}

// TestHardeningRefusesWhatSSHDoes: a configuration that the server does not take ends the build, and no image is made.
func TestHardeningRefusesWhatSSHDoes(t *testing.T) {
	before := rig.Inventory(t)
	out, err := rig.Bake{
		Provisioners: "provisioner \"goldsmith-hardening\" {\nsshd = \"sshd.tmpl\"\nsysctl = \"" + rig.Repository +
			"/files/linux/sysctl.conf.tmpl\"\n}\n",
		Files: map[string]string{"sshd.tmpl": "PermitRootLogin never\n"},
	}.Run(t)
	if err == nil || !strings.Contains(out, `unsupported option "never"`) ||
		!strings.Contains(out, "validate the new /etc/ssh/sshd_config.d/00-goldsmith.conf") {
		t.Errorf("%v:\n%s", err, rig.End(t, out))
	}
	rig.AssertNothingLeft(t, before)
}
