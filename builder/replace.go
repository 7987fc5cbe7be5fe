package builder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

// retiredImage is an AMI that was deregistered to free its name for the new one, with what is needed to register it
// again. Its snapshots are still there.
type retiredImage struct {
	region      string
	image       types.Image
	permissions []types.LaunchPermission
}

// namesakes are the AMIs of a region that have the name of the one to be made, without that itself.
func namesakes(ctx context.Context, api *ec2.Client, image builtImage) ([]types.Image, error) {
	found, err := ec2ops.OwnImages(ctx, api, ec2ops.Filter("name", image.name))
	if err != nil {
		return nil, fmt.Errorf("ami_name: %w", err)
	}
	return slices.DeleteFunc(found, func(other types.Image) bool {
		return ec2ops.TagValue(other.Tags, buildTag) == image.owner
	}), nil
}

// checkNames finds the name free, or its bearer one that can be replaced, in each region.
func checkNames(ctx context.Context, j *job, image builtImage) error {
	for _, region := range append([]string{j.region}, j.copyRegions()...) {
		found, err := namesakes(ctx, j.clientFor(region), image)
		if err != nil {
			return fmt.Errorf("%s: %w", region, err)
		}
		for _, other := range found {
			id := aws.ToString(other.ImageId)
			switch {
			case !j.config.AMIForceDeregister:
				return fmt.Errorf("ami_name: %q is taken by %s in %s\n"+
					"hint: choose another name, or replace it with force_deregister = true", image.name, id, region)
			case isProtected(other):
				return fmt.Errorf("force_deregister: %s in %s is protected from being deregistered", id, region)
			}
			j.ui.Message(fmt.Sprintf("%s in %s has this name and will be replaced", id, region))
		}
	}
	return nil
}

// setAsideIn frees the name of the AMI to be made. EC2 has one AMI of a name, and none can be renamed, so for the time
// of the snapshot there is none of this name.
func (b *bake) setAsideIn(ctx context.Context, region string) error {
	if !b.job.config.AMIForceDeregister {
		return nil
	}
	found, err := namesakes(ctx, b.job.clientFor(region), b.image)
	if err != nil {
		return err
	}
	for _, other := range found {
		old, err := retire(ctx, b.job, region, other)
		if old != nil {
			b.retired = append(b.retired, *old)
		}
		if err != nil {
			return fmt.Errorf("force_deregister: %s: %w", aws.ToString(other.ImageId), err)
		}
	}
	return nil
}

func (b *bake) setCopiesAside(ctx context.Context) error {
	for _, region := range b.job.copyRegions() {
		if err := b.setAsideIn(ctx, region); err != nil {
			return fmt.Errorf("%s: %w", region, err)
		}
	}
	return nil
}

// retire deregisters an AMI. What is returned may be gone, also with an error: the answer may have been lost. It is nil
// where there is nothing to bring back.
func retire(ctx context.Context, j *job, region string, image types.Image) (*retiredImage, error) {
	id, api := aws.ToString(image.ImageId), j.clientFor(region)
	if ec2ops.TagValue(image.Tags, unfinishedTag) != "" {
		j.ui.Say(fmt.Sprintf("Removing %s in %s, which an earlier run left unfinished...", id, region))
		return nil, ec2ops.Deregister(ctx, api, image)
	}
	attribute, err := api.DescribeImageAttribute(ctx, &ec2.DescribeImageAttributeInput{
		ImageId:   image.ImageId,
		Attribute: types.ImageAttributeNameLaunchPermission,
	})
	if err != nil {
		return nil, err
	}
	j.ui.Say(fmt.Sprintf("Deregistering %s in %s, which has the new AMI's name; "+
		"its snapshots stay until that is whole: %s", id, region, strings.Join(ec2ops.SnapshotsOf(image), ", ")))
	old := &retiredImage{region: region, image: image, permissions: attribute.LaunchPermissions}
	detached, cancel := createContext(ctx)
	defer cancel()
	_, err = api.DeregisterImage(detached, &ec2.DeregisterImageInput{ImageId: image.ImageId})
	if err != nil && !awserr.NotFound(err) {
		return old, err
	}
	return old, ctx.Err()
}

// onceNameIsFree makes an AMI whose name a retired one had a moment ago: for some seconds EC2 may not know that it is
// gone.
func onceNameIsFree(ctx context.Context, retired []retiredImage, create func(context.Context) error) error {
	taken := func(err error) bool { return len(retired) > 0 && awserr.Is(err, apierror.InvalidAMINameDuplicate) }
	return await.Retry(ctx, time.Minute, taken, create)
}

// restore registers the AMIs again that were set aside for one that was not made.
func (b *bake) restore(ctx context.Context) error {
	if b.image.proved || b.keepsUnproved() { // the new one stays, and has the name
		return nil
	}
	return b.restoreIf(ctx, func(region string) bool { return region == b.job.region })
}

func (b *bake) restoreIf(ctx context.Context, wanted func(region string) bool) error {
	if b.kept() {
		return nil
	}
	var errs []error
	for _, old := range b.retired {
		if !wanted(old.region) {
			continue
		}
		if err := register(ctx, b.job, old, b.image); err != nil {
			errs = append(errs, fmt.Errorf("register %s in %s again: %w\nits snapshots are there: %s",
				aws.ToString(old.image.ImageId), old.region, err, strings.Join(ec2ops.SnapshotsOf(old.image), ", ")))
		}
	}
	return errors.Join(errs...)
}

// register makes an AMI of a retired one's snapshots, with its name, tags, dates and permissions. EC2 gives it a new
// id. One that is still there, since its deregistration failed, is left alone.
func register(ctx context.Context, j *job, old retiredImage, failed builtImage) error {
	api, was := j.clientFor(old.region), aws.ToString(old.image.ImageId)
	there, err := namesakes(ctx, api, failed)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(there, func(i types.Image) bool { return aws.ToString(i.ImageId) == was }) {
		return nil
	}
	var out *ec2.RegisterImageOutput
	err = onceNameIsFree(ctx, []retiredImage{old}, func(ctx context.Context) (err error) {
		out, err = api.RegisterImage(ctx, registration(old.image))
		return err
	})
	if err != nil {
		return err
	}
	j.ui.Say(fmt.Sprintf("%s in %s is registered again, as %s", was, old.region, aws.ToString(out.ImageId)))
	return giveBack(ctx, api, old, out.ImageId)
}

// registration makes the same AMI of its snapshots.
func registration(image types.Image) *ec2.RegisterImageInput {
	var devices []types.BlockDeviceMapping
	for _, device := range image.BlockDeviceMappings {
		if device.Ebs != nil && aws.ToString(device.Ebs.SnapshotId) != "" {
			ebs := *device.Ebs
			ebs.Encrypted, ebs.KmsKeyId = nil, nil // they are the snapshot's, and cannot be said again
			device.Ebs = &ebs
		}
		devices = append(devices, device)
	}
	input := &ec2.RegisterImageInput{
		Name:                image.Name,
		Description:         image.Description,
		Architecture:        image.Architecture,
		BlockDeviceMappings: devices,
		BootMode:            image.BootMode,
		EnaSupport:          image.EnaSupport,
		ImdsSupport:         image.ImdsSupport,
		RootDeviceName:      image.RootDeviceName,
		SriovNetSupport:     image.SriovNetSupport,
		TpmSupport:          image.TpmSupport,
		VirtualizationType:  given(string(image.VirtualizationType)),
	}
	if len(image.Tags) > 0 {
		input.TagSpecifications = []types.TagSpecification{ec2ops.Spec(types.ResourceTypeImage, image.Tags)}
	}
	return input
}

// giveBack gives an AMI that was registered again what its registration could not.
func giveBack(ctx context.Context, api *ec2.Client, old retiredImage, id *string) error {
	var permissions, deprecation error
	if len(old.permissions) > 0 {
		_, permissions = api.ModifyImageAttribute(ctx, &ec2.ModifyImageAttributeInput{
			ImageId:          id,
			LaunchPermission: &types.LaunchPermissionModifications{Add: old.permissions},
		})
	}
	at, err := time.Parse(time.RFC3339, aws.ToString(old.image.DeprecationTime))
	if err == nil && at.After(time.Now()) {
		_, deprecation = api.EnableImageDeprecation(ctx, &ec2.EnableImageDeprecationInput{
			ImageId:     id,
			DeprecateAt: aws.Time(at),
		})
	}
	return errors.Join(permissions, deprecation)
}

// removeRetired deletes the snapshots of what was replaced, if that is wanted, and else names them. The new AMI is
// done: a snapshot that stays is no reason to lose it.
func removeRetired(ctx context.Context, j *job, retired []retiredImage) {
	for _, old := range retired {
		id := aws.ToString(old.image.ImageId)
		for _, snapshot := range ec2ops.SnapshotsOf(old.image) {
			if !j.config.AMIForceDeleteSnapshot {
				j.ui.Message(fmt.Sprintf("%s of %s in %s stays: force_delete_snapshot = true deletes it", snapshot, id,
					old.region))
				continue
			}
			j.ui.Message(fmt.Sprintf("deleting %s of %s in %s", snapshot, id, old.region))
			if err := ec2ops.DeleteSnapshot(ctx, j.clientFor(old.region), snapshot, id); err != nil {
				j.ui.Error(fmt.Sprintf("delete %s of %s in %s: %v", snapshot, id, old.region, err))
			}
		}
	}
}
