package host

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel lets a user have so many inotify instances, and no more. Machines' processes that are root's count for the
// host's root, beside those of the host's own services. A systemd that gets none ends at once, and tells the console.

// inotifyOfMachine is how many instances a machine takes, from its start on.
const inotifyOfMachine = 5

// inotifyLimit is the file that says how many instances a user may have.
const inotifyLimit = "/proc/sys/fs/inotify/max_user_instances"

// ErrNoInotify says that a machine cannot run as root's inotify instances are used up.
var ErrNoInotify = errors.New("this host's inotify instances are used up")

// newInotify makes an inotify instance, as a machine's processes will.
func newInotify() (int, error) { return unix.InotifyInit1(unix.IN_CLOEXEC) }

// checkInotify finds out whether a machine would get what it needs, by taking it for a moment.
func checkInotify(create func() (int, error)) error {
	for free := range inotifyOfMachine {
		fd, err := create()
		if errors.Is(err, unix.EMFILE) && !filesUsedUp() {
			return noInotify(fmt.Sprintf("%d are free, and a machine takes %d", free, inotifyOfMachine))
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

// noInotify says what is wrong, and what command mends it.
func noInotify(detail string) error {
	text, _ := os.ReadFile(inotifyLimit)
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		limit = 128 // the kernel's own
	}
	return fmt.Errorf("%w: a user may have %d of them; %s\nhint: sudo sysctl fs.inotify.max_user_instances=%d",
		ErrNoInotify, limit, detail, max(1024, 2*limit))
}

// inotifyFailure is what systemd says on the console when it gets no inotify instance.
var inotifyFailure = regexp.MustCompile(`(?i)(allocate manager object|inotify)[^\n]*(too many open files|EMFILE)`)

// ended is why a machine ended whose systemd-nspawn ended with an error. What the machine wrote is not in it.
func ended(id string, err error, console []byte) error {
	if inotifyFailure.Match(console) {
		return fmt.Errorf("machine %s: %w", id, noInotify("its systemd got none"))
	}
	return fmt.Errorf("machine %s: systemd-nspawn: %w", id, err)
}
