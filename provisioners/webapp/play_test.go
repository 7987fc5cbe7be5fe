package webapp

import (
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

const amd64, arm64 = 62, 183

// dynamic is the header of a program that asks for a loader.
func dynamic(t *testing.T) string {
	t.Helper()
	path := static(t, amd64)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint64(text[32:], 64) // the segments' table follows the header
	binary.LittleEndian.PutUint16(text[56:], 1)
	segment := make([]byte, 56)
	binary.LittleEndian.PutUint32(segment, 3) // PT_INTERP
	if err := os.WriteFile(path, append(text, segment...), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func prepared(t *testing.T, attributes map[string]any) *Provisioner {
	t.Helper()
	config := map[string]any{"unit": unitFile}
	for name, value := range attributes {
		config[name] = value
	}
	p := &Provisioner{}
	if err := p.Prepare(config); err != nil {
		t.Fatal(err)
	}
	return p
}

func playOf(t *testing.T, p *Provisioner, facts task.Facts) task.Play {
	t.Helper()
	play, err := p.config.play(facts, task.Bytes([]byte("agent")))
	if err != nil {
		t.Fatal(err)
	}
	if err := play.Validate(); err != nil {
		t.Fatal(err)
	}
	return play
}

// named is the task of this name.
func named(t *testing.T, play task.Play, name string) task.Task {
	t.Helper()
	i := slices.IndexFunc(play.Tasks, func(each task.Task) bool { return each.Name == name })
	if i < 0 {
		t.Fatalf("there is no task %q", name)
	}
	return play.Tasks[i]
}

func read(t *testing.T, blob task.Blob) string {
	t.Helper()
	r, err := blob.Open()
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

func TestArchitecture(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, want, fault string }{
		{"amd64", static(t, amd64), "amd64", ""},
		{"arm64", static(t, arm64), "arm64", ""},
		{"another", static(t, 8), "", "amd64 or arm64 is needed"},
		{"dynamic", dynamic(t), "", "linked dynamically"},
		{"empty", empty, "", "no Linux executable"},
		{"a directory", t.TempDir(), "", "no Linux executable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := architecture(c.path)
			if got != c.want || (err == nil) != (c.fault == "") {
				t.Errorf("got %q, %v", got, err)
			}
			if c.fault != "" && (!strings.Contains(err.Error(), c.fault) || !strings.Contains(err.Error(), c.path)) {
				t.Errorf("got %v, want one with %q and the path", err, c.fault)
			}
		})
	}
}

func TestEveryFaultAtOnce(t *testing.T) {
	err := new(
		Provisioner,
	).Prepare(map[string]any{"binary": "/no/such", "unit": "/no/unit", "user": "Web App", "address": "127.0.0.1:0"})
	if err == nil {
		t.Fatal("all of it is taken")
	}
	for _, want := range []string{"binary: /no/such", "unit: ", "/no/unit", "user: ", "address: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
}

func TestLoopbackAlone(t *testing.T) {
	program := static(t, amd64)
	for address, good := range map[string]bool{"127.0.0.1:5000": true, "[::1]:5000": true, "127.9.9.9:1": true,
		"10.0.1.5:5000": false, "[::]:5000": false, "localhost:5000": false, "127.0.0.1": false} {
		if err := new(
			Provisioner,
		).Prepare(map[string]any{"binary": program, "unit": unitFile, "address": address}); (err == nil) != good {
			t.Errorf("%s: got %v", address, err)
		}
	}
}

// TestUnitIsSandboxed reads the unit as it comes into the image: its secrets from files in memory, never in its
// environment, and hardly a right.
func TestUnitIsSandboxed(t *testing.T) {
	p := prepared(t, map[string]any{"binary": static(t, amd64), "user": "web", "address": "127.0.0.1:5001"})
	for _, os := range []task.OSFacts{
		{ID: "debian", Version: "12"},
		{ID: "debian", Version: "13"},
		{ID: "ubuntu", Version: "22.04"},
	} {
		play := playOf(t, p, task.Facts{Arch: "amd64", OS: os})
		lines := strings.Split(read(t, named(t, play, "unit").Spec.(task.Unit).Content), "\n")
		for _, want := range []string{
			"Type=notify",
			"ExecStart=" + program,
			"User=web",
			"Group=web",
			"Environment=LISTEN=127.0.0.1:5001",
			"EnvironmentFile=-/run/goldsmith/web.env",
			"LoadCredential=db_password:/run/goldsmith/credentials/db_password",
			"LoadCredential=db_ca:/run/goldsmith/credentials/db_ca",
			"Restart=always",
			"WatchdogSec=30s",
			"NoNewPrivileges=yes",
			"CapabilityBoundingSet=",
			"ProtectSystem=strict",
			"ProtectHome=yes",
			"PrivateTmp=yes",
			"PrivateDevices=yes",
			"MemoryDenyWriteExecute=yes",
			"SystemCallFilter=@system-service",
			"RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
			"IPAddressDeny=any",
		} {
			if !slices.Contains(lines, want) {
				t.Errorf("%s %s: there is no %q", os.ID, os.Version, want)
			}
		}
		if i := slices.IndexFunc(
			lines,
			func(l string) bool { return strings.HasPrefix(l, "Environment") && strings.Contains(l, "PASSWORD") },
		); i >= 0 {
			t.Errorf("a password in the environment: %s", lines[i])
		}
	}
}

// shopPlay is the play of a program for arm64, with settings that are not the defaults.
func shopPlay(t *testing.T) (play task.Play, binary string) {
	t.Helper()
	path := static(t, arm64)
	options := map[string]any{"binary": path, "user": "web", "database": "shop", "username": "clerk"}
	return playOf(t, prepared(t, options), task.Facts{Arch: "arm64"}), path
}

func TestWhatThePlayPutsThere(t *testing.T) {
	play, path := shopPlay(t)
	wrote, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := named(t, play, "program").Spec.(task.File)
	if read(t, file.Content) != string(wrote) || file.Mode != "0755" || file.Path != program || file.Owner != "" {
		t.Errorf("the program is %+v", file)
	}
	user := named(t, play, "user web").Spec.(task.User)
	if !user.System || user.Group != "web" || user.Shell != "/usr/sbin/nologin" || user.CreateHome {
		t.Errorf("the user is %+v", user)
	}
	service := named(t, play, "the application starts at boot").Spec.(task.Service)
	if service.Enabled == nil || !*service.Enabled {
		t.Errorf("it does not start at boot: %+v", service)
	}
	handler := play.Handlers[0]
	verify := []string{"systemd-analyze", "verify", "/etc/systemd/system/" + unit}
	if !slices.Equal(named(t, play, "unit").Notify, []string{handler.Name}) ||
		!slices.Equal(handler.Spec.(task.Command).Argv, verify) {
		t.Errorf("the unit is not verified: %+v", handler)
	}
}

func TestDescriptionOfThePlay(t *testing.T) {
	play, _ := shopPlay(t)
	dir := t.TempDir()
	described := read(t, named(t, play, "describe webapp").Spec.(task.File).Content)
	// Its probes go through the port of the server in front of it.
	const front = `{"version":1,"kind":"service","ports":[{"name":"https","port":443,"address":"any","tls":true}]}`
	for _, f := range []struct{ name, text string }{{"webapp.json", described}, {"front.json", front}} {
		if err := os.WriteFile(filepath.Join(dir, f.name), []byte(f.text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := imagespec.Read(dir, instance.KindService)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(d.Units, []imagespec.Unit{{Name: unit}}) ||
		d.Ports[1] != (imagespec.Port{Name: "webapp", Port: 5000, Address: "127.0.0.1"}) {
		t.Errorf("the description is %+v", d)
	}
	variables := d.Environments[0].Variables
	for _, want := range []imagespec.Variable{
		{Name: "DB_HOST", AddressOf: "db"},
		{Name: "DB_NAME", Value: "shop"},
		{Name: "DB_USER", Value: "clerk"},
	} {
		if !slices.Contains(variables, want) {
			t.Errorf("there is no %+v in %+v", want, variables)
		}
	}
}

// TestNoPlayWithoutTheProgram has nothing to apply when the program is of another machine or went away meanwhile.
func TestNoPlayWithoutTheProgram(t *testing.T) {
	path := static(t, amd64)
	p := prepared(t, map[string]any{"binary": path})
	play, err := p.config.play(task.Facts{Arch: "arm64"}, task.Bytes(nil))
	if err == nil || !strings.Contains(err.Error(), "binary: ") || !strings.Contains(err.Error(), "arm64") ||
		len(play.Tasks) != 0 {
		t.Errorf("on another machine: %v, %+v", err, play)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if play, err := p.config.play(
		task.Facts{Arch: "amd64"},
		task.Bytes(nil),
	); err == nil || !strings.Contains(err.Error(), "binary: ") ||
		len(play.Tasks) != 0 {
		t.Errorf("without the program: %v, %+v", err, play)
	}
}
