// Package task is the work that Goldsmith does on a machine: typed, idempotent descriptions of one thing each, ordered
// into plays. Each kind of task is one file here, which says what it is in HCL and on the wire, how it is checked and
// how it is made so, and one row of the table Kinds. Provisioners build plays on the operator's side, the wire codec
// carries them, and package engine runs them on the machine. Only checks and differences touch a machine.
package task

import (
	"context"
	"errors"
)

// Play is an ordered list of tasks, and the handlers that they may notify.
type Play struct {
	// Name is the play's name in the output.
	Name string
	// Tasks run in this order; the first that fails ends the play.
	Tasks []Task
	// Handlers run once each, in this order, after the last task, and only if a task that changed something named them.
	Handlers []Task
}

// Task is one thing that should be so.
type Task struct {
	// Name is the task's name in the output and in Notify; unique among a play's handlers.
	Name string
	// Notify names handlers of the same play.
	Notify []string
	// Sensitive keeps content, diff, command line and output of the task out of every event.
	Sensitive bool
	// Spec says what should be so.
	Spec Spec
}

// Spec is one kind of task. The concrete types of this package are the only ones.
type Spec interface {
	// Kind is the name on the wire and in HCL.
	Kind() string
	// Validate reports what is wrong with the description itself, naming the attribute.
	Validate() error
	// Check reads the machine's state and returns its difference to the Spec: nil where there is none, ErrSkip where
	// the task does not apply. It changes nothing.
	Check(ctx context.Context, m Machine) (Difference, error)
}

// Difference is the change that a task needs.
type Difference interface {
	// String shows the difference to people; of a file in the unified format.
	String() string
	// Apply changes it.
	Apply(ctx context.Context, m Machine) error
}

// ErrSkip says that a task does not apply to a machine.
var ErrSkip = errors.New("skipped")

// State values, as Ansible names them. Which of them a kind takes is said at the kind.
const (
	Present   = "present"
	Absent    = "absent"
	Latest    = "latest"
	Started   = "started"
	Stopped   = "stopped"
	Restarted = "restarted"
	Reloaded  = "reloaded"
)
