package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ask"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// Sources of logs, by tier; the first is the default.
var logSources = map[string][]string{"db": {"journal", "mysql"}, "web": {"journal", "nginx", "app"}}

// logRequest is what of a log is wanted.
type logRequest struct {
	source string
	since  string
	lines  int
	follow bool
}

func logsCommand() *cobra.Command {
	var a account
	var wanted logRequest
	logs := &cobra.Command{
		Use:   "logs db|web",
		Short: "Show an instance's logs",
		Long: `Shows the end of a log of the instance that serves a tier:
  journal  everything that systemd's journal has (both tiers; the default)
  mysql    the error log of the database server (db)
  nginx    Nginx's access and error logs (web)
  app      what the web app says (web)

` + howEntered + `

` + loginExitCodes,
		Example: "  goldsmith logs web --source nginx --follow\n  goldsmith logs db --since '10 minutes ago'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			command, err := wanted.command(args[0])
			if err != nil {
				return &usageError{err}
			}
			hops, err := a.route(cmd, args[0])
			if err != nil {
				return err
			}
			return showLog(cmd, hops, command, wanted.follow)
		},
	}
	a.flags(logs)
	f := logs.Flags()
	f.StringVar(&wanted.source, "source", "", "journal, mysql, nginx or app (default: journal)")
	f.StringVar(&wanted.since, "since", "", "of the journal and the app: not what is older, in the words of journalctl")
	f.IntVarP(&wanted.lines, "lines", "n", 100, "how many lines at most")
	f.BoolVarP(&wanted.follow, "follow", "f", false, "go on with what comes")
	return logs
}

// showLog shows what a command on an instance prints. A log may hold what a stranger sent: it must not steer the
// terminal. A file or a program gets its bytes.
func showLog(cmd *cobra.Command, hops []access.Hop, command string, follow bool) error {
	out := cmd.OutOrStdout()
	if file, ok := plaintext.Behind(out).(*os.File); ok && !term.IsTerminal(int(file.Fd())) {
		out = file
	}
	err := access.LogIn(cmd.Context(), hops, ask.Passphrase, command, access.Streams{
		Out: out,
		Err: cmd.ErrOrStderr(),
	})
	if follow && cmd.Context().Err() != nil { // which is how one stops following
		return nil
	}
	return err
}

// command is what is run on an instance of a tier to show the log.
func (l logRequest) command(tier string) (string, error) {
	sources := logSources[tier]
	if sources == nil {
		return "", fmt.Errorf("logs %s: db or web is needed", tier)
	}
	source := cmp.Or(l.source, sources[0])
	if !slices.Contains(sources, source) {
		return "", fmt.Errorf("logs %s --source %s: it has %s", tier, source, strings.Join(sources, ", "))
	}
	if l.lines < 1 {
		return "", fmt.Errorf("logs --lines %d: at least 1 is needed", l.lines)
	}
	switch source {
	case "mysql":
		return l.tail("/var/log/mysql/error.log")
	case "nginx":
		return l.tail("/var/log/nginx/*.log")
	case "app":
		return l.journal("--unit=goldsmith-webapp.service"), nil
	}
	return l.journal(), nil
}

// tail shows files that only root may read.
func (l logRequest) tail(files string) (string, error) {
	if l.since != "" {
		return "", errors.New("logs --since: files know no such time; it goes with the journal and the app")
	}
	command := "tail --lines=" + strconv.Itoa(l.lines)
	if l.follow {
		command += " --follow=name --retry"
	}
	return "sudo -n sh -c '" + command + " " + files + "'", nil
}

func (l logRequest) journal(options ...string) string {
	command := append([]string{"sudo -n journalctl --no-pager --lines=" + strconv.Itoa(l.lines)}, options...)
	if l.since != "" {
		command = append(command, "--since="+access.Quoted(l.since))
	}
	if l.follow {
		command = append(command, "--follow")
	}
	return strings.Join(command, " ")
}
