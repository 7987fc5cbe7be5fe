package lockfile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "some", "lock")
	if held, err := Held(path); err != nil || held {
		t.Errorf("a lock that nobody made: %v, %v", held, err)
	}
	unlock, err := Lock(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	if held, err := Held(path); err != nil || !held {
		t.Errorf("a lock that is held: %v, %v", held, err)
	}
	waiting, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := Lock(waiting, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for it: %v", err)
	}
	unlock()
	if held, err := Held(path); err != nil || held {
		t.Errorf("a lock that was let go: %v, %v", held, err)
	}
}

// A lock that others may open is one that they may hold, and so keep the cloud from starting and stopping.
func TestLocksAreForTheirOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "lock")
	for range 2 { // the second finds one that an older version made
		f, err := TryLock(path)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := f.Stat(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("it is %v, %v", info.Mode(), err)
		}
		if err := errors.Join(f.Close(), os.Chmod(path, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if f, err := TryLock(link); err == nil {
		t.Errorf("a link is followed to %s", f.Name())
	}
}
