package await

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimitEndsUnlessItIsExtended(t *testing.T) {
	for _, c := range []struct {
		name   string
		extend map[time.Duration]time.Duration // what is given when
		want   time.Duration
	}{
		{"as it is", nil, 10 * time.Minute},
		{"less than there is", map[time.Duration]time.Duration{time.Minute: 5 * time.Minute}, 10 * time.Minute},
		{"more", map[time.Duration]time.Duration{9 * time.Minute: 5 * time.Minute}, 14 * time.Minute},
		{
			"twice",
			map[time.Duration]time.Duration{9 * time.Minute: 5 * time.Minute, 13 * time.Minute: 5 * time.Minute},
			18 * time.Minute,
		},
		{"too late", map[time.Duration]time.Duration{11 * time.Minute: 5 * time.Minute}, 10 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ctx, cancel := WithLimit(t.Context(), 10*time.Minute)
				defer cancel()
				child, end := context.WithTimeout(ctx, time.Hour)
				defer end()
				for at, more := range c.extend {
					time.AfterFunc(at, func() { Extend(child, more) })
				}
				<-child.Done()
				if !errors.Is(child.Err(), context.DeadlineExceeded) || time.Since(began) != c.want {
					t.Errorf("it ended after %s with %v, and should after %s", time.Since(began), child.Err(), c.want)
				}
				if at, ok := ctx.Deadline(); !ok || at != began.Add(c.want) {
					t.Errorf("its deadline is %s", at.Sub(began))
				}
				time.Sleep(time.Hour) // for what is extended too late
			})
		})
	}
}

func TestLimitEndsWithItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("interrupted")
		parent, interrupt := context.WithCancelCause(t.Context())
		ctx, cancel := WithLimit(parent, time.Hour)
		defer cancel()
		interrupt(why)
		<-ctx.Done()
		if !errors.Is(ctx.Err(), context.Canceled) || !errors.Is(context.Cause(ctx), why) {
			t.Errorf("got %v because of %v", ctx.Err(), context.Cause(ctx))
		}
		Extend(ctx, time.Hour)
		if ctx.Err() == nil {
			t.Error("what has ended goes on")
		}
	})
}
