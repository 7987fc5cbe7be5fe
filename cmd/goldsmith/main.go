// Command goldsmith is the plugin's companion: it runs the local cloud and the stack.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/hangup"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/version"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/cli"
)

// Exit codes, as the help of each command says them.
const (
	exitFailed   = 1
	exitBadInput = 2
	exitPerson   = 3
	exitNoWayIn  = 255
)

func main() {
	ctx, stop := hangup.Context(context.Background())
	defer stop()
	root := rootCommand()
	// What is shown comes from machines and from EC2, too.
	root.SetOut(&plaintext.Writer{W: os.Stdout})
	root.SetErr(&plaintext.Writer{W: os.Stderr})
	err := root.ExecuteContext(ctx)
	if err == nil {
		return
	}
	var exit *access.ExitError
	if errors.As(err, &exit) && exit.Signal == "" {
		os.Exit(exit.Status) // the command has said itself what is wrong
	}
	var write *fs.PathError
	if errors.As(err, &write) && write.Path == os.Stdout.Name() && errors.Is(write, syscall.EPIPE) {
		os.Exit(exitFailed) // as in goldsmith history | head: nobody wants more of it
	}
	fmt.Fprintln(root.ErrOrStderr(), "error:", awsconfig.Explain(err))
	os.Exit(code(err))
}

// code maps an error to the exit code that is documented for it.
func code(err error) int {
	var bad *usageError
	var badCloud *cli.BadInput
	if errors.As(err, &bad) || errors.As(err, &badCloud) {
		return exitBadInput
	}
	if errors.Is(err, deploy.ErrNeedsPerson) {
		return exitPerson
	}
	return cmp.Or(entryCode(err), exitFailed)
}

// usageError is an error of the command line.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "goldsmith",
		Short: "Golden images for a two-tier application, and the stack that runs them",
		Long: `Goldsmith bakes golden images with Packer and runs them, on AWS or on a local cloud on this machine.

Exit codes: 0 done; 1 failed; 2 bad input; 3 failed, and a person is needed.`,
		Version:       version.Long(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(
		cli.Command(),
		networkCommand(),
		stackCommand(),
		deployCommand(),
		rollbackCommand(),
		historyCommand(),
		statusCommand(),
		sshCommand(),
		scpCommand(),
		logsCommand(),
		openCommand(),
		destroyCommand(),
		imagesCommand(),
		diffCommand(),
		gcCommand(),
		policyCommand(),
	)
	strict(root)
	return root
}
