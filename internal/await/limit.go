package await

import (
	"context"
	"sync"
	"time"
)

// limit is a context that ends at a time which can be put off.
type limit struct {
	context.Context // the parent

	done  chan struct{}
	timer *time.Timer

	mu  sync.Mutex
	end time.Time
	err error
}

type limitKey struct{}

// WithLimit is context.WithTimeout, but that Extend can put the end off.
func WithLimit(parent context.Context, after time.Duration) (context.Context, context.CancelFunc) {
	l := &limit{Context: parent, done: make(chan struct{}), end: time.Now().Add(after)}
	l.timer = time.AfterFunc(after, l.expire)
	stop := context.AfterFunc(parent, func() { l.close(parent.Err()) })
	return l, func() {
		stop()
		l.timer.Stop()
		l.close(context.Canceled)
	}
}

// Extend gives a context of WithLimit, or one that comes from it, more time from now on, unless it has as much. It is
// for work that gets on: that is done sooner or later, and would begin anew if it were given up.
func Extend(ctx context.Context, more time.Duration) {
	l, ok := ctx.Value(limitKey{}).(*limit)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if end := time.Now().Add(more); l.err == nil && end.After(l.end) {
		l.end = end
		l.timer.Reset(more)
	}
}

func (l *limit) expire() {
	l.mu.Lock()
	left := time.Until(l.end)
	l.mu.Unlock()
	if left <= 0 { // else Extend came first
		l.close(context.DeadlineExceeded)
	}
}

func (l *limit) close(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		close(l.done)
	}
}

// Deadline implements context.Context.
func (l *limit) Deadline() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if parents, ok := l.Context.Deadline(); ok && parents.Before(l.end) {
		return parents, true
	}
	return l.end, true
}

// Done implements context.Context.
func (l *limit) Done() <-chan struct{} { return l.done }

// Err implements context.Context.
func (l *limit) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Value implements context.Context.
func (l *limit) Value(key any) any {
	if key == (limitKey{}) {
		return l
	}
	return l.Context.Value(key)
}
