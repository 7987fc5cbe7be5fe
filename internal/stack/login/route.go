package login

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/launch"
)

// defaultUser is the account that has the launch's key in images that do not say which: Debian's.
const defaultUser = "admin"

// SSHRoute is the route of an SSH connection to an instance: to its public address or, where it has none, through an
// instance that has one.
func SSHRoute(ctx context.Context, s *stack.Stack, target stack.Instance) ([]access.Hop, error) {
	path, err := KeyPath(s.Name)
	if err != nil {
		return nil, err
	}
	public, err := identity(ctx, s, path)
	if err != nil {
		return nil, fmt.Errorf("log in to %s: %w", target.ID, err)
	}
	through := []stack.Instance{target}
	if target.Public == "" {
		gateway, failed := jumpHost(ctx, s, target)
		if failed != nil {
			return nil, failed
		}
		through = []stack.Instance{gateway, target}
	}
	users, err := s.ImageTags(ctx, images.UserTag, through...)
	if err != nil {
		return nil, fmt.Errorf("log in to %s: %w", target.ID, err)
	}
	var hops []access.Hop
	for _, i := range through {
		keys, err := hostKeys(ctx, s, i.ID)
		if err != nil {
			return nil, err
		}
		hops = append(hops, access.Hop{
			ID:       i.ID,
			Address:  cmp.Or(i.Public, i.Private),
			User:     cmp.Or(users[i.Image], defaultUser),
			HostKeys: keys,
			Identity: path,
			Public:   public,
		})
	}
	return hops, nil
}

// identity is the public half of the key that an ssh-agent may have, where its file is not on this machine. That is
// found out before anything is waited for.
func identity(ctx context.Context, s *stack.Stack, path string) (ssh.PublicKey, error) {
	if _, err := os.Stat(path); err == nil {
		return nil, nil
	}
	public, err := registeredKey(ctx, s)
	if err != nil {
		return nil, err
	}
	return public, access.CheckIdentity(path, public)
}

// jumpHost is an instance that runs and has a public address; one that serves is preferred.
func jumpHost(ctx context.Context, s *stack.Stack, target stack.Instance) (stack.Instance, error) {
	all, err := s.Instances(ctx)
	if err != nil {
		return stack.Instance{}, err
	}
	var found stack.Instance
	for _, i := range all {
		if i.Tier == target.Tier || i.Public == "" || i.State != "running" {
			continue
		}
		if found.ID == "" || i.Role == stack.Serving && found.Role != stack.Serving {
			found = i
		}
	}
	if found.ID == "" {
		return found, fmt.Errorf("log in to %s: it has no public address, and no instance of another tier that has "+
			"one is running",
			target.ID)
	}
	return found, nil
}

// hostKeys are those that an instance printed on its console. On AWS the console is there some time after the launch.
func hostKeys(ctx context.Context, s *stack.Stack, id string) (keys []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err = launch.WaitConsole(ctx, s, id, "shows its SSH host keys", func(text []byte) (bool, error) {
		keys = access.HostKeys(text)
		return len(keys) > 0, nil
	})
	return keys, err
}

// runLimit is how long one command on an instance may take.
const runLimit = 90 * time.Second

// Run runs a command on an instance over SSH.
func Run(ctx context.Context, s *stack.Stack, i stack.Instance, command string) error {
	hops, err := SSHRoute(ctx, s, i)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	client, err := access.Dial(limited, hops, nil)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Run(limited, command)
	return err
}
