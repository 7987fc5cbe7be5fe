package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "some", "lock")
	if held, err := lockHeld(path); err != nil || held {
		t.Errorf("a lock that nobody made: %v, %v", held, err)
	}
	unlock, err := lock(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	if held, err := lockHeld(path); err != nil || !held {
		t.Errorf("a lock that is held: %v, %v", held, err)
	}
	waiting, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(waiting, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for it: %v", err)
	}
	unlock()
	if held, err := lockHeld(path); err != nil || held {
		t.Errorf("a lock that was let go: %v, %v", held, err)
	}
}

func TestLockHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	// A process id of 1, 0 or less would be anything but a daemon, and a signal to it reach who is not meant.
	for _, content := range []string{"", "x", "0", "1", "-1"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if pid, err := lockHolder(path); err == nil {
			t.Errorf("%q is read as process %d", content, pid)
		}
	}
	if err := os.WriteFile(path, []byte("4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if pid, err := lockHolder(path); err != nil || pid != 4711 {
		t.Errorf("got %d, %v", pid, err)
	}
}

func TestFind(t *testing.T) {
	_, err := Find("never-was")
	hidden := os.Geteuid() != 0 && errors.Is(err, fs.ErrPermission) // the directory of all clouds may be root's alone
	if err == nil || !errors.Is(err, ErrDown) && !hidden || !strings.Contains(err.Error(), "never-was") {
		t.Errorf("got %v", err)
	}
}

func TestWriteReady(t *testing.T) {
	dir := t.TempDir()
	if err := writeReady(dir, Running{PID: 7, Endpoint: "http://127.66.0.1:4566"}); err != nil {
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
	last, err := spawn(context.Background(), []string{"/bin/sh", "-c", "echo making >&3; echo 'no space left' >&3; exit 1"}, func(line string) { said = append(said, line) })
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
