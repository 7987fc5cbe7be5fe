package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/iampolicy"
)

func policyCommand() *cobra.Command {
	var a account
	purpose := string(iampolicy.All)
	command := &cobra.Command{
		Use:   "iam-policy",
		Short: "Print the IAM policy that baking and running a stack needs",
		Args:  cobra.NoArgs,
		Long: `Prints an IAM policy, as JSON, for one of those who work with stacks:

  bake       packer build with goldsmith-ami, its proof, and gc
  deploy     deploy, rollback and stack plan, of a stack that was deployed before
  ci         both of these
  bootstrap  network up, the first bake, the first deployment, and destroy
  read       status, history, images; no secret can be decrypted
  boundary   the permissions boundary of the roles that instances have
  all        everything, which is the default

With a stack file, or with --stack, it is for that stack alone, and for what it has: groups and networks
only where Goldsmith makes them. The region says in which partition the account is: aws, aws-us-gov or
aws-cn. What is ended or changed must carry Goldsmith's tags, or have its name, and instances are launched
with IMDSv2 only. With permissions_boundary in the stack file roles can only be made within that boundary;
without it who may make roles can give one any right and launch an instance with it: bake, ci, bootstrap
and all are then as good as an administrator of the account.

Exit codes: 0 done; 2 bad input.`,
		Example: `  goldsmith iam-policy --for ci >ci.json
  aws iam create-policy --policy-name goldsmith-ci --policy-document file://ci.json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request, err := policyRequest(cmd, &a, iampolicy.Purpose(purpose))
			if err != nil {
				return err
			}
			policy, err := request.Policy()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), string(policy))
			return err
		},
	}
	a.flags(command)
	command.Flags().StringVar(&purpose, "for", purpose, "who it is for: "+purposes())
	return command
}

func purposes() string {
	var names []string
	for _, p := range iampolicy.Purposes {
		names = append(names, string(p))
	}
	return strings.Join(names, ", ")
}

// policyRequest makes a request of the flags and of the stack file, if there is one. It calls no API.
func policyRequest(cmd *cobra.Command, a *account, purpose iampolicy.Purpose) (iampolicy.Request, error) {
	request := iampolicy.Request{Purpose: purpose, Groups: true, Networks: true}
	if !slices.Contains(iampolicy.Purposes, purpose) {
		return request, &usageError{fmt.Errorf("--for %s: one of %s is needed", purpose, purposes())}
	}
	_, noFile := os.Stat(a.path)
	file, err := a.read(cmd)
	if err != nil {
		return request, err
	}
	// Without a region anywhere it is for each of the commonest partition.
	if conf, err := awsconfig.Load(cmd.Context(), a.options); err == nil {
		request.Region = conf.Region
	}
	if noFile == nil {
		request.Stack, request.PermissionsBoundary = file.Name, file.PermissionsBoundary
		request.Groups, request.Networks = file.Web.Scaling == "asg", !file.Network.Existing()
	} else if cmd.Flags().Changed("stack") {
		request.Stack = file.Name
	}
	return request, nil
}
