//go:build acceptance

package bakes

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// mustBake is a bake that has to succeed, and its AMI.
func mustBake(t *testing.T, name, source string) (types.Image, string) {
	t.Helper()
	out, err := rig.Bake{Name: name, Source: source}.Run(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, rig.End(t, out))
	}
	return rig.ImageNamed(t, name), out
}

// roles are the names of the IAM roles that a build could have made.
func roles(t *testing.T) []string {
	t.Helper()
	conf, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	client := iam.NewFromConfig(conf)
	out, err := client.ListRoles(context.Background(), &iam.ListRolesInput{})
	if err != nil {
		t.Fatal(err)
	}
	profiles, err := client.ListInstanceProfiles(context.Background(), &iam.ListInstanceProfilesInput{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, role := range out.Roles {
		names = append(names, *role.RoleName)
	}
	for _, profile := range profiles.InstanceProfiles {
		names = append(names, *profile.InstanceProfileName)
	}
	return names
}

// TestPublishedImage has an AMI shared, dated and protected, baked on the second type that was named and under a
// profile that was made for it.
func TestPublishedImage(t *testing.T) {
	before := rig.Inventory(t)
	soon := time.Now().AddDate(1, 0, 0).UTC().Truncate(time.Minute).Format(time.RFC3339)
	seen := make(chan types.Instance, 1)
	out, err := rig.Bake{
		Name:         "t-published",
		Source:       publishedSource(soon),
		Provisioners: rig.Command("sleep 3"),
		At:           regexp.MustCompile(`at work for 1 s`),
		Then:         func() { lookAtBuild(seen, "goldsmith build t-published") },
	}.Run(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, rig.End(t, out))
	}
	image := rig.ImageNamed(t, "t-published")
	t.Cleanup(func() {
		if _, refused := rig.API.DisableImageDeregistrationProtection(context.Background(),
			&ec2.DisableImageDeregistrationProtectionInput{ImageId: image.ImageId}); refused != nil {
			t.Error(refused)
		}
		rig.DeregisterNow(t, image)
		rig.AssertNothingLeft(t, before)
	})
	t.Run("instance", func(t *testing.T) { assertBuiltWithProfile(t, out, seen) })
	t.Run("AMI", func(t *testing.T) { assertPublished(t, image, soon) })
	t.Run("permissions", func(t *testing.T) { assertShared(t, image) })
	t.Run("tags", func(t *testing.T) { assertPublishedTags(t, image) })
	t.Run("protection", func(t *testing.T) {
		_, refused := rig.API.DeregisterImage(t.Context(), &ec2.DeregisterImageInput{ImageId: image.ImageId})
		if refused == nil || !strings.Contains(refused.Error(), "OperationNotPermitted") {
			t.Errorf("it is protected, and deregistering it gives %v", refused)
		}
	})
}

// publishedSource has what EC2 cannot serve as the first type, and another account that the AMI is shared with.
func publishedSource(deprecateAt string) string {
	return fmt.Sprintf(`
instance_type   = "m5.metal"
instance_types  = ["t3.micro"]
ami_users       = ["210987654321"]
snapshot_users  = ["210987654321"]
ami_regions     = ["us-east-1"]
deprecate_at    = %q
shutdown_behavior = "terminate"
ena_support     = true
tags            = { both = "1" }
snapshot_tags   = { mine = "2" }
deregistration_protection { enabled = true }
temporary_iam_instance_profile_policy_document {
  Statement {
    Effect   = "Allow"
    Action   = ["s3:GetObject"]
    Resource = ["*"]
  }
}
`, deprecateAt)
}

// lookAtBuild sends the build's instance, if it has a profile.
func lookAtBuild(seen chan<- types.Instance, name string) {
	found, err := rig.API.DescribeInstances(context.Background(), &ec2.DescribeInstancesInput{
		Filters: []types.Filter{
			{Name: aws.String("tag:Name"), Values: []string{name}},
			{Name: aws.String("instance-state-name"), Values: []string{"running"}},
		},
	})
	if err == nil && len(found.Reservations) == 1 &&
		found.Reservations[0].Instances[0].IamInstanceProfile != nil {
		seen <- found.Reservations[0].Instances[0]
	}
}

func assertBuiltWithProfile(t *testing.T, out string, seen <-chan types.Instance) {
	t.Helper()
	if !strings.Contains(out, "no room: m5.metal") {
		t.Errorf("it does not say that there was no room:\n%s", rig.End(t, out))
	}
	select {
	case instance := <-seen:
		if instance.InstanceType != "t3.micro" ||
			!strings.Contains(*instance.IamInstanceProfile.Arn, "/goldsmith-build-") {
			t.Errorf("baked on %s under %s", instance.InstanceType, *instance.IamInstanceProfile.Arn)
		}
	default:
		t.Errorf("no instance with a profile was seen:\n%s", rig.End(t, out))
	}
	for _, name := range roles(t) {
		if strings.HasPrefix(name, "goldsmith-build-") {
			t.Errorf("left behind: %s", name)
		}
	}
}

func assertPublished(t *testing.T, image types.Image, soon string) {
	t.Helper()
	protection, deprecated := aws.ToString(image.DeregistrationProtection), aws.ToString(image.DeprecationTime)
	if image.ImdsSupport != types.ImdsSupportValuesV20 || protection != "enabled-without-cooldown" ||
		aws.ToBool(image.Public) || !strings.HasPrefix(deprecated, strings.TrimSuffix(soon, "Z")) {
		t.Errorf("the AMI is %s, %s, %s, public: %v",
			image.ImdsSupport, protection, deprecated, aws.ToBool(image.Public))
	}
}

func assertShared(t *testing.T, image types.Image) {
	t.Helper()
	launch, err := rig.API.DescribeImageAttribute(t.Context(), &ec2.DescribeImageAttributeInput{
		ImageId:   image.ImageId,
		Attribute: types.ImageAttributeNameLaunchPermission,
	})
	if err != nil || len(launch.LaunchPermissions) != 1 ||
		aws.ToString(launch.LaunchPermissions[0].UserId) != "210987654321" {
		t.Errorf("launch permissions: %+v, %v", launch, err)
	}
	volume, err := rig.API.DescribeSnapshotAttribute(t.Context(), &ec2.DescribeSnapshotAttributeInput{
		SnapshotId: image.BlockDeviceMappings[0].Ebs.SnapshotId,
		Attribute:  types.SnapshotAttributeNameCreateVolumePermission,
	})
	if err != nil || len(volume.CreateVolumePermissions) != 1 ||
		aws.ToString(volume.CreateVolumePermissions[0].UserId) != "210987654321" {
		t.Errorf("volume permissions: %+v, %v", volume, err)
	}
}

func assertPublishedTags(t *testing.T, image types.Image) {
	t.Helper()
	snapshots, err := rig.API.DescribeSnapshots(t.Context(), &ec2.DescribeSnapshotsInput{
		SnapshotIds: []string{*image.BlockDeviceMappings[0].Ebs.SnapshotId},
	})
	if err != nil || tagged(snapshots.Snapshots[0].Tags, "mine") != "2" ||
		tagged(snapshots.Snapshots[0].Tags, "both") != "1" {
		t.Errorf("the snapshot: %+v, %v", snapshots, err)
	}
	if tagged(image.Tags, "both") != "1" || tagged(image.Tags, "mine") != "" ||
		tagged(image.Tags, "goldsmith:build") == "" ||
		tagged(image.Tags, "goldsmith:unfinished") != "" {
		t.Errorf("the AMI's tags: %+v", image.Tags)
	}
}

func tagged(tags []types.Tag, key string) string {
	for _, tag := range tags {
		if aws.ToString(tag.Key) == key {
			return aws.ToString(tag.Value)
		}
	}
	return ""
}

// TestReplacedImage bakes under one name three times: the second is refused, the third takes the first one's place. An
// AMI that says it is unfinished is then gone on from without an instance.
func TestReplacedImage(t *testing.T) {
	before := rig.Inventory(t)
	ctx := context.Background()
	first, _ := mustBake(t, "t-replaced", "")
	out, err := rig.Bake{Name: "t-replaced"}.Run(t)
	if err == nil || !strings.Contains(out, *first.ImageId) || !strings.Contains(out, "force_deregister") ||
		strings.Contains(out, "Launching") {
		t.Errorf("a name that is taken: %v\n%s", err, rig.End(t, out))
	}
	second, out := mustBake(t, "t-replaced", "force_deregister = true\nforce_delete_snapshot = true")
	if *second.ImageId == *first.ImageId || !strings.Contains(out, "Deregistering "+*first.ImageId) {
		t.Errorf("%s was not replaced:\n%s", *first.ImageId, rig.End(t, out))
	}
	left, gone := rig.API.DescribeSnapshots(ctx,
		&ec2.DescribeSnapshotsInput{SnapshotIds: []string{*first.BlockDeviceMappings[0].Ebs.SnapshotId}})
	if gone == nil && len(left.Snapshots) > 0 {
		t.Errorf("the snapshot of %s is still there", *first.ImageId)
	}
	_, err = rig.API.CreateTags(
		ctx,
		&ec2.CreateTagsInput{
			Resources: []string{*second.ImageId},
			Tags:      []types.Tag{{Key: aws.String("goldsmith:unfinished"), Value: aws.String("t-replaced")}},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	third, out := mustBake(t, "t-replaced", `ami_users = ["210987654321"]`)
	if *third.ImageId != *second.ImageId || strings.Contains(out, "Launching") ||
		!strings.Contains(out, "Going on from the AMI "+*second.ImageId) ||
		tagged(third.Tags, "goldsmith:unfinished") != "" {
		t.Errorf("%s was not gone on from:\n%s", *second.ImageId, rig.End(t, out))
	}
	rig.DeregisterNow(t, third)
	rig.AssertNothingLeft(t, before)
}

func TestNoImage(t *testing.T) {
	before := rig.Inventory(t)
	out, err := rig.Bake{Source: "skip_create_ami = true"}.Run(t)
	if err != nil || !strings.Contains(out, "Making no AMI") {
		t.Errorf("%v\n%s", err, rig.End(t, out))
	}
	rig.AssertNothingLeft(t, before)
}

// TestOptionFaults has each end with what the user needs to know and with nothing left behind.
func TestOptionFaults(t *testing.T) {
	before := rig.Inventory(t)
	for _, c := range []struct {
		source   string
		validate bool
		want     []string
	}{
		{`instance_type = "m5.metal"`, false, []string{"InsufficientInstanceCapacity", "instance_types", "m5.metal"}},
		{`ami_regions = ["eu-west-1"]`, false, []string{"ami_regions", "eu-west-1"}},
		{`ami_users = ["all"]`, true, []string{"ami_users", "ami_groups"}},
		{`deprecate_at = "2020-01-01T00:00:00Z"`, true, []string{"deprecate_at"}},
		{`temporary_iam_instance_profile_policy_document { Version = "2012-10-17" }`, true,
			[]string{"temporary_iam_instance_profile_policy_document.Statement"}},
	} {
		out, err := rig.Bake{Source: c.source, Validate: c.validate}.Run(t)
		for _, want := range c.want {
			if err == nil || !strings.Contains(out, want) {
				t.Errorf("%s: %v, without %q:\n%s", c.source, err, want, rig.End(t, out))
			}
		}
	}
	rig.AssertNothingLeft(t, before)
}
