package main

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// waitForHangup returns when the other end of a pipe or socket is closed. Of a regular file it never does.
func waitForHangup(f *os.File) error {
	poll := []unix.PollFd{{Fd: int32(f.Fd())}}
	for {
		_, err := unix.Poll(poll, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if poll[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0 {
			return nil
		}
	}
}
