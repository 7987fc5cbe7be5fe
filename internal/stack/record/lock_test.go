package record

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/parameters"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// hold has somebody have the lock.
func hold(t *testing.T, s *stack.Stack, h Holder) {
	t.Helper()
	text, err := json.Marshal(h)
	if err == nil {
		_, err = parameters.Overwrite(t.Context(), s, lockParameter(s), string(text))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// onFake is a stack in an account of the test's own, in a synctest bubble.
func onFake(t *testing.T, test func(*testing.T, *stack.Stack, *ec2fake.Account)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := ec2fake.New(t)
		test(t, defaultstack.New(a.Config(), stackfile.Default(), t.Logf), a)
	})
}

// mustLock takes the lock, and fails the test where it cannot be had.
func mustLock(t *testing.T, s *stack.Stack, id string) (context.Context, func() error) {
	t.Helper()
	ctx, unlock, err := Lock(t.Context(), s, id)
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	return ctx, unlock
}

// A parameter that is made again within 30 seconds of its deletion cannot be read.
func TestLockStaysWhenItIsFree(t *testing.T) {
	onFake(t, func(t *testing.T, s *stack.Stack, a *ec2fake.Account) {
		for _, id := range []string{"one", "two", "three"} {
			ctx, unlock := mustLock(t, s, id)
			if _, _, err := Lock(t.Context(), s, "another"); !errors.Is(err, ErrLocked) {
				t.Errorf("%s has it, and another gets %v", id, err)
			}
			time.Sleep(5 * stack.Heartbeat)
			if err := errors.Join(ctx.Err(), unlock()); err != nil {
				t.Error(err)
			}
			if h, ok, err := CurrentHolder(t.Context(), s); ok || err != nil {
				t.Errorf("after %s: %+v, %v", id, h, err)
			}
		}
		if deleted := a.Calls("DeleteParameter", "DeleteParameters"); len(deleted) > 0 {
			t.Errorf("deleted: %+v", deleted)
		}
		if err := WithLastLock(t.Context(), s, func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
		if left := a.Things(); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		ctx, unlock := mustLock(t, s, "soon after")
		time.Sleep(5 * stack.Heartbeat)
		if err := errors.Join(ctx.Err(), unlock()); err != nil {
			t.Error(err)
		}
	})
}

// TestTwoTakeTheLockAtOnce has a second one take the lock when the first has seen it free.
func TestTwoTakeTheLockAtOnce(t *testing.T) {
	for name, before := range map[string]Holder{
		"free":      {},
		"of a dead": {ID: "dead", Host: "elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			onFake(t, func(t *testing.T, s *stack.Stack, a *ec2fake.Account) {
				hold(t, s, before)
				var quick context.Context
				var unlock func() error
				a.Watch("GetParameter", func(any, any) {
					if quick == nil {
						quick = t.Context() // so that it happens once
						quick, unlock = mustLock(t, s, "quick")
					}
				})
				if _, _, err := Lock(t.Context(), s, "slow"); !errors.Is(err, ErrLocked) {
					t.Errorf("the slow one gets %v", err)
				}
				if h, _, err := CurrentHolder(t.Context(), s); h.ID != "quick" || err != nil {
					t.Errorf("then %+v has it, %v", h, err)
				}
				time.Sleep(5 * stack.Heartbeat)
				if err := errors.Join(quick.Err(), unlock()); err != nil {
					t.Errorf("the quick one: %v", err)
				}
			})
		})
	}
}

// TestRenewal of a lock is not misled by answers of before, and ends when another has the lock.
func TestRenewal(t *testing.T) {
	onFake(t, func(t *testing.T, s *stack.Stack, a *ec2fake.Account) {
		hold(t, s, Holder{ID: "before", Host: "elsewhere"})
		var stale atomic.Bool
		stale.Store(true)
		a.Watch("GetParameter", func(_, out any) {
			if got, ok := out.(*ssm.GetParameterOutput); ok && stale.Load() && got.Parameter.Version > 1 {
				got.Parameter.Value, got.Parameter.Version = aws.String(`{"id":"before"}`), 1
			}
		})
		ctx, unlock := mustLock(t, s, "mine")
		// Not at the moment of a renewal, which would overwrite what another has written between its look and its word.
		time.Sleep(5*stack.Heartbeat + stack.Heartbeat/2)
		if ctx.Err() != nil {
			t.Fatalf("an old answer took it away: %v", context.Cause(ctx))
		}
		stale.Store(false)
		other := Holder{ID: "other", Host: "elsewhere", Since: time.Now(), Renewed: time.Now()}
		hold(t, s, other)
		<-ctx.Done()
		if err := context.Cause(ctx); !errors.Is(err, errTaken) {
			t.Errorf("got %v", err)
		}
		if err := unlock(); err != nil {
			t.Error(err)
		}
		if h, _, err := CurrentHolder(t.Context(), s); h.ID != "other" || err != nil {
			t.Errorf("then %+v has it, %v", h, err)
		}
	})
}

func TestLockOfTheDead(t *testing.T) {
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		h    Holder
		want bool
	}{
		{"at work here", Holder{Host: "here", PID: os.Getpid(), Renewed: time.Now()}, false},
		{"ended here", Holder{Host: "here", PID: ended.Process.Pid, Renewed: time.Now()}, true},
		{"at work elsewhere, under a number that nobody has here", Holder{
			Host:    "there",
			PID:     ended.Process.Pid,
			Renewed: time.Now(),
		}, false},
		{"silent for a while elsewhere", Holder{
			Host:    "there",
			PID:     1,
			Renewed: time.Now().Add(-lockExpires / 2),
		}, false},
		{"silent for too long", Holder{Host: "there", PID: 1, Renewed: time.Now().Add(-2 * lockExpires)}, true},
		{"silent for too long here, and its number somebody else's", Holder{
			Host:    "here",
			PID:     os.Getpid(),
			Renewed: time.Now().Add(-2 * lockExpires),
		}, true},
	} {
		if got := c.h.dead("here"); got != c.want {
			t.Errorf("%s: dead is %v", c.name, got)
		}
	}
}
