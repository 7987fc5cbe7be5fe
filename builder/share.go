package builder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

// share gives the AMI and its copies their attributes and lets in whom the configuration names, and nobody else. What
// others see comes after all else that can fail in a region; the protection, which cannot always be taken back, comes
// after everything in all of them.
func share(ctx context.Context, j *job, all []publication) error {
	for _, p := range all {
		if err := shareIn(ctx, j, p); err != nil {
			return fmt.Errorf("%s in %s: %w", p.image, p.region, err)
		}
	}
	if !j.config.DeregistrationProtection.Enabled {
		return nil
	}
	j.ui.Say("Protecting the AMI from being deregistered...")
	for _, p := range all {
		_, err := p.api.EnableImageDeregistrationProtection(ctx, &ec2.EnableImageDeregistrationProtectionInput{
			ImageId:      aws.String(p.image),
			WithCooldown: aws.Bool(j.config.DeregistrationProtection.WithCooldown),
		})
		if err != nil {
			return fmt.Errorf("deregistration_protection: %s in %s: %w", p.image, p.region, err)
		}
	}
	return nil
}

func shareIn(ctx context.Context, j *job, p publication) error {
	c := j.config
	image, err := describeImage(ctx, p)
	if err != nil {
		return err
	}
	if aws.ToBool(image.Public) && !slices.Contains(c.AMIGroups, "all") {
		return errors.New(`it is public, and ami_groups does not say "all"`)
	}
	if err = setAttributes(ctx, c, p, image); err != nil {
		return err
	}
	if err = shareSnapshots(ctx, c, p.api, image); err != nil {
		return err
	}
	permissions := c.launchPermissions()
	if len(permissions) == 0 {
		return nil
	}
	j.ui.Say(fmt.Sprintf("Sharing %s in %s...", p.image, p.region))
	_, err = p.api.ModifyImageAttribute(ctx, &ec2.ModifyImageAttributeInput{
		ImageId:          image.ImageId,
		LaunchPermission: &types.LaunchPermissionModifications{Add: permissions},
	})
	if err != nil {
		return fmt.Errorf("ami_users, ami_groups, ami_org_arns, ami_ou_arns: %w", err)
	}
	return nil
}

// describeImage is the AMI as it is now: others may have changed it while it was pending.
func describeImage(ctx context.Context, p publication) (image types.Image, err error) {
	err = await.Until(ctx, await.Settle, func(ctx context.Context) (bool, error) {
		found, callErr := ec2ops.Images(ctx, p.api, &ec2.DescribeImagesInput{ImageIds: []string{p.image}})
		if callErr != nil || len(found) == 0 {
			return false, callErr
		}
		image = found[0]
		return true, nil
	})
	return image, err
}

// setAttributes sets what instances of the AMI take over, and when it is deprecated.
func setAttributes(ctx context.Context, c *Config, p publication, image types.Image) error {
	if image.ImdsSupport == "" {
		_, err := p.api.ModifyImageAttribute(ctx, &ec2.ModifyImageAttributeInput{
			ImageId:     image.ImageId,
			ImdsSupport: &types.AttributeValue{Value: aws.String(c.AMIIMDSSupport)},
		})
		if err != nil {
			return fmt.Errorf("imds_support: %w", err)
		}
	}
	if c.DeprecationTime == "" {
		return nil
	}
	at, err := time.Parse(time.RFC3339, c.DeprecationTime)
	if err == nil {
		_, err = p.api.EnableImageDeprecation(ctx, &ec2.EnableImageDeprecationInput{
			ImageId:     image.ImageId,
			DeprecateAt: aws.Time(at),
		})
	}
	if err != nil {
		return fmt.Errorf("deprecate_at: %w", err)
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
	for _, organization := range c.AMIOrgArns {
		all = append(all, types.LaunchPermission{OrganizationArn: aws.String(organization)})
	}
	for _, unit := range c.AMIOuArns {
		all = append(all, types.LaunchPermission{OrganizationalUnitArn: aws.String(unit)})
	}
	return all
}

// shareSnapshots lets volumes be made of an AMI's snapshots. EC2 takes users and groups in calls of their own.
func shareSnapshots(ctx context.Context, c *Config, api *ec2.Client, image types.Image) error {
	var users, groups []types.CreateVolumePermission
	for _, user := range c.SnapshotUsers {
		users = append(users, types.CreateVolumePermission{UserId: aws.String(user)})
	}
	for _, group := range c.SnapshotGroups {
		groups = append(groups, types.CreateVolumePermission{Group: types.PermissionGroup(group)})
	}
	for _, wanted := range []struct {
		attribute   string
		permissions []types.CreateVolumePermission
	}{{"snapshot_users", users}, {"snapshot_groups", groups}} {
		if len(wanted.permissions) == 0 {
			continue
		}
		for _, snapshot := range ec2ops.SnapshotsOf(image) {
			_, err := api.ModifySnapshotAttribute(ctx, &ec2.ModifySnapshotAttributeInput{
				SnapshotId:             aws.String(snapshot),
				Attribute:              types.SnapshotAttributeNameCreateVolumePermission,
				CreateVolumePermission: &types.CreateVolumePermissionModifications{Add: wanted.permissions},
			})
			if err != nil {
				return fmt.Errorf("%s: %s: %w", wanted.attribute, snapshot, err)
			}
		}
	}
	return nil
}
