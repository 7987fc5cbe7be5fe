package ask

import (
	"fmt"
	"os"

	"golang.org/x/term"
)

// Passphrase asks for the passphrase of the private key at a path, at the terminal: standard input may be a file.
func Passphrase(path string) ([]byte, error) {
	in, err := os.OpenFile(terminal, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("ask for its passphrase: there is no terminal\nhint: ssh-add %s", path)
	}
	defer in.Close()
	out := os.Stderr // Windows has another name for the terminal's screen
	if terminal == "/dev/tty" {
		out = in
	}
	fmt.Fprintf(out, "Passphrase of %s: ", path)
	passphrase, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(out)
	if err != nil {
		return nil, fmt.Errorf("read its passphrase: %w", err)
	}
	return passphrase, nil
}
