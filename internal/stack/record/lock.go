// Package record has what deployments write about themselves in a stack's parameters: the lock, by which one process
// at a time changes a stack, and the history with a record of each deployment, which a journal keeps up to date.
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

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/parameters"
)

// Holder has the lock of a stack; there is one at a time, wherever they sit.
type Holder struct {
	ID      string    `json:"id"` // of the deployment
	Who     string    `json:"who"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	Renewed time.Time `json:"renewed"`
}

func lockParameter(s *stack.Stack) string { return s.ParameterPath() + "/lock" }

// lockExpires is how long after its last renewal a lock is free: its holder was killed, or its machine is gone.
const lockExpires = stack.Silence

// ErrLocked says that another process changes the stack.
var ErrLocked = errors.New("another deployment is under way")

// Caller is who runs this process, for people: user and host.
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

// Lock makes this process the only one that changes the stack. The context that it returns ends if another takes the
// lock away all the same; unlock gives it back.
func Lock(ctx context.Context, s *stack.Stack, id string) (locked context.Context, unlock func() error, err error) {
	who, host := Caller()
	now := time.Now().UTC()
	own := Holder{
		ID:      id,
		Who:     who,
		Host:    host,
		PID:     os.Getpid(),
		Since:   now,
		Renewed: now,
	}
	taken, err := claimLock(ctx, s, own)
	if err == nil && !taken {
		err = breakLock(ctx, s, own)
	}
	if err != nil {
		return nil, nil, err
	}
	locked, lost := context.WithCancelCause(ctx)
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() {
		for await.Sleep(renewing, stack.Heartbeat) == nil {
			if err := renewLock(renewing, s, &own); err != nil && renewing.Err() == nil {
				lost(err)
			}
		}
	})
	return locked, func() error {
		stop()
		group.Wait()
		lost(nil)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if now, ok, err := CurrentHolder(last, s); err != nil || !ok || now.ID != own.ID {
			return err
		}
		return removeLock(last, s)
	}, nil
}

// WithLock does something as the only process that changes the stack.
func WithLock(ctx context.Context, s *stack.Stack, act func(ctx context.Context) error) (err error) {
	ctx, unlock, err := Lock(ctx, s, NewID())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return act(ctx)
}

// NewID is the id of a deployment that begins now.
func NewID() string {
	return strings.Replace(time.Now().UTC().Format("20060102-150405.000"), ".", "-", 1)
}

// claimLock takes the lock if it is free.
func claimLock(ctx context.Context, s *stack.Stack, own Holder) (bool, error) {
	text, err := json.Marshal(own)
	if err != nil {
		return false, err
	}
	taken, err := parameters.Claim(ctx, s, lockParameter(s), string(text))
	if err != nil {
		return false, fmt.Errorf("lock stack %s: %w", s.Name, err)
	}
	return taken, nil
}

// breakLock takes the lock of a process that is dead. Of two that do so at once the later one has it, as the other sees
// when it looks again.
func breakLock(ctx context.Context, s *stack.Stack, own Holder) error {
	other, ok, err := CurrentHolder(ctx, s)
	if err != nil {
		return err
	}
	if ok && !other.dead(own.Host) {
		return fmt.Errorf("change stack %s: %w: by %s on %s (process %d) since %s\n"+
			"hint: wait for it; if it is gone, its lock expires %s after its last sign, which was at "+
			"%s", s.Name, ErrLocked,
			other.Who, other.Host, other.PID, other.Since.Format(time.RFC3339), lockExpires,
			other.Renewed.Format(time.RFC3339))
	}
	if ok {
		s.Logf("taking over from %s on %s, whose deployment %s ended without a word", other.Who, other.Host, other.ID)
		if err = removeLock(ctx, s); err != nil {
			return err
		}
	}
	taken, err := claimLock(ctx, s, own)
	if err != nil {
		return err
	}
	if err := await.Sleep(ctx, 300*time.Millisecond); err != nil {
		return err
	}
	if now, _, err := CurrentHolder(ctx, s); err != nil || !taken || now.ID != own.ID {
		lost := fmt.Errorf("change stack %s: %w: by %s on %s, from this moment", s.Name, ErrLocked, now.Who, now.Host)
		return errors.Join(lost, err)
	}
	return nil
}

// renewLock says that the holder is still there, or that it is the holder no more. An API that cannot be reached for a
// while takes no lock away.
func renewLock(ctx context.Context, s *stack.Stack, own *Holder) error {
	now, ok, err := CurrentHolder(ctx, s)
	if err != nil {
		return nil
	}
	if !ok || now.ID != own.ID {
		return fmt.Errorf("the lock of stack %s was taken away, by %s on %s", s.Name, now.Who, now.Host)
	}
	own.Renewed = time.Now().UTC()
	text, err := json.Marshal(own)
	if err != nil {
		return err
	}
	_, _ = s.SSM.PutParameter(ctx, &ssm.PutParameterInput{ // else it is renewed by the next heartbeat
		Name:      aws.String(lockParameter(s)),
		Value:     aws.String(string(text)),
		Type:      types.ParameterTypeString,
		Overwrite: aws.Bool(true),
	})
	return nil
}

func removeLock(ctx context.Context, s *stack.Stack) error {
	if err := parameters.Delete(ctx, s, lockParameter(s)); err != nil {
		return fmt.Errorf("unlock stack %s: %w", s.Name, err)
	}
	return nil
}

// CurrentHolder is who has the lock, if it is taken.
func CurrentHolder(ctx context.Context, s *stack.Stack) (h Holder, ok bool, err error) {
	text, err := parameters.Get(ctx, s, lockParameter(s))
	if err != nil || text == "" {
		return h, false, err
	}
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return h, false, fmt.Errorf("read %s: %w", lockParameter(s), err)
	}
	h.ID, h.Who, h.Host = plaintext.Line(h.ID), plaintext.Line(h.Who), plaintext.Line(h.Host)
	return h, true, nil
}

// ActiveHolder is who has the lock and is alive.
func ActiveHolder(ctx context.Context, s *stack.Stack) (h Holder, ok bool, err error) {
	h, ok, err = CurrentHolder(ctx, s)
	_, host := Caller()
	return h, ok && !h.dead(host), err
}

// dead tells whether a holder cannot come back: it has been silent for too long, or its process on this very machine is
// gone.
func (h Holder) dead(host string) bool {
	return time.Since(h.Renewed) > lockExpires || h.Host == host && gone(h.PID)
}
