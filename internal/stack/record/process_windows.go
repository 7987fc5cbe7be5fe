package record

import (
	"errors"
	"os"
	"syscall"
)

// noSuchProcess is ERROR_INVALID_PARAMETER, which OpenProcess answers where no process has the id.
const noSuchProcess = syscall.Errno(87)

// gone tells whether no process of this machine has the id. One of another user is there too: it may not be opened,
// which is another error. Windows soon gives the id of a process that ended to another one; its lock lasts until it
// expires.
func gone(pid int) bool {
	process, err := os.FindProcess(pid)
	if err != nil {
		return errors.Is(err, noSuchProcess)
	}
	_ = process.Release()
	return false
}
