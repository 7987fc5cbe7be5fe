package builder

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
)

// share gives the AMI and its copies their attributes and lets in whom the configuration names, and nobody else. What
// others see comes after all else that can fail in a region; the protection, which cannot always be taken back, comes
// after everything in all of them.
func (b *bake) share(ctx context.Context) error {
	all := b.published()
	for _, p := range all {
		if err := b.shareIn(ctx, p); err != nil {
			return fmt.Errorf("%s in %s: %w", p.image, p.region, err)
		}
	}
	if !b.config.DeregistrationProtection.Enabled {
		return nil
	}
	b.ui.Say("Protecting the AMI from being deregistered...")
	for _, p := range all {
		_, err := p.api.EnableImageDeregistrationProtection(ctx, &ec2.EnableImageDeregistrationProtectionInput{ImageId: aws.String(p.image),
			WithCooldown: aws.Bool(b.config.DeregistrationProtection.WithCooldown)})
		if err != nil {
			return fmt.Errorf("deregistration_protection: %s in %s: %w", p.image, p.region, err)
		}
	}
	return nil
}

func (b *bake) shareIn(ctx context.Context, p publication) error {
	c := b.config
	var out *ec2.DescribeImagesOutput
	err := poll(ctx, await.Settle, func(ctx context.Context) (_ bool, err error) {
		out, err = p.api.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{p.image}})
		return err == nil, err
	})
	if err != nil {
		return err
	}
	if len(out.Images) != 1 {
		return fmt.Errorf("it is not described")
	}
	image := out.Images[0]
	if aws.ToBool(image.Public) && !slices.Contains(c.AMIGroups, "all") {
		return fmt.Errorf(`it is public, and ami_groups does not say "all"`)
	}
	if image.ImdsSupport == "" {
		_, err := p.api.ModifyImageAttribute(ctx, &ec2.ModifyImageAttributeInput{ImageId: image.ImageId, ImdsSupport: &types.AttributeValue{Value: aws.String(c.AMIIMDSSupport)}})
		if err != nil {
			return fmt.Errorf("imds_support: %w", err)
		}
	}
	if c.DeprecationTime != "" {
		at, err := time.Parse(time.RFC3339, c.DeprecationTime)
		if err != nil {
			return fmt.Errorf("deprecate_at: %w", err)
		}
		if _, err := p.api.EnableImageDeprecation(ctx, &ec2.EnableImageDeprecationInput{ImageId: image.ImageId, DeprecateAt: aws.Time(at)}); err != nil {
			return fmt.Errorf("deprecate_at: %w", err)
		}
	}
	if err := b.shareSnapshots(ctx, p.api, image); err != nil {
		return err
	}
	if permissions := c.launchPermissions(); len(permissions) > 0 {
		b.ui.Say(fmt.Sprintf("Sharing %s in %s...", p.image, p.region))
		_, err := p.api.ModifyImageAttribute(ctx, &ec2.ModifyImageAttributeInput{ImageId: image.ImageId, LaunchPermission: &types.LaunchPermissionModifications{Add: permissions}})
		if err != nil {
			return fmt.Errorf("ami_users, ami_groups, ami_org_arns, ami_ou_arns: %w", err)
		}
	}
	return nil
}

// launchPermissions are those whom the configuration names.
func (c *Config) launchPermissions() []types.LaunchPermission {
	var all []types.LaunchPermission
	for _, user := range c.AMIUsers {
		all = append(all, types.LaunchPermission{UserId: aws.String(user)})
	}
	for _, group := range c.AMIGroups {
		all = append(all, types.LaunchPermission{Group: types.PermissionGroup(group)})
	}
	for _, arn := range c.AMIOrgArns {
		all = append(all, types.LaunchPermission{OrganizationArn: aws.String(arn)})
	}
	for _, arn := range c.AMIOuArns {
		all = append(all, types.LaunchPermission{OrganizationalUnitArn: aws.String(arn)})
	}
	return all
}

// shareSnapshots lets volumes be made of an AMI's snapshots. EC2 takes users and groups in calls of their own.
func (b *bake) shareSnapshots(ctx context.Context, api ec2API, image types.Image) error {
	var users, groups []types.CreateVolumePermission
	for _, user := range b.config.SnapshotUsers {
		users = append(users, types.CreateVolumePermission{UserId: aws.String(user)})
	}
	for _, group := range b.config.SnapshotGroups {
		groups = append(groups, types.CreateVolumePermission{Group: types.PermissionGroup(group)})
	}
	for attribute, permissions := range map[string][]types.CreateVolumePermission{"snapshot_users": users, "snapshot_groups": groups} {
		if len(permissions) == 0 {
			continue
		}
		for _, snapshot := range snapshotsOf(image) {
			_, err := api.ModifySnapshotAttribute(ctx, &ec2.ModifySnapshotAttributeInput{SnapshotId: aws.String(snapshot), Attribute: types.SnapshotAttributeNameCreateVolumePermission,
				CreateVolumePermission: &types.CreateVolumePermissionModifications{Add: permissions}})
			if err != nil {
				return fmt.Errorf("%s: %s: %w", attribute, snapshot, err)
			}
		}
	}
	return nil
}

// snapshotsOf are the snapshots that an AMI is made of.
func snapshotsOf(image types.Image) []string {
	var ids []string
	for _, device := range image.BlockDeviceMappings {
		if device.Ebs != nil && aws.ToString(device.Ebs.SnapshotId) != "" {
			ids = append(ids, *device.Ebs.SnapshotId)
		}
	}
	return ids
}
