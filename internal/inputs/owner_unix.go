//go:build unix

package inputs

import (
	"io/fs"
	"os"
	"syscall"
)

// ownOnly says whether a directory is this user's, and nobody else may look into it.
func ownOnly(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid() && info.Mode().Perm() == 0o700
}
