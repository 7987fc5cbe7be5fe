package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What an older version made too open is closed when the cloud is opened; base images have programs that run as root.
func TestDirectoriesAreClosed(t *testing.T) {
	dir := t.TempDir()
	config := Config{StateDir: filepath.Join(dir, "lib", "x"), RunDir: filepath.Join(dir, "run", "x")}
	config.CacheDir = filepath.Join(dir, "cache")
	h := &Host{config: config}
	private := []string{config.StateDir, config.RunDir, filepath.Join(config.CacheDir, "base"), h.config.dir("volumes")}
	private = append(private, h.config.dir("images"), h.config.dir("snapshots"), h.config.dir("machines"))
	for _, path := range private {
		if err := errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, 0o777)); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.config.makeDirs(); err != nil {
		t.Fatal(err)
	}
	for _, path := range private {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s is %v, %v", path, info.Mode(), err)
		}
	}
}

func TestOwnDirRefusesLinks(t *testing.T) {
	dir := t.TempDir()
	other, path := filepath.Join(dir, "other"), filepath.Join(dir, "state")
	if err := errors.Join(os.Mkdir(other, 0o755), os.Symlink(other, path)); err != nil {
		t.Fatal(err)
	}
	if err := ownDir(path, 0o700); err == nil {
		t.Error("a link is taken for the directory")
	}
	if info, err := os.Stat(other); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("what it leads to is %v, %v", info.Mode(), err)
	}
}

func TestRemoveDir(t *testing.T) {
	dir := t.TempDir()
	other, path := filepath.Join(dir, "other"), filepath.Join(dir, "state")
	precious := filepath.Join(other, "precious")
	if err := errors.Join(os.Mkdir(other, 0o755), os.WriteFile(precious, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := removeDir(filepath.Join(dir, "none", "state")); err != nil {
		t.Errorf("what is not there: %v", err)
	}
	if err := os.Symlink(other, path); err != nil {
		t.Fatal(err)
	}
	if err := removeDir(path); err == nil {
		t.Error("a link is taken for the directory")
	}
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(other, filepath.Join(path, "link")); err != nil {
		t.Fatal(err)
	}
	if err := removeDir(path); err != nil {
		t.Error(err)
	}
	if exists(path) || !exists(precious) {
		t.Errorf("the directory is there: %v; what is outside of it is there: %v", exists(path), exists(precious))
	}
}
