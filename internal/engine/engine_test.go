package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// script is a runner that knows what it was told, in order, and fails the test on anything else.
type script struct {
	t     *testing.T
	steps []step
}

type step struct {
	argv   string
	stdout string
	fails  string // standard error of a failure
}

func (s *script) run(_ context.Context, p task.Program) (string, error) {
	s.t.Helper()
	got := strings.Join(p.Argv, " ")
	if len(s.steps) == 0 || s.steps[0].argv != got {
		s.t.Errorf("nobody told of %q; next would be %+v", got, s.steps)
		return "", errors.New("not told")
	}
	next := s.steps[0]
	s.steps = s.steps[1:]
	if next.fails != "" {
		return next.stdout, &task.CommandError{
			Argv:   p.Argv,
			Stdout: next.stdout,
			Stderr: next.fails,
			Err:    errors.New("exit status 1"),
		}
	}
	return next.stdout, nil
}

// play runs tasks and returns the events of tasks; handlers are the last argument's.
func play(t *testing.T, run task.Runner, dry bool, p task.Play) ([]task.Event, task.Recap, error) {
	t.Helper()
	var events []task.Event
	recap, err := newEngine(p, dry, func(e task.Event) {
		if e.Event == task.EventTask {
			events = append(events, e)
		}
	}, task.Machine{Run: run}).all(t.Context())
	return events, recap, err
}

func outcomes(events []task.Event) string {
	var all []string
	for _, e := range events {
		all = append(all, string(e.Outcome))
	}
	return strings.Join(all, " ")
}

func TestFilesAreMadeSoOnce(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("different", "old\n")
	write("mode", "same\n")
	write("gone", "x")
	write("lines", "a = 1\nb = 2")
	p := task.Play{Name: "files", Tasks: []task.Task{
		{Name: "new", Spec: task.File{Path: dir + "/new", Content: task.Bytes([]byte("hello\n")), Mode: "0600"}},
		{Name: "different", Spec: task.File{Path: dir + "/different", Content: task.Bytes([]byte("new\n"))}},
		{Name: "mode", Spec: task.File{Path: dir + "/mode", Content: task.Bytes([]byte("same\n")), Mode: "0640"}},
		{Name: "gone", Spec: task.File{Path: dir + "/gone", State: task.Absent}},
		{Name: "directory", Spec: task.Directory{Path: dir + "/a/b", Mode: "0700"}},
		{Name: "link", Spec: task.Link{Path: dir + "/link", Target: "new"}},
		{Name: "line", Spec: task.Line{Path: dir + "/lines", Regexp: "^b ", Line: "b = 3"}},
		{Name: "line appended", Spec: task.Line{Path: dir + "/lines", Line: "c = 4"}},
		{Name: "directory gone", Spec: task.Directory{Path: dir + "/none", State: task.Absent}},
	}}
	strict := (&script{t: t}).run
	if _, recap, err := play(t, strict, true, p); err != nil || recap.Changed != 8 {
		t.Errorf("check: %+v, %v", recap, err)
	}
	if _, err := os.Stat(dir + "/new"); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("check has changed something")
	}
	events, recap, err := play(t, strict, false, p)
	if err != nil || recap.Changed != 8 {
		t.Errorf("first run: %s, %v", outcomes(events), err)
	}
	if !strings.Contains(events[1].Diff, "-old") || !strings.Contains(events[1].Diff, "+new") {
		t.Errorf("the difference is not shown: %s", events[1].Diff)
	}
	if events, recap, err := play(t, strict, false, p); err != nil || recap.Changed != 0 || recap.OK != 9 {
		t.Errorf("second run: %s, %v", outcomes(events), err)
	}
	text, _ := os.ReadFile(dir + "/lines")
	if string(text) != "a = 1\nb = 3\nc = 4\n" {
		t.Errorf("lines: %q", text)
	}
	info, _ := os.Stat(dir + "/new")
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if left, _ := filepath.Glob(dir + "/.*goldsmith-*"); len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
}

func TestFileThatFailsItsTestStaysAsItWas(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/conf"
	if err := os.WriteFile(path, []byte("good\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	p := task.Play{
		Tasks: []task.Task{
			{
				Name: "conf",
				Spec: task.File{
					Path:    path,
					Content: task.Bytes([]byte("bad\n")),
					Test:    []string{"grep", "-q", "good", "%s"},
				},
			},
		},
	}
	_, recap, err := play(t, execute, false, p)
	if err == nil || recap.Failed != 1 || !strings.Contains(err.Error(), path) {
		t.Errorf("got %+v, %v", recap, err)
	}
	entries, _ := os.ReadDir(dir)
	if text, _ := os.ReadFile(path); string(text) != "good\n" || len(entries) != 1 {
		t.Errorf("left %q and %v", text, entries)
	}
}

func TestKindsThatAreNotInTheWay(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/d", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []task.Spec{
		task.File{Path: dir + "/d", Content: task.Bytes(nil)}, task.File{Path: dir + "/d", State: task.Absent},
		task.Link{Path: dir + "/d", Target: "x"}, task.Line{Path: dir + "/none", Line: "x"},
		task.File{Path: dir + "/none/x", Content: task.Bytes(nil)},
	} {
		if _, recap, err := play(t, execute, false,
			task.Play{Tasks: []task.Task{{Name: "t", Spec: spec}}}); err == nil || recap.Failed != 1 ||
			!strings.Contains(err.Error(), dir) {
			t.Errorf("%+v: %+v, %v", spec, recap, err)
		}
	}
	if info, err := os.Stat(dir + "/d"); err != nil || !info.IsDir() {
		t.Error("the directory is gone")
	}
}

func TestHandlersRunOnceAndOnlyAfterAChange(t *testing.T) {
	dir := t.TempDir()
	touch := func(name string) task.Spec {
		return task.File{Path: dir + "/" + name, Content: task.Bytes([]byte(name))}
	}
	count := func(name string) task.Task {
		return task.Task{Name: name, Spec: task.Command{Shell: "echo x >>" + dir + "/" + name}}
	}
	p := task.Play{Tasks: []task.Task{
		{
			Name:   "1",
			Notify: []string{"first"},
			Spec:   touch("a"),
		},
		{Name: "2", Notify: []string{"first"}, Spec: touch("b")},
		{Name: "3", Notify: []string{"never"}, Spec: task.Directory{Path: dir, Mode: permissions(t, dir)}},
	}, Handlers: []task.Task{count("first"), count("never")}}
	if _, recap, err := play(t, execute, false, p); err != nil || recap.Changed != 3 {
		t.Errorf("got %+v, %v", recap, err)
	}
	if text, _ := os.ReadFile(dir + "/first"); string(text) != "x\n" {
		t.Errorf("the handler wrote %q, once was due", text)
	}
	if _, err := os.Stat(dir + "/never"); err == nil {
		t.Error("a handler ran whose task changed nothing")
	}
	if _, recap, err := play(t, execute, false, p); err != nil || recap.Changed != 0 {
		t.Errorf("second run: %+v, %v", recap, err)
	}
}

func permissions(t *testing.T, path string) string {
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%04o", info.Mode().Perm())
}

func TestFailureEndsThePlay(t *testing.T) {
	dir := t.TempDir()
	p := task.Play{Tasks: []task.Task{
		{Name: "changes", Notify: []string{"handler"}, Spec: task.File{Path: dir + "/a", Content: task.Bytes(nil)}},
		{Name: "fails", Spec: task.Command{Shell: "echo the reason >&2; exit 3"}},
		{Name: "never", Spec: task.File{Path: dir + "/b", Content: task.Bytes(nil)}},
	}, Handlers: []task.Task{{Name: "handler", Spec: task.File{Path: dir + "/c", Content: task.Bytes(nil)}}}}
	events, recap, err := play(t, execute, false, p)
	var status *exec.ExitError
	if !errors.As(err, &status) || status.ExitCode() != 3 {
		t.Errorf("the cause is not in the chain of %v", err)
	}
	if outcomes(events) != "changed failed" || recap.Failed != 1 || err == nil ||
		!strings.Contains(events[1].Stderr, "the reason") {
		t.Errorf("got %s, %+v, %v", outcomes(events), events, err)
	}
	for _, name := range []string{"b", "c"} {
		if _, err := os.Stat(dir + "/" + name); err == nil {
			t.Errorf("%s was made after the failure", name)
		}
	}
}

func TestSensitiveTasksSayNothing(t *testing.T) {
	dir := t.TempDir()
	p := task.Play{Tasks: []task.Task{
		{Name: "file", Sensitive: true, Spec: task.File{Path: dir + "/a", Content: task.Bytes([]byte("s3cret"))}},
		{Name: "command", Sensitive: true, Spec: task.Command{Shell: "echo s3cret; echo s3cret >&2; exit 1"}},
	}}
	events, _, err := play(t, execute, false, p)
	if text := fmt.Sprintf("%+v %v", events, err); strings.Contains(text, "s3cret") || err == nil {
		t.Errorf("the secret is told: %s", text)
	}
}

func TestCommandIsRunWhenItIsNeeded(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		spec task.Command
		want string
	}{
		{task.Command{Argv: []string{"true"}}, "changed"},
		{task.Command{Argv: []string{"true"}, Creates: dir}, "ok"},
		{task.Command{Argv: []string{"true"}, Creates: dir + "/none"}, "changed"},
		{task.Command{Argv: []string{"true"}, Unless: []string{"true"}}, "ok"},
		{task.Command{Argv: []string{"true"}, Unless: []string{"false"}}, "changed"},
		{task.Command{Argv: []string{"true"}, OnlyIf: []string{"false"}}, "skipped"},
		{task.Command{Argv: []string{"true"}, Unless: []string{"/no/such/program"}}, "failed"},
		{task.Command{Shell: `test "$A" = b && test "$PWD" = ` + dir, Env: map[string]string{"A": "b"}, Dir: dir},
			"changed"},
		{task.Command{Shell: "sleep 5 & sleep 5", Timeout: "50ms"}, "failed"},
	} {
		events, _, _ := play(t, execute, false, task.Play{Tasks: []task.Task{{Name: "t", Spec: c.spec}}})
		if outcomes(events) != c.want {
			t.Errorf("%+v: got %s (%s), want %s", c.spec, outcomes(events), events[0].Error, c.want)
		}
	}
}

// TestPackagesInOneTransaction has two neighbouring tasks and one apart; apt is called once for each row.
func TestPackagesInOneTransaction(t *testing.T) {
	const query = "dpkg-query --show --showformat=${Package} ${db:Status-Status} ${Version}\n "
	const install = "apt-get install --yes --purge -o Dpkg::Options::=--force-confdef -o " +
		"Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io -o DPkg::Lock::Timeout=5 -o " +
		"Dpkg::Use-Pty=0 --no-install-recommends "
	purge := task.Package{Names: []string{"c"}, State: task.Absent}
	s := &script{t: t, steps: []step{
		{argv: query + "a b", stdout: "a installed 1\nb installed 2\n"},
		{argv: query + "c", stdout: "c installed 3\n"},
		{argv: install + "c-"},
	}}
	events, _, err := play(t, s.run, false, task.Play{Tasks: []task.Task{
		{Name: "a", Spec: task.Package{Names: []string{"a"}}}, {Name: "b", Spec: task.Package{Names: []string{"b"}}},
		{Name: "between", Spec: task.Directory{Path: t.TempDir(), Mode: "0755"}}, {Name: "c", Spec: purge}}})
	if err != nil || len(s.steps) > 0 {
		t.Errorf("%s, %v; not called: %+v", outcomes(events), err, s.steps)
	}
	if events[0].Outcome != task.OK || events[1].Outcome != task.OK || events[3].Outcome != task.Changed {
		t.Errorf("outcomes: %s", outcomes(events))
	}
}

// TestPackageScriptThatFails: a package's script that failed runs once more, and no other failure of apt does.
func TestPackageScriptThatFails(t *testing.T) {
	const query = "dpkg-query --show --showformat=${Package} ${db:Status-Status} ${Version}\n c"
	const install = "apt-get install --yes --purge -o Dpkg::Options::=--force-confdef -o " +
		"Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io -o DPkg::Lock::Timeout=5 -o " +
		"Dpkg::Use-Pty=0 --no-install-recommends c-"
	const configure = "dpkg --configure --pending"
	const failure = "dpkg: error processing package c\nE: Sub-process /usr/bin/dpkg returned an error code (1)"
	installed := step{argv: query, stdout: "c installed 3\n"}
	for _, c := range []struct {
		name  string
		steps []step
		want  task.Outcome
		fault string
	}{
		{
			"by chance",
			[]step{installed, {argv: install, fails: failure}, {argv: configure}, {argv: install}},
			task.Changed,
			"",
		},
		{
			"each time",
			[]step{installed, {argv: install, fails: failure}, {argv: configure, fails: "again"}},
			task.Failed,
			"returned an error code (1)",
		},
		{"the download", []step{installed, {argv: install, fails: "E: 404  Not Found"}}, task.Failed, "404"},
	} {
		s := &script{t: t, steps: c.steps}
		events, _, _ := play(t, s.run, false, task.Play{
			Tasks: []task.Task{{Name: "c", Spec: task.Package{Names: []string{"c"}, State: task.Absent}}},
		})
		if len(s.steps) > 0 || events[0].Outcome != c.want || !strings.Contains(events[0].Error, c.fault) {
			t.Errorf("%s: %s (%s); not called: %+v", c.name, outcomes(events), events[0].Error, s.steps)
		}
	}
}

func TestUserIsAddedThenLeftAlone(t *testing.T) {
	spec := task.User{User: "app", Group: "app", Groups: []string{"adm"}, System: true, Home: "/nonexistent"}
	p := task.Play{Tasks: []task.Task{{Name: "user", Spec: spec}}}
	s := &script{t: t, steps: []step{
		{argv: "getent passwd app", fails: "none"},
		{
			argv: "useradd --system --gid app --groups adm --home-dir /nonexistent --shell /usr/sbin/nologin " +
				"--no-create-home app",
		},
	}}
	if _, recap, err := play(t, s.run, false, p); err != nil || recap.Changed != 1 {
		t.Errorf("first: %+v, %v", recap, err)
	}
	s.steps = []step{
		{argv: "getent passwd app", stdout: "app:x:999:999::/nonexistent:/usr/sbin/nologin\n"},
		{argv: "id --name --groups app", stdout: "app adm\n"},
	}
	if _, recap, err := play(t, s.run, false, p); err != nil || recap.Changed != 0 {
		t.Errorf("second: %+v, %v", recap, err)
	}
	s.steps = []step{
		{argv: "getent passwd app", stdout: "app:x:999:999::/home/app:/bin/sh\n"},
		{argv: "id --name --groups app", stdout: "app\n"},
		{argv: "usermod --home /nonexistent --append --groups adm app"},
	}
	if _, recap, err := play(t, s.run, false, p); err != nil || recap.Changed != 1 || len(s.steps) > 0 {
		t.Errorf("changed by hand: %+v, %v", recap, err)
	}
}

func TestParsers(t *testing.T) {
	release := parseOSRelease(
		"PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\nID=debian\n",
	)
	if release != (task.OSFacts{
		ID:       "debian",
		Version:  "13",
		Codename: "trixie",
		Pretty:   "Debian GNU/Linux 13 (trixie)",
	}) {
		t.Errorf("os-release: %+v", release)
	}
	if got := parseMemory("MemFree: 1 kB\nMemTotal:       2048000 kB\n"); got != 2000 {
		t.Errorf("memory: %d", got)
	}
}
