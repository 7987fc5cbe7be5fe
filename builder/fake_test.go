package builder

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

// account is an EC2 with one source image and one subnet. It keeps what is made and forgets what is removed; a call by
// a name in fails does not do its work.
type account struct {
	t     *testing.T
	fails map[string]error
	// late are calls that do their work and then fail, as when the answer is lost.
	late    map[string]error
	things  map[string][]types.Tag // what exists, by id
	order   []string               // of removals
	state   types.InstanceStateName
	images  []types.Image
	subnets []types.Subnet
	groups  []types.SecurityGroup
	shelf
}

func newAccount(t *testing.T) *account {
	return &account{t: t, fails: map[string]error{}, late: map[string]error{}, things: map[string][]types.Tag{},
		images: []types.Image{{ImageId: aws.String("ami-0aaaaaaaa"), Name: aws.String("debian"), State: types.ImageStateAvailable, RootDeviceType: types.DeviceTypeEbs,
			RootDeviceName: aws.String("/dev/xvda"), CreationDate: aws.String("2026-01-01"), BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(8)}}}}},
		subnets: []types.Subnet{{SubnetId: aws.String("subnet-0aaaaaaaa"), VpcId: aws.String("vpc-0aaaaaaaa"), AvailableIpAddressCount: aws.Int32(10)}},
	}
}

func gone(code string) error { return &smithy.GenericAPIError{Code: code, Message: "gone"} }

// do is the shape of each call: it may fail before or after its work.
func (a *account) do(name string, work func()) error {
	before, after := a.fails[name], a.late[name]
	if a.once { // what cleans up may make the same call
		delete(a.fails, name)
		delete(a.late, name)
	}
	if before != nil {
		return before
	}
	work()
	return after
}

func (a *account) make(id string, tags []types.TagSpecification) {
	if len(tags) == 0 {
		a.t.Errorf("%s is made without a tag", id)
		return
	}
	a.things[id] = tags[0].Tags
	for _, tag := range tags[0].Tags {
		if aws.ToString(tag.Key) == buildTag {
			return
		}
	}
	a.t.Errorf("%s is made without the build's tag", id)
}

func (a *account) remove(id, code string) error {
	if _, ok := a.things[id]; !ok {
		return gone(code)
	}
	delete(a.things, id)
	a.order = append(a.order, id)
	return nil
}

func (a *account) has(id string) bool { _, ok := a.things[id]; return ok }

func (a *account) DescribeImages(_ context.Context, in *ec2.DescribeImagesInput, _ ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	out := &ec2.DescribeImagesOutput{}
	err := a.do("DescribeImages", func() {
		if out.Images = a.find(in); out.Images == nil && !slices.Contains(in.Owners, "self") {
			out.Images = a.images
		}
	})
	return out, err
}

func (a *account) DescribeSubnets(context.Context, *ec2.DescribeSubnetsInput, ...func(*ec2.Options)) (*ec2.DescribeSubnetsOutput, error) {
	return &ec2.DescribeSubnetsOutput{Subnets: a.subnets}, a.fails["DescribeSubnets"]
}

func (a *account) DescribeVpcs(context.Context, *ec2.DescribeVpcsInput, ...func(*ec2.Options)) (*ec2.DescribeVpcsOutput, error) {
	return nil, fmt.Errorf("nobody told of DescribeVpcs")
}

func (a *account) DescribeSecurityGroups(_ context.Context, in *ec2.DescribeSecurityGroupsInput, _ ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupsOutput, error) {
	if len(in.GroupIds) > 0 {
		return &ec2.DescribeSecurityGroupsOutput{SecurityGroups: a.groups}, nil
	}
	out := &ec2.DescribeSecurityGroupsOutput{}
	if a.has("sg-0made") {
		out.SecurityGroups = []types.SecurityGroup{{GroupId: aws.String("sg-0made")}}
	}
	return out, nil
}

func (a *account) DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	out := &ec2.DescribeInstancesOutput{}
	if a.has("i-0made") {
		out.Reservations = []types.Reservation{{Instances: []types.Instance{{InstanceId: aws.String("i-0made"), State: &types.InstanceState{Name: a.state}, StateReason: a.reason, PublicIpAddress: aws.String("192.0.2.9")}}}}
	}
	return out, nil
}

func (a *account) DescribeSnapshots(_ context.Context, in *ec2.DescribeSnapshotsInput, _ ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error) {
	out := &ec2.DescribeSnapshotsOutput{}
	for _, filter := range in.Filters {
		switch aws.ToString(filter.Name) {
		case "description":
			for _, id := range a.pendingSnapshots(filter.Values) {
				out.Snapshots = append(out.Snapshots, types.Snapshot{SnapshotId: aws.String(id)})
			}
		case "tag:" + buildTag: // those of images are not of interest
		default:
			return nil, fmt.Errorf("nobody told of filter %s", aws.ToString(filter.Name))
		}
	}
	return out, a.fails["DescribeSnapshots"]
}

func (a *account) GetConsoleOutput(context.Context, *ec2.GetConsoleOutputInput, ...func(*ec2.Options)) (*ec2.GetConsoleOutputOutput, error) {
	return &ec2.GetConsoleOutputOutput{Output: aws.String("a2VybmVsIHBhbmlj")}, nil
}

func (a *account) ImportKeyPair(_ context.Context, in *ec2.ImportKeyPairInput, _ ...func(*ec2.Options)) (*ec2.ImportKeyPairOutput, error) {
	return &ec2.ImportKeyPairOutput{}, a.do("ImportKeyPair", func() { a.make("key", in.TagSpecifications) })
}

func (a *account) DeleteKeyPair(context.Context, *ec2.DeleteKeyPairInput, ...func(*ec2.Options)) (*ec2.DeleteKeyPairOutput, error) {
	return nil, a.remove("key", "InvalidKeyPair.NotFound")
}

func (a *account) CreateSecurityGroup(_ context.Context, in *ec2.CreateSecurityGroupInput, _ ...func(*ec2.Options)) (*ec2.CreateSecurityGroupOutput, error) {
	return &ec2.CreateSecurityGroupOutput{GroupId: aws.String("sg-0made")}, a.do("CreateSecurityGroup", func() { a.make("sg-0made", in.TagSpecifications) })
}

func (a *account) AuthorizeSecurityGroupIngress(_ context.Context, in *ec2.AuthorizeSecurityGroupIngressInput, _ ...func(*ec2.Options)) (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
	if got := aws.ToString(in.IpPermissions[0].IpRanges[0].CidrIp); got != "192.0.2.1/32" || len(in.IpPermissions) != 1 || len(in.IpPermissions[0].IpRanges) != 1 {
		a.t.Errorf("the group lets in %v, the caller alone is due", in.IpPermissions)
	}
	return nil, a.do("AuthorizeSecurityGroupIngress", func() {})
}

func (a *account) DeleteSecurityGroup(context.Context, *ec2.DeleteSecurityGroupInput, ...func(*ec2.Options)) (*ec2.DeleteSecurityGroupOutput, error) {
	if a.has("i-0made") {
		a.t.Error("the group is removed before its instance")
	}
	return nil, a.remove("sg-0made", "InvalidGroup.NotFound")
}

func (a *account) RunInstances(_ context.Context, in *ec2.RunInstancesInput, _ ...func(*ec2.Options)) (*ec2.RunInstancesOutput, error) {
	if in.MetadataOptions.HttpTokens != types.HttpTokensStateRequired || aws.ToString(in.ClientToken) == "" {
		a.t.Errorf("launched with %+v and token %q", in.MetadataOptions, aws.ToString(in.ClientToken))
	}
	if err := a.launching(in); err != nil {
		return nil, err
	}
	return &ec2.RunInstancesOutput{Instances: []types.Instance{{InstanceId: aws.String("i-0made")}}}, a.do("RunInstances", func() {
		a.make("i-0made", in.TagSpecifications)
		a.launched(in)
	})
}

func (a *account) StopInstances(context.Context, *ec2.StopInstancesInput, ...func(*ec2.Options)) (*ec2.StopInstancesOutput, error) {
	return nil, a.do("StopInstances", func() { a.state = types.InstanceStateNameStopped })
}

func (a *account) TerminateInstances(context.Context, *ec2.TerminateInstancesInput, ...func(*ec2.Options)) (*ec2.TerminateInstancesOutput, error) {
	return nil, a.remove("i-0made", "InvalidInstanceID.NotFound")
}

func (a *account) CreateTags(context.Context, *ec2.CreateTagsInput, ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error) {
	return &ec2.CreateTagsOutput{}, a.do("CreateTags", func() {})
}

func (a *account) CreateImage(_ context.Context, in *ec2.CreateImageInput, _ ...func(*ec2.Options)) (*ec2.CreateImageOutput, error) {
	if err := a.freeName(aws.ToString(in.Name)); err != nil {
		return nil, err
	}
	return &ec2.CreateImageOutput{ImageId: aws.String("ami-0made")}, a.do("CreateImage", func() {
		if a.state != types.InstanceStateNameStopped && !a.isSpot() {
			a.t.Errorf("an image is made of an instance that is %s", a.state)
		}
		a.put("0made", aws.ToString(in.Name), in.TagSpecifications)
		a.created = in.BlockDeviceMappings
	})
}

func (a *account) DeregisterImage(_ context.Context, in *ec2.DeregisterImageInput, _ ...func(*ec2.Options)) (*ec2.DeregisterImageOutput, error) {
	return nil, a.do("DeregisterImage", func() { a.take(aws.ToString(in.ImageId)) })
}

func (a *account) DeleteSnapshot(_ context.Context, in *ec2.DeleteSnapshotInput, _ ...func(*ec2.Options)) (*ec2.DeleteSnapshotOutput, error) {
	id := aws.ToString(in.SnapshotId)
	if a.inUse[id] > 0 {
		a.inUse[id]--
		image := strings.Replace(id, "snap-", "ami-", 1)
		return nil, &smithy.GenericAPIError{Code: "InvalidSnapshot.InUse", Message: "The snapshot " + id + " is currently in use by " + image}
	}
	return nil, a.remove(id, "InvalidSnapshot.NotFound")
}
