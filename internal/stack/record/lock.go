// Package record has what deployments write about themselves in a stack's parameters: the lock, by which one process
// at a time changes a stack, and the history with a record of each deployment, which a journal keeps up to date.
//
// The lock's parameter stays when nobody has it: one that was deleted cannot be made again for half a minute. Who
// overwrites it learns by the number of the new version whether somebody else was first.
package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/parameters"
)

// Holder has the lock of a stack; there is one at a time, wherever they sit.
type Holder struct {
	ID      string    `json:"id"` // of the deployment; empty where nobody has it
	Who     string    `json:"who"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	Renewed time.Time `json:"renewed"`
	// Before is when the process that had the lock before gave its last sign; zero where there was none.
	Before time.Time `json:"before,omitzero"`
}

func lockParameter(s *stack.Stack) string { return s.ParameterPath() + "/lock" }

// lockExpires is how long after its last renewal a lock is free: its holder was killed, or its machine is gone.
const lockExpires = stack.Silence

// ErrLocked says that another process changes the stack.
var ErrLocked = errors.New("another deployment is under way")

// Caller returns the user and the host of this process, for people.
func Caller() (who, host string) {
	who, host = "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return who, host
}

// lock is the lock of a stack as one process sees it.
type lock struct {
	stack *stack.Stack
	own   Holder
	// version is that of the parameter which this process wrote last.
	version int64
}

// Lock makes this process the only one that changes the stack. The context that it returns ends if another takes the
// lock away all the same; unlock gives it back.
func Lock(ctx context.Context, s *stack.Stack, id string) (locked context.Context, unlock func() error, err error) {
	locked, end, err := take(ctx, s, id)
	if err != nil {
		return nil, nil, err
	}
	return locked, func() error { return end((*lock).free) }, nil
}

// take takes the lock and renews it until end is called, which does a last thing with it if it is still this process's.
func take(ctx context.Context, s *stack.Stack, id string) (
	locked context.Context, end func(func(*lock, context.Context) error) error, err error,
) {
	who, host := Caller()
	now := time.Now().UTC()
	l := &lock{stack: s, own: Holder{
		ID:      id,
		Who:     who,
		Host:    host,
		PID:     os.Getpid(),
		Since:   now,
		Renewed: now,
	}}
	if err := l.take(ctx); err != nil {
		return nil, nil, err
	}
	locked, lost := context.WithCancelCause(ctx)
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() {
		for await.Sleep(renewing, stack.Heartbeat) == nil {
			if err := l.renew(renewing); err != nil && renewing.Err() == nil {
				lost(err)
				return
			}
		}
	})
	return locked, func(last func(*lock, context.Context) error) error {
		stop()
		group.Wait()
		taken := errors.Is(context.Cause(locked), errTaken)
		lost(nil)
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if _, other := l.takenBy(limited); taken || other {
			return nil
		}
		return last(l, limited)
	}, nil
}

// WithLock does something as the only process that changes the stack.
func WithLock(ctx context.Context, s *stack.Stack, act func(ctx context.Context) error) error {
	locked, unlock, err := Lock(ctx, s, NewID())
	if err != nil {
		return err
	}
	return errors.Join(act(locked), unlock())
}

// WithLastLock is WithLock for work that removes all of the stack: if it succeeds the lock is removed too.
func WithLastLock(ctx context.Context, s *stack.Stack, act func(ctx context.Context) error) error {
	locked, end, err := take(ctx, s, NewID())
	if err != nil {
		return err
	}
	if err := act(locked); err != nil {
		return errors.Join(err, end((*lock).free))
	}
	return end((*lock).remove)
}

// NewID is the id of a deployment that begins now.
func NewID() string {
	return strings.Replace(time.Now().UTC().Format("20060102-150405.000"), ".", "-", 1)
}

// take takes the lock if it is free, or its holder dead. Of several who do so at once the first has it.
func (l *lock) take(ctx context.Context) error {
	s := l.stack
	text, err := json.Marshal(l.own)
	if err != nil {
		return err
	}
	var made bool
	var before Holder
	var at int64
	// A parameter that cannot be made and not be read is so new, or was deleted so shortly before, that it is to come.
	err = await.Until(ctx, stack.Silence, func(ctx context.Context) (_ bool, err error) {
		if made, err = parameters.Claim(ctx, s, lockParameter(s), string(text)); made || err != nil {
			return made, err
		}
		before, at, err = readHolder(ctx, s, "")
		return at > 0, err
	})
	if err != nil {
		return fmt.Errorf("lock stack %s: %w", s.Name, err)
	}
	if made {
		l.version = 1
		return nil
	}
	if before.ID != "" && !before.dead(l.own.Host) {
		return fmt.Errorf("change stack %s: %w: by %s on %s (process %d) since %s\n"+
			"hint: wait for it; if it is gone, its lock expires %s after its last sign, which was at "+
			"%s", s.Name, ErrLocked,
			before.Who, before.Host, before.PID, before.Since.Format(time.RFC3339), lockExpires,
			before.Renewed.Format(time.RFC3339))
	}
	if before.ID != "" {
		s.Logf("taking over from %s on %s, whose deployment %s ended without a word", before.Who, before.Host,
			before.ID)
	}
	l.own.Before = before.lastSign(l.own.Host)
	if err = l.write(ctx, l.own); err != nil {
		return fmt.Errorf("lock stack %s: %w", s.Name, err)
	}
	if l.version == at+1 {
		return nil
	}
	first, err := l.giveBack(ctx, at+1)
	lost := fmt.Errorf("change stack %s: %w: by %s on %s, from this moment", s.Name, ErrLocked, first.Who, first.Host)
	return errors.Join(lost, err)
}

// giveBack puts back what was first, and has been overwritten since.
func (l *lock) giveBack(ctx context.Context, version int64) (Holder, error) {
	first, found, err := readHolder(ctx, l.stack, fmt.Sprint(":", version))
	if err != nil || found == 0 {
		return first, err
	}
	return first, l.write(ctx, first)
}

// write writes a holder into the parameter.
func (l *lock) write(ctx context.Context, h Holder) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	version, err := parameters.Overwrite(ctx, l.stack, lockParameter(l.stack), string(text))
	if err == nil {
		l.version = version
	}
	return err
}

// errTaken says that somebody else took the lock of a process that is alive.
var errTaken = errors.New("the lock was taken away")

// takenBy returns the process that has taken the lock from this one, if any. A version of the parameter that is older
// than this process's own, or none, is a stale read.
func (l *lock) takenBy(ctx context.Context) (other Holder, taken bool) {
	now, version, err := readHolder(ctx, l.stack, "")
	return now, err == nil && version > l.version && now.ID != "" && now.ID != l.own.ID
}

// lookAgain is how long somebody may take who was not the first to put back what he has overwritten.
const lookAgain = 2 * time.Second

// renew says that the holder is still there, or that it is the holder no more. An API that cannot be reached for a
// while takes no lock away.
func (l *lock) renew(ctx context.Context) error {
	if _, taken := l.takenBy(ctx); taken && await.Sleep(ctx, lookAgain) == nil {
		if other, still := l.takenBy(ctx); still {
			return fmt.Errorf("change stack %s: %w, by %s on %s", l.stack.Name, errTaken, other.Who, other.Host)
		}
	}
	l.own.Renewed = time.Now().UTC()
	_ = l.write(ctx, l.own) // else it is renewed by the next heartbeat
	return nil
}

// free gives the lock back.
func (l *lock) free(ctx context.Context) error {
	if err := l.write(ctx, Holder{Renewed: time.Now().UTC()}); err != nil {
		return fmt.Errorf("unlock stack %s: %w", l.stack.Name, err)
	}
	return nil
}

// remove removes the lock of a stack of which nothing is left.
func (l *lock) remove(ctx context.Context) error {
	if err := parameters.Delete(ctx, l.stack, lockParameter(l.stack)); err != nil {
		return fmt.Errorf("remove the lock of stack %s: %w", l.stack.Name, err)
	}
	return nil
}

// readHolder returns the holder of the lock and the version of the lock's parameter; 0 where there is no parameter.
// selector chooses an earlier version.
func readHolder(ctx context.Context, s *stack.Stack, selector string) (h Holder, version int64, err error) {
	name := lockParameter(s)
	text, version, err := parameters.GetVersion(ctx, s, name+selector)
	if err != nil || version == 0 {
		return h, 0, err
	}
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return h, 0, fmt.Errorf("read %s: %w", name, err)
	}
	h.ID, h.Who, h.Host = plaintext.Line(h.ID), plaintext.Line(h.Who), plaintext.Line(h.Host)
	return h, version, nil
}

// CurrentHolder returns the holder of the lock, dead or alive; ok is false if it is free.
func CurrentHolder(ctx context.Context, s *stack.Stack) (h Holder, ok bool, err error) {
	h, _, err = readHolder(ctx, s, "")
	return h, h.ID != "", err
}

// ActiveHolder returns the holder of the lock; ok is false if it is free or its holder is dead.
func ActiveHolder(ctx context.Context, s *stack.Stack) (h Holder, ok bool, err error) {
	h, ok, err = CurrentHolder(ctx, s)
	_, host := Caller()
	return h, ok && !h.dead(host), err
}

// LastSign is when a process that had the lock before gave its last sign: of what it made since shortly before, EC2 may
// not show all yet. It is zero where nobody had the lock.
func LastSign(ctx context.Context, s *stack.Stack) (time.Time, error) {
	h, _, err := readHolder(ctx, s, "")
	if h.ID == "" {
		return h.Renewed, err
	}
	return h.Before, err
}

// lastSign is the last moment at which a holder may have done something. One that was killed on this machine may have
// been just now.
func (h Holder) lastSign(host string) time.Time {
	if h.ID != "" && h.Host == host && time.Since(h.Renewed) <= lockExpires {
		return time.Now().UTC()
	}
	return h.Renewed
}

// dead tells whether a holder cannot come back: it has been silent for too long, or its process on this very machine is
// gone.
func (h Holder) dead(host string) bool {
	return time.Since(h.Renewed) > lockExpires || h.Host == host && gone(h.PID)
}
