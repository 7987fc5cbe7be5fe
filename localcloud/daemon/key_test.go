package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/identity"
)

func TestOperatorKeyIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	first, err := operatorKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	again, err := operatorKey(dir)
	if err != nil || again != first {
		t.Errorf("got %v, %v, want %v", again, err, first)
	}
	info, err := os.Stat(keyPath(dir))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("got %v, %v, want the key alone", left, err)
	}
	// A broken file is nobody's key; a new key in its place would lock out who has the old one.
	if err := os.WriteFile(keyPath(dir), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := operatorKey(dir); err == nil {
		t.Errorf("got %v of a file without a key", key)
	}
}

func TestOperatorKeyOfAnotherUser(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	if _, err := OperatorKey("nobody-has-it"); !errors.Is(err, ErrNoKey) {
		t.Errorf("got %v, want ErrNoKey", err)
	}
	want := identity.NewOperatorKey()
	if err := writeKey(userKeyPath(home, "nobody-has-it"), want); err != nil {
		t.Fatal(err)
	}
	if got, err := OperatorKey("nobody-has-it"); err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

// TestAsUser tries as root what a user could have prepared: a link to a place that is root's alone. Without root there
// are no other rights to take.
func TestAsUser(t *testing.T) {
	uid, gid := os.Getuid(), os.Getgid()
	if uid == 0 {
		uid, gid = 65534, 65534
	}
	var seen int
	if err := asUser(uid, gid, func() error {
		dir, err := os.MkdirTemp("/tmp", "goldsmith-key-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "clouds", "x.json")
		if err := writeKey(path, identity.NewOperatorKey()); err != nil {
			return err
		}
		seen = ownerOf(path)
		if err := os.Symlink("/root", filepath.Join(dir, "link")); err != nil {
			return err
		}
		if err := writeKey(
			filepath.Join(dir, "link", "x.json"),
			identity.NewOperatorKey(),
		); !errors.Is(
			err,
			os.ErrPermission,
		) {
			t.Errorf("in a directory of root's: got %v, want a refusal", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if seen != uid {
		t.Errorf("the key is of user %d, want %d", seen, uid)
	}
	if os.Getuid() == 0 {
		if err := writeKey(filepath.Join(t.TempDir(), "x.json"), identity.NewOperatorKey()); err != nil {
			t.Errorf("root has lost its rights: %v", err)
		}
	}
}

func ownerOf(path string) int {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return -1
	}
	return int(stat.Uid)
}
