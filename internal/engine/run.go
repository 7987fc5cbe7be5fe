package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// program is a command to run.
type program struct {
	argv        []string
	stdin       string
	dir         string
	environment []string // in addition to the process's own
	timeout     time.Duration
}

// runner runs a program; a failure is a *commandError.
type runner func(context.Context, program) (stdout string, err error)

// commandError is a program that failed, with the ends of what it printed.
type commandError struct {
	argv           []string
	stdout, stderr string
	err            error
}

func (e *commandError) Error() string {
	text := fmt.Sprintf("%s: %v", strings.Join(e.argv, " "), e.err)
	if lines := strings.Split(strings.TrimSpace(e.stderr), "\n"); lines[len(lines)-1] != "" {
		text += ": " + lines[len(lines)-1]
	}
	return text
}

func (e *commandError) Unwrap() error { return e.err }

const (
	defaultTimeout = 10 * time.Minute
	outputLimit    = 16 << 10
)

// execute runs a program in a process group of its own, so that what it started ends with it at the time-out.
func execute(ctx context.Context, p program) (string, error) {
	timeout := p.timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var stdout bytes.Buffer
	stderr := &tailBuffer{limit: outputLimit}
	cmd := exec.CommandContext(limited, p.argv[0], p.argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir = strings.NewReader(p.stdin), &stdout, stderr, p.dir
	cmd.Env = append(append(os.Environ(), "LC_ALL=C.UTF-8"), p.environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) { // a daemon that it started may hold the pipes
		return stdout.String(), nil
	}
	if ctx.Err() == nil && limited.Err() != nil {
		err = fmt.Errorf("it did not end within %s", timeout)
	}
	out := stdout.String()
	return out, &commandError{argv: p.argv, stdout: out[max(0, len(out)-outputLimit):], stderr: stderr.String(), err: err}
}

// tailBuffer keeps the end of what is written to it.
type tailBuffer struct {
	limit int
	data  []byte
}

func (t *tailBuffer) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if len(t.data) > t.limit {
		t.data = t.data[len(t.data)-t.limit:]
	}
	return len(p), nil
}

func (t *tailBuffer) String() string { return string(t.data) }

// call runs a program for its success only.
func (run runner) call(ctx context.Context, argv ...string) error {
	_, err := run(ctx, program{argv: argv})
	return err
}
