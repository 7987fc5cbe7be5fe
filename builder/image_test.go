package builder

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	registryimage "github.com/hashicorp/packer-plugin-sdk/packer/registry/image"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
)

// imageFails has the image that is made fail.
func imageFails(a *account) {
	a.Watch("CreateImage", func(any, any) {
		a.In(here).SetImage(theImage, func(i *types.Image) {
			i.State, i.StateReason = types.ImageStateFailed, &types.StateReason{Message: aws.String("snapshot lost")}
		})
	})
}

func TestImageThatFailsIsRemoved(t *testing.T) {
	a := newAccount(t)
	imageFails(a)
	err := bakeOf(t, a, "b1", nil).try(t.Context())
	if err == nil || !strings.Contains(err.Error(), theImage) || !strings.Contains(err.Error(), "snapshot lost") ||
		len(a.left()) > 0 {
		t.Errorf("got %v, left %v", err, a.left())
	}
}

// TestSnapshotsGoWithTheImage has the image's snapshot be in use for some moments after the image went, and others that
// were being made for it when it was taken back.
func TestSnapshotsGoWithTheImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		imageFails(a)
		a.In(here).Hold(theSnapshot, theImage, 2)
		a.In(here).AddSnapshot(types.Snapshot{
			SnapshotId:  aws.String("snap-0late"),
			Description: aws.String("Created by CreateImage(" + theInstance + ") for " + theImage),
		})
		a.In(here).AddSnapshot(types.Snapshot{SnapshotId: aws.String("snap-0other")})
		err := bakeOf(t, a, "b1", nil).try(t.Context())
		if err == nil || !slices.Equal(a.left(), []string{"snap-0other"}) {
			t.Errorf("got %v, left %v", err, a.left())
		}
	})
}

// TestLateInterruptKeepsTheImage has the interrupt come when the AMI is done: it is the build's result then, and an
// error would leave it behind with nobody knowing.
func TestLateInterruptKeepsTheImage(t *testing.T) {
	a := newAccount(t)
	ctx, cancel := context.WithCancel(t.Context())
	a.Watch("TerminateInstances", func(any, any) { cancel() })
	err := bakeOf(t, a, "b1", nil).try(ctx)
	if err != nil || !slices.Equal(a.left(), []string{theImage, theSnapshot}) {
		t.Errorf("got %v, left %v", err, a.left())
	}
}

func TestPlace(t *testing.T) {
	free := func(id string, count int32) types.Subnet {
		return types.Subnet{SubnetId: aws.String(id), AvailableIpAddressCount: aws.Int32(count)}
	}
	byFilter := func(attribute, name, value, more string) map[string]any {
		filter := map[string]any{"filters": map[string]string{name: value}}
		if more != "" {
			filter[more] = true
		}
		return map[string]any{attribute: filter}
	}
	for _, c := range []struct {
		name   string
		change map[string]any
		want   string // the subnet, or what the error names
	}{
		{"most free", byFilter("subnet_filter", "vpc-id", "vpc-0aaaaaaaa", "most_free"), "subnet-0bbbbbbbb"},
		{"several", byFilter("subnet_filter", "vpc-id", "vpc-0aaaaaaaa", ""), "2 subnets match"},
		{"one VPC", byFilter("vpc_filter", "vpc-id", "vpc-0aaaaaaaa", ""), "subnet-0aaaaaaaa"},
		{"no VPC", byFilter("vpc_filter", "vpc-id", "vpc-0dddddddd", ""), "0 VPCs match"},
		{"two VPCs", byFilter("vpc_filter", "vpc-id", "vpc-0*", ""), "2 VPCs match"},
	} {
		a := newAccount(t)
		a.In(here).AddSubnet(types.Subnet{VpcId: aws.String("vpc-0bbbbbbbb")})
		a.subnets(free("subnet-0aaaaaaaa", 1), free("subnet-0bbbbbbbb", 2))
		places, err := findPlaces(t.Context(), bakeOf(t, a, "b1", c.change).job)
		if err == nil && places[0].subnet != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %+v, %v, want %s", c.name, places, err, c.want)
		}
	}
}

func TestNameThatIsTaken(t *testing.T) {
	a := newAccount(t)
	a.put(here, "0cccccccc", "db-1", "b0")
	err := bakeOf(t, a, "b1", nil).adoptOrCheckNames(t.Context())
	if err == nil || !strings.Contains(err.Error(), `ami_name: "db-1" is taken by ami-0cccccccc`) {
		t.Errorf("got %v", err)
	}
}

// TestCleanupThatFails has the user told what is left and by which tag to find it.
func TestCleanupThatFails(t *testing.T) {
	a := newAccount(t)
	boom := errors.New("boom")
	a.fails("DeleteKeyPair", boom)
	err := bakeOf(t, a, "b1", nil).try(t.Context())
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), buildTag+"=b1") || a.has(theInstance) ||
		a.has(theGroup) {
		t.Errorf("got %v, left %v", err, a.left())
	}
}

func TestArtifactTellsTheRegistry(t *testing.T) {
	of := &artifact{
		all:    []publication{{here, theImage, nil}},
		source: "ami-0aaaaaaaa",
		state:  map[string]any{"generated_data": "x"},
	}
	images, ok := of.State(registryimage.ArtifactStateURI).([]*registryimage.Image)
	if !ok || len(images) != 1 {
		t.Fatalf("got %+v", images)
	}
	image := images[0]
	if image.ImageID != theImage || image.ProviderName != "aws" || image.ProviderRegion != here ||
		image.SourceImageID != "ami-0aaaaaaaa" {
		t.Errorf("got %+v", image)
	}
	if of.State("generated_data") != "x" || of.State("other") != nil {
		t.Error("the state is not what the build put there")
	}
}

// TestGroupThatIsHeld has the group go although EC2 says at first that something is still in it.
func TestGroupThatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.Fail(
			ec2fake.Fault{
				Call: "DeleteSecurityGroup",
				Nth:  1,
				Err:  ec2fake.Err(apierror.DependencyViolation, theGroup),
			},
		)
		err := bakeOf(t, a, "b1", nil).try(t.Context())
		if err != nil || a.has(theGroup) || len(a.Calls("DeleteSecurityGroup")) != 2 {
			t.Errorf("got %v, left %v", err, a.left())
		}
	})
}

// TestEC2ThatIsBusy has EC2 not know what is new at first and then be asked too much, in every wait of a build.
func TestEC2ThatIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.Pace = pace
		rows := []*apierror.Row{
			apierror.InvalidInstanceIDNotFound,
			apierror.RequestLimitExceeded,
			apierror.InternalError,
		}
		for n := range 30 { // each fourth look is answered
			err := ec2fake.Errf(rows[n%3], "not now")
			nth := n/3*4 + n%3 + 1
			a.Fail(ec2fake.Fault{Call: "DescribeInstances", When: byID, Nth: nth, Err: err})
			a.Fail(ec2fake.Fault{Call: "DescribeImages", When: byID, Nth: nth, Err: err})
		}
		err := bakeOf(t, a, "b1", nil).try(t.Context())
		if err != nil || !slices.Equal(a.left(), []string{theImage, theSnapshot}) {
			t.Errorf("got %v, left %v", err, a.left())
		}
		looks := 0
		for _, call := range a.Calls("DescribeInstances", "DescribeImages") {
			if byID(call.Input) {
				looks++
			}
		}
		if looks < 8 {
			t.Errorf("only %d looks", looks)
		}
	})
}

// TestEC2ThatLags has EC2 not find, for a while, what was made.
func TestEC2ThatLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(t)
		a.Lag, a.Pace = pace/2, pace
		boom := errors.New("boom")
		a.fails("CreateImage", boom)
		if err := bakeOf(t, a, "b1", policy(nil)).try(t.Context()); !errors.Is(err, boom) || len(a.left()) > 0 {
			t.Errorf("got %v, left %v", err, a.left())
		}
	})
}

// TestNothingIsLeftOfWhatIsNotShown has the answer to a call be lost, or the build be interrupted at its answer, while
// filters do not show yet what it made.
func TestNothingIsLeftOfWhatIsNotShown(t *testing.T) {
	for _, name := range []string{"CreateSecurityGroup", "RunInstances", "CreateImage"} {
		for _, lag := range []time.Duration{3 * time.Second, 10 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				a.Lag = lag
				a.Fail(ec2fake.Fault{Call: name, Late: true, Err: ec2fake.Err(apierror.InternalError)})
				if err := bakeOf(t, a, "b1", nil).try(t.Context()); err == nil || len(a.left()) > 0 {
					t.Errorf("%s is not answered, lag %s: got %v, left %v", name, lag, err, a.left())
				}
			})
			synctest.Test(t, func(t *testing.T) {
				a := newAccount(t)
				a.Lag = lag
				ctx, interrupt := context.WithCancel(t.Context())
				defer interrupt()
				a.Watch(name, func(any, any) { interrupt() })
				if err := bakeOf(t, a, "b1", nil).try(ctx); !errors.Is(err, context.Canceled) || len(a.left()) > 0 {
					t.Errorf("interrupted at %s, lag %s: got %v, left %v", name, lag, err, a.left())
				}
			})
		}
	}
}

// pace is how long EC2 takes to do something.
const pace = 30 * time.Second

// byID tells whether something is asked for by what it is called: not the source AMI.
func byID(in any) bool {
	switch in := in.(type) {
	case *ec2.DescribeInstancesInput:
		return len(in.InstanceIds) > 0
	case *ec2.DescribeImagesInput:
		return slices.Contains(in.ImageIds, theImage)
	}
	return false
}
