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
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"golang.org/x/crypto/ssh"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/packerstep"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
)

// hostOf is the IP address or host name for SSH to a running instance.
func hostOf(c *Config, instance types.Instance) (string, error) {
	host := addressOf(c, instance)
	if host == "" {
		return "", fmt.Errorf("instance %s has no public address, which ssh_interface asks for",
			aws.ToString(instance.InstanceId))
	}
	return host, nil
}

func addressOf(c *Config, instance types.Instance) string {
	public, private := aws.ToString(instance.PublicIpAddress), aws.ToString(instance.PrivateIpAddress)
	switch {
	case c.SSHInterface == "private_ip":
		return private
	case c.SSHInterface == "public_ip" || public != "":
		return public
	}
	return private
}

// waitForSSH waits until the instance's SSH server answers, so that the SDK's own attempts, which are five seconds
// apart, need not be many. Behind a bastion only the first can be seen.
func waitForSSH(ctx context.Context, j *job, m machine) error {
	c := j.config
	if c.Comm.SSHBastionHost != "" || c.Comm.SSHProxyHost != "" {
		return nil
	}
	address := net.JoinHostPort(m.host, strconv.Itoa(c.Comm.SSHPort))
	j.ui.Say(fmt.Sprintf("Waiting for SSH on %s...", address))
	return waitForBanner(ctx, j, m, address)
}

const (
	// bannerEvery is the time between two attempts to connect, and lookEvery that between two looks at the instance.
	bannerEvery = 200 * time.Millisecond
	lookEvery   = 3 * time.Second
)

// waitForBanner looks for an SSH server's first words, and now and then whether the instance still runs.
func waitForBanner(ctx context.Context, j *job, m machine, address string) error {
	var last error
	looked := time.Now()
	limited, cancel := context.WithTimeout(ctx, j.config.Comm.SSHTimeout)
	defer cancel()
	for {
		if last = banner(limited, address); last == nil {
			return nil
		}
		if time.Since(looked) > lookEvery {
			looked = time.Now()
			if err := diedMeanwhile(limited, j, m.instance); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limited.Done():
			if ctx.Err() != nil { // an interrupt ends both
				return ctx.Err()
			}
			return fmt.Errorf("SSH of instance %s does not answer on %s within %s (ssh_timeout): %w\n"+
				"hint: is the address reachable from here, and does security group %v let this machine in?%s",
				m.instance, address, j.config.Comm.SSHTimeout, last, m.groups, j.consoleTail(ctx, m.instance))
		case <-time.After(bannerEvery):
		}
	}
}

// diedMeanwhile is the error of an instance that ran and does not any more. Where EC2 does not say it is nil.
func diedMeanwhile(ctx context.Context, j *job, id string) error {
	instance, err := ec2ops.Instance(ctx, j.ec2, id)
	if err != nil {
		return nil
	}
	state, _ := ec2ops.StateOf(instance)
	if state == types.InstanceStateNameRunning || state == types.InstanceStateNamePending {
		return nil
	}
	return j.notRunning(ctx, instance)
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
func (b *bake) connectStep() step {
	c := b.job.config
	connect := &communicator.StepConnect{
		Config: &c.Comm,
		Host:   func(multistep.StateBag) (string, error) { return b.machine.host, nil },
		SSHConfig: func(state multistep.StateBag) (*ssh.ClientConfig, error) {
			conf, err := c.Comm.SSHConfigFunc()(state)
			if err != nil {
				return nil, err
			}
			conf.HostKeyCallback = ssh.FixedHostKey(b.machine.keys.hostPublic)
			conf.HostKeyAlgorithms = []string{ssh.KeyAlgoED25519}
			return conf, nil
		},
	}
	return step{bake: b, name: "connect", sdk: connect}.unlessAdopted()
}

// connection is the communicator that the connect step made.
func connection(state multistep.StateBag) packersdk.Communicator {
	return state.Get("communicator").(packersdk.Communicator)
}

// waitForCloudInit waits until the machine has ended what it does by itself after a boot: a provisioner of whatever
// kind would meet it in the middle, and lose against it for apt's locks.
func waitForCloudInit(ctx context.Context, j *job, state multistep.StateBag) error {
	j.ui.Say("Waiting for the end of cloud-init...")
	return remote.Settle(ctx, j.ui, connection(state))
}

// provision runs the provisioners by the SDK's step, and ends when the instance does: the connection alone would not
// tell for long.
func provision(ctx context.Context, j *job, state multistep.StateBag, instance string) error {
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go watch(watched, j, instance, cancel)
	action := packerstep.Provision(watched, state)
	if action == multistep.ActionContinue {
		return nil
	}
	if ctx.Err() == nil {
		if cause := context.Cause(watched); watched.Err() != nil && !errors.Is(cause, context.Canceled) {
			return cause
		}
		// The connection may have told before the watch did.
		if err := diedMeanwhile(ctx, j, instance); err != nil {
			return err
		}
	}
	return errHalt // the SDK's step has told why
}

// watch looks after the instance and cancels what goes on when it does not run any more.
func watch(ctx context.Context, j *job, instance string, cancel context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(2 * time.Second):
		}
		if err := diedMeanwhile(ctx, j, instance); err != nil {
			cancel(err)
			return
		}
	}
}
