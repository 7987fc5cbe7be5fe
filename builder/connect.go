package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/communicator"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"github.com/hashicorp/packer-plugin-sdk/multistep/commonsteps"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"golang.org/x/crypto/ssh"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
)

// waitForSSH waits until the instance runs and its SSH server answers, so that the SDK's own attempts, which are five
// seconds apart, need not be many. Behind a bastion only the first can be seen.
func (b *bake) waitForSSH(ctx context.Context) error {
	b.ui.Say("Waiting for the instance to be running...")
	err := poll(ctx, runDeadline, func(ctx context.Context) (bool, error) {
		instance, err := b.describeInstance(ctx)
		if isGone(err) {
			return false, nil // not known everywhere yet
		}
		if err != nil {
			return false, err
		}
		switch instance.State.Name {
		case types.InstanceStateNamePending:
			return false, nil
		case types.InstanceStateNameRunning:
			b.host = b.addressOf(instance)
			return true, nil
		}
		return false, b.stopped(ctx, instance)
	})
	if err != nil {
		return err
	}
	if b.host == "" {
		return fmt.Errorf("instance %s has no public address, which ssh_interface asks for", b.instance)
	}
	if b.config.Comm.SSHBastionHost != "" || b.config.Comm.SSHProxyHost != "" {
		return nil
	}
	address := net.JoinHostPort(b.host, strconv.Itoa(b.config.Comm.SSHPort))
	b.ui.Say(fmt.Sprintf("Waiting for SSH on %s...", address))
	return b.waitForBanner(ctx, address)
}

func (b *bake) addressOf(instance types.Instance) string {
	public, private := aws.ToString(instance.PublicIpAddress), aws.ToString(instance.PrivateIpAddress)
	switch {
	case b.config.SSHInterface == "private_ip":
		return private
	case b.config.SSHInterface == "public_ip" || public != "":
		return public
	}
	return private
}

// waitForBanner looks for an SSH server's first words, and now and then whether the instance still runs.
func (b *bake) waitForBanner(ctx context.Context, address string) error {
	var last error
	looked := time.Now()
	limited, cancel := context.WithTimeout(ctx, b.config.Comm.SSHTimeout)
	defer cancel()
	for {
		if last = banner(limited, address); last == nil {
			return nil
		}
		if time.Since(looked) > 3*time.Second {
			looked = time.Now()
			if instance, err := b.describeInstance(limited); err == nil && instance.State.Name != types.InstanceStateNameRunning {
				return b.stopped(ctx, instance)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limited.Done():
			if ctx.Err() != nil { // an interrupt ends both
				return ctx.Err()
			}
			return fmt.Errorf("SSH of instance %s does not answer on %s within %s (ssh_timeout): %w\nhint: is the address reachable from here, and does security group %v let this machine in?%s",
				b.instance, address, b.config.Comm.SSHTimeout, last, b.groups, b.consoleTail(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func banner(ctx context.Context, address string) error {
	dialer := net.Dialer{Timeout: 3 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return err
	}
	words := make([]byte, 4)
	if _, err := io.ReadFull(conn, words); err != nil {
		return err
	}
	if string(words) != "SSH-" {
		return fmt.Errorf("it answers %q and is no SSH server", words)
	}
	return nil
}

// connectStep is the SDK's, with the host key that the builder made: nobody else's is accepted.
func (b *bake) connectStep() multistep.Step {
	return &communicator.StepConnect{
		Config: &b.config.Comm,
		Host:   func(multistep.StateBag) (string, error) { return b.host, nil },
		SSHConfig: func(state multistep.StateBag) (*ssh.ClientConfig, error) {
			conf, err := b.config.Comm.SSHConfigFunc()(state)
			if err != nil {
				return nil, err
			}
			conf.HostKeyCallback = ssh.FixedHostKey(b.keys.hostPublic)
			conf.HostKeyAlgorithms = []string{ssh.KeyAlgoED25519}
			return conf, nil
		},
	}
}

// settleStep waits until the machine has ended what it does by itself after a boot: a provisioner of whatever kind would
// meet it in the middle, and lose against it for apt's locks.
type settleStep struct{ bake *bake }

// Run waits.
func (s *settleStep) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	comm := state.Get("communicator").(packersdk.Communicator)
	s.bake.ui.Say("Waiting for the end of cloud-init...")
	if err := remote.Settle(ctx, s.bake.ui, comm); err != nil {
		return s.bake.fail(state, err)
	}
	return multistep.ActionContinue
}

// Cleanup has nothing to undo.
func (*settleStep) Cleanup(multistep.StateBag) {}

// provisionStep is the SDK's, and ends when the instance does: the connection alone would not tell for long.
type provisionStep struct{ bake *bake }

// Run runs the provisioners.
func (s *provisionStep) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	b := s.bake
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go b.watch(watched, cancel)
	action := (&commonsteps.StepProvision{}).Run(watched, state)
	if ctx.Err() != nil || action == multistep.ActionContinue {
		return action
	}
	if cause := context.Cause(watched); watched.Err() != nil && !errors.Is(cause, context.Canceled) {
		return b.fail(state, fmt.Errorf("provision: %w", cause))
	}
	// The connection may have told before the watch did.
	if instance, err := b.describeInstance(ctx); err == nil && instance.State.Name != types.InstanceStateNameRunning {
		return b.fail(state, fmt.Errorf("provision: %w", b.stopped(ctx, instance)))
	}
	return action
}

// Cleanup has nothing to undo.
func (s *provisionStep) Cleanup(multistep.StateBag) {}

// watch looks after the instance and cancels what goes on when it does not run any more.
func (b *bake) watch(ctx context.Context, cancel context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * time.Second):
		}
		instance, err := b.describeInstance(ctx)
		if err == nil && instance.State.Name != types.InstanceStateNameRunning && instance.State.Name != types.InstanceStateNamePending {
			cancel(b.stopped(ctx, instance))
			return
		}
	}
}
