// Package engine runs the tasks of a play on the machine on which it is: in order, with handlers, progress and a recap.
// What a kind of task reads and changes is its own, in package task. Most kinds need root.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// engine is one run of a play.
type engine struct {
	play    task.Play
	dry     bool
	emit    func(task.Event)
	machine task.Machine
	recap   task.Recap
	// pending are handlers that were notified.
	pending map[string]bool
	// packages are the differences that an apt transaction for a row of package tasks has made good, by the task's
	// index.
	packages map[int]string
	// waits is the thing that the running task waits for, as a string; it is read while the task runs.
	waits atomic.Value
}

// progressAfter is when, and how often, a task that is still at work says so.
const progressAfter = time.Second

// Run makes a play so, or with dry only tells what it would change. The first task that fails ends it; handlers that
// were notified until then do not run. emit is called from one goroutine at a time.
func Run(ctx context.Context, p task.Play, dry bool, emit func(task.Event)) (task.Recap, error) {
	return newEngine(p, dry, emit, task.Machine{Run: execute}).all(ctx)
}

func newEngine(p task.Play, dry bool, emit func(task.Event), m task.Machine) *engine {
	e := &engine{
		play:     p,
		dry:      dry,
		emit:     emit,
		recap:    task.Recap{Play: p.Name},
		pending:  map[string]bool{},
		packages: map[int]string{},
	}
	m.Run = patient(m.Run, func(waits string) { e.waits.Store(waits) })
	e.machine = m
	return e
}

func (e *engine) all(ctx context.Context) (task.Recap, error) {
	started := time.Now()
	e.emit(task.Event{Event: task.EventStart, Task: e.play.Name})
	err := e.tasks(ctx)
	e.recap.Seconds = time.Since(started).Seconds()
	recap := e.recap
	e.emit(task.Event{Event: task.EventRecap, Recap: &recap})
	return recap, err
}

func (e *engine) tasks(ctx context.Context) error {
	for i, t := range e.play.Tasks {
		if err := e.one(ctx, i, t, false); err != nil {
			return err
		}
	}
	for i, h := range e.play.Handlers {
		if !e.pending[h.Name] {
			continue
		}
		if err := e.one(ctx, len(e.play.Tasks)+i, h, true); err != nil {
			return err
		}
	}
	return nil
}

// one runs a task and tells how it ended.
func (e *engine) one(ctx context.Context, index int, t task.Task, handler bool) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("task %q: %w", t.Name, err)
	}
	started := time.Now()
	done := e.progress(t, handler)
	diff, outcome, err := e.perform(ctx, index, t)
	done()
	event := task.Event{
		Event:   task.EventTask,
		Task:    t.Name,
		Kind:    t.Spec.Kind(),
		Handler: handler,
		Outcome: outcome,
		Seconds: time.Since(started).Seconds(),
	}
	if !t.Sensitive {
		event.Diff = diff
	}
	if err != nil {
		err = explain(&event, t, err)
	}
	e.recap.Count(outcome)
	e.emit(event)
	if err != nil {
		return fmt.Errorf("task %q: %w", t.Name, err)
	}
	if outcome == task.Changed {
		for _, name := range t.Notify {
			e.pending[name] = true
		}
	}
	return nil
}

// errSensitive stands for the error of a sensitive task, whose own may hold what must not be told.
var errSensitive = errors.New("it failed; why is not shown, as the task is sensitive")

// explain writes into an event why its task failed, and returns the error that may be told; of a sensitive task both
// say only that it did.
func explain(event *task.Event, t task.Task, err error) error {
	if t.Sensitive {
		event.Error = errSensitive.Error()
		return errSensitive
	}
	event.Error = err.Error()
	var failed *task.CommandError
	if errors.As(err, &failed) {
		event.Stdout, event.Stderr = failed.Stdout, failed.Stderr
	}
	return err
}

// progress tells that a task is still at work until the returned function is called, and has returned.
func (e *engine) progress(t task.Task, handler bool) (done func()) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	started := time.Now()
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(progressAfter)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
				waits, _ := e.waits.Load().(string)
				e.emit(task.Event{
					Event:   task.EventProgress,
					Task:    t.Name,
					Kind:    t.Spec.Kind(),
					Handler: handler,
					Waits:   waits,
					Seconds: time.Since(started).Seconds(),
				})
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

func (e *engine) perform(ctx context.Context, index int, t task.Task) (diff string, outcome task.Outcome, err error) {
	d, err := e.check(ctx, index, t.Spec)
	switch {
	case errors.Is(err, task.ErrSkip):
		return "", task.Skipped, nil
	case err != nil:
		return "", task.Failed, err
	case d == nil:
		return "", task.OK, nil
	case e.dry:
		return d.String(), task.Changed, nil
	}
	if err := d.Apply(ctx, e.machine); err != nil {
		return d.String(), task.Failed, err
	}
	return d.String(), task.Changed, nil
}

func (e *engine) check(ctx context.Context, index int, spec task.Spec) (task.Difference, error) {
	if _, ok := spec.(task.Package); ok {
		return e.checkPackages(ctx, index)
	}
	return spec.Check(ctx, e.machine)
}
