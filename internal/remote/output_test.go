package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// hostile is output of a compromised machine that would steer a terminal.
const hostile = "a\x1b]52;c;ZXZpbA==\a\x1b[2Jb\rc\u009bd\u202ee\x00f\xffg"

// scripted is a machine that answers the first command with text, and lets another test decide how the command ends.
type scripted struct {
	stdout, stderr string
	status         int
	packersdk.Communicator
}

func (s *scripted) Start(_ context.Context, cmd *packersdk.RemoteCmd) error {
	go func() {
		if cmd.Stdin != nil {
			_, _ = io.Copy(io.Discard, cmd.Stdin)
		}
		_, _ = io.WriteString(cmd.Stdout, s.stdout) // the reader may refuse what is too long
		_, _ = io.WriteString(cmd.Stderr, s.stderr)
		cmd.SetExited(s.status)
	}()
	return nil
}

// events are events as the agent writes them.
func events(all ...task.Event) string {
	var b strings.Builder
	for _, e := range all {
		text, _ := json.Marshal(e)
		b.Write(append(text, '\n'))
	}
	return b.String()
}

// unprintable finds what a terminal might obey.
func unprintable(text string) string {
	for _, r := range text {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e ||
			r >= 0x2066 && r <= 0x2069 {
			return fmt.Sprintf("%q", r)
		}
	}
	return ""
}

func TestNothingThatAMachineSaysSteersTheTerminal(t *testing.T) {
	for _, c := range []struct {
		name string
		says scripted
	}{
		{"what is no event", scripted{stdout: hostile + "\n"}},
		{"names and diffs",
			scripted{
				stdout: events(task.Event{Event: task.EventStart, Task: hostile},
					task.Event{Event: task.EventProgress, Task: hostile},
					task.Event{
						Event:   task.EventTask,
						Task:    hostile,
						Outcome: hostile,
						Diff:    hostile,
					}, task.Event{Event: task.EventRecap, Recap: &task.Recap{Play: hostile}}),
			}},
		{"a failed task",
			scripted{
				stdout: events(task.Event{
					Event:   task.EventTask,
					Task:    hostile,
					Kind:    hostile,
					Outcome: task.Failed,
					Error:   hostile,
					Stdout:  hostile,
					Stderr:  hostile,
				}),
			}},
		{"an error", scripted{stdout: events(task.Event{Event: task.EventError, Error: hostile})}},
		{"standard error", scripted{stderr: hostile, status: 1}},
		{"a recap of nothing", scripted{stdout: `{"event":"recap"}` + "\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ui := packersdk.TestUi(t)
			var shown strings.Builder
			ui.(*packersdk.BasicUi).Writer, ui.(*packersdk.BasicUi).ErrorWriter = &shown, &shown
			a := &agent{comm: &c.says, command: "agent"}
			_, err := a.apply(t.Context(), ui, task.Play{Name: "p"}, true)
			if err != nil {
				fmt.Fprintln(&shown, err)
			}
			if bad := unprintable(shown.String()); bad != "" || shown.Len() == 0 {
				t.Errorf("%s in %q", bad, shown.String())
			}
		})
	}
}

func TestAMachineMayNotWriteWithoutEnd(t *testing.T) {
	long := strings.Repeat("x", lineLimit+2)
	a := &agent{comm: &scripted{stdout: long}, command: "agent"}
	_, err := a.apply(t.Context(), packersdk.TestUi(t), task.Play{Name: "p"}, false)
	if err == nil || !strings.Contains(err.Error(), "a line of more than") {
		t.Errorf("a line without end: %v", err)
	}
	_, err = run(t.Context(), &scripted{stdout: strings.Repeat("y", answerLimit+1)}, "true", nil)
	if err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("an answer without end: %v", err)
	}
	_, err = run(t.Context(), &scripted{stderr: strings.Repeat(long, 5) + "the end", status: 1}, "true", nil)
	if err == nil || len(err.Error()) > lineLimit {
		t.Errorf("complaints without end: %d bytes", len(fmt.Sprint(err)))
	}
}

// A communicator may go on writing after its command was given up.
func TestNothingIsTakenAfterTheEnd(t *testing.T) {
	var kept strings.Builder
	o := newOutput(&kept, 100)
	_, _ = io.WriteString(o, "before") // what was taken is looked at below
	if err := o.end(); err != nil {
		t.Error(err)
	}
	if n, err := io.WriteString(o, "after"); n != 5 || err != nil {
		t.Errorf("a late write: %d, %v", n, err)
	}
	if kept.String() != "before" {
		t.Errorf("kept %q", kept.String())
	}
}
