package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ask"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
)

func scpCommand() *cobra.Command {
	var a account
	var recursive, sudo bool
	scp := &cobra.Command{
		Use:   "scp SOURCE... TARGET",
		Short: "Copy files to an instance, or from it",
		Long: `Copies files from or to one instance, whose paths are written as TIER:PATH or ID:PATH. A path on an
instance begins in the home directory, and may be a pattern where it is a source. It is done as the
user that one logs in as or, with --sudo, as root. What a link points to is copied.

A copy takes its name when it is whole; until then, an older file of that name is as it was. Where
a large file broke off, the same command goes on: what was copied is kept beside the target, as
.NAME.….part.

` + howEntered + `

Exit codes: 0 done; 1 failed; 2 bad input; 255 where there was no way in.`,
		Example: `  goldsmith scp web:/var/log/nginx/error.log .
  goldsmith scp --sudo 'web:/var/log/nginx/*.log' .
  goldsmith scp -r ./dump db:/tmp/`,
		Args: atLeast(2, "a source and a target"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.open(cmd)
			if err != nil {
				return err
			}
			t, err := transferOf(s, args)
			if err != nil {
				return &usageError{err}
			}
			t.what.Recursive = recursive
			_, hops, err := route(cmd, s, t.instance)
			if err != nil {
				return err
			}
			shown := newCopyProgress(cmd.ErrOrStderr())
			defer shown.end()
			t.what.Report = shown.report
			return t.run(cmd.Context(), hops, sudo)
		},
	}
	a.flags(scp)
	scp.Flags().BoolVarP(&recursive, "recursive", "r", false, "directories too")
	scp.Flags().BoolVar(&sudo, "sudo", false, "as root on the instance: read and write what only root may")
	return scp
}

// transfer is the copy that the arguments of scp ask for.
type transfer struct {
	// instance is a tier, or an instance's id.
	instance string
	upload   bool
	what     access.Copy
}

// transferOf reads the arguments of scp. A path of this machine may begin as an option does, and have a colon in it.
func transferOf(s *stack.Stack, args []string) (transfer, error) {
	var t transfer
	paths := make([]string, len(args))
	remote := make([]bool, len(args))
	for i, arg := range args {
		paths[i] = arg
		name, rest, ok := strings.Cut(arg, ":")
		if !ok || !isPlace(s, name) {
			continue
		}
		if t.instance != "" && t.instance != name {
			return transfer{}, fmt.Errorf("scp: %s and %s are both on instances; one of them should be here",
				t.instance, name)
		}
		t.instance, remote[i], paths[i] = name, true, rest
	}
	last := len(args) - 1
	t.upload = remote[last]
	for i := range last {
		switch {
		case t.instance == "":
			return transfer{}, errors.New(
				"scp: no path is on an instance; one should be written as PLACE:PATH, where PLACE is " + places(s))
		case remote[i] && t.upload:
			return transfer{}, fmt.Errorf(
				"scp: %s and %s are both on the instance\nhint: goldsmith ssh %s -- cp SOURCE TARGET",
				args[i], args[last], t.instance)
		case !remote[i] && !t.upload:
			return transfer{}, fmt.Errorf("scp: %s and %s are both on this machine", args[i], args[last])
		}
	}
	t.what.Sources, t.what.Target = paths[:last], paths[last]
	return t, nil
}

func (t transfer) run(ctx context.Context, hops []access.Hop, sudo bool) error {
	client, err := access.Dial(ctx, hops, ask.Passphrase)
	if err != nil {
		return &access.NoWayInError{Err: err}
	}
	defer client.Close()
	files, err := client.Files(sudo)
	if err != nil {
		return err
	}
	defer files.Close()
	if t.upload {
		return files.Upload(ctx, t.what)
	}
	return files.Download(ctx, t.what)
}

// copyProgress tells how far the copying has come, at a terminal only.
type copyProgress struct {
	w     io.Writer
	width int // of the terminal; 0 where there is none
	name  string
	began time.Time
	from  int64 // what an earlier copying had done already
	drawn time.Time
}

func newCopyProgress(w io.Writer) *copyProgress {
	p := &copyProgress{w: plaintext.Behind(w)}
	if f, ok := p.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			p.width = width
		}
	}
	return p
}

func (p *copyProgress) report(at access.Progress) {
	if p.width == 0 {
		return
	}
	now := time.Now()
	if p.name != at.Name {
		p.name, p.began, p.from, p.drawn = at.Name, now, at.Done, time.Time{}
	}
	if !at.End && now.Sub(p.drawn) < redrawEvery {
		return
	}
	p.drawn = now
	text := []rune(p.text(at, now.Sub(p.began)))
	fmt.Fprint(p.w, "\r\x1b[K"+string(text[:min(len(text), p.width-1)]))
	if at.End {
		fmt.Fprintln(p.w)
		p.name = ""
	}
}

func (p *copyProgress) text(at access.Progress, took time.Duration) string {
	text := fmt.Sprintf("%s  %s", plaintext.Line(filepath.Base(at.Name)), byteText(at.Done))
	if !at.End && at.Total > 0 {
		text += fmt.Sprintf(" of %s, %d %%", byteText(at.Total), at.Done*100/at.Total)
	}
	if seconds := took.Seconds(); seconds > 0.1 && at.Done > p.from {
		text += fmt.Sprintf(", %s/s", byteText(int64(float64(at.Done-p.from)/seconds)))
	}
	return text
}

// end leaves the line of a file that was not copied to its end.
func (p *copyProgress) end() {
	if p.name != "" {
		fmt.Fprintln(p.w)
	}
}

// byteText is a number of bytes in its largest unit.
func byteText(n int64) string {
	const kilo = 1000
	if n < kilo {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/kilo, 0
	for value >= kilo && unit < 3 {
		value /= kilo
		unit++
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGT"[unit])
}
