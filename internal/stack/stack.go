// Package stack is a stack on EC2 as values: its name, its tiers and their settings, the clients that it is asked and
// changed by, and the instances that run. It reads and never writes; the packages below it do the work. There is no
// state file: the tags on the resources are the state.
package stack

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/console"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// Tags of everything that belongs to a stack.
const (
	NameTag   = "Name"
	StackTag  = "goldsmith:stack"
	SubnetTag = "goldsmith:subnet"
	TierTag   = "goldsmith:tier"
	// RoleTag is an instance's role in its tier: candidate, serving or retired.
	RoleTag = "goldsmith:role"
	// DeployTag is the id of the deployment that made something. Ids sort by time.
	DeployTag = "goldsmith:deploy"
	// AddressTag tells the stack's elastic addresses apart: the name of a service tier, nat or zone. On an instance of
	// a data tier it is the service address that it has when it serves.
	AddressTag = "goldsmith:address"
	// DataTag is on a data volume, with the tier as its value, and on its snapshots. A volume that is to take the
	// place of another has Candidate as its value, until it has.
	DataTag = "goldsmith:data"
	// VolumeTag is on an instance of a data tier the data volume that it is made for.
	VolumeTag = "goldsmith:volume"
	// ServerTag is on a data volume the newest database server that opened it, on an instance the one that it has.
	ServerTag = "goldsmith:server"
	// SettingsTag is the tag with a digest of the settings that an instance was launched with, without its image.
	SettingsTag = "goldsmith:settings"
	// GroupTag is on the instances that an Auto Scaling group launched.
	GroupTag = "aws:autoscaling:groupName"
)

const (
	// Heartbeat is how often a process that works on a stack says so in a parameter.
	Heartbeat = 15 * time.Second
	// Silence is how long after its last heartbeat a process counts as dead, because it was killed for example.
	Silence = 4 * Heartbeat
)

// Settings are the stack file's blocks other than the tiers.
type Settings struct {
	Network  stackfile.Network
	Operator stackfile.Operator
	Deploy   stackfile.Deploy
	// PermissionsBoundary is the ARN of the policy that roles are made with as their boundary; empty is none.
	PermissionsBoundary string
}

// Stack is one stack in one region.
type Stack struct {
	Name string
	// Tiers are in the order in which a deployment moves them: who is needed comes before who needs it.
	Tiers    []Tier
	Settings Settings
	Config   aws.Config
	EC2      *ec2.Client
	IAM      *iam.Client
	SSM      *ssm.Client
	Consoles *console.Reader
	// Logf gets messages on the progress of the work, a line at a time.
	Logf func(format string, args ...any)
}

// New returns a stack of these tiers in the account and region of conf.
func New(conf aws.Config, name string, settings Settings, tiers []Tier, logf func(format string, args ...any)) *Stack {
	return &Stack{
		Name:     name,
		Tiers:    tiers,
		Settings: settings,
		Config:   conf,
		EC2:      ec2.NewFromConfig(conf, ec2ops.AwaitNew),
		IAM:      iam.NewFromConfig(conf),
		SSM:      ssm.NewFromConfig(conf),
		Consoles: console.Shared,
		Logf:     logf,
	}
}

// Tier returns the tier of a name; the zero Tier where there is none.
func (s *Stack) Tier(name string) Tier {
	for _, t := range s.Tiers {
		if t.Name == name {
			return t
		}
	}
	return Tier{}
}

// ParameterPath is the prefix of the names of the stack's parameters.
func (s *Stack) ParameterPath() string { return "/goldsmith/" + s.Name }

// OwnFilters returns the filter for what belongs to the stack, and more of them as names and comma-separated values in
// turn.
func (s *Stack) OwnFilters(more ...string) []types.Filter {
	all := []types.Filter{ec2ops.TagFilter(StackTag, s.Name)}
	for pair := range slices.Chunk(more, 2) {
		all = append(all, ec2ops.Filter(pair[0], strings.Split(pair[1], ",")...))
	}
	return all
}

// TagsFor returns the tags that a resource is created with, so that it is the stack's from its first moment. more are
// keys and values in turn.
func (s *Stack) TagsFor(kind types.ResourceType, name string, more ...string) []types.TagSpecification {
	pairs := append([]string{NameTag, name, StackTag, s.Name}, more...)
	return []types.TagSpecification{{ResourceType: kind, Tags: ec2ops.TagPairs(pairs...)}}
}

// MissingTags returns the keys of wanted tags that are not there, or have another value.
func MissingTags(is, wanted []types.Tag) []string {
	var keys []string
	for _, tag := range wanted {
		if ec2ops.TagValue(is, aws.ToString(tag.Key)) != aws.ToString(tag.Value) {
			keys = append(keys, aws.ToString(tag.Key))
		}
	}
	return keys
}

// OperatorRange is the source range from which SSH to the instances is allowed.
func (s *Stack) OperatorRange(ctx context.Context) (netip.Prefix, error) {
	if given := s.Settings.Operator; !given.Auto() {
		return given.Prefix, nil
	}
	address, err := awsconfig.CallerAddress(ctx, s.Config)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(address, address.BitLen()), nil
}

// ElasticAddress is the elastic address that a service tier is reached by; nil where there is none yet.
func (s *Stack) ElasticAddress(ctx context.Context, t Tier) (*types.Address, error) {
	filters := s.OwnFilters("tag:"+AddressTag, t.Name)
	out, err := s.EC2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: filters})
	if err != nil {
		return nil, fmt.Errorf("find the address of stack %s: %w", s.Name, err)
	}
	// The answer to an allocation may have been lost, and the next have made another: the one that is used counts.
	var found *types.Address
	for i := range out.Addresses {
		if found == nil || found.AssociationId == nil && out.Addresses[i].AssociationId != nil {
			found = &out.Addresses[i]
		}
	}
	return found, nil
}
