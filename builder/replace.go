package builder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
)

// retired is an AMI that was deregistered to free its name for the new one, with what is needed to register it again.
// Its snapshots are still there.
type retired struct {
	region      string
	image       types.Image
	permissions []types.LaunchPermission
}

// namesakes are the AMIs of a region that have the name of the one to be made, without the build's own.
func (b *bake) namesakes(ctx context.Context, api ec2API) ([]types.Image, error) {
	out, err := api.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: filters(map[string]string{"name": b.config.AMIName})})
	if err != nil {
		return nil, fmt.Errorf("ami_name: %w", err)
	}
	return slices.DeleteFunc(out.Images, func(image types.Image) bool { return valueOf(image.Tags, buildTag) == b.id }), nil
}

// checkNames finds the name free, or its bearer one that can be replaced, in each region.
func (b *bake) checkNames(ctx context.Context) error {
	for _, region := range append([]string{b.region}, b.copyRegions()...) {
		images, err := b.namesakes(ctx, b.in(region))
		if err != nil {
			return fmt.Errorf("%s: %w", region, err)
		}
		for _, image := range images {
			id := aws.ToString(image.ImageId)
			switch {
			case !b.config.AMIForceDeregister:
				return fmt.Errorf("ami_name: %q is taken by %s in %s\nhint: choose another name, or replace it with force_deregister = true", b.config.AMIName, id, region)
			case isProtected(image):
				return fmt.Errorf("force_deregister: %s in %s is protected from being deregistered", id, region)
			}
			b.ui.Message(fmt.Sprintf("%s in %s has this name and will be replaced", id, region))
		}
	}
	return nil
}

// in is EC2 in a region.
func (b *bake) in(region string) ec2API {
	if region == b.region {
		return b.ec2
	}
	return b.elsewhere(region)
}

// setAside frees the name of the AMI to be made. EC2 has one AMI of a name, and none can be renamed, so for the time of
// the snapshot there is none of this name.
func (b *bake) setAside(ctx context.Context) error { return b.setAsideIn(ctx, b.region) }

func (b *bake) setCopiesAside(ctx context.Context) error {
	for _, region := range b.copyRegions() {
		if err := b.setAsideIn(ctx, region); err != nil {
			return fmt.Errorf("%s: %w", region, err)
		}
	}
	return nil
}

func (b *bake) setAsideIn(ctx context.Context, region string) error {
	if !b.config.AMIForceDeregister {
		return nil
	}
	api := b.in(region)
	images, err := b.namesakes(ctx, api)
	if err != nil {
		return err
	}
	for _, image := range images {
		if err := b.retire(ctx, api, region, image); err != nil {
			return fmt.Errorf("force_deregister: %s: %w", aws.ToString(image.ImageId), err)
		}
	}
	return nil
}

func (b *bake) retire(ctx context.Context, api ec2API, region string, image types.Image) error {
	id := aws.ToString(image.ImageId)
	if valueOf(image.Tags, unfinishedTag) != "" {
		b.ui.Say(fmt.Sprintf("Removing %s in %s, which an earlier run left unfinished...", id, region))
		return images.Deregister(ctx, api, image)
	}
	attribute, err := api.DescribeImageAttribute(ctx, &ec2.DescribeImageAttributeInput{ImageId: image.ImageId, Attribute: types.ImageAttributeNameLaunchPermission})
	if err != nil {
		return err
	}
	b.ui.Say(fmt.Sprintf("Deregistering %s in %s, which has the new AMI's name; its snapshots stay until that is whole: %s", id, region, strings.Join(snapshotsOf(image), ", ")))
	// It is noted before the call, whose answer may be lost.
	b.retired = append(b.retired, retired{region: region, image: image, permissions: attribute.LaunchPermissions})
	whole, cancel := making(ctx)
	defer cancel()
	if _, err := api.DeregisterImage(whole, &ec2.DeregisterImageInput{ImageId: image.ImageId}); err != nil && !isGone(err) {
		return err
	}
	return ctx.Err()
}

// onceFree makes an AMI whose name another one had a moment ago: for some seconds EC2 may not know that it is gone.
func (b *bake) onceFree(ctx context.Context, make func(context.Context) error) error {
	var made error
	err := poll(ctx, time.Minute, func(ctx context.Context) (bool, error) {
		made = make(ctx)
		return len(b.retired) == 0 || awserr.Code(made) != "InvalidAMIName.Duplicate", nil
	})
	return cmp.Or(made, err)
}

// restore registers the AMIs again that were set aside for one that was not made.
func (b *bake) restore(ctx context.Context) error {
	return b.restoreIf(ctx, func(region string) bool { return region == b.region })
}

func (b *bake) restoreCopies(ctx context.Context) error {
	return b.restoreIf(ctx, func(region string) bool { return region != b.region })
}

func (b *bake) restoreIf(ctx context.Context, here func(region string) bool) error {
	if b.kept() {
		return nil
	}
	var errs []error
	for _, old := range b.retired {
		if !here(old.region) || old.region == b.region && (b.proved || b.keepsUnproved()) {
			continue // or the new one stays, and has the name
		}
		if err := b.register(ctx, b.in(old.region), old); err != nil {
			errs = append(errs, fmt.Errorf("register %s in %s again: %w\nits snapshots are there: %s", aws.ToString(old.image.ImageId), old.region, err, strings.Join(snapshotsOf(old.image), ", ")))
		}
	}
	return errors.Join(errs...)
}

// register makes an AMI of a retired one's snapshots, with its name, tags, dates and permissions. EC2 gives it a new id.
// One that is still there, since its deregistration failed, is left alone.
func (b *bake) register(ctx context.Context, api ec2API, old retired) error {
	image := old.image
	there, err := b.namesakes(ctx, api)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(there, func(i types.Image) bool { return aws.ToString(i.ImageId) == aws.ToString(image.ImageId) }) {
		return nil
	}
	var devices []types.BlockDeviceMapping
	for _, device := range image.BlockDeviceMappings {
		if device.Ebs != nil && aws.ToString(device.Ebs.SnapshotId) != "" {
			ebs := *device.Ebs
			ebs.Encrypted, ebs.KmsKeyId = nil, nil // they are the snapshot's, and cannot be said again
			device.Ebs = &ebs
		}
		devices = append(devices, device)
	}
	input := &ec2.RegisterImageInput{Name: image.Name, Description: image.Description, Architecture: image.Architecture, BlockDeviceMappings: devices, BootMode: image.BootMode,
		EnaSupport: image.EnaSupport, ImdsSupport: image.ImdsSupport, RootDeviceName: image.RootDeviceName, SriovNetSupport: image.SriovNetSupport,
		TpmSupport: image.TpmSupport, VirtualizationType: given(string(image.VirtualizationType))}
	if len(image.Tags) > 0 {
		input.TagSpecifications = []types.TagSpecification{specification(types.ResourceTypeImage, image.Tags)}
	}
	var out *ec2.RegisterImageOutput
	err = b.onceFree(ctx, func(ctx context.Context) (err error) { out, err = api.RegisterImage(ctx, input); return err })
	if err != nil {
		return err
	}
	b.ui.Say(fmt.Sprintf("%s in %s is registered again, as %s", aws.ToString(image.ImageId), old.region, aws.ToString(out.ImageId)))
	var errs []error
	if len(old.permissions) > 0 {
		_, err := api.ModifyImageAttribute(ctx, &ec2.ModifyImageAttributeInput{ImageId: out.ImageId, LaunchPermission: &types.LaunchPermissionModifications{Add: old.permissions}})
		errs = append(errs, err)
	}
	if at, err := time.Parse(time.RFC3339, aws.ToString(image.DeprecationTime)); err == nil && at.After(time.Now()) {
		_, err := api.EnableImageDeprecation(ctx, &ec2.EnableImageDeprecationInput{ImageId: out.ImageId, DeprecateAt: aws.Time(at)})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// removeRetired deletes the snapshots of what was replaced, if that is wanted, and else names them. The new AMI is done:
// a snapshot that stays is no reason to lose it.
func (b *bake) removeRetired(ctx context.Context) error {
	for _, old := range b.retired {
		for _, snapshot := range snapshotsOf(old.image) {
			if !b.config.AMIForceDeleteSnapshot {
				b.ui.Message(fmt.Sprintf("%s of %s in %s stays: force_delete_snapshot = true deletes it", snapshot, aws.ToString(old.image.ImageId), old.region))
				continue
			}
			b.ui.Message(fmt.Sprintf("deleting %s of %s in %s", snapshot, aws.ToString(old.image.ImageId), old.region))
			if err := images.DeleteSnapshot(ctx, b.in(old.region), snapshot, aws.ToString(old.image.ImageId)); err != nil {
				b.ui.Error(fmt.Sprintf("delete %s of %s in %s: %v", snapshot, aws.ToString(old.image.ImageId), old.region, err))
			}
		}
	}
	return nil
}
