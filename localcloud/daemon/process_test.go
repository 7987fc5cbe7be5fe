package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/lockfile"
)

// ownRoots has clouds live in directories of the test, which are not there yet, until it ends.
func ownRoots(t *testing.T) {
	t.Helper()
	state, run, dir := stateRoot, runRoot, t.TempDir()
	stateRoot, runRoot = filepath.Join(dir, "lib"), filepath.Join(dir, "run")
	t.Cleanup(func() { stateRoot, runRoot = state, run })
}

func TestLockHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	// A process id of 1, 0 or less would be anything but a daemon, and a signal to it reach who is not meant.
	for _, content := range []string{"", "x", "0", "1", "-1", "0 5", "4711 x", "4711 -1", "4711 1 1"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if h, err := lockHolder(path); err == nil {
			t.Errorf("%q is read as %+v", content, h)
		}
	}
	for content, want := range map[string]holder{"4711\n": {pid: 4711}, "4711 815": {pid: 4711, start: 815}} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if h, err := lockHolder(path); err != nil || h != want {
			t.Errorf("%q: got %+v, %v", content, h, err)
		}
	}
}

// bystander is a process that a lock may name by mistake; what it returns is closed when the process has ended.
func bystander(t *testing.T) (pid int, ended <-chan struct{}) {
	t.Helper()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	t.Cleanup(func() {
		in.Close()
		<-done
	})
	return cmd.Process.Pid, done
}

// The id in a lock may be another process's by now: it gets no signal.
func TestStopSignalsNobodyElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	pid, ended := bystander(t)
	start, err := startOf(pid)
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := lockfile.Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	for _, content := range []string{
		fmt.Sprint(pid), fmt.Sprintf("%d %d", pid, start+1), fmt.Sprintf("%d %d", pid, start-1),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := signalHolder(path, "test", syscall.SIGKILL); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%q: %v", content, err)
		}
		select {
		case <-ended:
			t.Fatalf("%q: a process that is not the daemon was ended", content)
		default:
		}
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, "%d %d", pid, start), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := signalHolder(path, "test", syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	<-ended // the one that is meant gets it
	if err := signalHolder(path, "test", syscall.SIGKILL); err != nil {
		t.Errorf("one that has ended: %v", err)
	}
}

func TestLockNamesItsDaemon(t *testing.T) {
	ownRoots(t)
	unlock, err := lockDaemon("test")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	h, err := lockHolder(daemonLock("test"))
	if err != nil || h.pid != os.Getpid() {
		t.Errorf("got %+v, %v", h, err)
	}
	if same, err := h.isDaemon("test"); !same || err != nil {
		t.Errorf("it is not this process: %v", err)
	}
}

// Every way in checks the name, before any path is made of it.
func TestBadNames(t *testing.T) {
	ctx := t.Context()
	ownRoots(t)
	for _, name := range []string{"", ".", "..", "../x", "a/b", "A", "x\n", strings.Repeat("x", 300)} {
		_, endpoint := Endpoint(name)
		_, log := LogPath(name)
		_, find := Find(name)
		_, exist := Exists(name)
		_, start := Start(ctx, name, []string{"/bin/false"}, func(string) {})
		for verb, err := range map[string]error{
			"endpoint": endpoint,
			"log":      log,
			"find":     find,
			"exists":   exist,
			"start":    start,
			"stop":     Stop(ctx, name),
			"destroy":  Destroy(ctx, name),
			"serve":    Serve(ctx, Config{Name: name}),
			"base":     AddBase(ctx, name, "trixie", func(string) {}),
		} {
			if !errors.Is(err, host.ErrBadName) {
				t.Errorf("%s %q: %v", verb, name, err)
			}
		}
	}
	for _, root := range []string{stateRoot, runRoot} {
		if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left behind: %v", root, err)
		}
	}
}

func TestFind(t *testing.T) {
	ownRoots(t)
	if _, err := Find("never-was"); !errors.Is(err, ErrDown) || !strings.Contains(err.Error(), "never-was") {
		t.Errorf("got %v", err)
	}
}

// What is root's alone is said to be so, with what helps.
func TestFindAsAnotherUser(t *testing.T) {
	if os.Geteuid() == 0 { // root may open everything: another user runs this test
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestFindAsAnotherUser$")
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	ownRoots(t)
	if err := errors.Join(os.Mkdir(runRoot, 0o755), os.WriteFile(daemonLock("roots"), nil, 0)); err != nil {
		t.Fatal(err)
	}
	_, err := Find("roots")
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "hint: run it with sudo") {
		t.Errorf("got %v", err)
	}
}

func TestReadyFile(t *testing.T) {
	dir := t.TempDir()
	var ready readyFile
	if err := ready.change(func(*Running) {}); err == nil {
		t.Error("what is not up yet is changed")
	}
	if err := ready.begin(dir, Running{PID: 7, Endpoint: "http://127.66.0.1:4566"}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "daemon.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(content), `{"pid":7,"endpoint":"http://127.66.0.1:4566"`) {
		t.Errorf("got %s", content)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left beside it: %v", entries)
	}
}

// What the daemon said last is the reason that people see when it does not come up.
func TestSpawn(t *testing.T) {
	var said []string
	last, err := spawn(
		context.Background(),
		[]string{"/bin/sh", "-c", "echo making >&3; echo 'no space left' >&3; exit 1"},
		func(line string) { said = append(said, line) },
	)
	if os.Geteuid() != 0 {
		if err == nil {
			t.Error("a mount namespace without root")
		}
		return
	}
	if err != nil || last != "no space left" || len(said) != 2 {
		t.Errorf("last %q of %q, %v", last, said, err)
	}
}

func TestOpenLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, make([]byte, 11<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("the log begins with %d bytes, %v", info.Size(), err)
	}
	if _, err := os.Stat(path + ".1"); err != nil {
		t.Error(err)
	}
}
