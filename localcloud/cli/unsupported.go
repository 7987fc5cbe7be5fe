//go:build !linux

package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
)

var errNeedsLinux = errors.New("goldsmith cloud: the local cloud needs Linux\n" +
	"hint: run it on a Linux machine or in a virtual machine; all other commands work here, on AWS")

// Command returns `goldsmith cloud`, all of whose verbs fail: namespaces, control groups and overlayfs are Linux's.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "cloud",
		Short: "A local cloud: EC2's API on loopback, with real machines behind it (Linux only)",
		Long: `A local cloud gives an EC2 endpoint on a loopback address of this machine. It needs Linux, and does
not run on this system.

Exit codes: 1 failed.`,
		Example:            "  goldsmith cloud up",
		Args:               cobra.ArbitraryArgs,
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE:               func(*cobra.Command, []string) error { return errNeedsLinux },
	}
}

// Running returns no name: there are no local clouds on this system.
func Running(context.Context) (names []string, env string) { return nil, "" }
