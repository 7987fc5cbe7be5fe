// Package tool runs programs of this host, and keeps what they say away from callers of the API.
package tool

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
)

// Error is the failure of a program of this host. What the program said may hold anything, parts of the host's
// files too: its text is for the cloud's log. A caller of the API may read what Public makes of it.
type Error struct {
	// Doing names the work that the program was for, in this package's own words.
	Doing string
	// Err is the error of the program's end.
	Err error
	// Output is the program's output, and Input its input.
	Output, Input string
}

// Error is for the log: all that is known.
func (e *Error) Error() string {
	text := fmt.Sprintf("%s: %v", e.Doing, e.Err)
	for _, detail := range []string{e.Output, e.Input} {
		if detail = strings.TrimSpace(detail); detail != "" {
			text += ": " + detail
		}
	}
	return text
}

// Unwrap is the error of the program's end.
func (e *Error) Unwrap() error { return e.Err }

// Public returns what a caller of the API may read of an error: nothing that a program of this host said.
func Public(err error) string {
	var tool *Error
	if errors.As(err, &tool) {
		return "the local cloud failed: " + tool.Doing + "; details are in its log: goldsmith cloud logs --daemon"
	}
	return err.Error()
}

// Run runs a program whose output matters only if it fails.
func Run(doing string, cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return &Error{Doing: doing, Err: err, Output: string(out)}
	}
	return nil
}

// RunWithInput runs a program with this standard input.
func RunWithInput(doing, input string, cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	if err := cmd.Run(); err != nil {
		return &Error{Doing: doing, Err: err, Output: out.String(), Input: input}
	}
	return nil
}

// Tail returns the last n bytes of a text.
func Tail(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return "…" + text[len(text)-n:]
}
