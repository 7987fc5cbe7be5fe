package ask

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestConfirm(t *testing.T) {
	for _, c := range []struct {
		answer string
		yes    bool
		want   string // in the error
	}{
		{"golden\n", false, ""}, {" golden \n", false, ""}, {"golden", false, ""}, {"", true, ""},
		{"y\n", false, `"y" is not golden, and nothing was done`}, {"", false, "nothing was done"},
	} {
		cmd := &cobra.Command{}
		cmd.SetContext(t.Context())
		cmd.SetIn(strings.NewReader(c.answer))
		var said bytes.Buffer
		cmd.SetErr(&said)
		err := Confirm(cmd, c.yes, "remove it", "cloud", "golden")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q, yes %v: got %v, want %q", c.answer, c.yes, err, c.want)
		}
		if asked := strings.Contains(said.String(), "Type the cloud's name, golden,"); asked == c.yes {
			t.Errorf("%q, yes %v: it said %q", c.answer, c.yes, said.String())
		}
	}
}

// TestConfirmInterrupted: ctrl-C ends a question that nobody answers.
func TestConfirmInterrupted(t *testing.T) {
	silent, silence := io.Pipe()
	defer silence.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	cmd.SetIn(silent)
	cmd.SetErr(io.Discard)
	interrupt()
	err := Confirm(cmd, false, "remove it", "cloud", "golden")
	if err == nil || err.Error() != "remove it: interrupted, and nothing was done" {
		t.Errorf("got %v", err)
	}
}

// A script is told what to say instead.
func TestConfirmWithoutTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd := &cobra.Command{}
	cmd.SetIn(null)
	err = Confirm(cmd, false, "remove it", "cloud", "golden")
	if !errors.Is(err, ErrNoTerminal) || !strings.Contains(err.Error(), "hint: say --yes") {
		t.Errorf("got %v", err)
	}
	if err := Confirm(cmd, true, "remove it", "cloud", "golden"); err != nil {
		t.Error(err)
	}
}
