//go:build linux

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/daemon"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/trail"
)

func trailCommand(name *string) *cobra.Command {
	var asJSON bool
	var since string
	command := &cobra.Command{
		Use:   "trail",
		Short: "Show which calls the local cloud was asked for, by whom, and how they ended",
		Args:  cobra.NoArgs,
		Long: `Shows the calls that clients and instances made, the oldest first, as CloudTrail would: when, by whom,
with which client, which call with which parameters, and OK or the code of the error. Calls that were refused
are there too.

Of parameters the values of ids, names and the like are shown, and of no other: no user data, no parameter's value,
no policy. "docs/local-cloud.md" says how much is kept. It needs root.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: `  goldsmith cloud trail --since 5m
  goldsmith cloud trail --json | jq -r '.eventName' | sort | uniq -c | sort -n`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := timeOf(since, time.Now())
			if err != nil {
				return &BadInput{err}
			}
			return showTrail(cmd.OutOrStdout(), *name, from, asJSON)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "as JSON, a line each")
	command.Flags().StringVar(&since, "since", "", "only calls from then on: 5m for five minutes ago, or a time, as "+
		time.RFC3339)
	return command
}

// timeOf reads a time, or how long ago it was. Empty is the beginning.
func timeOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("--since %q: it is no time; give one as 5m, for five minutes ago, or as %s",
			text, now.UTC().Format(time.RFC3339))
	}
	return at, nil
}

func showTrail(out io.Writer, name string, since time.Time, asJSON bool) error {
	there, err := daemon.Exists(name)
	if err == nil && !there {
		return notUp(name)
	}
	if err != nil {
		return err
	}
	events, err := daemon.Trail(name, since)
	if err != nil {
		return err
	}
	lines, table := json.NewEncoder(out), tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	lines.SetEscapeHTML(false)
	if !asJSON {
		fmt.Fprintln(table, "TIME\tCALLER\tCLIENT\tCALL\tRESULT\tPARAMETERS")
	}
	for e, err := range events {
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%w\nhint: it needs root: run it with sudo", err)
		}
		if err != nil {
			return err
		}
		if asJSON {
			err = lines.Encode(e)
		} else {
			_, err = fmt.Fprintln(table, rowOf(e))
		}
		if err != nil {
			return err
		}
	}
	return table.Flush()
}

// rowOf is a call for people.
func rowOf(e trail.Event) string {
	result := e.ErrorCode
	if result == "" {
		result = "OK"
	}
	if e.Attempt > 1 {
		result += fmt.Sprintf(" (attempt %d)", e.Attempt)
	}
	var parameters []string
	for _, name := range slices.Sorted(maps.Keys(e.Parameters)) {
		if value := e.Parameters[name]; value != trail.Hidden {
			parameters = append(parameters, name+"="+value)
		}
	}
	cells := []string{
		e.Time.Local().Format("15:04:05.000"),
		e.Identity.ARN[strings.LastIndexByte(e.Identity.ARN, ':')+1:],
		clientOf(e.UserAgent),
		e.Action(),
		result,
		strings.Join(parameters, " "),
	}
	for i, cell := range cells {
		cells[i] = strings.Map(onOneLine, cell)
	}
	return strings.Join(cells, "\t")
}

func onOneLine(r rune) rune {
	if r < ' ' {
		return ' '
	}
	return r
}

// clients are programs by what they say of themselves, the most telling first.
var clients = regexp.MustCompile(
	`goldsmith/\S+|md/command#\S+|Packer[-/]\S+|packer-plugin-\S+|terraform\S*|Boto3/\S+|aws-cli/\S+`)

// clientOf is the part of a user agent that tells clients apart; of an unknown one its beginning.
func clientOf(agent string) string {
	if found := clients.FindAllString(agent, 2); found != nil {
		return strings.ReplaceAll(strings.Join(found, " "), "md/command#", "")
	}
	first, _, _ := strings.Cut(agent, " ")
	return first
}
