package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// account selects the stack and the AWS account of a command: the stack's name and file, and the AWS configuration.
type account struct {
	stack   string
	path    string
	options awsconfig.Options
	// conf is the SDK's configuration of these options, once a command has loaded it.
	conf aws.Config

	progress *progress
}

// flags are the flags of all commands that speak to EC2.
func (a *account) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.stack, "stack", "golden", "the stack's name; with a stack file it is that file's")
	f.StringVar(&a.path, "file", stackFile, "the stack file; without one, the stack is the default one of this name")
	f.StringVar(&a.options.Region, "region", "", "the region (default: the stack file's, AWS_REGION, or the profile's)")
	f.StringVar(&a.options.Profile, "profile", "", "the profile of the shared AWS configuration")
	f.StringVar(
		&a.options.Endpoint,
		"endpoint",
		"",
		"the URL of another EC2 API than AWS's own (default: AWS_ENDPOINT_URL)",
	)
}

// read is the stack file, with what the flags say instead. A file that lies in the working directory by chance must not
// describe another stack than the one that is named.
func (a *account) read(cmd *cobra.Command) (*stackfile.File, error) {
	file, err := stackfile.Read(a.path)
	if errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("file") {
		file, err = stackfile.Named(a.stack)
	} else if err == nil && cmd.Flags().Changed("stack") && a.stack != file.Name {
		err = fmt.Errorf(
			"--stack %s: the stack file %s is of stack %s\nhint: name the file of that stack: --file FILE",
			a.stack,
			a.path,
			file.Name,
		)
	}
	if err != nil {
		return nil, &usageError{err}
	}
	a.stack = file.Name
	from := file.AWS()
	a.options.Region, a.options.Profile, a.options.Endpoint = cmp.Or(
		a.options.Region,
		from.Region,
	), cmp.Or(
		a.options.Profile,
		from.Profile,
	), cmp.Or(
		a.options.Endpoint,
		from.Endpoint,
	)
	return file, nil
}

// open is the stack that the flags and the stack file name.
func (a *account) open(cmd *cobra.Command) (*stack.Stack, error) {
	file, err := a.read(cmd)
	if err != nil {
		return nil, err
	}
	return a.openFile(cmd, file)
}

func (a *account) openFile(cmd *cobra.Command, file *stackfile.File) (*stack.Stack, error) {
	conf, err := a.configuration(cmd)
	if err != nil {
		return nil, err
	}
	a.progress = newProgress(cmd.ErrOrStderr())
	return defaultstack.New(conf, file, a.progress.say), nil
}

func networkCommand() *cobra.Command {
	command := &cobra.Command{
		Use:     "network",
		Short:   "The network of a stack",
		Long:    "Makes, shows and removes the network of a stack.\n\nExit codes: 0 done; 1 failed; 2 bad input.",
		Example: "  goldsmith network up\n  goldsmith network show",
	}
	command.AddCommand(networkUpCommand(), networkShowCommand(), networkDownCommand())
	return command
}

func networkUpCommand() *cobra.Command {
	var a account
	var operator string
	up := &cobra.Command{
		Use: "up", Short: "Make the network what the stack file says", Args: cobra.NoArgs,
		Long: `Makes the stack's network: VPC 10.0.0.0/16 with a public subnet 10.0.1.0/24 and a private one
10.0.2.0/24, both in the first zone that has the instance types of both tiers, a reservation of the
database's address 10.0.2.10, internet gateway, NAT gateway with an elastic IP, a route table for each
subnet, and the security groups web-sg (22 from the operator, 80 and 443 from anywhere) and db-sg (22,
3306 and ICMP from web-sg). The stack file may name other ranges, the zone, more rules, or a VPC and
subnets that are there already, in which only the groups are made. What is there stays; rules and
routes that differ are mended. Run it again after it broke off; deploy does the same before anything
else.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith network up\n  goldsmith network up --stack blue --operator 192.0.2.7/32",
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := a.read(cmd)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("operator") {
				if err = file.Operator.UnmarshalText([]byte(operator)); err != nil {
					return &usageError{
						fmt.Errorf("--operator %s: auto or a range such as 192.0.2.1/32 is needed", operator),
					}
				}
			}
			s, err := a.openFile(cmd, file)
			if err != nil {
				return err
			}
			a.announce(cmd)
			n, changes, err := network.Up(cmd.Context(), s)
			if err != nil {
				return err
			}
			if len(changes) == 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "the network of stack %s is unchanged: %s\n", a.stack, n.VPC)
				return nil
			}
			fmt.Fprintf(
				cmd.OutOrStdout(),
				"the network of stack %s is up: %s, %d changes\n",
				a.stack,
				n.VPC,
				len(changes),
			)
			return nil
		},
	}
	a.flags(up)
	up.Flags().StringVar(&operator, "operator", "auto",
		"who may log in to the web tier: a range, or auto for this machine's own address (stack file: operator)")
	return up
}

func networkShowCommand() *cobra.Command {
	var a account
	show := &cobra.Command{
		Use:   "show",
		Short: "Print the network's ids as JSON",
		Args:  cobra.NoArgs,
		Long: `Prints what the stack's network is made of, as JSON; what is missing is empty.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith network show | jq -r .vpc",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open(cmd)
			if err != nil {
				return err
			}
			n, err := network.Find(cmd.Context(), s)
			if err != nil {
				return err
			}
			return printJSON(cmd, n)
		},
	}
	a.flags(show)
	return show
}

func networkDownCommand() *cobra.Command {
	var a account
	var yes bool
	down := &cobra.Command{
		Use:   "down",
		Short: "Remove the network",
		Args:  cobra.NoArgs,
		Long: `Removes the stack's network, once it was asked whether that is meant. While an instance is in it, it
refuses. Of a VPC that was there before the stack only the stack's security groups go.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith network down\n  goldsmith network down --stack blue --yes",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open(cmd)
			if err != nil {
				return err
			}
			a.announce(cmd)
			if err := confirm(cmd, yes, "remove the network of stack "+a.stack, a.stack); err != nil {
				return err
			}
			return network.Down(cmd.Context(), s)
		},
	}
	a.flags(down)
	down.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return down
}

func destroyCommand() *cobra.Command {
	var a account
	var yes bool
	destroy := &cobra.Command{
		Use:   "destroy",
		Short: "Remove the stack: instances, roles, parameters, release, key pair and network",
		Args:  cobra.NoArgs,
		Long: `Removes everything of the stack but its images and snapshots, once it was asked whether that is meant.
The data of a running database is lost with it.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith destroy\n  goldsmith destroy --stack golden --yes",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.open(cmd)
			if err != nil {
				return err
			}
			a.announce(cmd)
			if err := confirm(
				cmd,
				yes,
				"destroy stack "+a.stack+", with the data of its database",
				a.stack,
			); err != nil {
				return err
			}
			return deploy.Destroy(cmd.Context(), s)
		},
	}
	a.flags(destroy)
	destroy.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return destroy
}

// list makes an empty list [] in JSON and not null, which a script cannot iterate.
func list[T any](items []T) []T { return append([]T{}, items...) }

func printJSON(cmd *cobra.Command, value any) error {
	encoder := json.NewEncoder(cmd.OutOrStdout())
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}
