// Package inotify tells whether the kernel has what a machine's processes need to watch files.
//
// The kernel lets a user have so many inotify instances, and no more. Machines' processes that are root's count for the
// host's root, beside those of the host's own services. A systemd that gets none ends at once, and tells the console.
package inotify

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// perMachine is the number of inotify instances that a machine uses, from its start on.
const perMachine = 5

// limitPath is the file that says how many instances a user may have.
const limitPath = "/proc/sys/fs/inotify/max_user_instances"

// ErrUsedUp says that a machine cannot run, as root's inotify instances are used up.
var ErrUsedUp = errors.New("this host's inotify instances are used up")

// Check finds out whether a machine would get what it needs, by taking it for a moment.
func Check() error {
	return check(func() (int, error) { return unix.InotifyInit1(unix.IN_CLOEXEC) })
}

func check(create func() (int, error)) error {
	for free := range perMachine {
		fd, err := create()
		if errors.Is(err, unix.EMFILE) && !filesUsedUp() {
			return usedUp(fmt.Sprintf("%d are free, and a machine takes %d", free, perMachine))
		}
		if err != nil {
			return fmt.Errorf("make an inotify instance: %w", err)
		}
		defer unix.Close(fd)
	}
	return nil
}

// filesUsedUp tells whether it is the process that may have no more open files, which has the same error.
func filesUsedUp() bool {
	f, err := os.Open(os.DevNull)
	if err != nil {
		return true
	}
	f.Close()
	return false
}

// usedUp says what is wrong, and what command mends it.
func usedUp(detail string) error {
	text, _ := os.ReadFile(limitPath)
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		limit = 128 // the kernel's own
	}
	return fmt.Errorf("%w: a user may have %d of them; %s\nhint: sudo sysctl fs.inotify.max_user_instances=%d",
		ErrUsedUp, limit, detail, max(1024, 2*limit))
}

// failure matches what systemd says on the console when it gets no inotify instance.
var failure = regexp.MustCompile(`(?i)(allocate manager object|inotify)[^\n]*(too many open files|EMFILE)`)

// ExitError says why a machine ended whose systemd-nspawn ended with an error. What the machine wrote is not in it.
func ExitError(id string, err error, console []byte) error {
	if failure.Match(console) {
		return fmt.Errorf("machine %s: %w", id, usedUp("its systemd got none"))
	}
	return fmt.Errorf("machine %s: systemd-nspawn: %w", id, err)
}
