//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/daemon"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/manners"
)

func mannersCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "manners [VALUE]", Short: "Show or switch how the local cloud treats its callers",
		Args: cobra.MaximumNArgs(1),
		Long: `Shows how the local cloud treats its callers, or switches it while the cloud runs:

  none                         does at once what it is told; a cloud that comes up does so if not told otherwise
  ec2[,time=FACTOR][,seed=N]   is as slow, as late and as strict as EC2

"time" scales how long things take, from 0 to 10; 1 is as long as on EC2. What is late because EC2 is eventually
consistent is never scaled. What is drawn, which call does not know yet what was just made for example, follows from
"seed"; without one a seed is drawn and shown. docs/local-cloud.md has all numbers. Switching needs root.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith cloud manners\n  goldsmith cloud manners ec2,time=0.1\n  goldsmith cloud manners none",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				if err := setManners(cmd.Context(), *name, args[0]); err != nil {
					return err
				}
			}
			running, err := findUp(*name)
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), running.Manners)
			}
			return err
		},
	}
}

func setManners(ctx context.Context, name, text string) error {
	setting, err := manners.Parse(text)
	if err != nil {
		return &BadInput{err}
	}
	if _, err := findUp(name); err != nil {
		return err
	}
	return daemon.SetManners(ctx, name, setting)
}

// findUp is a cloud that must be up.
func findUp(name string) (daemon.Running, error) {
	running, err := daemon.Find(name)
	if errors.Is(err, daemon.ErrDown) {
		return running, notUp(name)
	}
	return running, err
}

func notUp(name string) error {
	return fmt.Errorf("local cloud %s is not up\nhint: goldsmith cloud up%s", name, nameFlag(name))
}
