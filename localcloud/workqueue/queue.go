// Package workqueue runs what goes on after an answer: work on one thing in the order in which it was asked for, and
// what goes on for as long as the cloud does. Nothing begins after Close.
//
// Limits: it keeps no record of work; what a crash cut off is put in order at the next start, by who owns the state.
package workqueue

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Deadline limits one piece of work.
const Deadline = 3 * time.Minute

// Queue runs work. Its zero value is not usable; see New.
type Queue struct {
	log      *slog.Logger
	stopping chan struct{} // closed by Stop
	stop     func()

	mu     sync.Mutex
	active int                      // pieces of work that have not ended
	idle   *sync.Cond               // active became 0
	closed bool                     // nothing begins any more
	last   map[string]chan struct{} // closed at the end of the last work on a thing
}

// New makes a queue that is open for work.
func New(log *slog.Logger) *Queue {
	q := &Queue{log: log, stopping: make(chan struct{}), last: map[string]chan struct{}{}}
	q.stop = sync.OnceFunc(func() { close(q.stopping) })
	q.idle = sync.NewCond(&q.mu)
	return q
}

// Enqueue has work done on a thing after all work on it that was enqueued before. Work that was enqueued before Close
// is brought to its end, also if the queue stops meanwhile.
//
//nolint:contextcheck // the work outlives the call that asks for it
func (q *Queue) Enqueue(thing string, work func(context.Context) error) {
	done := make(chan struct{})
	q.mu.Lock()
	before := q.last[thing]
	if !q.beginLocked() {
		q.mu.Unlock()
		q.log.Warn("work is not begun, as the cloud has gone down", "on", thing)
		return
	}
	q.last[thing] = done
	q.mu.Unlock()
	go func() {
		defer q.end()
		defer close(done)
		if before != nil {
			<-before
		}
		ctx, cancel := context.WithTimeout(context.Background(), Deadline)
		defer cancel()
		if err := work(ctx); err != nil {
			q.log.Error("work after an answer", "on", thing, "error", err)
		}
		q.mu.Lock()
		if q.last[thing] == done {
			delete(q.last, thing)
		}
		q.mu.Unlock()
	}()
}

// EnqueueAfter enqueues work after a delay, unless the queue stops before.
func (q *Queue) EnqueueAfter(delay time.Duration, thing string, work func(context.Context) error) {
	q.Go(func(ctx context.Context) {
		select {
		case <-time.After(delay):
			q.Enqueue(thing, work)
		case <-ctx.Done():
		}
	})
}

// Go runs work whose context ends when the queue stops.
//
//nolint:contextcheck // the work outlives the call that asks for it
func (q *Queue) Go(work func(context.Context)) {
	q.mu.Lock()
	begun := q.beginLocked()
	q.mu.Unlock()
	if !begun {
		return
	}
	go func() {
		defer q.end()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			select {
			case <-q.stopping:
				cancel()
			case <-ctx.Done():
			}
		}()
		work(ctx)
	}()
}

func (q *Queue) beginLocked() bool {
	if q.closed {
		return false
	}
	q.active++
	return true
}

func (q *Queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.active--; q.active == 0 {
		q.idle.Broadcast()
	}
}

// Stop ends the contexts of Go's work. Enqueued work goes on.
func (q *Queue) Stop() { q.stop() }

// Stopping tells whether Stop was called.
func (q *Queue) Stopping() bool {
	select {
	case <-q.stopping:
		return true
	default:
		return false
	}
}

// Wait waits until nothing is under way.
func (q *Queue) Wait() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waitLocked()
}

func (q *Queue) waitLocked() {
	for q.active > 0 {
		q.idle.Wait()
	}
}

// Close stops the queue and waits for what is under way, and for what that enqueues. Nothing begins after it.
func (q *Queue) Close() {
	q.Stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waitLocked()
	q.closed = true
}
