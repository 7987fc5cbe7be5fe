package task

import "fmt"

// Outcome is the result of a task.
type Outcome string

// Outcomes, as Ansible names them. In check mode, changed means that it would change.
const (
	OK      Outcome = "ok"
	Changed Outcome = "changed"
	Skipped Outcome = "skipped"
	Failed  Outcome = "failed"
)

// Events of a run, in the order in which they come: start, then for each task progress (only where it takes long) and
// task, then recap. An error event ends a run that never came to its tasks.
const (
	EventStart    = "start"
	EventProgress = "progress"
	EventTask     = "task"
	EventRecap    = "recap"
	EventError    = "error"
)

// Event is one line that the agent writes while it applies a play. Of a sensitive task it holds nothing but the name,
// the outcome and the time.
type Event struct {
	Event   string  `json:"event"`
	Task    string  `json:"task,omitempty"`
	Kind    string  `json:"kind,omitempty"`
	Handler bool    `json:"handler,omitempty"`
	Outcome Outcome `json:"outcome,omitempty"`
	// Diff shows what changed, or would: of a file in the unified format.
	Diff string `json:"diff,omitempty"`
	// Error, Stdout and Stderr say why a task failed; the streams are their ends.
	Error  string `json:"error,omitempty"`
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
	// Waits says what a task in progress waits for that is none of its own.
	Waits   string  `json:"waits,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	Recap   *Recap  `json:"recap,omitempty"`
}

// Recap counts the outcomes of a run, handlers included.
type Recap struct {
	Play    string  `json:"play"`
	OK      int     `json:"ok"`
	Changed int     `json:"changed"`
	Skipped int     `json:"skipped"`
	Failed  int     `json:"failed"`
	Seconds float64 `json:"seconds"`
}

// Count adds an outcome. As with Ansible, a changed task also counts as ok.
func (r *Recap) Count(outcome Outcome) {
	switch outcome {
	case OK:
		r.OK++
	case Changed:
		r.OK++
		r.Changed++
	case Skipped:
		r.Skipped++
	case Failed:
		r.Failed++
	}
}

// String is the recap in Ansible's form.
func (r Recap) String() string {
	return fmt.Sprintf("PLAY RECAP %s : ok=%d changed=%d skipped=%d failed=%d  (%.1f s)", r.Play, r.OK, r.Changed,
		r.Skipped, r.Failed, r.Seconds)
}
