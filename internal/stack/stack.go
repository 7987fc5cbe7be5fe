// Package stack is the two-tier stack on EC2: its network, what its instances need to know, and its instances. There is
// no state file: the tags on the resources are the state.
package stack

import (
	"context"
	"net/netip"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/console"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// Tags of everything that belongs to a stack.
const (
	stackTag  = "goldsmith:stack"
	subnetTag = "goldsmith:subnet"
	tierTag   = "goldsmith:tier"
	// roleTag is what an instance is to its tier: candidate, serving or retired.
	roleTag = "goldsmith:role"
	// deployTag is the id of the deployment that made something. Ids sort by time.
	deployTag = "goldsmith:deploy"
	// addressTag tells the stack's elastic addresses apart: nat, web or zone. On an instance of the db tier it is the service
	// address that it has when it serves.
	addressTag = "goldsmith:address"
	// dataTag is on the data volume, with the tier as its value, and on its snapshots. A volume that is to take the place of
	// another has candidate as its value, until it has.
	dataTag = "goldsmith:data"
	// volumeTag is on an instance of the db tier the data volume that it is made for.
	volumeTag = "goldsmith:volume"
	// serverTag is on a data volume the newest database server that opened it, on an instance the one that it has.
	serverTag = "goldsmith:server"
	// settingsTag is on an instance a digest of what it was launched with, but for its image.
	settingsTag = "goldsmith:settings"
)

// Roles of an instance.
const (
	candidate = "candidate"
	serving   = "serving"
	retired   = "retired"
)

// Stack is one stack in one region.
type Stack struct {
	name string
	file *stackfile.File
	ec2  *ec2.Client
	iam  *iam.Client
	ssm  *ssm.Client
	conf aws.Config
	say  func(format string, args ...any)
	// observer is told what a deployment moves and stops, while one goes on.
	observer *observer

	consoles  *console.Reader
	scaling   *autoscaling.Client
	balancing *elasticloadbalancingv2.Client
}

// New is the stack that a file describes. say is told what goes on, a line at a time.
func New(conf aws.Config, file *stackfile.File, say func(format string, args ...any)) *Stack {
	return &Stack{name: file.Name, file: file, ec2: ec2.NewFromConfig(conf), iam: iam.NewFromConfig(conf), ssm: ssm.NewFromConfig(conf), conf: conf, say: say, consoles: console.Shared,
		scaling: autoscaling.NewFromConfig(conf), balancing: elasticloadbalancingv2.NewFromConfig(conf)}
}

// Named is the default stack under a name, for those who have no stack file and only look, or prove images in it.
func Named(conf aws.Config, name string, say func(format string, args ...any)) (*Stack, error) {
	file, err := stackfile.Named(name)
	if err != nil {
		return nil, err
	}
	return New(conf, file, say), nil
}

// tier is what the stack file says of a tier.
func (s *Stack) tier(name string) *stackfile.Tier {
	if name == "db" {
		return &s.file.Database.Tier
	}
	return &s.file.Web.Tier
}

func (s *Stack) parameters() string { return "/goldsmith/" + s.name }

// mine is the filter for what belongs to the stack.
func (s *Stack) mine(more ...string) []types.Filter {
	all := []types.Filter{{Name: aws.String("tag:" + stackTag), Values: []string{s.name}}}
	for i := 0; i+1 < len(more); i += 2 {
		all = append(all, types.Filter{Name: aws.String(more[i]), Values: strings.Split(more[i+1], ",")})
	}
	return all
}

// tagged is the specification that a resource is made with, so that it is the stack's from its first moment.
func (s *Stack) tagged(kind types.ResourceType, name string, more ...string) []types.TagSpecification {
	return []types.TagSpecification{{ResourceType: kind, Tags: tagList(append([]string{"Name", name, stackTag, s.name}, more...)...)}}
}

// tagList are tags of keys and values in turn.
func tagList(pairs ...string) []types.Tag {
	var tags []types.Tag
	for i := 0; i+1 < len(pairs); i += 2 {
		tags = append(tags, types.Tag{Key: aws.String(pairs[i]), Value: aws.String(pairs[i+1])})
	}
	return tags
}

func tagOf(tags []types.Tag, key string) string {
	for _, tag := range tags {
		if aws.ToString(tag.Key) == key {
			return aws.ToString(tag.Value)
		}
	}
	return ""
}

// code is the code of an API's error, or empty.
func code(err error) string { return awserr.Code(err) }

// operator is who may log in, as instances see them.
func (s *Stack) operator(ctx context.Context) (netip.Prefix, error) {
	if given := s.file.Operator; !given.Auto() {
		return given.Prefix, nil
	}
	address, err := awsconfig.CallerAddress(ctx, s.conf)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(address, address.BitLen()), nil
}
