package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/status"
)

func statusCommand() *cobra.Command {
	var a account
	var asJSON, watch bool
	var interval time.Duration
	command := &cobra.Command{
		Use:   "status",
		Short: "Show the stack: instances, releases, health, addresses",
		Args:  cobra.NoArgs,
		Long: `Shows the stack on one screen: where the page and the database are, which instances each tier has, what
they run and since when, and how they are. A web instance is asked over HTTPS, and has to show the certificate that
it reported; a database is as its own report and the web tier tell. A deployment that is under way is named.

With --watch it is shown again and again, until it is interrupted.

Exit codes: 0 done, whatever the health is; 1 failed; 2 bad input.`,
		Example: `  goldsmith status
  goldsmith status --watch
  goldsmith status --json | jq -e 'all(.instances[]; .health == "good")'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval <= 0 {
				return &usageError{fmt.Errorf("--interval %s: more than 0 is needed", interval)}
			}
			s, err := a.open(cmd)
			if err != nil {
				return err
			}
			show := func(now status.Status) error {
				if asJSON {
					return printJSON(cmd, now)
				}
				return printStatus(cmd.OutOrStdout(), now)
			}
			if watch {
				return watchStatus(cmd, s, interval, show)
			}
			now, err := status.Of(cmd.Context(), s)
			if err != nil {
				return err
			}
			return show(now)
		},
	}
	a.flags(command)
	command.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	command.Flags().BoolVarP(&watch, "watch", "w", false, "again and again")
	command.Flags().DurationVar(&interval, "interval", 2*time.Second, "with --watch: how long to wait in between")
	return command
}

// watchStatus shows the status until it is interrupted. What cannot be found out at one moment may be at the next.
func watchStatus(cmd *cobra.Command, s *stack.Stack, interval time.Duration, show func(status.Status) error) error {
	out, isFile := plaintext.Behind(cmd.OutOrStdout()).(*os.File)
	screen := isFile && term.IsTerminal(int(out.Fd()))
	for {
		now, err := status.Of(cmd.Context(), s)
		if cmd.Context().Err() != nil {
			return nil
		}
		if screen {
			fmt.Fprint(out, "\x1b[H\x1b[2J")
		}
		if err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "error:", err)
		} else if err := show(now); err != nil {
			return err
		}
		if screen {
			fmt.Fprintf(out, "\nevery %s, last at %s; end it with ctrl-C\n", interval, time.Now().Format(time.TimeOnly))
		}
		if wait(cmd.Context(), interval) != nil {
			return nil
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func printStatus(w io.Writer, s status.Status) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "stack %s in %s\n", s.Stack, s.Region)
	head := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(head, "page\t%s\n", cmp.Or(s.URL, "-"))
	fmt.Fprintf(head, "database\t%s\n", cmp.Or(s.Addresses[defaultstack.Database], "-"))
	fmt.Fprintf(head, "release\t%s\n", cmp.Or(s.Release, "-")+othersServe(s))
	if d := s.Deploying; d != nil {
		fmt.Fprintf(head, "deploying\t%s, by %s since %s\n", d.ID, d.Who, d.Since.Local().Format(time.DateTime))
	}
	for _, id := range s.Silent {
		fmt.Fprintf(
			head,
			"deployment\t%s ended without a word; goldsmith deploy --stack %s puts it right\n",
			id,
			s.Stack,
		)
	}
	head.Flush()
	fmt.Fprintln(&b)
	if len(s.Instances) == 0 {
		fmt.Fprintf(&b, "no instances; goldsmith deploy --stack %s makes them\n", s.Stack)
		_, err := w.Write(b.Bytes())
		return err
	}
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TIER\tROLE\tINSTANCE\tHEALTH\tSTATE\tRELEASE\tIMAGE\tPRIVATE\tPUBLIC\tAGE")
	var reasons []string
	for _, i := range s.Instances {
		fmt.Fprintln(
			table,
			strings.Join(
				[]string{
					i.Tier,
					i.Role,
					i.ID,
					i.Health,
					i.State,
					cmp.Or(i.Release, "-"),
					i.Image,
					cmp.Or(i.Private, "-"),
					cmp.Or(i.Public, "-"),
					age(time.Since(i.Since)),
				},
				"\t",
			),
		)
		if i.Reason != "" {
			reasons = append(reasons, fmt.Sprintf("%s %s is %s: %s", i.Tier, i.ID, i.Health, i.Reason))
		}
	}
	table.Flush()
	if len(reasons) > 0 {
		fmt.Fprintln(&b, "\n"+strings.Join(reasons, "\n"))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// othersServe says that instances serve which are of another release than the one that deploy takes, as after a
// rollback.
func othersServe(s status.Status) string {
	var served []string
	for _, i := range s.Instances {
		if i.Role == stack.Serving && i.Release != "" && i.Release != s.Release && !slices.Contains(served, i.Release) {
			served = append(served, i.Release)
		}
	}
	if len(served) == 0 || s.Release == "" {
		return ""
	}
	return fmt.Sprintf("; the next goldsmith deploy takes it, and %s serves", strings.Join(served, ", "))
}

// age is a duration in its one or two largest units.
func age(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}
