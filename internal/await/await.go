// Package await waits for what AWS does in its own time: patient with what is not known everywhere yet and with calls
// that were too many, and never without an end.
package await

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
)

const (
	// Settle is how long a thing that was made a moment ago may not be known everywhere.
	Settle = 2 * time.Minute

	firstPause = 300 * time.Millisecond
	lastPause  = 15 * time.Second
	// busyPause is the least after an answer that says that AWS has too much to do.
	busyPause = 3 * time.Second
)

// Until looks until there is nothing more to wait for, at first often and then less so. An error that comes with
// done, or that time does not mend, is the end. A thing that is not found is not there yet, until Settle is over: who
// waits for something to go says so with done.
func Until(ctx context.Context, limit time.Duration, look func(context.Context) (done bool, err error)) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	for pause := firstPause; ; pause = min(pause*5/4, lastPause) {
		done, err := look(limited)
		if done {
			return err
		}
		busy := awserr.Transient(err)
		lasting := err != nil && !busy && (!awserr.NotFound(err) || time.Since(began) > Settle)
		if lasting && limited.Err() == nil { // else it may be of the context's end
			return err
		}
		if busy {
			pause = max(pause, busyPause)
		}
		if Sleep(limited, jittered(pause)) != nil {
			return ended(ctx, limited, limit, err)
		}
	}
}

// ended is the error of a wait that had to end, with what was said last.
func ended(ctx, limited context.Context, limit time.Duration, last error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case last != nil && !errors.Is(last, limited.Err()):
		return fmt.Errorf("waited for %s: %w: %w", limit, limited.Err(), last)
	}
	return fmt.Errorf("waited for %s: %w", limit, limited.Err())
}

// Retry calls until again says that what the call got is not for that cause. After limit the last error is returned.
func Retry(ctx context.Context, limit time.Duration, again func(error) bool, call func(context.Context) error) error {
	began := time.Now()
	for pause := firstPause; ; pause = min(pause*3/2, 5*time.Second) {
		err := call(ctx)
		if err == nil || !again(err) || time.Since(began) >= limit {
			return err
		}
		if Sleep(ctx, jittered(pause)) != nil {
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// Patient has a waiter of the SDK wait on when AWS has too much to do; ask is its own Retryable. Its other answers
// stay.
func Patient[I, O any](
	ask func(context.Context, I, O, error) (bool, error),
) func(context.Context, I, O, error) (bool, error) {
	return func(ctx context.Context, in I, out O, err error) (bool, error) {
		if awserr.Transient(err) {
			return true, nil
		}
		return ask(ctx, in, out, err)
	}
}

// jittered is a time somewhat longer or shorter, so that those who wait for one thing do not all ask at once.
func jittered(d time.Duration) time.Duration {
	return d*9/10 + rand.N(d/5+1)
}

// Sleep waits, or returns the context's error.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
