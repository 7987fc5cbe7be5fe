package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

func planCommand() *cobra.Command {
	var r deployFlags
	command := &cobra.Command{
		Use:   "plan",
		Short: "Show what deploy would do",
		Args:  cobra.NoArgs,
		Long: `Shows what deploy would make, change, replace and remove, each with the reason, and does nothing. Rules
of the security groups and routes that somebody changed by hand are among it, and mended by deploy. What cannot be
deployed is an error here, too, as far as it can be known before.

Exit codes: 0 done, whatever there is to do; 1 failed; 2 bad input.`,
		Example: `  goldsmith stack plan
  goldsmith stack plan --file blue.hcl --json | jq -r '.changes[] | select(.action == "replace") | .reason'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.open(cmd)
			if err != nil {
				return err
			}
			p, err := deploy.Plan(cmd.Context(), s, r.d)
			if err != nil {
				return err
			}
			if r.asJSON {
				return printJSON(cmd, p)
			}
			return printPlan(cmd.OutOrStdout(), p)
		},
	}
	r.flags(command)
	r.imageFlags(command)
	return command
}

func printPlan(w io.Writer, p plan.Plan) error {
	for _, note := range p.Notes {
		fmt.Fprintln(w, "note: "+note)
	}
	if len(p.Changes) == 0 {
		fmt.Fprintln(w, "nothing to do: the stack is what its file says")
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	count := map[string]int{}
	for _, c := range p.Changes {
		count[c.Action]++
		id := c.ID
		if id == "" {
			id = "-"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", c.Action, c.What, id, c.Reason)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(
		w,
		"%d to create, %d to change, %d to replace, %d to remove\n",
		count["create"],
		count["change"],
		count["replace"],
		count["remove"],
	)
	return err
}
