package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// stackFile is the stack file's name where none is given.
const stackFile = "stack.hcl"

func stackCommand() *cobra.Command {
	stack := &cobra.Command{
		Use:   "stack",
		Short: "The stack file, and what deploying it would do",
		Long: `Checks the stack file, and shows what deploying it would do.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith stack validate\n  goldsmith stack plan",
	}
	stack.AddCommand(validateCommand(), planCommand())
	return stack
}

func validateCommand() *cobra.Command {
	var asJSON bool
	validate := &cobra.Command{
		Use: "validate [FILE]", Short: "Check a stack file, and show what it comes to",
		Long: `Checks a stack file, stack.hcl if none is named, and shows what it comes to, or everything that is wrong
with it. It asks nobody: what EC2 knows, whether an image is there for example, is not checked.

Exit codes: 0 the file is good; 2 bad input.`,
		Example: "  goldsmith stack validate\n  goldsmith stack validate blue.hcl --json | jq .network",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := stackFile
			if len(args) == 1 {
				path = args[0]
			}
			file, err := stackfile.Read(path)
			if errors.Is(err, fs.ErrNotExist) && len(args) == 0 {
				return &usageError{
					fmt.Errorf(
						"%w\nhint: without one a stack is the default one; name another: goldsmith stack validate FILE",
						err,
					),
				}
			}
			if err != nil {
				return &usageError{err}
			}
			if asJSON {
				return printJSON(cmd, file)
			}
			return printStack(cmd.OutOrStdout(), file)
		},
	}
	validate.Flags().BoolVar(&asJSON, "json", false, "the whole file as JSON, with what it leaves to the defaults")
	return validate
}

// printStack tells a stack in a few lines.
func printStack(w io.Writer, f *stackfile.File) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name string, parts ...string) {
		fmt.Fprintf(table, "%s\t%s\n", name, strings.Join(parts, ", "))
	}
	where := "region of the AWS configuration"
	if f.Region != "" {
		where = f.Region
	}
	if f.CustomEndpointEC2 != "" {
		where += " at " + f.CustomEndpointEC2
	}
	line("stack", f.Name, where, "operator "+f.Operator.String())
	line("network", networkText(f.Network)...)
	d, v := f.Database, f.Database.DataVolume
	db := append(tierText(d.Tier, 1), fmt.Sprintf("%d GiB of %s", v.Size, v.Type))
	if d.ServiceAddress.IsValid() {
		db = append(db, "found at "+d.ServiceAddress.String())
	}
	line(defaultstack.Database, db...)
	line(
		defaultstack.Web,
		append(
			tierText(f.Web.Tier, f.Web.Count),
			"kept by "+map[string]string{"single": "Goldsmith", "asg": "an Auto Scaling group"}[f.Web.Scaling],
		)...)
	h := f.HealthCheck
	line(
		"healthy",
		fmt.Sprintf("%d × %s in a row, every %v", h.HealthyThreshold, h.Path, h.Interval),
		fmt.Sprintf("within %v", h.Deadline),
	)
	line(
		"deploy",
		fmt.Sprintf("watched for %v", f.Deploy.BakeTime),
		fmt.Sprintf("drained for %v", f.Deploy.DrainTime),
		fmt.Sprintf("%v at most", f.Deploy.Timeout),
	)
	return table.Flush()
}

func networkText(n stackfile.Network) []string {
	if !n.Existing() {
		made := []string{
			"made: " + n.CIDR.String(),
			"public " + n.PublicCIDR.String(),
			"private " + n.PrivateCIDR.String(),
		}
		if n.AvailabilityZone != "" {
			made = append(made, "in "+n.AvailabilityZone)
		}
		return made
	}
	if n.VPCID != "" {
		return []string{"there: " + n.VPCID}
	}
	return []string{fmt.Sprintf("there: the VPC with %d tags", len(n.VPCTags))}
}

func tierText(t stackfile.Tier, count int32) []string {
	image := "the current release"
	switch {
	case t.AMI != "":
		image = t.AMI
	case t.Release != "":
		image = "release " + t.Release
	}
	text := []string{fmt.Sprintf("%d × %s of %s", count, t.InstanceType, image), t.Subnet + " subnet"}
	if len(t.Rules) > 0 {
		text = append(text, fmt.Sprintf("more rules: %d", len(t.Rules)))
	}
	return text
}
