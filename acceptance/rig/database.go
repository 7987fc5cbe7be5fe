//go:build acceptance

package rig

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

func ImageNamed(t testing.TB, name string) types.Image {
	t.Helper()
	out, err := API.DescribeImages(
		context.Background(),
		&ec2.DescribeImagesInput{
			Owners:  []string{"self"},
			Filters: []types.Filter{{Name: aws.String("name"), Values: []string{name}}},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Images) != 1 {
		t.Fatalf("%d images named %s, want 1", len(out.Images), name)
	}
	return out.Images[0]
}

// OwnImages are the images of the account.
func OwnImages(t testing.TB) []types.Image {
	t.Helper()
	out, err := API.DescribeImages(context.Background(), &ec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Images
}

func DeregisterAtEnd(t testing.TB, image types.Image) {
	t.Cleanup(func() { DeregisterNow(t, image) })
}

// DeregisterNow removes an image and its snapshots.
func DeregisterNow(t testing.TB, image types.Image) {
	t.Helper()
	ctx := context.Background()
	if _, err := API.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: image.ImageId}); err != nil {
		t.Error(err)
	}
	for _, device := range image.BlockDeviceMappings {
		if device.Ebs == nil || device.Ebs.SnapshotId == nil {
			continue
		}
		if _, err := API.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: device.Ebs.SnapshotId}); err != nil {
			t.Error(err)
		}
	}
}

// LaunchDatabase runs a db image beside the stack's, as the stack's db tier at another address.
func LaunchDatabase(t *testing.T, image, name, address string) {
	t.Helper()
	settings := instance.Settings{Stack: StackName, Tier: "db", Kind: instance.KindData,
		Parameters: "/goldsmith/" + StackName, Clients: []string{"10.0.1.0/24"}}
	if report := ReportOfDatabase(t, image, name, address, settings, nil); !report.Ready {
		t.Fatalf("%s is not ready: %+v", name, report.Checks)
	}
}

// ReportOfDatabase launches a db image in the stack's private subnet, with what change makes of the request, and waits
// for what it says of itself.
func ReportOfDatabase(
	t *testing.T,
	image, name, address string,
	settings instance.Settings,
	change func(*ec2.RunInstancesInput),
) instance.Report {
	t.Helper()
	ctx := context.Background()
	db := Tier(t, "db")
	userData, err := settings.UserData("")
	if err != nil {
		t.Fatal(err)
	}
	input := &ec2.RunInstancesInput{
		ImageId:            &image,
		InstanceType:       db.InstanceType,
		MinCount:           aws.Int32(1),
		MaxCount:           aws.Int32(1),
		KeyName:            db.KeyName,
		SubnetId:           db.SubnetId,
		PrivateIpAddress:   &address,
		SecurityGroupIds:   []string{*db.SecurityGroups[0].GroupId},
		IamInstanceProfile: &types.IamInstanceProfileSpecification{Arn: db.IamInstanceProfile.Arn},
		UserData:           aws.String(base64.StdEncoding.EncodeToString(userData)),
		TagSpecifications: []types.TagSpecification{
			{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("Name"), Value: &name}}},
		},
	}
	if change != nil {
		change(input)
	}
	out, err := API.RunInstances(ctx, input)
	if err != nil {
		t.Fatal(err)
	}
	id := *out.Instances[0].InstanceId
	TerminateAtEnd(t, id)
	for range 240 {
		console, err := API.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id})
		if err != nil {
			t.Fatal(err)
		}
		text, err := base64.StdEncoding.DecodeString(aws.ToString(console.Output))
		if err != nil {
			t.Fatal(err)
		}
		if report, ok := instance.FindReport(text); ok {
			return report
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Fatalf("%s (%s) did not report within two minutes", name, id)
	return instance.Report{}
}

func TerminateAtEnd(t testing.TB, id string) {
	t.Cleanup(func() {
		ctx := context.Background()
		if _, err := API.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
			t.Error(err)
			return
		}
		if err := waitTerminated(ctx, id); err != nil {
			t.Error(err)
		}
	})
}
