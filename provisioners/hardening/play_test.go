package hardening

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

var trixie = task.Facts{Arch: "amd64", OS: task.OSFacts{ID: "debian", Version: "13", Codename: "trixie"}}

// prepared is a provisioner with the project's own templates and these attributes.
func prepared(t *testing.T, attributes map[string]any) *Provisioner {
	t.Helper()
	config := map[string]any{"sshd": "../../files/ssh/sshd.conf.tmpl", "sysctl": "../../files/linux/sysctl.conf.tmpl"}
	for name, value := range attributes {
		config[name] = value
	}
	p := &Provisioner{}
	if err := p.Prepare(config); err != nil {
		t.Fatal(err)
	}
	return p
}

// playOf is its play for a machine of these facts, which is valid.
func playOf(t *testing.T, attributes map[string]any, facts task.Facts) task.Play {
	t.Helper()
	play, err := prepared(t, attributes).config.play(facts, task.Bytes(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := play.Validate(); err != nil {
		t.Fatal(err)
	}
	return play
}

// contentAt is the content of the file that the play writes to a path.
func contentAt(t *testing.T, play task.Play, path string) string {
	t.Helper()
	for _, each := range play.Tasks {
		file, ok := each.Spec.(task.File)
		if !ok || file.Path != path {
			continue
		}
		r, err := file.Content.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	t.Fatalf("nothing is written to %s", path)
	return ""
}

const (
	sshdPath   = "/etc/ssh/sshd_config.d/00-goldsmith.conf"
	sysctlPath = "/etc/sysctl.d/99-goldsmith.conf"
)

// hasLine tells whether a text has a line, with any white space between its words.
func hasLine(text, line string) bool {
	return slices.ContainsFunc(strings.Split(text, "\n"), func(each string) bool {
		return slices.Equal(strings.Fields(each), strings.Fields(line))
	})
}

func TestForwardingIsAnOption(t *testing.T) {
	for want, attributes := range map[string]map[string]any{
		"AllowTcpForwarding no":    nil,
		"AllowTcpForwarding local": {"allow_tcp_forwarding": true},
	} {
		if text := contentAt(t, playOf(t, attributes, trixie), sshdPath); !hasLine(text, want) {
			t.Errorf("with %v there is no line %q:\n%s", attributes, want, text)
		}
	}
}

func TestIPv6IsAnOption(t *testing.T) {
	for _, c := range []struct {
		attributes map[string]any
		path, line string
		there      bool
	}{
		{nil, sshdPath, "AddressFamily inet", true},
		{nil, sshdPath, "ListenAddress ::", false},
		{nil, sysctlPath, "net.ipv6.conf.all.accept_ra = 0", true},
		{map[string]any{"ipv6": true}, sshdPath, "AddressFamily any", true},
		{map[string]any{"ipv6": true}, sshdPath, "ListenAddress ::", true},
		{map[string]any{"ipv6": true}, sysctlPath, "net.ipv6.conf.all.accept_ra = 0", false},
		{map[string]any{"ipv6": true}, sysctlPath, "net.ipv6.conf.all.accept_redirects = 0", true},
	} {
		if there := hasLine(contentAt(t, playOf(t, c.attributes, trixie), c.path), c.line); there != c.there {
			t.Errorf("with %v, %q in %s: %v", c.attributes, c.line, c.path, there)
		}
	}
}

// TestSSHIsTestedBeforeItIsRead wants the file tested before it takes its place, and the whole before the reload.
func TestSSHIsTestedBeforeItIsRead(t *testing.T) {
	play := playOf(t, nil, trixie)
	last := play.Tasks[len(play.Tasks)-1]
	file, ok := last.Spec.(task.File)
	if !ok || file.Path != sshdPath || file.Mode != "0600" {
		t.Fatalf("the last task is %+v, it should be the SSH server's file", last)
	}
	if !slices.Equal(file.Test, []string{"/usr/sbin/sshd", "-t", "-f", "%s"}) {
		t.Errorf("the file is tested by %q", file.Test)
	}
	if !slices.Equal(last.Notify, []string{testSSH, reloadSSH}) || play.Handlers[0].Name != testSSH ||
		play.Handlers[1].Name != reloadSSH {
		t.Errorf("it notifies %q", last.Notify)
	}
	if service := play.Handlers[1].Spec.(task.Service); service.State != task.Reloaded {
		t.Errorf("the server is %s; anything but a reload may cut the build's connection", service.State)
	}
}

func TestUnattendedUpgradesAreAnOption(t *testing.T) {
	const path = "/etc/apt/apt.conf.d/60goldsmith-upgrades"
	for _, on := range []bool{false, true} {
		play := playOf(t, map[string]any{"unattended_upgrades": on}, trixie)
		text := contentAt(t, play, path)
		if got := hasLine(text, `APT::Periodic::Unattended-Upgrade "1";`); got != on {
			t.Errorf("unattended_upgrades = %v:\n%s", on, text)
		}
		timers := 0
		for _, each := range play.Tasks {
			switch s := each.Spec.(type) {
			case task.Package:
				if slices.Contains(s.Names, "unattended-upgrades") && (s.State == task.Absent) == on {
					t.Errorf("unattended_upgrades = %v: the package's state is %q", on, s.State)
				}
			case task.Service:
				if strings.HasPrefix(s.Unit, "apt-daily") && s.Masked != nil {
					timers++
					if *s.Masked == on {
						t.Errorf("unattended_upgrades = %v: %s is masked: %v", on, s.Unit, *s.Masked)
					}
				}
			}
		}
		if timers != 2 {
			t.Errorf("unattended_upgrades = %v: %d timers are set, want 2", on, timers)
		}
	}
}

// TestConditionsComeBeforePackages: a unit that the kernel refuses must not fail the installation of its package.
func TestConditionsComeBeforePackages(t *testing.T) {
	play := playOf(t, nil, trixie)
	packages := slices.IndexFunc(play.Tasks, func(each task.Task) bool { _, ok := each.Spec.(task.Package); return ok })
	for _, unit := range []string{"auditd.service", "audit-rules.service", "acct.service"} {
		condition := slices.IndexFunc(play.Tasks, func(each task.Task) bool {
			u, ok := each.Spec.(task.Unit)
			return ok && u.Unit == unit && u.DropIn != ""
		})
		if condition < 0 || condition > packages {
			t.Errorf("the condition of %s is task %d, the packages are task %d", unit, condition, packages)
		}
	}
}

func TestModulesByDistribution(t *testing.T) {
	for id, want := range map[string]bool{"debian": true, "ubuntu": false} {
		text := contentAt(t, playOf(t, nil, task.Facts{OS: task.OSFacts{ID: id}}), "/etc/modprobe.d/goldsmith.conf")
		if hasLine(text, "install squashfs /bin/true") != want {
			t.Errorf("%s: squashfs is out: %v", id, !want)
		}
		if hasLine(text, "install vfat /bin/true") {
			t.Errorf("%s: the EFI system partition cannot be mounted", id)
		}
	}
}

func TestEveryFaultAtOnce(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "sysctl.tmpl")
	if err := os.WriteFile(broken, []byte("kernel.sysrq = {{ .vars.sysrq }}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := new(Provisioner).Prepare(map[string]any{"sshd": "/no/such/template", "sysctl": broken})
	if err == nil {
		t.Fatal("all of it is taken")
	}
	for _, want := range []string{"sshd: ", "/no/such/template", "sysctl: ", "sysrq"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if err := new(Provisioner).Prepare(map[string]any{"allow_root": true}); err == nil ||
		!strings.Contains(err.Error(), "allow_root") {
		t.Errorf("an option that there is not: %v", err)
	}
}

func TestVariablesReachTheTemplates(t *testing.T) {
	template := filepath.Join(t.TempDir(), "sshd.tmpl")
	if err := os.WriteFile(
		template,
		[]byte("AllowUsers {{ .vars.user }}\n# {{ .facts.os_codename }}\n"),
		0o600,
	); err != nil {
		t.Fatal(err)
	}
	text := contentAt(
		t,
		playOf(t, map[string]any{"sshd": template, "vars": map[string]string{"user": "admin"}}, trixie),
		sshdPath,
	)
	if text != "AllowUsers admin\n# trixie\n" {
		t.Errorf("got %q", text)
	}
}
