package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// holder is who changes the stack; there is one at a time, wherever they sit.
type holder struct {
	ID      string    `json:"id"` // of the deployment
	Who     string    `json:"who"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Since   time.Time `json:"since"`
	Renewed time.Time `json:"renewed"`
}

func (s *Stack) lockParameter() string { return s.parameters() + "/lock" }

// lockExpires is how long after its last renewal a lock is nobody's: its holder was killed, or its machine is gone.
const lockExpires = silence

// ErrLocked says that somebody else changes the stack.
var ErrLocked = errors.New("another deployment is under way")

// whoami is the caller for people: user and host.
func whoami() (who, host string) {
	who, host = "unknown", "unknown"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return who, host
}

// lock makes this process the only one that changes the stack. The context that it returns ends if somebody takes the
// lock away all the same; unlock gives it back.
func (s *Stack) lock(ctx context.Context, id string) (locked context.Context, unlock func() error, err error) {
	who, host := whoami()
	mine := holder{ID: id, Who: who, Host: host, PID: os.Getpid(), Since: time.Now().UTC(), Renewed: time.Now().UTC()}
	taken, err := s.claimLock(ctx, mine)
	if err == nil && !taken {
		err = s.takeOver(ctx, mine)
	}
	if err != nil {
		return nil, nil, err
	}
	locked, lost := context.WithCancelCause(ctx)
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	var group sync.WaitGroup
	group.Go(func() {
		for sleep(renewing, heartbeat) == nil {
			if err := s.renew(renewing, &mine); err != nil && renewing.Err() == nil {
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
		if now, ok, err := s.holder(last); err != nil || !ok || now.ID != mine.ID {
			return err
		}
		return s.removeLock(last)
	}, nil
}

// alone does something as the only one who changes the stack.
func (s *Stack) alone(ctx context.Context, act func(ctx context.Context) error) (err error) {
	ctx, unlock, err := s.lock(ctx, deploymentID())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return act(ctx)
}

// deploymentID is the id of what begins now.
func deploymentID() string {
	return strings.Replace(time.Now().UTC().Format("20060102-150405.000"), ".", "-", 1)
}

// claimLock takes the lock if nobody has it.
func (s *Stack) claimLock(ctx context.Context, mine holder) (bool, error) {
	text, err := json.Marshal(mine)
	if err != nil {
		return false, err
	}
	_, err = s.ssm.PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String(s.lockParameter()), Value: aws.String(string(text)), Type: types.ParameterTypeString,
		Tags: []types.Tag{{Key: aws.String(stackTag), Value: aws.String(s.name)}}})
	var taken *types.ParameterAlreadyExists
	if errors.As(err, &taken) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock stack %s: %w", s.name, err)
	}
	return true, nil
}

// takeOver takes the lock of somebody who is dead. Of two who do so at once the later one has it, as the other sees
// when it looks again.
func (s *Stack) takeOver(ctx context.Context, mine holder) error {
	other, ok, err := s.holder(ctx)
	if err != nil {
		return err
	}
	if ok && !other.dead(mine.Host) {
		return fmt.Errorf("change stack %s: %w: by %s on %s (process %d) since %s\nhint: wait for it; if it is gone, its lock expires %s after its last sign, which was at %s", s.name, ErrLocked,
			other.Who, other.Host, other.PID, other.Since.Format(time.RFC3339), lockExpires, other.Renewed.Format(time.RFC3339))
	}
	if ok {
		s.say("taking over from %s on %s, whose deployment %s ended without a word", other.Who, other.Host, other.ID)
		if err := s.removeLock(ctx); err != nil {
			return err
		}
	}
	taken, err := s.claimLock(ctx, mine)
	if err != nil {
		return err
	}
	if err := sleep(ctx, 300*time.Millisecond); err != nil {
		return err
	}
	if now, _, err := s.holder(ctx); err != nil || !taken || now.ID != mine.ID {
		return errors.Join(fmt.Errorf("change stack %s: %w: by %s on %s, from this moment", s.name, ErrLocked, now.Who, now.Host), err)
	}
	return nil
}

// renew says that the holder is still there, or that it is the holder no more. An API that cannot be reached for a while
// takes no lock away.
func (s *Stack) renew(ctx context.Context, mine *holder) error {
	now, ok, err := s.holder(ctx)
	if err != nil {
		return nil
	}
	if !ok || now.ID != mine.ID {
		return fmt.Errorf("the lock of stack %s was taken away, by %s on %s", s.name, now.Who, now.Host)
	}
	mine.Renewed = time.Now().UTC()
	text, err := json.Marshal(mine)
	if err != nil {
		return err
	}
	s.ssm.PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String(s.lockParameter()), Value: aws.String(string(text)), Type: types.ParameterTypeString, Overwrite: aws.Bool(true)})
	return nil
}

func (s *Stack) removeLock(ctx context.Context) error {
	if _, err := s.ssm.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: aws.String(s.lockParameter())}); err != nil && code(err) != "ParameterNotFound" {
		return fmt.Errorf("unlock stack %s: %w", s.name, err)
	}
	return nil
}

// holder is who has the lock, if anybody has.
func (s *Stack) holder(ctx context.Context) (h holder, ok bool, err error) {
	text, err := s.parameter(ctx, s.lockParameter())
	if err != nil || text == "" {
		return h, false, err
	}
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return h, false, fmt.Errorf("read %s: %w", s.lockParameter(), err)
	}
	h.ID, h.Who, h.Host = plaintext.Line(h.ID), plaintext.Line(h.Who), plaintext.Line(h.Host)
	return h, true, nil
}

// dead tells whether a holder cannot come back: it has been silent for too long, or its process on this very machine is
// gone.
func (h holder) dead(host string) bool {
	return time.Since(h.Renewed) > lockExpires || h.Host == host && errors.Is(syscall.Kill(h.PID, 0), syscall.ESRCH)
}
