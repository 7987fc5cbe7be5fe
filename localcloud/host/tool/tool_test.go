package tool

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// What a program of the host says is for the log, whatever the error went through.
func TestError(t *testing.T) {
	err := Run("copy vol-1.img", exec.Command("sh", "-c", "echo root:x:0 of /etc/shadow >&2; exit 3"))
	var tool *Error
	var exit *exec.ExitError
	if !errors.As(err, &tool) || !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "root:x:0") {
		t.Errorf("the log is told %v", err)
	}
	for _, wrapped := range []error{err, fmt.Errorf("create volume: %w", err), errors.Join(err, errors.New("x"))} {
		got := Public(wrapped)
		if got != "the local cloud failed: copy vol-1.img; details are in its log: goldsmith cloud logs --daemon" {
			t.Errorf("a caller is told %q", got)
		}
	}
	if got := Public(errors.New("there is no such volume")); got != "there is no such volume" {
		t.Errorf("a caller is told %q", got)
	}
}

func TestRunWithInput(t *testing.T) {
	err := RunWithInput("load", "secret", exec.Command("sh", "-c", "cat; exit 1"))
	var tool *Error
	if !errors.As(err, &tool) || tool.Output != "secret" || tool.Input != "secret" {
		t.Errorf("got %v", err)
	}
	if strings.Contains(Public(err), "secret") {
		t.Errorf("a caller is told %q", Public(err))
	}
}
