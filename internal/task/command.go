package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Command is a program that is run where it is needed. Without `creates`, `unless` and `only_if` it always is, and
// always changes.
type Command struct {
	// The program and its arguments. Either this or `shell`.
	Argv []string `json:"argv,omitempty" mapstructure:"argv"`
	// A script for /bin/sh -eu. Either this or `argv`.
	Shell string `json:"shell,omitempty" mapstructure:"shell"`
	// A path; if it exists, there is nothing to do.
	Creates string `json:"creates,omitempty" mapstructure:"creates"`
	// A program with arguments; if it succeeds, there is nothing to do.
	Unless []string `json:"unless,omitempty" mapstructure:"unless"`
	// A program with arguments; if it fails, the task is skipped.
	OnlyIf []string `json:"only_if,omitempty" mapstructure:"only_if"`
	// The directory to run in.
	Dir string `json:"dir,omitempty" mapstructure:"dir"`
	// More environment.
	Env map[string]string `json:"env,omitempty" mapstructure:"env"`
	// How long it may take, as in `90s`. The default is `10m`.
	Timeout string `json:"timeout,omitempty" mapstructure:"timeout"`
}

// Kind is "command".
func (Command) Kind() string { return "command" }

// Validate reports what is wrong with the description.
func (c Command) Validate() error {
	var err error
	if (len(c.Argv) == 0) == (c.Shell == "") {
		err = errors.New("argv: either argv or shell is needed")
	}
	err = errors.Join(
		err,
		optional(c.Creates, checkPath("creates", c.Creates)),
		optional(c.Dir, checkPath("dir", c.Dir)),
	)
	if c.Timeout != "" {
		if d, bad := time.ParseDuration(c.Timeout); bad != nil || d <= 0 {
			err = errors.Join(err, fmt.Errorf("timeout: %q is not a duration such as 90s or 10m", c.Timeout))
		}
	}
	return err
}

// Check asks whether the program is needed.
func (c Command) Check(ctx context.Context, m Machine) (Difference, error) {
	if c.Creates != "" {
		if _, err := os.Lstat(c.Creates); err == nil {
			return nil, nil
		}
	}
	if len(c.OnlyIf) > 0 {
		wanted, err := c.succeeds(ctx, m, c.OnlyIf)
		if err != nil {
			return nil, err
		}
		if !wanted {
			return nil, ErrSkip
		}
	}
	if len(c.Unless) > 0 {
		done, err := c.succeeds(ctx, m, c.Unless)
		if err != nil || done {
			return nil, err
		}
	}
	p, err := c.program()
	if err != nil {
		return nil, err
	}
	return runProgram{shown: "run " + strings.Join(p.Argv, " "), program: p}, nil
}

// runProgram is the difference that one program makes good, which takes more than arguments.
type runProgram struct {
	shown   string
	program Program
}

func (d runProgram) String() string { return d.shown }

func (d runProgram) Apply(ctx context.Context, m Machine) error {
	_, err := m.Run(ctx, d.program)
	return err
}

func (c Command) program() (Program, error) {
	p := Program{Argv: c.Argv, Dir: c.Dir}
	if c.Shell != "" {
		p.Argv = []string{"/bin/sh", "-euc", c.Shell}
	}
	for name, value := range c.Env {
		p.Environment = append(p.Environment, name+"="+value)
	}
	slices.Sort(p.Environment)
	if c.Timeout != "" {
		timeout, err := time.ParseDuration(c.Timeout)
		if err != nil {
			return Program{}, fmt.Errorf("timeout: %w", err)
		}
		p.Timeout = timeout
	}
	return p, nil
}

// succeeds runs a question; only a program that could not be asked is an error.
func (c Command) succeeds(ctx context.Context, m Machine, argv []string) (bool, error) {
	_, err := m.Run(ctx, Program{Argv: argv, Dir: c.Dir})
	var failed *CommandError
	if errors.As(err, &failed) && !errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
