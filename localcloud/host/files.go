package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// plainDir makes a directory if it is not there, and refuses a link in its place.
func plainDir(path string, mode os.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("use directory %s: it is a %s", path, kindOf(info))
	}
	return err
}

// kindOf names what a file is that should be a directory.
func kindOf(info os.FileInfo) string {
	if info.Mode()&os.ModeSymlink != 0 {
		return "symbolic link"
	}
	return "file"
}

// ownDir makes a directory, and those above it, and gives it this mode if it was made with another.
func ownDir(path string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := plainDir(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// removeDir removes a directory and all that is in it. Nothing outside of it goes: a link in its place is refused, and
// links in it are not followed.
func removeDir(path string) error {
	above, err := os.OpenRoot(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer above.Close()
	info, err := above.Lstat(filepath.Base(path))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("remove directory %s: it is a %s", path, kindOf(info))
	}
	return above.RemoveAll(filepath.Base(path))
}
