package ec2ops

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
)

// account is an EC2 with one AMI and snapshots.
type account struct {
	began     time.Time
	snapshots []string
	// inUse is by what a snapshot is in use, until when.
	inUse string
	until time.Duration
	// described are snapshots that are made for the AMI, which are seen from then on.
	described []string
	from      time.Duration
	calls     int
	fault     error
}

func (a *account) DeregisterImage(
	context.Context,
	*ec2.DeregisterImageInput,
	...func(*ec2.Options),
) (*ec2.DeregisterImageOutput, error) {
	return nil, a.fault
}

func (a *account) DescribeSnapshots(
	_ context.Context,
	in *ec2.DescribeSnapshotsInput,
	_ ...func(*ec2.Options),
) (*ec2.DescribeSnapshotsOutput, error) {
	out := &ec2.DescribeSnapshotsOutput{}
	for _, id := range a.described {
		if time.Since(a.began) >= a.from &&
			slices.Contains(in.Filters[0].Values, "Created by CreateImage(*) for ami-1*") {
			out.Snapshots = append(out.Snapshots, types.Snapshot{SnapshotId: aws.String(id)})
		}
	}
	return out, nil
}

func (a *account) DeleteSnapshot(
	_ context.Context,
	in *ec2.DeleteSnapshotInput,
	_ ...func(*ec2.Options),
) (*ec2.DeleteSnapshotOutput, error) {
	a.calls++
	if a.inUse != "" && time.Since(a.began) < a.until {
		return nil, ec2fake.Err(apierror.InvalidSnapshotInUse, *in.SnapshotId, a.inUse)
	}
	i := slices.Index(a.snapshots, *in.SnapshotId)
	if i < 0 {
		return nil, ec2fake.Err(apierror.InvalidSnapshotNotFound, *in.SnapshotId)
	}
	a.snapshots = slices.Delete(a.snapshots, i, i+1)
	return nil, nil
}

func imageOf(state types.ImageState, snapshots ...string) types.Image {
	image := types.Image{ImageId: aws.String("ami-1"), State: state}
	for _, id := range snapshots {
		image.BlockDeviceMappings = append(
			image.BlockDeviceMappings,
			types.BlockDeviceMapping{Ebs: &types.EbsBlockDevice{SnapshotId: aws.String(id)}},
		)
	}
	return image
}

func TestDeregister(t *testing.T) {
	for _, c := range []struct {
		name    string
		account account
		image   types.Image
		left    int
		want    string // of the error
	}{
		{"plain", account{snapshots: []string{"snap-1", "snap-2"}}, imageOf("available", "snap-1", "snap-2"), 0, ""},
		{
			"in use for a while",
			account{snapshots: []string{"snap-1", "snap-2"}, inUse: "ami-1", until: 20 * time.Second},
			imageOf("available", "snap-1", "snap-2"), 0, "",
		},
		{
			"in use for ever", account{snapshots: []string{"snap-1"}, inUse: "ami-1", until: time.Hour},
			imageOf("available", "snap-1"), 1, "delete snap-1 of ami-1",
		},
		{
			"in use by another", account{snapshots: []string{"snap-1"}, inUse: "ami-2", until: time.Hour},
			imageOf("available", "snap-1"), 1, "in use by ami-2",
		},
		{"gone already", account{}, imageOf("available", "snap-1"), 0, ""},
		{
			"being made",
			account{snapshots: []string{"snap-1"}, described: []string{"snap-1"}, from: 5 * time.Second},
			imageOf("pending"), 0, "",
		},
		{
			"being made, one of two is named",
			account{snapshots: []string{"snap-1", "snap-2"}, described: []string{"snap-1", "snap-2"}},
			imageOf("pending", "snap-1"), 0, "",
		},
		{"being made, and none is", account{}, imageOf("pending"), 0, ""},
		{
			"the image is gone",
			account{snapshots: []string{"snap-1"}, fault: ec2fake.Err(apierror.InvalidAMIIDUnavailable, "ami-1")},
			imageOf("available", "snap-1"), 0, "",
		},
		{
			"EC2 has a fault",
			account{snapshots: []string{"snap-1"}, fault: ec2fake.Errf(apierror.Unavailable, "")},
			imageOf("available", "snap-1"), 1, "deregister ami-1",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := c.account
				a.began = time.Now()
				err := Deregister(t.Context(), &a, c.image)
				if c.want == "" && err != nil ||
					c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) ||
					len(a.snapshots) != c.left {
					t.Errorf("got %v, left %v", err, a.snapshots)
				}
				if c.name == "in use by another" && a.calls != 1 || time.Since(a.began) > 2*time.Minute {
					t.Errorf("%d calls in %s", a.calls, time.Since(a.began))
				}
			})
		})
	}
}
