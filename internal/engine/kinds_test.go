package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// debian is a machine that has the programs that tasks run, and keeps what they change: enough of each to be asked,
// changed and asked again. It fails on a program that it does not have.
type debian struct {
	packages, held, users, groups, databases map[string]bool
	services                                 map[string]string // ActiveState by unit
	reloads                                  int
}

func newDebian() *debian {
	return &debian{
		packages:  map[string]bool{"nginx": true},
		held:      map[string]bool{},
		users:     map[string]bool{},
		groups:    map[string]bool{},
		databases: map[string]bool{},
		services:  map[string]string{"app.service": "inactive"},
	}
}

func (d *debian) run(ctx context.Context, p task.Program) (string, error) {
	out, err := d.program(ctx, p)
	if err != nil {
		return out, &task.CommandError{Argv: p.Argv, Stderr: err.Error(), Err: errors.New("exit status 1")}
	}
	return out, nil
}

func (d *debian) program(ctx context.Context, p task.Program) (string, error) {
	last := p.Argv[len(p.Argv)-1]
	switch p.Argv[0] {
	case "dpkg-query":
		return listed(d.packages, p.Argv[3:], " installed 1.0"), nil
	case "apt-cache":
		return "chrony:\n  Candidate: 4.6\nnginx:\n  Candidate: 1.0\n", nil
	case "apt-get":
		if p.Argv[1] == "update" {
			return "", nil
		}
		d.packages[strings.TrimSuffix(last, "-")] = !strings.HasSuffix(last, "-")
		return "", nil
	case "apt-mark":
		return d.aptMark(p.Argv[1], p.Argv[2:])
	case "getent":
		return found(map[string]map[string]bool{"group": d.groups, "passwd": d.users}[p.Argv[1]], last)
	case "id":
		return last, nil
	case "groupadd":
		d.groups[last] = true
		return "", nil
	case "useradd":
		d.users[last] = true
		return "", nil
	case "systemctl":
		return d.systemctl(p.Argv[1], last)
	case "journalctl":
		return "app: no", nil
	case "mysql", "mariadb":
		return d.client(p.Stdin)
	}
	if strings.HasPrefix(p.Argv[0], "/") {
		return execute(ctx, p) // a command of the task's own
	}
	return "", errors.New("there is no program " + p.Argv[0])
}

func listed(have map[string]bool, names []string, suffix string) string {
	var out strings.Builder
	for _, name := range names {
		if have[name] {
			out.WriteString(name + suffix + "\n")
		}
	}
	return out.String()
}

func found(database map[string]bool, name string) (string, error) {
	if !database[name] {
		return "", errors.New("not found")
	}
	return name + ":x:999:999::/nonexistent:/usr/sbin/nologin", nil
}

func (d *debian) aptMark(verb string, names []string) (string, error) {
	if verb == "showhold" {
		return listed(d.held, names, ""), nil
	}
	for _, name := range names {
		if !d.packages[name] {
			return "", errors.New("E: Unable to locate package " + name)
		}
		d.held[name] = verb == "hold"
	}
	return "", nil
}

func (d *debian) systemctl(verb, unit string) (string, error) {
	if verb == "daemon-reload" {
		d.reloads++
		return "", nil
	}
	state, ok := d.services[unit]
	if verb == "show" {
		if !ok {
			return "LoadState=not-found\nActiveState=inactive\n", nil
		}
		return "LoadState=loaded\nActiveState=" + state + "\n", nil
	}
	if state == "failed" {
		return "", errors.New("Job for " + unit + " failed")
	}
	d.services[unit] = map[string]string{"start": "active", "stop": "inactive"}[verb]
	return "", nil
}

func (d *debian) client(statements string) (string, error) {
	words := strings.Fields(statements)
	switch words[0] {
	case "SELECT":
		return map[bool]string{true: "1\n", false: "0\n"}[d.databases[words[1]]], nil
	case "CREATE":
		d.databases[words[1]] = true
		return "", nil
	}
	return "", errors.New("ERROR 1064 (42000) at line 1: You have an error in your SQL syntax")
}

// kindCase is a test of a kind of task.
type kindCase struct {
	spec task.Spec
	// undo changes the machine as somebody would by hand, so that the task has work again.
	undo func() error
	// fails is a task that must fail, and want what its error has to say.
	fails task.Spec
	want  string
}

// kindCases has a row for each kind on the wire. dir is empty but for what a kind needs.
func kindCases(d *debian, m task.Machine, dir string) map[string]kindCase {
	yes := task.Bytes([]byte("yes\n"))
	remove := func(path string) func() error { return func() error { return os.Remove(path) } }
	forget := func(from map[string]bool, name string) func() error {
		return func() error { delete(from, name); return nil }
	}
	return map[string]kindCase{
		"package": {
			spec:  task.Package{Names: []string{"chrony"}},
			undo:  forget(d.packages, "chrony"),
			fails: task.Package{Names: []string{"no-such"}},
			want:  "no-such",
		},
		"file": {
			spec:  task.File{Path: dir + "/file", Content: yes},
			undo:  func() error { return os.WriteFile(dir+"/file", []byte("by hand\n"), 0o644) },
			fails: task.File{Path: dir + "/other", Content: yes, Test: []string{"/bin/false", "%s"}},
			want:  dir + "/other",
		},
		"directory": {
			spec:  task.Directory{Path: dir + "/a/b", Mode: "0700"},
			undo:  func() error { return os.Chmod(dir+"/a/b", 0o755) },
			fails: task.Directory{Path: dir + "/lines"},
			want:  "no directory",
		},
		"link": {
			spec: task.Link{Path: dir + "/link", Target: "lines"},
			undo: func() error {
				return errors.Join(os.Remove(dir+"/link"), os.Symlink("elsewhere", dir+"/link"))
			},
			fails: task.Link{Path: dir + "/lines", Target: "x"},
			want:  "no symbolic link",
		},
		"group": {
			spec:  task.Group{Group: "app", System: true},
			undo:  forget(d.groups, "app"),
			fails: task.Group{Group: "app", State: task.Absent},
			want:  "groupdel",
		},
		"user": {
			spec:  task.User{User: "app", System: true},
			undo:  forget(d.users, "app"),
			fails: task.User{User: "app", Shell: "/bin/sh"},
			want:  "usermod",
		},
		"unit": {
			spec:  task.Unit{Unit: "app.service", DropIn: "50-yes.conf", Content: yes},
			undo:  remove(filepath.Join(m.Root, "/etc/systemd/system/app.service.d/50-yes.conf")),
			fails: task.Unit{Unit: "broken.service", Content: yes},
			want:  "broken.service",
		},
		"service": {
			spec:  task.Service{Unit: "app.service", State: task.Started},
			undo:  func() error { d.services["app.service"] = "inactive"; return nil },
			fails: task.Service{Unit: "none.service", State: task.Started},
			want:  "none.service",
		},
		"command": {
			spec:  task.Command{Shell: "echo yes >" + dir + "/made", Creates: dir + "/made"},
			undo:  remove(dir + "/made"),
			fails: task.Command{Argv: []string{"/bin/sh", "-c", "echo the reason >&2; exit 3"}},
			want:  "exit status 1",
		},
		"sysctl": {
			spec:  task.Sysctl{Key: "net.core.somaxconn", Value: "4096"},
			undo:  remove(filepath.Join(m.Root, "/etc/sysctl.d/60-goldsmith.conf")),
			fails: task.Sysctl{Key: "net.core.misspelt", Value: "1"},
			want:  "set net.core.misspelt now",
		},
		"sql": {
			spec:  task.SQL{Statements: "CREATE app", Unless: "SELECT app"},
			undo:  forget(d.databases, "app"),
			fails: task.SQL{Statements: "CREAT app"},
			want:  "ERROR 1064",
		},
		"apt_hold": {
			spec:  task.AptHold{Names: []string{"nginx"}},
			undo:  forget(d.held, "nginx"),
			fails: task.AptHold{Names: []string{"no-such"}},
			want:  "no-such",
		},
		"line": {
			spec:  task.Line{Path: dir + "/lines", Regexp: "^b ", Line: "b = 3"},
			undo:  func() error { return os.WriteFile(dir+"/lines", []byte("a = 1\nb = 2\n"), 0o644) },
			fails: task.Line{Path: dir + "/none", Line: "x"},
			want:  dir + "/none",
		},
	}
}

// prepare makes what the kinds need of the machine's files.
func prepare(t *testing.T, root, dir string) {
	t.Helper()
	for _, path := range []string{"/etc/systemd/system/broken.service", "/etc/sysctl.d", "/proc/sys/net/core"} {
		if err := os.MkdirAll(filepath.Join(root, path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "/proc/sys/net/core/somaxconn"), []byte("128\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The kernel has no parameter but its own: a directory of this name cannot be written, not even by root.
	if err := os.Mkdir(filepath.Join(root, "/proc/sys/net/core/misspelt"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/lines", []byte("a = 1\nb = 2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestEveryKind tries each kind of the table, as it comes over the wire: a check changes nothing, the first run
// changes, the second does not, what is undone by hand is made so again, and a task that cannot be made so fails.
func TestEveryKind(t *testing.T) {
	var tried []string
	for _, kind := range task.Kinds() {
		if kind.Spec == nil {
			continue // in HCL alone
		}
		tried = append(tried, kind.Spec.Kind())
		t.Run(kind.Spec.Kind(), func(t *testing.T) {
			root, dir := t.TempDir(), t.TempDir()
			prepare(t, root, dir)
			d := newDebian()
			m := task.Machine{Run: d.run, Root: root}
			c, ok := kindCases(d, m, dir)[kind.Spec.Kind()]
			if !ok {
				t.Fatal("nobody has said how this kind is tried")
			}
			wants := func(what string, dry bool, want task.Outcome) {
				t.Helper()
				events, _, err := on(t, m, dry, c.spec)
				if err != nil || outcomes(events) != string(want) {
					t.Errorf("%s: %s, %v; want %s", what, outcomes(events), err, want)
				}
				if want == task.Changed && events[0].Diff == "" {
					t.Errorf("%s: no difference is shown", what)
				}
			}
			wants("check", true, task.Changed)
			wants("check again", true, task.Changed)
			wants("first run", false, task.Changed)
			wants("second run", false, task.OK)
			wants("check of what is so", true, task.OK)
			if err := c.undo(); err != nil {
				t.Fatal(err)
			}
			wants("check of what was undone", true, task.Changed)
			wants("undone by hand", false, task.Changed)
			wants("once more", false, task.OK)
			events, _, err := on(t, m, false, c.fails)
			if err == nil || outcomes(events) != "failed" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: %s, %v; want an error with %q", c.fails, outcomes(events), err, c.want)
			}
		})
	}
	for name := range kindCases(newDebian(), task.Machine{}, "") {
		if !slices.Contains(tried, name) {
			t.Errorf("there is a case of %s, which is no kind", name)
		}
	}
}

// on runs one task of a description that has come over the wire.
func on(t *testing.T, m task.Machine, dry bool, spec task.Spec) ([]task.Event, task.Recap, error) {
	t.Helper()
	sent := task.Play{Name: "p", Tasks: []task.Task{{Name: "t", Spec: spec}}}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	go func() {
		if refused := task.Encode(writer, sent, dry); refused != nil {
			t.Error(refused)
		}
		writer.Close()
	}()
	received, check, err := task.Decode(reader, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var events []task.Event
	recap, err := newEngine(received, check, func(e task.Event) {
		if e.Event == task.EventTask {
			events = append(events, e)
		}
	}, m).all(t.Context())
	return events, recap, err
}
