package inotify

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name  string
		free  int
		short bool
	}{{"none left", 0, true}, {"too few", perMachine - 1, true}, {"just enough", perMachine, false}} {
		t.Run(c.name, func(t *testing.T) {
			taken := map[int]bool{}
			err := check(func() (int, error) {
				if len(taken) == c.free {
					return -1, unix.EMFILE
				}
				fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
				taken[fd] = true
				return fd, err
			})
			if errors.Is(err, ErrUsedUp) != c.short || err != nil && !c.short {
				t.Errorf("got %v", err)
			}
			if c.short && !strings.Contains(err.Error(), "\nhint: sudo sysctl fs.inotify.max_user_instances=") {
				t.Errorf("it does not say what helps: %v", err)
			}
			for fd := range taken {
				if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
					t.Errorf("instance %d is kept: %v", fd, err)
				}
			}
		})
	}
	if err := check(func() (int, error) { return -1, unix.ENOMEM }); err == nil || errors.Is(err, ErrUsedUp) {
		t.Errorf("another failure is told as %v", err)
	}
}

// What a machine wrote before its end is read, and not passed on.
func TestExitError(t *testing.T) {
	exit := errors.New("exit status 255")
	const escape = "\x1b[!p\x1b]104\a\x1b[?7h"
	for _, console := range []string{
		escape + "Failed to allocate manager object: Too many open files\r\n" + escape,
		"systemd[1]: Failed to create inotify object: Too many open files\n",
	} {
		err := ExitError("i-1", exit, []byte(console))
		if !errors.Is(err, ErrUsedUp) {
			t.Errorf("%q: got %q", console, err)
		}
		if strings.ContainsAny(err.Error(), "\x1b\a\r") || strings.Contains(err.Error(), "manager object") {
			t.Errorf("%q: the console is in %q", console, err)
		}
	}
	for _, console := range []string{"", escape + "Kernel panic\n", "mysqld: Too many open files\n"} {
		err := ExitError("i-1", exit, []byte(console))
		if errors.Is(err, ErrUsedUp) || err.Error() != "machine i-1: systemd-nspawn: exit status 255" {
			t.Errorf("%q: got %q", console, err)
		}
	}
}
