package firstboot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// addressVariable is the environment variable by which a command learns the address that the tier's servers listen on.
const addressVariable = "GOLDSMITH_ADDRESS"

// assertionCheck is a command that has to succeed.
func assertionCheck(name string, a instance.Assertion, i Instance) check {
	limit := instance.AssertTimeout
	if d, err := time.ParseDuration(a.Timeout); err == nil {
		limit = d
	}
	return check{name: name, limit: limit, run: func(ctx context.Context) (string, error) {
		argv := a.Argv
		if a.Shell != "" {
			argv = []string{"/bin/sh", "-eu", "-c", a.Shell}
		}
		var stdout, stderr bytes.Buffer
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), addressVariable+"="+i.Identity.Address())
		cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, time.Second
		err := cmd.Run()
		said := shorten(stdout.String())
		switch {
		case ctx.Err() != nil:
			return "", fmt.Errorf("it took longer than %s", limit)
		case err != nil:
			return "", errors.New(shorten(fmt.Sprintf("%v: %s%s", err, stderr.String(), stdout.String())))
		case a.Output != "" && !regexp.MustCompile(a.Output).MatchString(strings.TrimSpace(stdout.String())):
			return "", fmt.Errorf("its output %q does not match %q", said, a.Output)
		}
		return said, nil
	}}
}

// shorten keeps a report fit for one line of a console.
func shorten(text string) string {
	const most = 200
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// noFailedUnit wants systemd to have started everything that it should. What it is about to start is no failure.
func noFailedUnit(ctx context.Context) (string, error) {
	list := []string{"list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"}
	out, err := exec.CommandContext(ctx, "systemctl", list...).Output()
	if err != nil {
		return "", fmt.Errorf("ask systemd: %w", err)
	}
	var failed []string
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 0 {
			failed = append(failed, fields[0])
		}
	}
	if len(failed) > 0 {
		return "", fmt.Errorf("failed: %s%s", strings.Join(failed, ", "), lastWords(ctx, failed[0]))
	}
	return "none", nil
}

// reachable tells what listens for others; it is no judgement, but what somebody who reads the report wants to see.
func reachable(context.Context) (string, error) {
	sockets, err := instance.Sockets("/proc/net")
	if err != nil {
		return "", err
	}
	var open []string
	for _, s := range sockets {
		if !s.Address.Addr().IsLoopback() {
			open = append(open, s.String())
		}
	}
	return strings.Join(open, ", "), nil
}
