// Package plan has the steps of a deployment and the changes that it makes. A plan is a deployment whose Actor is dry:
// the same code decides what has to change, and nothing is done. What is dry may only ask EC2.
package plan

import (
	"errors"
	"slices"
	"sync"
)

// Step is one step of a deployment.
type Step struct {
	ID string
	// Title is for people.
	Title string
	// Tier is the name of the tier that it is about; empty where it is about the stack.
	Tier string
}

// Snapshot is the id of the step that takes a snapshot of a data volume; the record has the snapshot's id.
const Snapshot = "snapshot"

// Actions of a Change.
const (
	Create  = "create"
	Modify  = "change"
	Replace = "replace"
	Remove  = "remove"
)

// Missing is the reason for making a resource that does not exist.
const Missing = "it is missing"

// Change is one thing that is done to a stack, or would be.
type Change struct {
	// Action is create, change, replace or remove.
	Action string `json:"action"`
	// What names the resource, for people.
	What string `json:"what"`
	// ID is the id of the resource that changes; empty where it is yet to be created.
	ID string `json:"id,omitempty"`
	// Reason says why the change is needed, for people.
	Reason string `json:"reason"`
}

// Plan lists the changes that a deployment would make.
type Plan struct {
	Changes []Change `json:"changes"`
	// Notes are remarks beside the changes, such as another deployment that is under way.
	Notes []string `json:"notes,omitempty"`
}

// Actor makes the changes of one run over a stack or, when it is dry, only notes them. It may be used from several
// goroutines.
type Actor struct {
	dry bool

	mu      sync.Mutex
	changes []Change
	made    []string
}

// NewActor returns an Actor; dry has it only note changes.
func NewActor(dry bool) *Actor { return &Actor{dry: dry, changes: []Change{}} }

// Dry tells whether changes are only noted.
func (a *Actor) Dry() bool { return a.dry }

// ErrLeft says that a change was left for later; to leave it is no failure.
var ErrLeft = errors.New("it is left for later")

// Do makes a change, unless the Actor is dry, and notes it with the id that act tells if it created something. What is
// changed of a thing that was created just now is part of creating it, and not noted.
func (a *Actor) Do(c Change, act func() (id string, err error)) error {
	if !a.dry {
		id, err := act()
		if errors.Is(err, ErrLeft) {
			return nil
		}
		if err != nil {
			return err
		}
		if c.Action == Create {
			c.ID = id
		}
	}
	a.note(c)
	return nil
}

func (a *Actor) note(c Change) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case c.ID == "":
	case c.Action == Create:
		a.made = append(a.made, c.ID)
	case slices.Contains(a.made, c.ID):
		return
	}
	a.changes = append(a.changes, c)
}

// Made tells whether a thing was created by this Actor.
func (a *Actor) Made(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.made, id)
}

// Changes are those that were made, or noted, so far.
func (a *Actor) Changes() []Change {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.changes)
}
