package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/lockfile"
)

// daemonLock is held by a daemon for as long as it lives, in a file that says which process it is. It is not in the run
// directory, which is cleared.
func daemonLock(name string) string { return filepath.Join(runRoot, name+".lock") }

func lockDaemon(name string) (unlock func(), err error) {
	f, err := lockfile.TryLock(daemonLock(name))
	if errors.Is(err, lockfile.ErrHeld) {
		return nil, fmt.Errorf("cloud %s has a daemon already: %w", name, err)
	}
	if err != nil {
		return nil, err
	}
	start, err := startOf(os.Getpid())
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "%d %d", os.Getpid(), start)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}

// holder identifies the process that took a lock: its id alone may be another process's by now.
type holder struct {
	pid   int
	start uint64 // in the kernel's ticks since the machine's start; 0 if a version wrote it that did not say
}

func lockHolder(path string) (holder, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return holder{}, err
	}
	pid, start, timed := strings.Cut(strings.TrimSpace(string(content)), " ")
	var h holder
	h.pid, err = strconv.Atoi(pid)
	if err == nil && timed {
		h.start, err = strconv.ParseUint(start, 10, 64)
	}
	if err != nil || h.pid < 2 {
		return holder{}, fmt.Errorf("read %s: %.60q is no process", path, content)
	}
	return h, nil
}

// signalHolder sends a signal to the daemon that a lock names, and to no other process that has its id now.
func signalHolder(path, name string, signal syscall.Signal) error {
	h, err := lockHolder(path)
	if err != nil {
		return err
	}
	process, err := unix.PidfdOpen(h.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hold process %d: %w", h.pid, err)
	}
	defer unix.Close(process)
	// From here on the id cannot go to another process without the signal going nowhere.
	same, err := h.isDaemon(name)
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%s is locked, and process %d, which it names, is not the cloud's daemon\n"+
			"hint: see who locks it: sudo fuser -v %s", path, h.pid, path)
	}
	if err := unix.PidfdSendSignal(process, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end process %d: %w", h.pid, err)
	}
	return nil
}

// isDaemon tells whether the process of this id is the one that took the lock.
func (h holder) isDaemon(name string) (bool, error) {
	if h.start == 0 {
		p, err := procfs.NewProc(h.pid)
		if err != nil {
			return false, err
		}
		command, err := p.CmdLine()
		wanted := []string{"cloud", "serve", "--name", name}
		return len(command) > 4 && slices.Equal(command[1:5], wanted), err
	}
	start, err := startOf(h.pid)
	return start == h.start, err
}

// startOf returns when a process started, in the kernel's ticks since the machine's start.
func startOf(pid int) (uint64, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return 0, err
	}
	stat, err := p.Stat()
	return stat.Starttime, err
}
