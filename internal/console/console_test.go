package console

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
)

// fake counts what it is asked, by instance, and when.
type fake struct {
	mu     sync.Mutex
	asked  map[string][]time.Time
	latest int
	answer func(latest bool) error
}

func (f *fake) GetConsoleOutput(
	_ context.Context,
	in *ec2.GetConsoleOutputInput,
	_ ...func(*ec2.Options),
) (*ec2.GetConsoleOutputOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked == nil {
		f.asked = map[string][]time.Time{}
	}
	f.asked[*in.InstanceId] = append(f.asked[*in.InstanceId], time.Now())
	if aws.ToBool(in.Latest) {
		f.latest++
	}
	if f.answer != nil {
		if err := f.answer(aws.ToBool(in.Latest)); err != nil {
			return nil, err
		}
	}
	return &ec2.GetConsoleOutputOutput{
		Output: aws.String(base64.StdEncoding.EncodeToString([]byte("boot\nready\n"))),
	}, nil
}

func api(code string) error { return &smithy.GenericAPIError{Code: code, Message: "said the test"} }

// TestBudget has several wait for one instance for a minute, as fast as they may, and one for another.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := &Reader{}, &fake{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var all sync.WaitGroup
		for _, id := range []string{"i-1", "i-1", "i-1", "i-1", "i-2"} {
			all.Go(func() {
				for ctx.Err() == nil {
					if _, err := r.Read(ctx, f, id); err != nil && !errors.Is(err, ctx.Err()) {
						t.Error(err)
					}
					_ = await.Sleep(ctx, Poll) // its error is the context's end
				}
			})
		}
		all.Wait()
		for _, id := range []string{"i-1", "i-2"} {
			if got, most := len(f.asked[id]), 12+60/3; got > most || got < most-6 {
				t.Errorf("%s was asked %d times in a minute, at most %d are due", id, got, most)
			}
		}
	})
}

func TestTheBurstIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := &Reader{}, &fake{}
		began := time.Now()
		for range 12 {
			if text, err := r.Read(t.Context(), f, "i-1"); err != nil || string(text) != "boot\nready\n" {
				t.Fatalf("got %q, %v", text, err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("12 reads took %s", took)
		}
		if _, err := r.Read(t.Context(), f, "i-1"); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("the one after that came after %s", took)
		}
	})
}

// TestRest has one who is throttled make all of them pause, and longer each time.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, throttled := &Reader{}, true
		f := &fake{answer: func(bool) error {
			if throttled {
				return api("RequestLimitExceeded")
			}
			return nil
		}}
		began := time.Now()
		for _, least := range []time.Duration{0, 10 * time.Second, 30 * time.Second} {
			if _, err := r.Read(
				t.Context(),
				f,
				"i-1",
			); !awserr.Throttled(err) ||
				!strings.Contains(err.Error(), "i-1") {
				t.Fatalf("got %v", err)
			}
			if at := time.Since(began); at < least || at > least+least/2 {
				t.Errorf("asked after %s, and not after some %s", at, least)
			}
		}
		throttled = false
		if _, err := r.Read(t.Context(), f, "i-2"); err != nil || time.Since(began) < 70*time.Second {
			t.Errorf("another instance was asked after %s: %v", time.Since(began), err)
		}
		after := time.Now()
		if _, err := r.Read(t.Context(), f, "i-2"); err != nil || time.Since(after) > 0 {
			t.Errorf("the rest is over, and it took %s: %v", time.Since(after), err)
		}
	})
}

func TestReadEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, f := &Reader{}, &fake{}
		for range 12 {
			if _, err := r.Read(t.Context(), f, "i-1"); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := r.Read(
			ctx,
			f,
			"i-1",
		); !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(began) != time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
	})
}

// TestOlderInstances have no latest output, which is asked for once.
func TestOlderInstances(t *testing.T) {
	f := &fake{answer: func(latest bool) error {
		if latest {
			return api("UnsupportedOperation")
		}
		return nil
	}}
	r := &Reader{}
	for range 3 {
		if text, err := r.Read(t.Context(), f, "i-1"); err != nil || string(text) != "boot\nready\n" {
			t.Errorf("got %q, %v", text, err)
		}
	}
	if f.latest != 1 || len(f.asked["i-1"]) != 4 {
		t.Errorf("asked %d times, %d of them for the latest output", len(f.asked["i-1"]), f.latest)
	}
}

func TestTail(t *testing.T) {
	if got := new(Reader).Tail(t.Context(), &fake{}, "i-tail"); got != "\nthe end of its console:\n  boot\n  ready" {
		t.Errorf("got %q", got)
	}
	gone := &fake{answer: func(bool) error { return api("InvalidInstanceID.NotFound") }}
	if got := new(Reader).Tail(t.Context(), gone, "i-tail"); got != "" {
		t.Errorf("got %q", got)
	}
}
