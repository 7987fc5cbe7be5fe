package workqueue

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func newQueue() *Queue { return New(slog.New(slog.DiscardHandler)) }

func TestOrderOfWorkOnOneThing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		var got []int
		release := make(chan struct{})
		q.Enqueue("a", func(context.Context) error { <-release; got = append(got, 1); return nil })
		q.Enqueue("a", func(context.Context) error { got = append(got, 2); return errors.New("told in the log") })
		q.Enqueue("a", func(context.Context) error { got = append(got, 3); return nil })
		other := false
		q.Enqueue("b", func(context.Context) error { other = true; return nil })
		synctest.Wait()
		if !other || len(got) > 0 {
			t.Errorf("work on another thing done: %v; on the first: %v", other, got)
		}
		close(release)
		q.Close()
		if !slices.Equal(got, []int{1, 2, 3}) {
			t.Errorf("got %v", got)
		}
		if len(q.last) > 0 {
			t.Errorf("the queue still holds %v", q.last)
		}
	})
}

// TestNothingBeginsAfterClose: the journal is closed then, and a machine that is made would be nobody's.
func TestNothingBeginsAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		work := func(context.Context) error { t.Error("work after Close"); return nil }
		q.EnqueueAfter(5*time.Second, "group", work)
		q.Close()
		q.Enqueue("group", work)
		q.EnqueueAfter(time.Second, "group", work)
		q.Go(func(context.Context) { t.Error("work after Close") })
		time.Sleep(time.Minute)
	})
}

func TestEnqueueAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		begun := time.Now()
		var after time.Duration
		q.EnqueueAfter(5*time.Second, "group", func(context.Context) error { after = time.Since(begun); return nil })
		q.Wait()
		if after != 5*time.Second {
			t.Errorf("done after %s", after)
		}
		q.Close()
	})
}

// TestCloseWaitsForWhatWorkEnqueues: an instance whose machine ends frees its addresses in work of its own.
func TestCloseWaitsForWhatWorkEnqueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		done := false
		q.Enqueue("a", func(context.Context) error {
			time.Sleep(time.Second)
			q.Enqueue("b", func(ctx context.Context) error {
				time.Sleep(time.Second)
				done = ctx.Err() == nil
				return nil
			})
			return nil
		})
		q.Go(func(ctx context.Context) { <-ctx.Done() })
		q.Close()
		if !done || !q.Stopping() {
			t.Errorf("done: %v, stopping: %v", done, q.Stopping())
		}
	})
}
