package task

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Machine is the machine that tasks are checked and made so on.
type Machine struct {
	// Run runs programs.
	Run Runner
	// Root stands before the directories of systemd and of the kernel's parameters. It is empty but in tests, which may
	// not write there.
	Root string
}

// Program is a command to run.
type Program struct {
	Argv        []string
	Stdin       string
	Dir         string
	Environment []string      // in addition to the process's own
	Timeout     time.Duration // 0 is the runner's own
}

// Runner runs a program; a failure is a *CommandError.
type Runner func(context.Context, Program) (stdout string, err error)

// Call runs a program for its success only.
func (run Runner) Call(ctx context.Context, argv ...string) error {
	_, err := run(ctx, Program{Argv: argv})
	return err
}

// CommandError is a program that failed, with the ends of what it printed.
type CommandError struct {
	Argv           []string
	Stdout, Stderr string
	Err            error
}

// Error is the command line, how it failed, and the last line of its standard error.
func (e *CommandError) Error() string {
	said := fmt.Sprintf("%s: %v", strings.Join(e.Argv, " "), e.Err)
	if lines := strings.Split(strings.TrimSpace(e.Stderr), "\n"); lines[len(lines)-1] != "" {
		said += ": " + lines[len(lines)-1]
	}
	return said
}

// Unwrap is the error of the program's end.
func (e *CommandError) Unwrap() error { return e.Err }

// path is an absolute path of the machine's below its root.
func (m Machine) path(elements ...string) string {
	return m.Root + filepath.Join(elements...)
}

// commands is a difference that programs make good, one after the other.
type commands struct {
	shown string
	argvs [][]string
}

// command is the difference that one program makes good.
func command(shown string, argv ...string) Difference {
	return commands{shown: shown, argvs: [][]string{argv}}
}

func (c commands) String() string { return c.shown }

func (c commands) Apply(ctx context.Context, m Machine) error {
	for _, argv := range c.argvs {
		if err := m.Run.Call(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}
