package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

const (
	// lockPatience is how long another program may have apt's locks, and lockInterval the time between two attempts.
	lockPatience = 5 * time.Minute
	lockInterval = 2 * time.Second
)

// aptPrograms fail at once when another one has a lock that they need, or after DPkg::Lock::Timeout, which is good for
// dpkg's lock alone and not for those of the lists and of the archives.
var aptPrograms = []string{"apt-get", "apt", "apt-mark", "dpkg"}

// lockTaken matches the line in which apt or dpkg says that another program has a lock. That a lock may not be had, for
// want of rights, is another line.
var lockTaken = regexp.MustCompile(`(?m)^(?:[EW]: |dpkg: error: )?(` +
	`(?:Could not get lock .*` +
	`|Unable to acquire the dpkg frontend lock .*is another process using it\?` +
	`|Unable to lock the administration directory .*is another process using it\?` +
	`|.*lock was locked by another process.*` +
	`|.*is locked by another process.*))$`)

// patient runs programs of apt again while another program has a lock of apt's: on a machine that has just booted,
// apt's own daily work has. waits is told what is waited for, and empty text when that is over.
func patient(run task.Runner, waits func(string)) task.Runner {
	return func(ctx context.Context, p task.Program) (string, error) {
		if !slices.Contains(aptPrograms, filepath.Base(p.Argv[0])) {
			return run(ctx, p)
		}
		defer waits("")
		for began := time.Now(); ; {
			out, err := run(ctx, p)
			lock := takenLock(err)
			if lock == "" {
				return out, err
			}
			if time.Since(began) >= lockPatience {
				return out, fmt.Errorf("%s, for %s: %w", lock, lockPatience, err)
			}
			waits(lock)
			select {
			case <-ctx.Done():
				return out, fmt.Errorf("%s: %w", lock, ctx.Err())
			case <-time.After(lockInterval):
			}
		}
	}
}

// takenLock is the lock, in the words of apt or dpkg, that another program has; empty if the command failed for another
// cause.
func takenLock(err error) string {
	var failed *task.CommandError
	if !errors.As(err, &failed) {
		return ""
	}
	if found := lockTaken.FindStringSubmatch(failed.Stderr); found != nil {
		return found[1]
	}
	return ""
}
