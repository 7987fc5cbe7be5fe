//go:build !windows

package record

import (
	"errors"
	"syscall"
)

// gone tells whether no process of this machine has the id. One of another user is there too.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }
