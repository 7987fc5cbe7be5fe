package builder

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	registryimage "github.com/hashicorp/packer-plugin-sdk/packer/registry/image"
)

// variant is an account with some answers of its own.
type variant struct {
	*account
	vpcs      []types.Vpc
	imageIs   types.ImageState
	terminate func()
}

func (v *variant) DescribeVpcs(context.Context, *ec2.DescribeVpcsInput, ...func(*ec2.Options)) (*ec2.DescribeVpcsOutput, error) {
	return &ec2.DescribeVpcsOutput{Vpcs: v.vpcs}, nil
}

func (v *variant) DescribeImages(ctx context.Context, in *ec2.DescribeImagesInput, o ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	out, err := v.account.DescribeImages(ctx, in, o...)
	if v.imageIs != "" && err == nil && len(in.ImageIds) == 1 && in.ImageIds[0] == "ami-0made" {
		out.Images[0].State, out.Images[0].StateReason = v.imageIs, &types.StateReason{Message: aws.String("snapshot lost")}
	}
	return out, err
}

func (v *variant) TerminateInstances(ctx context.Context, in *ec2.TerminateInstancesInput, o ...func(*ec2.Options)) (*ec2.TerminateInstancesOutput, error) {
	if v.terminate != nil {
		v.terminate()
	}
	return v.account.TerminateInstances(ctx, in, o...)
}

func TestImageThatFailsIsRemoved(t *testing.T) {
	a := newAccount(t)
	b := newBake(t, a, nil)
	b.ec2 = &variant{account: a, imageIs: types.ImageStateFailed}
	err := b.try(t.Context())
	if err == nil || !strings.Contains(err.Error(), "ami-0made") || !strings.Contains(err.Error(), "snapshot lost") || len(a.things) > 0 {
		t.Errorf("got %v, left %v", err, a.things)
	}
}

// TestSnapshotsGoWithTheImage has the image's snapshot be in use for some moments after the image went, and others that were
// being made for it when it was taken back.
func TestSnapshotsGoWithTheImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.inUse = map[string]int{"snap-0made": 2}
		a.making = map[string]string{"snap-0late": "ami-0made"}
		a.things["snap-0late"], a.things["snap-0other"] = nil, nil
		b := newBake(t, a, nil)
		b.ec2 = &variant{account: a, imageIs: types.ImageStateFailed}
		if err := b.try(t.Context()); err == nil || len(a.things) != 1 || !a.has("snap-0other") {
			t.Errorf("got %v, left %v", err, a.things)
		}
	})
}

// TestLateInterruptKeepsTheImage has the interrupt come when the AMI is done: it is the build's result then, and an
// error would leave it behind with nobody knowing.
func TestLateInterruptKeepsTheImage(t *testing.T) {
	a := newAccount(t)
	b := newBake(t, a, nil)
	ctx, cancel := context.WithCancel(t.Context())
	b.ec2 = &variant{account: a, terminate: cancel}
	if err := b.try(ctx); err != nil || !a.has("ami-0made") || a.has("i-0made") || a.has("sg-0made") || a.has("key") {
		t.Errorf("got %v, left %v", err, a.things)
	}
}

func TestPlace(t *testing.T) {
	subnet := func(id string, free int32) types.Subnet {
		return types.Subnet{SubnetId: aws.String(id), VpcId: aws.String("vpc-0aaaaaaaa"), AvailableIpAddressCount: aws.Int32(free)}
	}
	vpc := types.Vpc{VpcId: aws.String("vpc-0aaaaaaaa")}
	byFilter := func(attribute string, more string) map[string]any {
		filter := map[string]any{"filters": map[string]string{"tag:x": "y"}}
		if more != "" {
			filter[more] = true
		}
		return map[string]any{attribute: filter}
	}
	for _, c := range []struct {
		name   string
		change map[string]any
		vpcs   []types.Vpc
		want   string // the subnet, or what the error names
	}{
		{"most free", byFilter("subnet_filter", "most_free"), nil, "subnet-0bbbbbbbb"},
		{"several", byFilter("subnet_filter", ""), nil, "2 subnets match"},
		{"one VPC", byFilter("vpc_filter", ""), []types.Vpc{vpc}, "subnet-0aaaaaaaa"},
		{"no VPC", byFilter("vpc_filter", ""), nil, "0 VPCs match"},
		{"two VPCs", byFilter("vpc_filter", ""), []types.Vpc{vpc, vpc}, "2 VPCs match"},
	} {
		a := newAccount(t)
		a.subnets = []types.Subnet{subnet("subnet-0aaaaaaaa", 1), subnet("subnet-0bbbbbbbb", 2)}
		b := newBake(t, a, c.change)
		b.ec2 = &variant{account: a, vpcs: c.vpcs}
		err := b.findPlace(t.Context())
		if err == nil && b.place.subnet != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %+v, %v, want %s", c.name, b.place, err, c.want)
		}
	}
}

func TestNameThatIsTaken(t *testing.T) {
	a := newAccount(t)
	b := newBake(t, a, nil)
	b.ec2 = taken{a}
	if err := b.adoptOrCheckNames(t.Context()); err == nil || !strings.Contains(err.Error(), `ami_name: "db-1" is taken by ami-0cccccccc`) {
		t.Errorf("got %v", err)
	}
}

// taken is an account that has an image of any name.
type taken struct{ *account }

func (a taken) DescribeImages(ctx context.Context, in *ec2.DescribeImagesInput, o ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	if len(in.Owners) == 1 && in.Owners[0] == "self" {
		return &ec2.DescribeImagesOutput{Images: []types.Image{{ImageId: aws.String("ami-0cccccccc")}}}, nil
	}
	return a.account.DescribeImages(ctx, in, o...)
}

// TestCleanupThatFails has the user told what is left and by which tag to find it.
func TestCleanupThatFails(t *testing.T) {
	a := newAccount(t)
	boom := errors.New("boom")
	b := newBake(t, a, nil)
	b.ec2 = stuck{a, boom}
	err := b.try(t.Context())
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), buildTag+"=b1") || a.has("i-0made") || a.has("sg-0made") {
		t.Errorf("got %v, left %v", err, a.things)
	}
}

// stuck is an account whose key pairs cannot be removed.
type stuck struct {
	*account
	err error
}

func (s stuck) DeleteKeyPair(context.Context, *ec2.DeleteKeyPairInput, ...func(*ec2.Options)) (*ec2.DeleteKeyPairOutput, error) {
	return nil, s.err
}

func TestArtifactTellsTheRegistry(t *testing.T) {
	made := &artifact{all: []publication{{"us-east-1", "ami-0made", nil}}, source: "ami-0aaaaaaaa", state: map[string]any{"generated_data": "x"}}
	images, ok := made.State(registryimage.ArtifactStateURI).([]*registryimage.Image)
	if !ok || len(images) != 1 {
		t.Fatalf("got %+v", images)
	}
	image := images[0]
	if image.ImageID != "ami-0made" || image.ProviderName != "aws" || image.ProviderRegion != "us-east-1" || image.SourceImageID != "ami-0aaaaaaaa" {
		t.Errorf("got %+v", image)
	}
	if made.State("generated_data") != "x" || made.State("other") != nil {
		t.Error("the state is not what the build put there")
	}
}

// TestGroupThatIsHeld has the group go although EC2 says at first that something is still in it.
func TestGroupThatIsHeld(t *testing.T) {
	a := newAccount(t)
	b := newBake(t, a, nil)
	held := &holding{account: a, times: 1}
	b.ec2 = held
	if err := b.try(t.Context()); err != nil || a.has("sg-0made") || held.times != -1 {
		t.Errorf("got %v, left %v", err, a.things)
	}
}

// holding is an account whose groups are held for a number of removals.
type holding struct {
	*account
	times int
}

func (h *holding) DeleteSecurityGroup(ctx context.Context, in *ec2.DeleteSecurityGroupInput, o ...func(*ec2.Options)) (*ec2.DeleteSecurityGroupOutput, error) {
	if h.times--; h.times >= 0 {
		return nil, gone("DependencyViolation")
	}
	return h.account.DeleteSecurityGroup(ctx, in, o...)
}

// TestEC2ThatIsBusy has EC2 not know the new instance at first and then be asked too much, in every wait of a build.
func TestEC2ThatIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		b := newBake(t, a, nil)
		busy := &busyAccount{account: a}
		b.ec2 = busy
		if err := b.try(t.Context()); err != nil || !a.has("ami-0made") || a.has("i-0made") {
			t.Errorf("got %v, left %v", err, a.things)
		}
		if busy.refused < 6 {
			t.Errorf("only %d calls were refused", busy.refused)
		}
	})
}

// busyAccount answers only each fourth look at instances and images.
type busyAccount struct {
	*account
	looks, refused int
}

func (a *busyAccount) look() error {
	a.looks++
	code := []string{"", "InvalidInstanceID.NotFound", "RequestLimitExceeded", "InternalError"}[a.looks%4]
	if code == "" {
		return nil
	}
	a.refused++
	return gone(code)
}

func (a *busyAccount) DescribeInstances(ctx context.Context, in *ec2.DescribeInstancesInput, o ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	if len(in.InstanceIds) > 0 && a.state != types.InstanceStateNameTerminated && a.has("i-0made") {
		if err := a.look(); err != nil {
			return nil, err
		}
	}
	return a.account.DescribeInstances(ctx, in, o...)
}

func (a *busyAccount) DescribeImages(ctx context.Context, in *ec2.DescribeImagesInput, o ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	if len(in.ImageIds) > 0 && in.ImageIds[0] == "ami-0made" {
		if err := a.look(); err != nil {
			return nil, err
		}
	}
	return a.account.DescribeImages(ctx, in, o...)
}
