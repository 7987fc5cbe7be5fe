package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ask"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
)

// logRequest selects a log and a part of it.
type logRequest struct {
	source string
	since  string
	lines  int // 0 for all
	follow bool
}

func logsCommand() *cobra.Command {
	var a account
	var wanted logRequest
	logs := &cobra.Command{
		Use:   "logs TIER|ID",
		Short: "Show an instance's logs",
		Long: `Shows the end of a log of the instance that serves a tier, or of another one by its id. Its image says
which logs there are beside the journal, which is all that systemd's has. Those of the default stack:
  mysql    the error log of the database server (db)
  nginx    Nginx's access and error logs (web)
  app      what the web app says (web)

` + howEntered + `

` + loginExitCodes,
		Example: "  goldsmith logs web --source nginx --follow\n  goldsmith logs db --since '10 minutes ago'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if wanted.lines < 1 {
				return &usageError{fmt.Errorf("logs --lines %d: at least 1 is needed", wanted.lines)}
			}
			if wanted.since != "" && !cmd.Flags().Changed("lines") {
				wanted.lines = 0
			}
			s, err := a.open(cmd)
			if err != nil {
				return err
			}
			target, hops, err := route(cmd, s, args[0])
			if err != nil {
				return err
			}
			return showLog(cmd, hops, s.Tier(target.Tier).Kind, wanted)
		},
	}
	a.flags(logs)
	f := logs.Flags()
	f.StringVar(&wanted.source, "source", imagespec.Journal, "the journal, or a log that the image names")
	f.StringVar(&wanted.since, "since", "", "of what is in the journal: not what is older, in the words of journalctl")
	f.IntVarP(&wanted.lines, "lines", "n", 100, "how many lines at most; with --since, all if it is not given")
	f.BoolVarP(&wanted.follow, "follow", "f", false, "go on with what comes")
	return logs
}

// showLog shows a log of an instance of a tier of some kind. A log may hold what a stranger sent: it must not steer the
// terminal. A file or a program gets its bytes.
func showLog(cmd *cobra.Command, hops []access.Hop, kind stack.Kind, wanted logRequest) error {
	out := cmd.OutOrStdout()
	if file, ok := plaintext.Behind(out).(*os.File); ok && !term.IsTerminal(int(file.Fd())) {
		out = file
	}
	client, err := access.Dial(cmd.Context(), hops, ask.Passphrase)
	if err != nil {
		return &access.NoWayInError{Err: err}
	}
	defer client.Close()
	log, err := wanted.find(cmd.Context(), client, kind)
	if err != nil {
		return err
	}
	command, err := wanted.command(log)
	if err != nil {
		return &usageError{err}
	}
	err = client.Attach(cmd.Context(), command, access.Streams{
		Out: out,
		Err: cmd.ErrOrStderr(),
	})
	if wanted.follow && cmd.Context().Err() != nil { // ctrl-C ends the following
		return nil
	}
	return err
}

// readDescription prints the fragments of the description of an instance's image.
const readDescription = "sudo -n sh -c 'cat " + instance.DescriptionDir + "/*.json'"

// find is the wanted log as the image of an instance describes it; the zero Log is the whole journal.
func (l logRequest) find(ctx context.Context, client *access.Client, kind stack.Kind) (imagespec.Log, error) {
	if l.source == imagespec.Journal {
		return imagespec.Log{}, nil
	}
	text, err := client.Run(ctx, readDescription)
	if err != nil {
		return imagespec.Log{}, fmt.Errorf("logs --source %s: read the image's description: %w", l.source, err)
	}
	d, err := imagespec.ReadStream(strings.NewReader(text), string(kind))
	if err != nil {
		return imagespec.Log{}, fmt.Errorf("logs --source %s: %w", l.source, err)
	}
	names := []string{imagespec.Journal}
	for _, log := range d.Logs {
		if log.Name == l.source {
			return log, nil
		}
		names = append(names, log.Name)
	}
	return imagespec.Log{}, &usageError{
		fmt.Errorf("logs --source %s: the instance has %s", l.source, strings.Join(names, ", ")),
	}
}

// command is the shell command that shows the log on an instance.
func (l logRequest) command(log imagespec.Log) (string, error) {
	if log.Path == "" {
		return l.journal(log.Unit), nil
	}
	// Only root may read such files, and expand the pattern.
	if l.since != "" {
		return "", fmt.Errorf("logs --since: the files of %s know no such time; it goes with the journal", log.Name)
	}
	command := "tail --lines=" + strconv.Itoa(l.lines)
	if l.follow {
		command += " --follow=name --retry"
	}
	return "sudo -n sh -c '" + command + " " + log.Path + "'", nil
}

// journal shows that of a unit, or all of it.
func (l logRequest) journal(unit string) string {
	command := []string{"sudo -n journalctl --no-pager"}
	if l.lines > 0 {
		command = append(command, "--lines="+strconv.Itoa(l.lines))
	}
	if unit != "" {
		command = append(command, "--unit="+access.Quoted(unit))
	}
	if l.since != "" {
		command = append(command, "--since="+access.Quoted(l.since))
	}
	if l.follow {
		command = append(command, "--follow")
	}
	return strings.Join(command, " ")
}
