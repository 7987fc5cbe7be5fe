package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// follower tells the user what the agent's events say.
type follower struct {
	ui      packersdk.Ui
	play    string
	check   bool
	current string // the task that was last said to be at work
	last    string // the task that ended last
	recap   task.Recap
	done    bool
	failure error
}

func (f *follower) line(text []byte) {
	var e task.Event
	if err := json.Unmarshal(text, &e); err != nil {
		if trimmed := strings.TrimSpace(string(text)); trimmed != "" {
			f.ui.Say(trimmed) // something on the machine that writes where it should not: a login script, say
		}
		return
	}
	f.event(e)
}

func (f *follower) event(e task.Event) {
	switch e.Event {
	case task.EventStart:
		verb := "PLAY"
		if f.check {
			verb = "CHECK"
		}
		f.ui.Say(fmt.Sprintf("%s [%s]", verb, e.Task))
	case task.EventProgress:
		f.current = e.Task
		waits := ""
		if e.Waits != "" {
			waits = "; it waits: " + e.Waits
		}
		f.ui.Say(fmt.Sprintf("    ... [%s] at work for %.0f s%s", e.Task, e.Seconds, waits))
	case task.EventTask:
		f.current, f.last = "", e.Task
		f.task(e)
	case task.EventRecap:
		if e.Recap == nil {
			return // nothing that an agent of ours says: the run ends without a recap
		}
		f.recap, f.done = *e.Recap, true
		f.ui.Say(e.Recap.String())
	case task.EventError:
		f.failure = errors.New(plaintext.Lines(e.Error))
	}
}

func (f *follower) task(e task.Event) {
	label := "task"
	if e.Handler {
		label = "handler"
	}
	head := fmt.Sprintf("%-8s [%s]", string(e.Outcome)+":", e.Task)
	if e.Seconds >= 1 {
		head += fmt.Sprintf(" (%.1f s)", e.Seconds)
	}
	if e.Outcome != task.Failed {
		f.ui.Say(head)
		if f.check && e.Diff != "" {
			f.ui.Say(indent(e.Diff))
		}
		return
	}
	f.ui.Error(head)
	text := fmt.Sprintf("%s %q (%s): %s", label, e.Task, e.Kind, e.Error)
	for _, stream := range []struct{ name, text string }{{"stdout", e.Stdout}, {"stderr", e.Stderr}} {
		if end := strings.TrimSpace(stream.text); end != "" {
			text += fmt.Sprintf("\n  %s:\n%s", stream.name, indent(end))
		}
	}
	f.failure = errors.New(plaintext.Lines(text))
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

// broken is a run that ended without saying how.
func (f *follower) broken(status int, err error, stderr string) error {
	where := "before its first task"
	if f.current != "" {
		where = fmt.Sprintf("during task %q", f.current)
	} else if f.last != "" {
		where = fmt.Sprintf("after task %q", f.last)
	}
	cause := fmt.Sprintf("the agent ended with status %d", status)
	if err != nil {
		cause = err.Error()
	}
	if stderr = strings.TrimSpace(stderr); stderr != "" {
		cause += ": " + plaintext.Lines(stderr)
	}
	return fmt.Errorf("play %s broke off %s: %s", f.play, plaintext.Lines(where), cause)
}
