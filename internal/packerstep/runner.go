// Package packerstep runs the steps of a build as Packer's users know it: -debug, -on-error, and the provisioners with
// the data that Packer promises them. The plugin SDK has the same in multistep/commonsteps, beside the download of ISO
// files; whoever imports that links the clients of several clouds, a quarter of the plugin.
//
// Limits: no HTTP server of the build's own, whose address provisioners could ask for.
package packerstep

import (
	"context"
	"fmt"
	"log"
	"reflect"
	"strings"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// What steps leave in the state bag for those that are cleaned up after them.
const (
	stateError   = "error"
	stateAborted = "aborted"
	stateTold    = "abort_step_logged"
)

// NewRunner is a runner that pauses between steps with -debug, and does what -on-error says when one fails.
func NewRunner(steps []multistep.Step, config common.PackerConfig, ui packersdk.Ui) multistep.Runner {
	wrapped := make([]multistep.Step, len(steps))
	for i, step := range steps {
		switch config.PackerOnError {
		case "abort", "run-cleanup-provisioner":
			wrapped[i] = abortStep{step, ui}
		case "ask":
			wrapped[i] = askStep{step, ui}
		default:
			wrapped[i] = step
		}
	}
	if config.PackerDebug {
		return &multistep.DebugRunner{Steps: wrapped, PauseFn: pause(ui)}
	}
	return &multistep.BasicRunner{Steps: wrapped}
}

// name is a step's name for people.
func name(step multistep.Step) string {
	if named, ok := step.(multistep.StepWrapper); ok {
		return named.InnerStepName()
	}
	return reflect.Indirect(reflect.ValueOf(step)).Type().Name()
}

// abortStep leaves what its step made when the build fails.
type abortStep struct {
	step multistep.Step
	ui   packersdk.Ui
}

// InnerStepName is the step's own name.
func (s abortStep) InnerStepName() string { return name(s.step) }

// Run runs the step.
func (s abortStep) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	return s.step.Run(ctx, state)
}

// Cleanup undoes the step, but not in a build that failed or was interrupted.
func (s abortStep) Cleanup(state multistep.StateBag) {
	if !leave(state, s.ui, name(s.step)) {
		s.step.Cleanup(state)
	}
}

// askStep asks what is to be done when its step fails.
type askStep struct {
	step multistep.Step
	ui   packersdk.Ui
}

// InnerStepName is the step's own name.
func (s askStep) InnerStepName() string { return name(s.step) }

// Run runs the step, again for as long as that is the answer.
func (s askStep) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	for {
		action := s.step.Run(ctx, state)
		if action != multistep.ActionHalt {
			return action
		}
		if err, ok := state.GetOk(stateError); ok {
			s.ui.Error(fmt.Sprint(err))
		}
		s.ui.Say(fmt.Sprintf("Step %q failed", name(s.step)))
		const question = "[c] Clean up and exit, [a] abort without cleanup, " +
			"or [r] retry step (build may fail even if retry succeeds)?"
		answer, ok := ask(s.ui, state, question, "c", "a", "r")
		switch {
		case ok && answer == "a":
			state.Put(stateAborted, true)
			return action
		case !ok || answer == "c":
			return action
		}
	}
}

// Cleanup undoes the step, but not in a build that was aborted.
func (s askStep) Cleanup(state multistep.StateBag) {
	if _, aborted := state.GetOk(stateAborted); aborted && leave(state, s.ui, name(s.step)) {
		return
	}
	s.step.Cleanup(state)
}

// ask asks until one of the answers comes, the first of which an empty line is; ok is false if the build was cancelled
// meanwhile. Without answers any line will do.
func ask(ui packersdk.Ui, state multistep.StateBag, question string, answers ...string) (answer string, ok bool) {
	given := make(chan string, 1)
	go func() {
		for {
			line, err := ui.Ask(question)
			if err != nil {
				log.Printf("ask %q: %v", question, err)
			}
			if len(answers) == 0 {
				given <- line
				return
			}
			first := (strings.ToLower(line) + answers[0])[:1]
			for _, a := range answers {
				if first == a {
					given <- a
					return
				}
			}
			ui.Say(fmt.Sprintf("Incorrect input: %#v", line))
		}
	}()
	// An interrupt is told by the state bag alone.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case answer = <-given:
			return answer, true
		case <-tick.C:
			if _, cancelled := state.GetOk(multistep.StateCancelled); cancelled {
				return "", false
			}
		}
	}
}

// leave says whether a build that ended like this one leaves what a step made, and tells the user so.
func leave(state multistep.StateBag, ui packersdk.Ui, step string) bool {
	_, told := state.GetOk(stateTold)
	tell := func(text string) {
		ui.Error(text)
		state.Put(stateTold, true)
	}
	if err, failed := state.GetOk(stateError); failed && !told {
		tell(fmt.Sprint(err))
	}
	_, cancelled := state.GetOk(multistep.StateCancelled)
	_, halted := state.GetOk(multistep.StateHalted)
	switch {
	case !cancelled && !halted:
		return false
	case told:
		ui.Error(fmt.Sprintf("aborted: skipping cleanup of step %q", step))
	case cancelled:
		tell("Interrupted, aborting...")
	default:
		tell(fmt.Sprintf("Step %q failed, aborting...", step))
	}
	return true
}

// pause waits for the user between steps.
func pause(ui packersdk.Ui) multistep.DebugPauseFn {
	return func(at multistep.DebugLocation, step string, state multistep.StateBag) {
		where := "at"
		switch at {
		case multistep.DebugLocationAfterRun:
			where = "after run of"
		case multistep.DebugLocationBeforeCleanup:
			where = "before cleanup of"
		}
		ask(ui, state, fmt.Sprintf("Pausing %s step '%s'. Press enter to continue.", where, step))
	}
}
