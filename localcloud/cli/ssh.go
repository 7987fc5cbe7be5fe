//go:build linux

package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ask"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
)

func sshCommand(name *string) *cobra.Command {
	var key, user string
	var terminal bool
	var wait time.Duration
	ssh := &cobra.Command{
		Use: "ssh [OPTION...] NAME [COMMAND...]", Short: "Log in to an instance", Args: cobra.MinimumNArgs(1),
		Long: `Logs in to an instance by its id, name or tier. The host key is the one that the instance printed on its
console, and no other is accepted. An instance without a public address is reached
through one of the same VPC that has one. Options go ahead of the name. Several words after the name are a command
and its arguments, which get there as they are here; a single one is a text for the shell there.

Exit codes: 0 done; 1 failed; 2 bad input; else that of the command on the instance, 255 where there was no way in.`,
		Example: "  goldsmith cloud ssh web\n  goldsmith cloud ssh db -- sudo mysql --execute 'SHOW PROCESSLIST'",
		RunE: func(cmd *cobra.Command, args []string) error {
			command, err := access.After(args[1:])
			if err != nil {
				return &BadInput{fmt.Errorf("cloud ssh %s: %w", args[0], err)}
			}
			if wait <= 0 {
				return &BadInput{fmt.Errorf("cloud ssh %s: --wait %s should be more than 0s", args[0], wait)}
			}
			return logIn(cmd.Context(), login{
				cloud:    *name,
				instance: args[0],
				command:  command,
				key:      key,
				user:     user,
				terminal: terminal,
				wait:     wait,
			})
		},
	}
	ssh.Flags().SetInterspersed(false)
	ssh.Flags().StringVarP(&key, "key", "i", "", "private key (default: the one that the stack made, in ~/.goldsmith)")
	ssh.Flags().BoolVarP(&terminal, "tty", "t", false, "give the command a terminal")
	ssh.Flags().StringVar(&user, "user", "admin", "user on the instance")
	ssh.Flags().DurationVar(&wait, "wait", 5*time.Minute, "how long to wait for the host keys on the console, where "+
		"EC2's manners may show it late")
	return ssh
}

// login is a request to log in to an instance.
type login struct {
	cloud, instance string
	command         []string
	key, user       string
	terminal        bool
	wait            time.Duration // for the host keys
}

func logIn(ctx context.Context, l login) error {
	all, err := machines(ctx, l.cloud)
	if err != nil {
		return err
	}
	target, err := find(all, l.instance)
	if err != nil {
		return err
	}
	if target.State != "running" {
		return fmt.Errorf("log in to %s: it is %s", target.ID, target.State)
	}
	through := []machine{target}
	if target.Public == "" {
		gateway, findErr := gatewayTo(all, target)
		if findErr != nil {
			return findErr
		}
		through = []machine{gateway, target}
	}
	hops, err := l.way(ctx, through)
	if err != nil {
		return err
	}
	return access.LogIn(ctx, hops, ask.Passphrase, access.Command(l.command...), access.Streams{
		In:       os.Stdin,
		Out:      os.Stdout,
		Err:      os.Stderr,
		Terminal: l.terminal,
	})
}

// gatewayTo is an instance with a public address in the same VPC: one that the target's key opens before any other, and
// of those one of the web tier.
func gatewayTo(all []machine, target machine) (machine, error) {
	rank := func(m machine) int {
		r := 0
		if m.Key != target.Key {
			r += 2
		}
		if m.Tier != "web" {
			r++
		}
		return r
	}
	var candidates []machine
	for _, m := range all {
		if m.State == "running" && m.VPC == target.VPC && m.Public != "" {
			candidates = append(candidates, m)
		}
	}
	if len(candidates) == 0 {
		return machine{}, fmt.Errorf("log in to %s: it has no public address, "+
			"and no instance of %s that has one is running", target.ID, target.VPC)
	}
	return slices.MinFunc(candidates, func(a, b machine) int { return rank(a) - rank(b) }), nil
}

// way is the route to the target: through the gateway, if there is one.
func (l login) way(ctx context.Context, through []machine) ([]access.Hop, error) {
	var hops []access.Hop
	for _, m := range through {
		keys, err := l.hostKeys(ctx, m.ID)
		if err != nil {
			return nil, err
		}
		identity, err := identityOf(m, l.key)
		if err != nil {
			return nil, err
		}
		hops = append(hops, access.Hop{
			ID:       m.ID,
			Address:  cmp.Or(m.Public, m.Private),
			User:     l.user,
			HostKeys: keys,
			Identity: identity,
		})
	}
	return hops, nil
}

// identityOf is the private key for an instance. A stack's key pair is named after it, and its file too.
func identityOf(m machine, given string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(home, ".goldsmith", strings.TrimPrefix(m.Key, "goldsmith-")+".pem")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("log in to %s, whose key pair is %q: %w\nhint: give the private key with --key",
			m.ID, m.Key, err)
	}
	return path, nil
}

// patient is how long the host keys are waited for without a word.
const patient = 5 * time.Second

// hostKeys are the keys that cloud-init printed on the console; after the launch they may not be there yet.
func (l login) hostKeys(ctx context.Context, id string) (keys []string, err error) {
	tell := time.AfterFunc(patient, func() {
		fmt.Fprintf(os.Stderr, "waiting up to %s for the SSH host keys on the console of %s\n", l.wait, id)
	})
	defer tell.Stop()
	err = await.Until(ctx, l.wait, func(ctx context.Context) (bool, error) {
		text, failed := console(ctx, l.cloud, id)
		keys = access.HostKeys(text)
		return len(keys) > 0, failed
	})
	if err != nil {
		return nil, fmt.Errorf("log in to %s: its console shows no SSH host keys: %w\nhint: goldsmith cloud logs %s",
			id, err, id)
	}
	return keys, nil
}
