package host

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// What a program of the host says is for the log, whatever the error went through.
func TestToolError(t *testing.T) {
	err := run("copy vol-1.img", exec.Command("sh", "-c", "echo root:x:0 of /etc/shadow >&2; exit 3"))
	var tool *ToolError
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

// Each program that is run has an error of this kind.
func TestToolErrors(t *testing.T) {
	ctx := context.Background()
	for name, err := range map[string]error{
		"cp":   copySparse(ctx, t.TempDir()+"/none", t.TempDir()+"/to"),
		"pipe": pipe(ctx, "secret", "sh", "-c", "cat; exit 1"),
	} {
		var tool *ToolError
		if !errors.As(err, &tool) || tool.Output == "" {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(Public(err), "secret") {
			t.Errorf("%s: a caller is told %q", name, Public(err))
		}
	}
}
