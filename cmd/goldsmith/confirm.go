package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// confirm asks whether something is meant that cannot be undone, unless yes says so already. The answer is the stack's
// name. Where nobody sits at a terminal there is nobody to ask.
func confirm(cmd *cobra.Command, yes bool, what, name string) error {
	if yes {
		return nil
	}
	if in, ok := cmd.InOrStdin().(*os.File); ok && !term.IsTerminal(int(in.Fd())) {
		return &usageError{fmt.Errorf("%s: there is no terminal to ask at\nhint: say --yes", what)}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "This will %s. Type the stack's name, %s, to go on: ", what, name)
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: read the answer: %w", what, err)
	}
	if strings.TrimSpace(line) != name {
		return fmt.Errorf("%s: %q is not %s, and nothing was done", what, strings.TrimSpace(line), name)
	}
	return nil
}
