package builder

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/quotas"
)

const (
	here   = "us-east-1"
	abroad = "eu-west-1"

	debian    = "ami-0123456789abcdef0"
	theSubnet = "subnet-0aaaaaaaa"

	// What the account calls what a build makes: the first of each kind.
	theInstance = "i-00000001"
	theGroup    = "sg-00000001"
	theImage    = "ami-00000001"
	theSnapshot = "snap-00000001"
	// The second image is the copy, or the old one that is registered again.
	nextImage    = "ami-00000002"
	nextSnapshot = "snap-00000002"
)

// account is a fake account with a source AMI and a subnet. It holds all builds to what they owe it: everything that
// they make has the build's tag, no instance without IMDSv2, no way in but for the caller.
type account struct {
	*ec2fake.Account
	there []string // from the start
}

func newAccount(t *testing.T) *account {
	a := &account{Account: ec2fake.New(t)}
	a.Console = func(types.Instance) string { return "kernel panic" }
	a.In(here).AddImage(types.Image{
		ImageId:        aws.String(debian),
		Name:           aws.String("debian"),
		OwnerId:        aws.String("136693071363"),
		CreationDate:   aws.String("2026-01-01"),
		RootDeviceName: aws.String("/dev/xvda"),
		BlockDeviceMappings: []types.BlockDeviceMapping{{
			DeviceName: aws.String("/dev/xvda"),
			Ebs:        &types.EbsBlockDevice{VolumeSize: aws.Int32(8)},
		}},
	})
	a.subnets(types.Subnet{SubnetId: aws.String(theSubnet), AvailableIpAddressCount: aws.Int32(10)})
	t.Cleanup(func() { a.holdToIt(t) })
	return a
}

// subnets has the account have these subnets and no others, all of one VPC unless they name one.
func (a *account) subnets(all ...types.Subnet) {
	a.In(here).RemoveSubnets()
	for _, wanted := range all {
		wanted.DefaultForAz, wanted.MapPublicIpOnLaunch = aws.Bool(true), aws.Bool(true)
		if wanted.VpcId == nil {
			wanted.VpcId = aws.String("vpc-0aaaaaaaa")
		}
		a.In(here).AddSubnet(wanted)
	}
	a.there = a.Things()
}

// holdToIt looks at all calls that were made.
func (a *account) holdToIt(t *testing.T) {
	for _, call := range a.Calls() {
		input := reflect.ValueOf(call.Input).Elem()
		specs := input.FieldByName("TagSpecifications")
		if specs.IsValid() && !strings.HasPrefix(call.Name, "Authorize") {
			tagged(t, call.Name, specs.Interface().([]types.TagSpecification))
		}
		switch in := call.Input.(type) {
		case *ec2.RunInstancesInput:
			if in.MetadataOptions.HttpTokens != types.HttpTokensStateRequired || aws.ToString(in.ClientToken) == "" {
				t.Errorf("launched with %+v and token %q", in.MetadataOptions, aws.ToString(in.ClientToken))
			}
		case *ec2.AuthorizeSecurityGroupIngressInput:
			ranges := in.IpPermissions[0].IpRanges
			if len(in.IpPermissions) != 1 || len(ranges) != 1 || aws.ToString(ranges[0].CidrIp) != "192.0.2.1/32" {
				t.Errorf("the group lets in %v, the caller alone is due", in.IpPermissions)
			}
		case *iam.CreateRoleInput:
			taggedInIAM(t, call.Name, in.Tags)
		case *iam.CreateInstanceProfileInput:
			taggedInIAM(t, call.Name, in.Tags)
		}
	}
}

func tagged(t *testing.T, call string, specs []types.TagSpecification) {
	if len(specs) == 0 {
		t.Errorf("%s makes something without a tag", call)
	}
	for _, spec := range specs {
		if ec2ops.TagValue(spec.Tags, buildTag) == "" {
			t.Errorf("%s makes a %s without the build's tag", call, spec.ResourceType)
		}
	}
}

func taggedInIAM(t *testing.T, call string, tags []iamtypes.Tag) {
	ours := func(tag iamtypes.Tag) bool { return *tag.Key == buildTag && *tag.Value != "" }
	if !slices.ContainsFunc(tags, ours) {
		t.Errorf("%s makes something without the build's tag", call)
	}
}

// left are the ids of resources, in all regions, that were not there from the start.
func (a *account) left() []string {
	return slices.DeleteFunc(a.Things(), func(id string) bool { return slices.Contains(a.there, id) })
}

func (a *account) has(id string) bool { return slices.Contains(a.Things(), id) }

// fails has each call of an operation fail before it does its work.
func (a *account) fails(call string, err error) { a.Fail(ec2fake.Fault{Call: call, Err: err}) }

// put makes an image of a build and its snapshot.
func (a *account) put(region, suffix, name, build string, pairs ...string) *types.Image {
	snapshot := a.In(region).AddSnapshot(types.Snapshot{SnapshotId: aws.String("snap-" + suffix)})
	return a.In(region).AddImage(types.Image{
		ImageId:        aws.String("ami-" + suffix),
		Name:           aws.String(name),
		RootDeviceName: aws.String("/dev/xvda"),
		Tags:           ec2ops.TagPairs(append([]string{buildTag, build}, pairs...)...),
		BlockDeviceMappings: []types.BlockDeviceMapping{{
			DeviceName: aws.String("/dev/xvda"),
			Ebs:        &types.EbsBlockDevice{SnapshotId: aws.String(snapshot), Encrypted: aws.Bool(true)},
		}},
	})
}

// launches are those that were asked for.
func (a *account) launches() []*ec2.RunInstancesInput {
	return inputsTo[*ec2.RunInstancesInput](a, "RunInstances")
}

// inputsTo are the inputs of the calls of an operation.
func inputsTo[T any](a *account, call string) []T {
	var all []T
	for _, made := range a.Calls(call) {
		all = append(all, made.Input.(T))
	}
	return all
}

// tried are the launches in short: type and subnet.
func (a *account) tried() []string {
	var all []string
	for _, in := range a.launches() {
		all = append(all, tryOf(in))
	}
	return all
}

func tryOf(in *ec2.RunInstancesInput) string {
	return string(in.InstanceType) + " " + strings.TrimPrefix(aws.ToString(in.NetworkInterfaces[0].SubnetId), "subnet-")
}

// bakeOf is a bake of a configuration without a fault; change says what is different.
func bakeOf(t *testing.T, a *account, id string, change map[string]any) *bake {
	t.Helper()
	b := &Builder{}
	if _, _, err := b.Prepare(valid(change)); err != nil {
		t.Fatal(err)
	}
	conf := a.Config()
	clientIn := clients(conf)
	return newBake(&job{
		config: &b.config,
		ui:     packersdk.TestUi(t),
		ec2:    clientIn(here),
		iam:    iam.NewFromConfig(conf),
		region: here,
		id:     id,
		quotas: quotas.Open(conf),

		elsewhere: clientIn,
		caller:    func(context.Context) (string, error) { return "192.0.2.1", nil },
	})
}

// try runs the bake's own steps, without those that need a machine.
func (b *bake) try(ctx context.Context) error {
	all := []multistep.Step{b.step("check", b.check, nil), b.step("name", b.adoptOrCheckNames, nil)}
	all = append(all, b.launchingSteps()...)
	(&multistep.BasicRunner{Steps: append(all, b.imageSteps()...)}).Run(ctx, b.state)
	return b.outcome(ctx)
}

// launchOne is a bake whose instance runs.
func launchOne(t *testing.T, a *account, change map[string]any) (*bake, error) {
	t.Helper()
	b := bakeOf(t, a, "b1", change)
	for _, do := range []func(context.Context) error{b.check, b.makeKeyPair, b.makeSecurityGroup, b.makeProfile} {
		if err := do(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return b, b.launch(t.Context())
}
