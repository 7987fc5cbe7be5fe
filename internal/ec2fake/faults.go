package ec2fake

import (
	"slices"
	"time"
)

// Fault is an error that calls fail with. Its fields narrow the calls that it is for.
type Fault struct {
	// Call is the operation's name, such as RunInstances; empty is each.
	Call string
	// Region is the region called; empty is each.
	Region string
	// When tells by the input whether the fault is for a call; nil takes each.
	When func(input any) bool
	// Nth is which of those calls fails, the first being 1; 0 has each of them fail.
	Nth int
	// Rest has all calls after the Nth fail too, as for a program that was killed there.
	Rest bool
	// For is how long after Fail the calls fail; 0 is for ever.
	For time.Duration
	// Late has the call do its work and only the answer be lost. Without it nothing is done.
	Late bool
	// Err is the error that the caller gets.
	Err error
}

// fault is a Fault with the calls that it was for.
type fault struct {
	Fault
	since time.Time
	seen  int
}

// Fail has calls fail from now on. The first fault that is for a call counts.
func (a *Account) Fail(f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults = append(a.faults, &fault{Fault: f, since: time.Now()})
}

// note keeps a call, and tells the fault that it has, if any.
func (a *Account) note(call Call) *fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, Call{call.Region, call.Name, snapshot(call.Input)})
	var hit *fault
	for _, f := range a.faults {
		if f.strikes(call) && hit == nil {
			hit = f
		}
	}
	return hit
}

// strikes counts a call that the fault is for, and tells whether it fails.
func (f *fault) strikes(call Call) bool {
	if f.Call != "" && f.Call != call.Name || f.Region != "" && f.Region != call.Region ||
		f.When != nil && !f.When(call.Input) || f.For > 0 && time.Since(f.since) >= f.For {
		return false
	}
	f.seen++
	return f.Nth == 0 || f.seen == f.Nth || f.Rest && f.seen > f.Nth
}

// watcher is told of calls.
type watcher struct {
	call string
	told func(input, output any)
}

// Watch tells of each call of an operation after it was done, with the SDK's input and output. What is told may change
// the output, which is nil where the call failed.
func (a *Account) Watch(call string, told func(input, output any)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watchers = append(a.watchers, watcher{call, told})
}

func (a *Account) watch(call Call, output any) {
	a.mu.Lock()
	watchers := slices.Clone(a.watchers)
	a.mu.Unlock()
	for _, w := range watchers {
		if w.call == call.Name {
			w.told(call.Input, output)
		}
	}
}
