package firstboot

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
)

func TestPlace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if err := os.WriteFile(path, []byte("an older and longer one"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("new"), 0o600, os.Getuid(), os.Getgid()); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	if info, err := os.Stat(path); err != nil || string(text) != "new" || info.Mode().Perm() != 0o600 {
		t.Errorf("got %q with mode %v, %v", text, info.Mode(), err)
	}
}

func TestPlaceThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "key", "inner"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "key"), []byte("secret"), 0o600, os.Getuid(), os.Getgid()); err == nil {
		t.Error("a directory was replaced")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 || !entries[0].IsDir() {
		t.Errorf("there are %v, %v", entries, err)
	}
	if err := WriteFile(filepath.Join(dir, "none", "key"), nil, 0o600, 0, 0); err == nil {
		t.Error("a directory that is missing is no error")
	}
}

func TestThrowaway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tls", "web")
	if err := Throwaway(path, "www-data"); err != nil {
		t.Fatal(err)
	}
	if _, err := tls.LoadX509KeyPair(path+".crt", path+".key"); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(path + ".key"); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the key's mode is %v, %v", info.Mode(), err)
	}
}

// TestOwnCertificateIsRemade when what is kept is of no use.
func TestOwnCertificateIsRemade(t *testing.T) {
	id := Identity{InstanceID: "i-1", Private: "10.0.1.5"}
	for name, spoil := range map[string]func(dir string) error{
		"no key":      func(dir string) error { return os.Remove(filepath.Join(dir, "web.key")) },
		"half a key":  func(dir string) error { return os.Truncate(filepath.Join(dir, "web.key"), 20) },
		"another key": func(dir string) error { return Throwaway(filepath.Join(dir, "web"), "www-data") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "tls")
			if _, _, err := ownPair(dir, id); err != nil {
				t.Fatal(err)
			}
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			certificate, key, err := ownPair(dir, id)
			if err != nil || !stillGood(certificate, key, id) {
				t.Errorf("got one that is not good, %v", err)
			}
			if _, err := tls.LoadX509KeyPair(filepath.Join(dir, "web.crt"), filepath.Join(dir, "web.key")); err != nil {
				t.Errorf("kept: %v", err)
			}
		})
	}
}
