package disk

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tool"
)

// What cp says of the host's files is for the log; nothing is left of a copy that failed.
func TestCopySparseFails(t *testing.T) {
	dir := t.TempDir()
	err := CopySparse(t.Context(), filepath.Join(dir, "none"), filepath.Join(dir, "to"))
	var failure *tool.Error
	if !errors.As(err, &failure) || failure.Output == "" {
		t.Errorf("got %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := MakeSparse(path, 2); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ to, want int64 }{{1 << 30, 2 << 30}, {3 << 30, 3 << 30}} {
		if err := Grow(path, c.to); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != c.want {
			t.Errorf("to %d: %v, %v", c.to, info.Size(), err)
		}
	}
	if err := MakeSparse(path, 1); !errors.Is(err, os.ErrExist) {
		t.Errorf("a disk is made in place of another: %v", err)
	}
}
