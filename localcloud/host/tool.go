package host

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// ToolError is the failure of a program of this host. What the program said may hold anything, parts of the host's
// files too: its text is for the cloud's log. A caller of the API may read what Public makes of it.
type ToolError struct {
	// Doing is what was being done, in this package's own words.
	Doing string
	// Err is how the program ended.
	Err error
	// Output is what it said, and Input what it was given.
	Output, Input string
}

// Error is for the log: all that is known.
func (e *ToolError) Error() string {
	text := fmt.Sprintf("%s: %v", e.Doing, e.Err)
	for _, detail := range []string{e.Output, e.Input} {
		if detail = strings.TrimSpace(detail); detail != "" {
			text += ": " + detail
		}
	}
	return text
}

// Unwrap is how the program ended.
func (e *ToolError) Unwrap() error { return e.Err }

// Public is what a caller of the API may read of an error: nothing that a program of this host said.
func Public(err error) string {
	var tool *ToolError
	if errors.As(err, &tool) {
		return "the local cloud failed: " + tool.Doing + "; details are in its log: goldsmith cloud logs --daemon"
	}
	return err.Error()
}

// run runs a program that says nothing of interest unless it fails.
func run(doing string, cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return &ToolError{Doing: doing, Err: err, Output: string(out)}
	}
	return nil
}
