package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"al.essio.dev/pkg/shellescape"
)

// goldsmith is the command as `make` builds it.
const goldsmith = ".build/goldsmith"

// machine is an instance that is judged.
type machine struct {
	tier   string
	id     string
	public string // IPv4; empty where the instance has none
	// web is the web tier's instance, which a database lets in and nobody else.
	web *machine
}

// findMachine is the stack's running instance of a tier.
func findMachine(ctx context.Context, stack, tier string) (*machine, error) {
	m, err := oneMachine(ctx, tier, "Name=tag:goldsmith:stack,Values="+stack, "Name=tag:goldsmith:tier,Values="+tier)
	if err != nil {
		return nil, fmt.Errorf("find the %s instance of stack %s: %w\nhint: make golden", tier, stack, err)
	}
	return m, nil
}

// oneMachine is the one running instance that the filters match, which is taken for one of this tier.
func oneMachine(ctx context.Context, tier string, filters ...string) (*machine, error) {
	var stdout, stderr bytes.Buffer
	argv := append(
		[]string{
			"ec2",
			"describe-instances",
			"--query",
			"Reservations[].Instances[].{id:InstanceId,public:PublicIpAddress}",
			"--output",
			"json",
			"--filters",
			"Name=instance-state-name,Values=running",
		},
		filters...)
	cmd := exec.CommandContext(ctx, "aws", argv...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.String())
	}
	var found []struct{ ID, Public string }
	if err := json.Unmarshal(stdout.Bytes(), &found); err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d are running, there should be one", len(found))
	}
	return &machine{tier: tier, id: found[0].ID, public: found[0].Public}, nil
}

// root runs a script as root on the instance and returns its standard output; stdin may be nil. An exit status other
// than 0 is an error, and the output is returned all the same.
func (m *machine) root(ctx context.Context, script string, stdin []byte) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, goldsmith, "cloud", "ssh", m.id, "--", "sudo -n sh -c "+shellescape.Quote(script))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("on %s: %w: %s", m.id, err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), err
}
