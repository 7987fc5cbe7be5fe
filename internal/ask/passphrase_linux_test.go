package ask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// pseudoterminal is a terminal, and the end at which a person would sit.
func pseudoterminal(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return person, terminal
}

func shows(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// TestHidden: what is typed is not shown, and afterwards it is again, also when ctrl-C ends the question.
func TestHidden(t *testing.T) {
	for _, interrupted := range []bool{false, true} {
		t.Run(fmt.Sprint("interrupted ", interrupted), func(t *testing.T) {
			person, terminal := pseudoterminal(t)
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			go func() {
				for shows(t, terminal) {
					runtime.Gosched()
				}
				if interrupted {
					interrupt()
					return
				}
				_, _ = io.WriteString(person, "open sesame\n")
			}()
			line, err := hidden(ctx, int(terminal.Fd()), io.Discard, "Passphrase: ")
			if interrupted && !errors.Is(err, errInterrupted) ||
				!interrupted && (err != nil || string(line) != "open sesame") {
				t.Errorf("got %q, %v", line, err)
			}
			if !shows(t, terminal) {
				t.Error("the terminal does not show what is typed any more")
			}
			_, _ = io.WriteString(person, "\n") // ends a read that goes on
		})
	}
}
