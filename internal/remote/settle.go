package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// Settle waits until a machine that has just booted has ended what it does by itself: cloud-init, and apt's daily work,
// which is kept from beginning again until the next boot. What is waited for is told through ui, and that it is a
// system on which nothing is tested, if it is one.
func Settle(ctx context.Context, ui packersdk.Ui, comm packersdk.Communicator) error {
	a, err := connect(ctx, comm)
	if err != nil {
		return err
	}
	return a.settle(ctx, ui, "tell-system", "stop-apt-timers", "apt")
}

// settle has the agent wait, for cloud-init and for what else is named.
func (a *agent) settle(ctx context.Context, ui packersdk.Ui, more ...string) error {
	said := newLines(func(line []byte) {
		if text := strings.TrimSpace(string(line)); text != "" {
			ui.Say(text)
		}
	})
	var stderr bytes.Buffer
	cmd := &packersdk.RemoteCmd{
		Command: strings.Join(append([]string{a.command, "settle"}, more...), " "),
		Stdout:  said,
		Stderr:  &stderr,
	}
	status, err := wait(ctx, a.comm, cmd)
	complaint := strings.TrimPrefix(strings.TrimSpace(stderr.String()), "goldsmith-agent settle: ")
	switch {
	case err != nil:
		return fmt.Errorf("wait until the machine has booted: %w", err)
	case strings.Contains(complaint, "sudo:"):
		return becomeRoot(errors.New(complaint))
	case status != 0:
		return fmt.Errorf("wait until the machine has booted: exit status %d: %s", status, complaint)
	}
	return nil
}
