package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func sshCommand(name *string) *cobra.Command {
	var key, user string
	ssh := &cobra.Command{
		Use: "ssh NAME [-- COMMAND...]", Short: "Log in to an instance", Args: cobra.MinimumNArgs(1),
		Long: `Logs in to an instance by its id, name or tier, with OpenSSH. The host key is the one that the instance
printed on its console, and no other is accepted. An instance without a public address is reached
through one of the same VPC that has one.`,
		Example: "  goldsmith cloud ssh web\n  goldsmith cloud ssh db -- sudo journalctl -u mariadb",
		RunE: func(cmd *cobra.Command, args []string) error {
			return logIn(cmd.Context(), *name, args[0], args[1:], key, user)
		},
	}
	ssh.Flags().StringVarP(&key, "key", "i", "", "private key (default: the one that the stack made, in ~/.goldsmith)")
	ssh.Flags().StringVar(&user, "user", "admin", "user on the instance")
	return ssh
}

func logIn(ctx context.Context, name, wanted string, command []string, key, user string) error {
	all, err := machines(ctx, name)
	if err != nil {
		return err
	}
	target, err := find(all, wanted)
	if err != nil {
		return err
	}
	if target.State != "running" {
		return fmt.Errorf("log in to %s: it is %s", target.ID, target.State)
	}
	hops := []machine{target}
	if target.Public == "" {
		gateway, err := gatewayTo(all, target)
		if err != nil {
			return err
		}
		hops = append(hops, gateway)
	}
	config, err := sshConfig(ctx, name, hops, key, user)
	if err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Dir(config))
	ssh := exec.CommandContext(ctx, "ssh", append([]string{"-F", config, target.ID}, command...)...)
	ssh.Stdin, ssh.Stdout, ssh.Stderr = os.Stdin, os.Stdout, os.Stderr
	return ssh.Run()
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
		return machine{}, fmt.Errorf("log in to %s: it has no public address, and no instance of %s that has one is running", target.ID, target.VPC)
	}
	return slices.MinFunc(candidates, func(a, b machine) int { return rank(a) - rank(b) }), nil
}

// sshConfig writes what ssh(1) needs for the hops, the target first, into a directory of its own.
func sshConfig(ctx context.Context, name string, hops []machine, key, user string) (string, error) {
	dir, err := os.MkdirTemp("", "goldsmith-ssh-")
	if err != nil {
		return "", err
	}
	var config, known strings.Builder
	for i, hop := range hops {
		keys, err := hostKeys(ctx, name, hop.ID)
		if err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
		for _, line := range keys {
			fmt.Fprintf(&known, "%s %s\n", hop.ID, line)
		}
		identity, err := identityOf(hop, key)
		if err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
		address := hop.Public
		if address == "" {
			address = hop.Private
		}
		fmt.Fprintf(&config, "Host %s\n  HostName %s\n  HostKeyAlias %s\n  User %s\n  IdentityFile %s\n", hop.ID, address, hop.ID, user, identity)
		if i+1 < len(hops) {
			fmt.Fprintf(&config, "  ProxyJump %s\n", hops[i+1].ID)
		}
	}
	fmt.Fprintf(&config, "Host *\n  IdentitiesOnly yes\n  IdentityAgent none\n  StrictHostKeyChecking yes\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile none\n  LogLevel ERROR\n  ConnectTimeout 15\n", filepath.Join(dir, "known_hosts"))
	path := filepath.Join(dir, "config")
	return path, errors.Join(os.WriteFile(path, []byte(config.String()), 0o600), os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(known.String()), 0o600))
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
		return "", fmt.Errorf("log in to %s, whose key pair is %q: %w\nhint: give the private key with --key", m.ID, m.Key, err)
	}
	return path, nil
}

// hostKeys are the keys that cloud-init printed on the console; right after the launch they may not be there yet.
func hostKeys(ctx context.Context, name, id string) ([]string, error) {
	for range 100 {
		text, err := console(ctx, name, id)
		if err != nil {
			return nil, err
		}
		if keys := printedKeys(string(text)); len(keys) > 0 {
			return keys, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("log in to %s: its console shows no SSH host keys\nhint: goldsmith cloud logs %s", id, id)
}

// hostKeyLine is a public key as ssh(1) writes it; the console has other lines in between.
var hostKeyLine = regexp.MustCompile(`^(?:ssh-[a-z0-9]+|ecdsa-sha2-[a-z0-9]+) [A-Za-z0-9+/=]+`)

// printedKeys are the keys between cloud-init's marks, the last pair of them.
func printedKeys(console string) []string {
	const begin, end = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
	i := strings.LastIndex(console, begin)
	if i < 0 {
		return nil
	}
	block, _, ok := strings.Cut(console[i+len(begin):], end)
	if !ok {
		return nil
	}
	var keys []string
	for line := range strings.Lines(block) {
		if key := hostKeyLine.FindString(line); key != "" {
			keys = append(keys, key)
		}
	}
	return keys
}
