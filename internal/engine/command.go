package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

type commandCheck struct {
	task.Command
	run runner
}

func (c commandCheck) check(ctx context.Context) (*change, error) {
	if c.Creates != "" {
		if _, err := os.Lstat(c.Creates); err == nil {
			return nil, nil
		}
	}
	if len(c.OnlyIf) > 0 {
		wanted, err := c.succeeds(ctx, c.OnlyIf)
		if err != nil {
			return nil, err
		}
		if !wanted {
			return nil, errSkip
		}
	}
	if len(c.Unless) > 0 {
		done, err := c.succeeds(ctx, c.Unless)
		if err != nil || done {
			return nil, err
		}
	}
	p, err := c.program()
	if err != nil {
		return nil, err
	}
	return &change{diff: "run " + strings.Join(p.argv, " "), apply: func(ctx context.Context) error {
		_, err := c.run(ctx, p)
		return err
	}}, nil
}

func (c commandCheck) program() (program, error) {
	p := program{argv: c.Argv, dir: c.Dir}
	if c.Shell != "" {
		p.argv = []string{"/bin/sh", "-euc", c.Shell}
	}
	for name, value := range c.Env {
		p.environment = append(p.environment, name+"="+value)
	}
	sort.Strings(p.environment)
	if c.Timeout != "" {
		timeout, err := time.ParseDuration(c.Timeout)
		if err != nil {
			return program{}, fmt.Errorf("timeout: %w", err)
		}
		p.timeout = timeout
	}
	return p, nil
}

// succeeds runs a question; only a program that could not be asked is an error.
func (c commandCheck) succeeds(ctx context.Context, argv []string) (bool, error) {
	_, err := c.run(ctx, program{argv: argv, dir: c.Dir})
	var failed *commandError
	if errors.As(err, &failed) && !errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

type sqlCheck struct {
	task.SQL
	run runner
}

// check asks the database whether there is something to do. The client speaks to the local socket as root, which both
// MariaDB and MySQL let in without a password.
func (s sqlCheck) check(ctx context.Context) (*change, error) {
	if s.Unless != "" {
		answer, err := s.client(ctx, s.Unless)
		if err != nil {
			return nil, err
		}
		if truthy(answer) {
			return nil, nil
		}
	}
	shown := s.Statements
	if len(shown) > diffLimit {
		shown = fmt.Sprintf("%d bytes of SQL", len(shown))
	}
	return &change{diff: shown, apply: func(ctx context.Context) error {
		_, err := s.client(ctx, s.Statements)
		return err
	}}, nil
}

// truthy tells whether the first column of the first row says yes.
func truthy(answer string) bool {
	row, _, _ := strings.Cut(answer, "\n")
	column, _, _ := strings.Cut(row, "\t")
	return column != "" && column != "0" && column != "NULL"
}

func (s sqlCheck) client(ctx context.Context, statements string) (string, error) {
	// The statements go in by standard input: an argument could be read by every process of the machine.
	argv := []string{databaseClient(), "--no-defaults", "--protocol=socket", "--user=root", "--batch", "--skip-column-names", "--default-character-set=utf8mb4"}
	if s.Database != "" {
		argv = append(argv, "--database="+s.Database)
	}
	if strings.ContainsAny(statements, "\x00\r") {
		argv = append(argv, "--binary-mode") // else the client refuses the one, and takes the other for half of a line end
	}
	return s.run(ctx, program{argv: argv, stdin: statements})
}

func databaseClient() string {
	if _, err := os.Stat("/usr/bin/mariadb"); err == nil {
		return "mariadb"
	}
	return "mysql"
}
