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

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

const (
	defaultTimeout = 10 * time.Minute
	outputLimit    = 16 << 10
)

// execute runs a program in a process group of its own, so that what it started ends with it at the time-out.
func execute(ctx context.Context, p task.Program) (string, error) {
	timeout := p.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var stdout bytes.Buffer
	stderr := &tailBuffer{limit: outputLimit}
	cmd := exec.CommandContext(limited, p.Argv[0], p.Argv[1:]...)
	cmd.Stdin, cmd.Dir = strings.NewReader(p.Stdin), p.Dir
	cmd.Stdout, cmd.Stderr = &stdout, stderr
	cmd.Env = append(append(os.Environ(), "LC_ALL=C.UTF-8"), p.Environment...)
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
	return out, &task.CommandError{
		Argv:   p.Argv,
		Stdout: out[max(0, len(out)-outputLimit):],
		Stderr: stderr.String(),
		Err:    err,
	}
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
