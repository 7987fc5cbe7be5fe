package stack

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

// Roles of an instance, and of a data volume that is to take the place of another.
const (
	Candidate = "candidate"
	Serving   = "serving"
	Retired   = "retired"
)

// Instance is one of the stack's.
type Instance struct {
	ID      string    `json:"id"`
	Tier    string    `json:"tier"`
	State   string    `json:"state"`
	Image   string    `json:"image"`
	Private string    `json:"private,omitempty"`
	Public  string    `json:"public,omitempty"`
	Since   time.Time `json:"since"`
	// Role is candidate, serving or retired.
	Role   string `json:"role"`
	Detail Detail `json:"-"`
}

// Detail is the part of an instance's state that is used internally and not shown.
type Detail struct {
	Deploy    string // the deployment that launched it
	Group     string // the Auto Scaling group that launched it
	Tags      []types.Tag
	Type      string
	Subnet    string // its id
	Settings  string // digest of what it was launched with
	Service   string // of a data tier: the service address that it has when it serves
	Server    string // of a data tier: its database server
	Volume    string // of a data tier: the data volume that it is made for
	Interface string // primary network interface
}

// Instances are the stack's, but for those that are terminated.
func (s *Stack) Instances(ctx context.Context) ([]Instance, error) {
	filters := s.OwnFilters("instance-state-name", "pending,running,stopping,stopped")
	described, err := ec2ops.Instances(ctx, s.EC2, &ec2.DescribeInstancesInput{Filters: filters})
	if err != nil {
		return nil, fmt.Errorf("list the instances of stack %s: %w", s.Name, err)
	}
	var all []Instance
	for _, i := range described {
		if tier := ec2ops.TagValue(i.Tags, TierTag); tier != "" {
			all = append(all, InstanceOf(i, tier))
		}
	}
	slices.SortFunc(all, func(a, b Instance) int { return strings.Compare(a.Tier+a.ID, b.Tier+b.ID) })
	return all, nil
}

// InstanceOf is an instance of a tier as EC2 describes it.
func InstanceOf(i types.Instance, tier string) Instance {
	found := Instance{
		ID:      aws.ToString(i.InstanceId),
		Tier:    tier,
		Image:   aws.ToString(i.ImageId),
		Private: aws.ToString(i.PrivateIpAddress),
		Public:  aws.ToString(i.PublicIpAddress),
		Since:   aws.ToTime(i.LaunchTime),
		Role:    cmp.Or(ec2ops.TagValue(i.Tags, RoleTag), Serving),
		Detail: Detail{
			Deploy:   ec2ops.TagValue(i.Tags, DeployTag),
			Group:    ec2ops.TagValue(i.Tags, GroupTag),
			Tags:     i.Tags,
			Type:     string(i.InstanceType),
			Subnet:   aws.ToString(i.SubnetId),
			Settings: ec2ops.TagValue(i.Tags, SettingsTag),
			Service:  ec2ops.TagValue(i.Tags, AddressTag),
			Server:   ec2ops.TagValue(i.Tags, ServerTag),
			Volume:   ec2ops.TagValue(i.Tags, VolumeTag),
		},
	}
	if i.State != nil {
		found.State = string(i.State.Name)
	}
	for _, eni := range i.NetworkInterfaces {
		if eni.Attachment != nil && aws.ToInt32(eni.Attachment.DeviceIndex) == 0 {
			found.Detail.Interface = aws.ToString(eni.NetworkInterfaceId)
		}
	}
	return found
}

// Describe returns an instance as it is now.
func (s *Stack) Describe(ctx context.Context, id string) (Instance, error) {
	i, err := ec2ops.Instance(ctx, s.EC2, id)
	if err != nil {
		return Instance{}, err
	}
	return InstanceOf(i, ec2ops.TagValue(i.Tags, TierTag)), nil
}

// ServingOf is the instance that serves a tier by itself; without one it is empty. Of two, where the end of the older
// one broke off, it is the younger.
func ServingOf(all []Instance, tier string) Instance {
	var found Instance
	for _, i := range all {
		if i.Tier != tier || i.Role != Serving || i.Detail.Group != "" {
			continue
		}
		if found.ID == "" || i.Detail.Deploy > found.Detail.Deploy {
			found = i
		}
	}
	return found
}

// Others are the instances of a tier but for one, and but for those that an Auto Scaling group keeps.
func Others(all []Instance, tier string, keeper Instance) []Instance {
	return slices.DeleteFunc(slices.Clone(all), func(i Instance) bool {
		return i.Tier != tier || i.ID == keeper.ID || i.Detail.Group != ""
	})
}

// IDs are those of instances.
func IDs(all []Instance) []string {
	var ids []string
	for _, i := range all {
		ids = append(ids, i.ID)
	}
	return ids
}

// ImageTags returns the values of a tag of the images that instances run, by image. An image that is gone, or another
// account's without the tag, has none.
func (s *Stack) ImageTags(ctx context.Context, tag string, instances ...Instance) (map[string]string, error) {
	var ids []string
	for _, i := range instances {
		if i.Image != "" && !slices.Contains(ids, i.Image) {
			ids = append(ids, i.Image)
		}
	}
	values := map[string]string{}
	if len(ids) == 0 {
		return values, nil
	}
	// By a filter: of ids in the request itself, one that is gone would fail the whole.
	in := &ec2.DescribeImagesInput{Filters: []types.Filter{ec2ops.Filter("image-id", ids...)}}
	found, err := ec2ops.Images(ctx, s.EC2, in)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", strings.Join(ids, ", "), err)
	}
	for _, image := range found {
		values[aws.ToString(image.ImageId)] = ec2ops.TagValue(image.Tags, tag)
	}
	return values, nil
}
