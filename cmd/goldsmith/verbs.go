package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// strict makes a command, and all below it, end with bad input where a verb is mistyped or missing, or where there
// are too many arguments or too few. Cobra would print the help of a group of commands and call that a success, so
// that a mistyped verb passed in a script.
func strict(cmd *cobra.Command) {
	if !cmd.HasParent() {
		// Cobra's own commands, which it would add later.
		cmd.SetHelpCommand(helpCommand())
		cmd.InitDefaultHelpCmd()
		cmd.InitDefaultCompletionCmd()
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		// A flag of the mistyped verb is unknown too, but not what is wrong.
		if rest := cmd.Flags().Args(); cmd.HasSubCommands() && len(rest) > 0 {
			return unknownVerb(cmd, rest[0])
		}
		return &usageError{fmt.Errorf("%w\nhint: %s --help", err, cmd.CommandPath())}
	})
	cmd.Args = strictArgs(cmd)
	if !cmd.Runnable() {
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return missingVerb(cmd) }
	}
	for _, child := range cmd.Commands() {
		strict(child)
	}
}

func strictArgs(cmd *cobra.Command) cobra.PositionalArgs {
	if cmd.HasSubCommands() {
		return func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownVerb(cmd, args[0])
			}
			return nil
		}
	}
	check := cmd.Args
	if check == nil {
		check = cobra.NoArgs
	}
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		var said *usageError
		if err == nil || errors.As(err, &said) {
			return err
		}
		// Cobra's words for it are those of a mistyped verb.
		given := strings.Join(append([]string{cmd.CommandPath()}, args...), " ")
		return &usageError{fmt.Errorf("%s: it is used as %s\nhint: %s --help", given, cmd.UseLine(), cmd.CommandPath())}
	}
}

func unknownVerb(cmd *cobra.Command, verb string) error {
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	hint := cmd.CommandPath() + " --help"
	if near := cmd.SuggestionsFor(verb); len(near) > 0 {
		hint = cmd.CommandPath() + " " + nearest(verb, near)
	}
	return &usageError{fmt.Errorf("%s: it has no verb %q; it has %s\nhint: %s",
		cmd.CommandPath(), verb, verbs(cmd), hint)}
}

// nearest is the one of some names that begins most like a text.
func nearest(text string, names []string) string {
	same := func(name string) int {
		n := 0
		for n < len(name) && n < len(text) && name[n] == text[n] {
			n++
		}
		return n
	}
	return slices.MaxFunc(names, func(a, b string) int { return same(a) - same(b) })
}

func missingVerb(cmd *cobra.Command) error {
	cmd.SetOut(cmd.ErrOrStderr()) // who reads the output wanted no help
	if err := cmd.Help(); err != nil {
		return err
	}
	return &usageError{fmt.Errorf("%s: a verb is missing: %s", cmd.CommandPath(), verbs(cmd))}
}

// verbs are the names of a command's commands, for people.
func verbs(cmd *cobra.Command) string {
	var names []string
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() {
			names = append(names, child.Name())
		}
	}
	return strings.Join(names, ", ")
}

// helpCommand is `goldsmith help`. Cobra's own takes a mistyped verb for a success.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [VERB...]", Short: "Help about any command", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return &usageError{err}
			}
			if len(rest) > 0 {
				if !about.HasSubCommands() {
					path := about.CommandPath()
					return &usageError{
						fmt.Errorf("%s: it has no verbs, so no %q\nhint: %s --help", path, rest[0], path),
					}
				}
				return unknownVerb(about, rest[0])
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}
