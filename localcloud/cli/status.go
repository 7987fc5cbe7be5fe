//go:build linux

package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/middleware"
	"github.com/spf13/cobra"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/daemon"
)

func client(ctx context.Context, name string) (*ec2.Client, error) {
	key, err := keyOf(ctx, name)
	if err != nil {
		return nil, err
	}
	endpoint, err := daemon.Endpoint(name)
	if err != nil {
		return nil, err
	}
	return ec2.New(ec2.Options{
		Region:           awsquery.Region,
		BaseEndpoint:     &endpoint,
		Credentials:      credentials.NewStaticCredentialsProvider(key.AccessKeyID, key.SecretAccessKey, ""),
		RetryMaxAttempts: 2,
		APIOptions:       []func(*middleware.Stack) error{awsconfig.KeepConnection},
	}), nil
}

// machine is an instance in the output of `cloud status`.
type machine struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Tier    string `json:"tier,omitempty"`
	State   string `json:"state"`
	Image   string `json:"image"`
	VPC     string `json:"vpc,omitempty"`
	Private string `json:"private,omitempty"`
	Public  string `json:"public,omitempty"`
	Key     string `json:"key,omitempty"`
}

func machines(ctx context.Context, name string) ([]machine, error) {
	// At its address may be another program.
	if _, err := findUp(name); err != nil {
		return nil, err
	}
	ec2API, err := client(ctx, name)
	if err != nil {
		return nil, err
	}
	var all []machine
	for pages := ec2.NewDescribeInstancesPaginator(ec2API, &ec2.DescribeInstancesInput{}); pages.HasMorePages(); {
		out, err := pages.NextPage(ctx)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil, notUp(name)
		}
		if err != nil {
			return nil, fmt.Errorf("list instances: %w", err)
		}
		all = append(all, machinesOf(out.Reservations)...)
	}
	return all, nil
}

func machinesOf(reservations []types.Reservation) []machine {
	var all []machine
	for _, reservation := range reservations {
		for _, i := range reservation.Instances {
			all = append(all, machine{
				ID:      *i.InstanceId,
				Name:    tag(i, "Name"),
				Tier:    tag(i, "goldsmith:tier"),
				State:   string(i.State.Name),
				Image:   aws.ToString(i.ImageId),
				VPC:     aws.ToString(i.VpcId),
				Private: aws.ToString(i.PrivateIpAddress),
				Public:  aws.ToString(i.PublicIpAddress),
				Key:     aws.ToString(i.KeyName),
			})
		}
	}
	return all
}

func tag(i types.Instance, key string) string {
	for _, t := range i.Tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// find is the instance that a person means: by its id, its name or its tier, a running one before another.
func find(all []machine, wanted string) (machine, error) {
	var names []string
	var found *machine
	for i, m := range all {
		if m.State == "terminated" {
			continue
		}
		names = append(names, strings.TrimSpace(m.ID+" "+m.Name))
		if (m.ID == wanted || m.Name == wanted || m.Tier == wanted) && (found == nil || m.State == "running") {
			found = &all[i]
		}
	}
	if found == nil {
		return machine{}, fmt.Errorf("find instance %q: there is none of this id, name or tier; there are: %s",
			wanted, strings.Join(names, ", "))
	}
	return *found, nil
}

// status is the output of `cloud status`; its JSON is for scripts.
type status struct {
	Name      string    `json:"name"`
	Endpoint  string    `json:"endpoint"`
	Manners   string    `json:"manners"`
	Instances []machine `json:"instances"`
	Images    []image   `json:"images"`
}

type image struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State string `json:"state"`
}

func statusCommand(name *string) *cobra.Command {
	var asJSON bool
	command := &cobra.Command{
		Use: "status", Short: "Show the local cloud's instances and images", Args: cobra.NoArgs,
		Long: `Shows where the local cloud's API is, its manners, its instances with their addresses, and its images. It
fails if the cloud is not up.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith cloud status\n  goldsmith cloud status --json | jq '.instances[].public'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := look(cmd.Context(), *name)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(found)
			}
			return found.print(cmd.OutOrStdout())
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return command
}

func look(ctx context.Context, name string) (status, error) {
	found := status{Name: name, Instances: []machine{}, Images: []image{}}
	all, err := machines(ctx, name)
	if err != nil {
		return status{}, err
	}
	running, err := daemon.Find(name)
	if err != nil {
		return status{}, err
	}
	found.Endpoint, found.Manners = running.Endpoint, running.Manners
	ec2API, err := client(ctx, name)
	if err != nil {
		return status{}, err
	}
	found.Instances = append(found.Instances, all...)
	out, err := ec2API.DescribeImages(ctx, &ec2.DescribeImagesInput{})
	if err != nil {
		return status{}, fmt.Errorf("list images: %w", err)
	}
	for _, i := range out.Images {
		found.Images = append(found.Images, image{
			ID:    aws.ToString(i.ImageId),
			Name:  aws.ToString(i.Name),
			State: string(i.State),
		})
	}
	return found, nil
}

func (s status) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "cloud %s at %s\n", s.Name, s.Endpoint)
	if s.Manners != "" {
		fmt.Fprintf(w, "manners %s\n", s.Manners)
	}
	fmt.Fprintln(w, "\nINSTANCE\tNAME\tSTATE\tPRIVATE\tPUBLIC\tIMAGE")
	for _, m := range s.Instances {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, m.Name, m.State, m.Private, m.Public, m.Image)
	}
	fmt.Fprintln(w, "\nIMAGE\tNAME\tSTATE")
	for _, i := range s.Images {
		fmt.Fprintf(w, "%s\t%s\t%s\n", i.ID, i.Name, i.State)
	}
	return w.Flush()
}

func logsCommand(name *string) *cobra.Command {
	var own bool
	logs := &cobra.Command{
		Use: "logs NAME|--daemon", Short: "Show an instance's console, or the cloud's own log",
		Long: `Shows the end of what an instance wrote to its console, by its id, name or tier. With --daemon, the local
cloud's own log.

Exit codes: 0 done; 1 failed; 2 bad input.`,
		Example: "  goldsmith cloud logs web\n  goldsmith cloud logs --daemon",
		Args: func(cmd *cobra.Command, args []string) error {
			if own {
				return cobra.NoArgs(cmd, args)
			}
			if len(args) != 1 {
				return &BadInput{errors.New("which instance? name one, or give --daemon")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if own {
				path, err := daemon.LogPath(*name)
				if err != nil {
					return err
				}
				text, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				_, err = cmd.OutOrStdout().Write(text)
				return err
			}
			m, err := lookUp(cmd.Context(), *name, args[0])
			if err != nil {
				return err
			}
			text, err := console(cmd.Context(), *name, m.ID)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	logs.Flags().BoolVar(&own, "daemon", false, "the local cloud's own log")
	return logs
}

func lookUp(ctx context.Context, name, wanted string) (machine, error) {
	all, err := machines(ctx, name)
	if err != nil {
		return machine{}, err
	}
	return find(all, wanted)
}

func console(ctx context.Context, name, id string) ([]byte, error) {
	ec2API, err := client(ctx, name)
	if err != nil {
		return nil, err
	}
	out, err := ec2API.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id, Latest: aws.Bool(true)})
	if err != nil {
		return nil, fmt.Errorf("read the console of %s: %w", id, err)
	}
	return base64.StdEncoding.DecodeString(aws.ToString(out.Output))
}
