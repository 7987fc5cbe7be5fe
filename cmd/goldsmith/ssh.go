package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access"
)

func sshCommand() *cobra.Command {
	var a account
	var tty bool
	ssh := &cobra.Command{
		Use:   "ssh [OPTION...] TIER|ID [COMMAND...]",
		Short: "Log in to an instance, or run a command on it",
		Long: `Logs in to the instance that serves a tier, or to another one by its id. Several words after the
instance are a command and its arguments, which get there as they are here; a single one is a text
for the shell there. Options go ahead of the instance: those behind it are the command's. A shell
has a terminal, a command has one with --tty. An interrupt or another signal is passed on to the
command.

` + howEntered + `

` + loginExitCodes,
		Example: `  goldsmith ssh web
  goldsmith ssh db -- sudo mysql --execute 'SHOW PROCESSLIST'
  goldsmith ssh --tty db -- sudo mysql
  goldsmith ssh web 'df --human-readable / | tail -1'`,
		Args: atLeast(1, "a tier or an instance's id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			command, err := access.After(args[1:])
			if err != nil {
				return &usageError{fmt.Errorf("ssh %s: %w", args[0], err)}
			}
			s, err := a.open(cmd)
			if err != nil {
				return err
			}
			_, hops, err := route(cmd, s, args[0])
			if err != nil {
				return err
			}
			return enter(cmd, hops, access.Command(command...), tty)
		},
	}
	a.flags(ssh)
	ssh.Flags().SetInterspersed(false)
	ssh.Flags().BoolVarP(&tty, "tty", "t", false, "give the command a terminal")
	return ssh
}
