package firstboot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
)

// UserIDs are a user's numbers.
func UserIDs(name string) (uid, gid int, err error) {
	found, err := user.Lookup(name)
	if err != nil {
		return 0, 0, err
	}
	uid, err1 := strconv.Atoi(found.Uid)
	gid, err2 := strconv.Atoi(found.Gid)
	return uid, gid, errors.Join(err1, err2)
}

// groupOrRoot is the number of a group that may read a server's key: the server is not root. Where there is no such
// group only root may.
func groupOrRoot(name string) int {
	found, err := user.LookupGroup(name)
	if err != nil {
		return 0
	}
	gid, err := strconv.Atoi(found.Gid)
	if err != nil {
		return 0
	}
	return gid
}

// WriteFile writes a file as a whole or not at all, with this mode and owner from the start.
func WriteFile(path string, content []byte, mode fs.FileMode, uid, gid int) error {
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o600))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	var owned error
	if os.Geteuid() == 0 {
		owned = f.Chown(uid, gid)
	}
	_, err = f.Write(content)
	if err = errors.Join(owned, f.Chmod(mode), err); err == nil {
		err = f.CloseAtomicallyReplace()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, f.Cleanup()))
	}
	return nil
}

// run runs a program; what it says is part of the error.
func run(ctx context.Context, name string, arguments ...string) error {
	out, err := exec.CommandContext(ctx, name, arguments...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(arguments, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
