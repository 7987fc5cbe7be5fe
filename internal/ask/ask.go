// Package ask asks a person, at the terminal: whether something is meant that cannot be undone, and for passphrases.
package ask

import (
	"bufio"
	"context"
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
	line, err := read(cmd.Context(), func() (string, error) {
		return bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	})
	if errors.Is(err, errInterrupted) {
		fmt.Fprintln(cmd.ErrOrStderr()) // the error is not to stand behind the question
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

// read reads at the terminal until the context ends: a read of a terminal does not end with it.
func read[T any](ctx context.Context, from func() (T, error)) (T, error) {
	type answer struct {
		text T
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		text, err := from()
		answered <- answer{text, err}
	}()
	select {
	case a := <-answered:
		return a.text, a.err
	case <-ctx.Done():
		return *new(T), errInterrupted
	}
}
