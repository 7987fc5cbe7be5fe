package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ask"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/login"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/status"
)

// howEntered is said in the help of each command that enters instances.
const howEntered = `The host key must be one that the instance printed on its console; no other is accepted. The
database, which has no public address, is reached through a web instance. The private key is
~/.goldsmith/STACK.pem, which the first deployment made on its machine; to log in from another
one, copy it there, or have it in an ssh-agent. Its passphrase, if you gave it one, is asked for.
Deploying needs no key. No ssh client is needed.`

// loginExitCodes are those of a command that runs another one on an instance.
const loginExitCodes = `Exit codes: 0 done; 1 failed; 2 bad input; else that of the command on the instance, or 128 and
the number of the signal that ended it; 255 where there was no way in, or the connection broke.`

var instanceID = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)

// isPlace tells whether a name is that of a tier, or an instance's id.
func isPlace(s *stack.Stack, name string) bool {
	return name != "" && s.Tier(name).Name == name || instanceID.MatchString(name)
}

// places lists the names that isPlace takes, for people.
func places(s *stack.Stack) string {
	var names []string
	for _, t := range s.Tiers {
		names = append(names, t.Name)
	}
	return strings.Join(names, ", ") + " or an instance's id"
}

// route is the way to the instance that serves a tier, or has an id.
func route(cmd *cobra.Command, s *stack.Stack, name string) (stack.Instance, []access.Hop, error) {
	if !isPlace(s, name) {
		return stack.Instance{}, nil, &usageError{fmt.Errorf("%s %q: %s is needed", cmd.Name(), name, places(s))}
	}
	target, err := status.Find(cmd.Context(), s, name)
	if err != nil {
		return target, nil, err
	}
	if err = login.CheckKey(cmd.Context(), s); err != nil {
		return target, nil, fmt.Errorf("%s %s: %w", cmd.Name(), target.ID, err)
	}
	hops, err := login.SSHRoute(cmd.Context(), s, target)
	return target, hops, err
}

// enter runs a command on the last of some hops, or a shell if it is empty, at the user's own terminal.
func enter(cmd *cobra.Command, hops []access.Hop, command string, tty bool) error {
	return access.LogIn(cmd.Context(), hops, ask.Passphrase, command, access.Streams{
		In:       cmd.InOrStdin(),
		Out:      plaintext.Behind(cmd.OutOrStdout()),
		Err:      plaintext.Behind(cmd.ErrOrStderr()),
		Terminal: tty,
	})
}

// entryCode is the exit code of an error of a command that entered an instance, 0 if it is none.
func entryCode(err error) int {
	var exit *access.ExitError
	if errors.As(err, &exit) {
		return exit.Status
	}
	var closed *access.NoWayInError
	if errors.As(err, &closed) {
		return exitNoWayIn
	}
	return 0
}

// atLeast wants so many arguments.
func atLeast(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return &usageError{fmt.Errorf("%s: %s is needed\nhint: %s --help", cmd.Name(), what, cmd.CommandPath())}
		}
		return nil
	}
}
