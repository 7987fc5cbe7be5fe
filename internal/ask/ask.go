// Package ask asks a person, at the terminal: whether something is meant that cannot be undone, and for passphrases.
package ask

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

// ErrNoTerminal says that nobody sits at a terminal who could be asked: it is bad input to leave out --yes there.
var ErrNoTerminal = errors.New("there is no terminal to ask at\nhint: say --yes")

// Confirm asks whether something is meant, what says what, unless yes says so already. The answer is the name of the
// thing, which is a stack, say.
func Confirm(cmd *cobra.Command, yes bool, what, thing, name string) error {
	if yes {
		return nil
	}
	if in, ok := cmd.InOrStdin().(*os.File); ok && !term.IsTerminal(int(in.Fd())) {
		return fmt.Errorf("%s: %w", what, ErrNoTerminal)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "This will %s. Type the %s's name, %s, to go on: ", what, thing, name)
	line, err := readLine(cmd)
	if errors.Is(err, errInterrupted) {
		return fmt.Errorf("%s: %w, and nothing was done", what, err)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: read the answer: %w", what, err)
	}
	if strings.TrimSpace(line) != name {
		return fmt.Errorf("%s: %q is not %s, and nothing was done", what, strings.TrimSpace(line), name)
	}
	return nil
}

var errInterrupted = errors.New("interrupted")

// readLine reads a line until the command is interrupted: a read of a terminal does not end with the command's context.
func readLine(cmd *cobra.Command) (string, error) {
	type answer struct {
		line string
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		read <- answer{line, err}
	}()
	select {
	case a := <-read:
		return a.line, a.err
	case <-cmd.Context().Done():
		fmt.Fprintln(cmd.ErrOrStderr()) // the error is not to stand behind the question
		return "", errInterrupted
	}
}
