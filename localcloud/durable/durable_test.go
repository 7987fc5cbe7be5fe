package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestWriteFile(t *testing.T) {
	umask := syscall.Umask(0o077)
	defer syscall.Umask(umask)
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "file")
	for _, c := range []struct {
		content string
		mode    fs.FileMode
	}{{"first", 0o600}, {"second", 0o644}, {"third", 0o600}} {
		if err := WriteFile(path, []byte(c.content), c.mode); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		info, missing := os.Stat(path)
		if errors.Join(err, missing) != nil || string(content) != c.content || info.Mode() != c.mode {
			t.Errorf("%s, %s: got %q, %v, %v, %v", c.content, c.mode, content, info.Mode(), err, missing)
		}
	}
	// A failure leaves the old content and no temporary file.
	if err := WriteFile(filepath.Join(path, "below"), nil, 0o600); err == nil {
		t.Error("a file is taken for a directory")
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("there are %v, %v", entries, err)
	}
}
