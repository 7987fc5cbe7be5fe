package builder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
)

// stop stops the instance, so that its disk is at rest when the image is made.
func (b *bake) stop(ctx context.Context) error {
	if b.config.spot() {
		return nil // it cannot be stopped; CreateImage shuts it down for the moment of the snapshot
	}
	b.ui.Say("Stopping the instance...")
	if _, err := b.ec2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{b.instance}}); err != nil {
		return err
	}
	return poll(ctx, runDeadline, func(ctx context.Context) (bool, error) {
		instance, err := b.describeInstance(ctx)
		if err != nil {
			return false, err
		}
		switch instance.State.Name {
		case types.InstanceStateNameStopped:
			return true, nil
		case types.InstanceStateNameTerminated, types.InstanceStateNameShuttingDown:
			return false, b.stopped(ctx, instance)
		}
		return false, nil
	})
}

// createImage makes the AMI, unless one was adopted, and waits until it can be launched.
func (b *bake) createImage(ctx context.Context) error {
	if b.image == "" {
		b.ui.Say(fmt.Sprintf("Creating the AMI %s...", b.config.AMIName))
		whole, cancel := making(ctx)
		defer cancel()
		input := &ec2.CreateImageInput{InstanceId: aws.String(b.instance), Name: aws.String(b.config.AMIName), Description: aws.String(b.config.AMIDescription),
			BlockDeviceMappings: mappings(b.config.AMIMappings), TagSpecifications: b.imageTags()}
		var out *ec2.CreateImageOutput
		err := b.onceFree(whole, func(ctx context.Context) (err error) { out, err = b.ec2.CreateImage(ctx, input); return err })
		if err != nil {
			return err
		}
		b.image = aws.ToString(out.ImageId)
		b.ui.Message("AMI: " + b.image)
	}
	return b.waitForImage(ctx, b.ec2, b.region, b.image)
}

// waitForImage waits until an AMI can be launched. If that takes too long, or cannot be seen, the error is one that
// keeps the AMI.
func (b *bake) waitForImage(ctx context.Context, api ec2API, region, id string) error {
	attempts := 0
	unseen := func(err error) error {
		if ctx.Err() != nil {
			return err
		}
		return &unfinished{image: id, region: region, name: b.config.AMIName, err: err}
	}
	settled := false
	err := poll(ctx, b.imagePatience(), func(ctx context.Context) (bool, error) {
		if attempts++; b.config.PollingConfig.MaxAttempts > 0 && attempts > b.config.PollingConfig.MaxAttempts {
			return false, fmt.Errorf("looked %d times (aws_polling.max_attempts)", b.config.PollingConfig.MaxAttempts)
		}
		if attempts > 1 && b.config.PollingConfig.DelaySeconds > 0 {
			select {
			case <-ctx.Done():
				return false, ctx.Err()
			case <-time.After(time.Duration(b.config.PollingConfig.DelaySeconds) * time.Second):
			}
		}
		out, err := api.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{id}})
		if isGone(err) || err == nil && len(out.Images) == 0 {
			return false, nil // not known everywhere yet
		}
		if err != nil {
			return false, err
		}
		switch image := out.Images[0]; image.State {
		case types.ImageStateAvailable:
			return true, nil
		case types.ImageStatePending, types.ImageStateTransient:
			return false, nil
		default:
			settled = true
			why := ""
			if image.StateReason != nil {
				why = ": " + aws.ToString(image.StateReason.Message)
			}
			return false, fmt.Errorf("it is %s%s", image.State, why)
		}
	})
	if err != nil && !settled {
		err = unseen(err)
	}
	if err != nil {
		return fmt.Errorf("wait for %s: %w", id, err)
	}
	return nil
}

func (b *bake) imagePatience() time.Duration {
	if p := b.config.PollingConfig; p.DelaySeconds > 0 && p.MaxAttempts > 0 {
		return time.Duration(p.DelaySeconds*p.MaxAttempts)*time.Second + time.Minute
	}
	return imageDeadline
}

// removeImage takes an AMI back whose build did not succeed.
func (b *bake) removeImage(ctx context.Context) error {
	if b.kept() || b.reused {
		return nil
	}
	if b.keepsUnproved() {
		return b.markUnproved(ctx)
	}
	if b.proved { // it is released: others may use it already
		b.ui.Say(fmt.Sprintf("Keeping the AMI %s, which is proved; the same build, run again, goes on from it", b.image))
		return nil
	}
	return b.removeImagesIn(ctx, b.ec2)
}

// removeImagesIn removes what AMIs the build made in a region, also those whose making was not answered.
func (b *bake) removeImagesIn(ctx context.Context, api ec2API) error {
	found, err := api.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: filters(map[string]string{"tag:" + buildTag: b.id})})
	if err != nil {
		return err
	}
	var errs []error
	for _, image := range found.Images {
		b.ui.Say("Removing the AMI " + aws.ToString(image.ImageId) + "...")
		errs = append(errs, unprotect(ctx, api, image), images.Deregister(ctx, api, image))
	}
	return errors.Join(append(errs, removeSnapshots(ctx, api, b.id))...)
}

// removeSnapshots removes the snapshots of a build that no AMI names: that of an AMI whose making broke off.
func removeSnapshots(ctx context.Context, api ec2API, build string) error {
	found, err := api.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: filters(map[string]string{"tag:" + buildTag: build})})
	if err != nil {
		return fmt.Errorf("look for the build's snapshots: %w", err)
	}
	var errs []error
	for _, snapshot := range found.Snapshots {
		if err := images.DeleteSnapshot(ctx, api, aws.ToString(snapshot.SnapshotId), ""); err != nil {
			errs = append(errs, fmt.Errorf("delete snapshot %s: %w", aws.ToString(snapshot.SnapshotId), err))
		}
	}
	return errors.Join(errs...)
}
