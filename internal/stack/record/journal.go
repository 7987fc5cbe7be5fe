package record

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/parameters"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

// Journal keeps a record up to date on the stack while the deployment goes on. Its methods may be called from several
// goroutines.
type Journal struct {
	stack *stack.Stack
	step  func(string) func(error)

	mu     sync.Mutex
	record Record
	wake   chan struct{}
	done   sync.WaitGroup
}

// Open writes a record and returns its journal. step, if it is given, is told of each step that begins; what it returns
// is told of its end.
func Open(ctx context.Context, s *stack.Stack, r Record, step func(string) func(error)) (*Journal, error) {
	j := &Journal{
		stack:  s,
		step:   step,
		record: r,
		wake:   make(chan struct{}, 1),
	}
	if err := Write(ctx, s, r); err != nil {
		return nil, err
	}
	// Written beside the steps: the database is waiting during some of them.
	j.done.Go(func() {
		for range j.wake {
			if err := Write(context.WithoutCancel(ctx), s, j.Record()); err != nil {
				s.Logf("write the history: %v", err)
			}
		}
	})
	return j, nil
}

// Timed runs a step and notes it.
func (j *Journal) Timed(step plan.Step, run func() error) error {
	started, done := time.Now(), func(error) {}
	if j.step != nil {
		done = j.step(step.Title)
	}
	err := run()
	done(err)
	j.mu.Lock()
	j.record.Steps = append(j.record.Steps, Step{
		ID:     step.ID,
		Name:   step.Title,
		Tier:   step.Tier,
		At:     started.Sub(j.record.Started).Milliseconds(),
		Took:   time.Since(started).Milliseconds(),
		Failed: err != nil,
	})
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return err
}

// Set changes the record; it is written with the next step.
func (j *Journal) Set(change func(*Record)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(&j.record)
}

// Record is the record as it is now.
func (j *Journal) Record() Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.record
	now.Steps = slices.Clone(now.Steps)
	return now
}

// Close writes the end of the deployment.
func (j *Journal) Close(ctx context.Context, result string, reason error) error {
	close(j.wake)
	j.done.Wait()
	j.Set(func(r *Record) {
		r.Ended, r.Result = time.Now().UTC(), result
		if reason != nil {
			r.Reason = parameters.Shortened(plaintext.Lines(reason.Error()))
		}
	})
	return Write(ctx, j.stack, j.Record())
}
