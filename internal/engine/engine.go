// Package engine makes the tasks of a play so, on the machine on which it runs. Each kind of task first reads what is
// and computes the difference to what should be; where there is none, nothing is done. It needs root for most kinds.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// change is the difference between what is and what should be. A nil *change means there is none.
type change struct {
	diff  string // for people
	apply func(context.Context) error
}

// skip says that a task does not apply here.
var errSkip = errors.New("skipped")

// checker finds the difference that one task is about.
type checker interface {
	check(context.Context) (*change, error)
}

// engine is one run of a play.
type engine struct {
	play  task.Play
	dry   bool
	emit  func(task.Event)
	run   runner
	recap task.Recap
	// pending are handlers that were notified.
	pending map[string]bool
	// packages is what the apt transaction of a row of package tasks came to, by the task's index.
	packages map[int]packageResult
	// waits is what the task at work waits for, a string; it is read while that goes on.
	waits atomic.Value
}

// progressAfter is when, and how often, a task that is still at work says so.
const progressAfter = time.Second

// Run makes a play so, or with dry only tells what it would change. The first task that fails ends it; handlers that
// were notified until then do not run. emit is called from one goroutine at a time.
func Run(ctx context.Context, p task.Play, dry bool, emit func(task.Event)) (task.Recap, error) {
	return newEngine(p, dry, emit, execute).all(ctx)
}

func newEngine(p task.Play, dry bool, emit func(task.Event), run runner) *engine {
	e := &engine{play: p, dry: dry, emit: emit, recap: task.Recap{Play: p.Name}, pending: map[string]bool{}, packages: map[int]packageResult{}}
	e.run = patient(run, func(waits string) { e.waits.Store(waits) })
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
	event := task.Event{Event: task.EventTask, Task: t.Name, Kind: t.Spec.Kind(), Handler: handler, Outcome: outcome, Seconds: time.Since(started).Seconds()}
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

// explain writes into an event why its task failed, and returns the error that may be told; of a sensitive task both say
// only that it did.
func explain(event *task.Event, t task.Task, err error) error {
	if t.Sensitive {
		event.Error = errSensitive.Error()
		return errSensitive
	}
	event.Error = err.Error()
	var failed *commandError
	if errors.As(err, &failed) {
		event.Stdout, event.Stderr = failed.stdout, failed.stderr
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
	c, err := e.check(ctx, index, t.Spec)
	switch {
	case errors.Is(err, errSkip):
		return "", task.Skipped, nil
	case err != nil:
		return "", task.Failed, err
	case c == nil:
		return "", task.OK, nil
	case e.dry:
		return c.diff, task.Changed, nil
	}
	if err := c.apply(ctx); err != nil {
		return c.diff, task.Failed, err
	}
	return c.diff, task.Changed, nil
}

func (e *engine) check(ctx context.Context, index int, spec task.Spec) (*change, error) {
	var c checker
	switch s := spec.(type) {
	case task.Package:
		return e.checkPackages(ctx, index)
	case task.File:
		c = fileCheck{s, e.run}
	case task.Directory:
		c = directoryCheck{s}
	case task.Link:
		c = linkCheck{s}
	case task.Group:
		c = groupCheck{s, e.run}
	case task.User:
		c = userCheck{s, e.run}
	case task.Unit:
		c = unitCheck{s, e.run}
	case task.Service:
		c = serviceCheck{s, e.run}
	case task.Command:
		c = commandCheck{s, e.run}
	case task.Sysctl:
		c = sysctlCheck{s, e.run}
	case task.SQL:
		c = sqlCheck{s, e.run}
	case task.AptHold:
		c = holdCheck{s, e.run}
	case task.Line:
		c = lineCheck{s}
	default:
		return nil, fmt.Errorf("kind %s is not known to this agent", spec.Kind())
	}
	return c.check(ctx)
}
