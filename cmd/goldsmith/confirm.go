package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ask"
)

// confirm asks whether something is meant that is done to a stack and cannot be undone, unless yes says so already.
func confirm(cmd *cobra.Command, yes bool, what, name string) error {
	err := ask.Confirm(cmd, yes, what, "stack", name)
	if errors.Is(err, ask.ErrNoTerminal) {
		return &usageError{err}
	}
	return err
}
