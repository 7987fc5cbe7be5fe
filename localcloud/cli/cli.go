//go:build linux

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ask"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/daemon"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/manners"
)

// Command is `goldsmith cloud` with all that is below it.
func Command() *cobra.Command {
	cloud := &cobra.Command{
		Use:   "cloud",
		Short: "A local cloud: EC2's API on loopback, with real machines behind it",
		Long: `A local cloud gives an EC2 endpoint on a loopback address of this machine. Instances are real
machines (systemd-nspawn), security groups and route tables are enforced, images and volumes keep
what is written to them. It needs root and Linux, and no AWS account.

It shares this machine's kernel: it cannot show what an image's own kernel or boot loader does.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith cloud up\n  eval \"$(goldsmith cloud env)\"\n  goldsmith cloud status",
	}
	name := defaultName()
	cloud.PersistentPreRunE = func(*cobra.Command, []string) error { return checkName(name) }
	cloud.PersistentFlags().StringVar(&name, "name", name,
		"the cloud's name; clouds of different names do not touch each other ($GOLDSMITH_CLOUD)")
	cloud.AddCommand(
		upCommand(&name),
		downCommand(&name),
		statusCommand(&name),
		mannersCommand(&name),
		trailCommand(&name),
		sshCommand(&name),
		logsCommand(&name),
		envCommand(&name),
		serveCommand(&name),
	)
	return cloud
}

// checkName is asked by every verb before it does anything.
func checkName(name string) error {
	if err := host.CheckName(name); err != nil {
		const hint = "name the cloud with --name or $GOLDSMITH_CLOUD, or with neither: it is local then"
		return &BadInput{fmt.Errorf("%w\nhint: %s", err, hint)}
	}
	return nil
}

func defaultName() string {
	if name := os.Getenv("GOLDSMITH_CLOUD"); name != "" {
		return name
	}
	return "local"
}

func upCommand(name *string) *cobra.Command {
	var bases []string
	var wanted string
	command := &cobra.Command{
		Use: "up", Short: "Start the local cloud", Args: cobra.NoArgs,
		Long: `Starts the local cloud, and makes its base image first if this machine has none yet (half a
minute, once).
A cloud that is up already is left as it is, but for base images that it is asked for and does not have, and for
manners that it is asked for.
Everything that was made in it before is there again; instances are stopped.

With --manners ec2 it is as slow, as late and as strict as EC2; see "goldsmith cloud manners --help".

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith cloud up\n  eval \"$(goldsmith cloud env)\"\n  aws ec2 describe-images",
		RunE: func(cmd *cobra.Command, _ []string) error {
			setting, err := manners.Parse(wanted)
			if err != nil {
				return &BadInput{err}
			}
			switching := cmd.Flags().Changed("manners")
			return up(cmd.Context(), cmd.OutOrStdout(), *name, bases, setting, switching)
		},
	}
	command.Flags().StringSliceVar(&bases, "base", []string{"trixie"},
		"base images that must be there: trixie (Debian 13), bookworm (Debian 12), sid")
	command.Flags().StringVar(&wanted, "manners", "none", "how it treats its callers: "+manners.Usage)
	return command
}

func up(
	ctx context.Context,
	out io.Writer,
	name string,
	bases []string,
	setting manners.Setting,
	switching bool,
) error {
	say := func(line string) { fmt.Fprintln(out, line) }
	self, err := os.Executable()
	if err != nil {
		return err
	}
	began := time.Now()
	serve := []string{self, "cloud", "serve", "--name", name, "--base", strings.Join(bases, ","),
		"--manners", setting.String()}
	running, err := daemon.Start(ctx, name, serve, say)
	if err != nil {
		return err
	}
	if err := daemon.GiveKey(name); err != nil {
		return err
	}
	if running.Since.Before(began) { // it was up: what it was asked for at its start may have been less
		for _, base := range bases {
			if err := daemon.AddBase(ctx, name, base, say); err != nil {
				return err
			}
		}
		if switching {
			if err := daemon.SetManners(ctx, name, setting); err != nil {
				return err
			}
			running.Manners = setting.String()
		}
		since := running.Since.Local().Format(time.DateTime)
		fmt.Fprintf(out, "local cloud %s is up at %s since %s%s\n", name, running.Endpoint, since, told(running))
		return nil
	}
	fmt.Fprintf(out, `local cloud %s is up at %s%[4]s

use it from this shell:   eval "$(goldsmith cloud env%[3]s)"
see what is in it:        goldsmith cloud status%[3]s
log in to an instance:    goldsmith cloud ssh%[3]s NAME
stop it; all is kept:     goldsmith cloud down%[3]s
`, name, running.Endpoint, nameFlag(name), told(running))
	return nil
}

// told is the end of a line about a cloud that is up: its manners, with the seed that may have been drawn.
func told(running daemon.Running) string {
	if running.Manners == "" || running.Manners == "none" {
		return ""
	}
	return ", with the manners " + running.Manners
}

// nameFlag is the --name flag, with a leading space, that a command to paste needs for this cloud; empty for the
// default one.
func nameFlag(name string) string {
	if name == defaultName() {
		return ""
	}
	return " --name " + name
}

func serveCommand(name *string) *cobra.Command {
	var bases []string
	var given string
	serve := &cobra.Command{
		Use: "serve", Hidden: true, Args: cobra.NoArgs, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			say, done := daemon.FromStarter()
			setting, err := manners.Parse(given)
			if err == nil {
				err = daemon.Serve(cmd.Context(), daemon.Config{
					Name:     *name,
					Bases:    bases,
					Manners:  setting,
					Progress: say,
					Ready:    done,
				})
			}
			if err != nil {
				say(err.Error()) // the last line is the reason, if nobody said ready
			}
			return err
		},
	}
	serve.Flags().StringSliceVar(&bases, "base", nil, "base images")
	serve.Flags().StringVar(&given, "manners", "none", "manners")
	return serve
}

func downCommand(name *string) *cobra.Command {
	var destroy, yes bool
	command := &cobra.Command{
		Use: "down", Short: "Stop the local cloud and all that runs in it", Args: cobra.NoArgs,
		Long: `Powers all machines off and takes down every namespace, mount, loop device and listener. Images, volumes,
the network, parameters and instances (stopped) are there again after the next "up". After a crash,
"down" clears away what was left.

With --destroy all of that goes too. It asks first.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: `  goldsmith cloud down
  goldsmith cloud down --destroy         # and forget everything
  goldsmith cloud down --destroy --yes   # from a script`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if destroy {
				return destroyCloud(cmd, *name, yes)
			}
			return down(cmd.Context(), cmd.OutOrStdout(), *name)
		},
	}
	command.Flags().BoolVar(&destroy, "destroy", false,
		"also remove images, volumes, instances and everything else that was made")
	command.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return command
}

func down(ctx context.Context, out io.Writer, name string) error {
	state := stateOf(name)
	if err := daemon.Stop(ctx, name); err != nil {
		return err
	}
	fmt.Fprintf(out, "local cloud %s %s\n", name, state)
	return nil
}

// stateOf says what a cloud that is told to end is afterwards, or was before.
func stateOf(name string) string {
	if _, err := daemon.Find(name); errors.Is(err, daemon.ErrDown) {
		return "was not up"
	}
	return "is down"
}

func destroyCloud(cmd *cobra.Command, name string, yes bool) error {
	there, err := daemon.Exists(name)
	if err != nil {
		return err
	}
	if !there {
		fmt.Fprintf(cmd.OutOrStdout(), "there is no local cloud %s; nothing was removed\n", name)
		return nil
	}
	what := "remove local cloud " + name + ", with all images, volumes and instances in it"
	err = ask.Confirm(cmd, yes, what, "cloud", name)
	if errors.Is(err, ask.ErrNoTerminal) {
		return &BadInput{err}
	}
	if err != nil {
		return err
	}
	state := stateOf(name)
	if err := errors.Join(daemon.Destroy(cmd.Context(), name), daemon.TakeKey(name)); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "local cloud %s %s, and all that was made in it is removed\n", name, state)
	return nil
}
