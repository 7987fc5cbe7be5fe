package ask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Passphrase asks for the passphrase of the private key at a path, at the terminal: standard input may be a file.
func Passphrase(ctx context.Context, path string) ([]byte, error) {
	in, err := os.OpenFile(terminal, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("ask for its passphrase: there is no terminal\nhint: ssh-add %s", path)
	}
	out := os.Stderr // Windows has another name for the terminal's screen
	if terminal == "/dev/tty" {
		out = in
	}
	passphrase, err := hidden(ctx, int(in.Fd()), out, fmt.Sprintf("Passphrase of %s: ", path))
	if errors.Is(err, errInterrupted) {
		// The terminal is not closed: the read of it, which goes on, would be one of whatever is opened next.
		return nil, fmt.Errorf("ask for its passphrase: %w", err)
	}
	if err != nil {
		err = fmt.Errorf("read its passphrase: %w", err)
	}
	return passphrase, errors.Join(err, in.Close())
}

// hidden reads a line that the terminal does not show. However it ends, the terminal is as it was.
func hidden(ctx context.Context, terminal int, out io.Writer, question string) ([]byte, error) {
	before, err := term.GetState(terminal)
	if err != nil {
		return nil, err
	}
	fmt.Fprint(out, question)
	line, err := read(ctx, func() ([]byte, error) { return term.ReadPassword(terminal) })
	fmt.Fprintln(out)
	if errors.Is(err, errInterrupted) {
		err = errors.Join(err, term.Restore(terminal, before))
	}
	return line, err
}
