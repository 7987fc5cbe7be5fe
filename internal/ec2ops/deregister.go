package images

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
)

// remover is what the removal of an image asks of EC2; *ec2.Client answers.
type remover interface {
	snapshotDeleter
	DeregisterImage(context.Context, *ec2.DeregisterImageInput, ...func(*ec2.Options)) (*ec2.DeregisterImageOutput, error)
	DescribeSnapshots(context.Context, *ec2.DescribeSnapshotsInput, ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error)
}

type snapshotDeleter interface {
	DeleteSnapshot(context.Context, *ec2.DeleteSnapshotInput, ...func(*ec2.Options)) (*ec2.DeleteSnapshotOutput, error)
}

const (
	// inUseLimit is how long a snapshot may be in use by an AMI that is deregistered.
	inUseLimit = time.Minute
	// appearLimit is how long the snapshots of an AMI that is being made may take to be seen.
	appearLimit = 20 * time.Second
)

// Deregister removes an AMI and the snapshots that it is made of. Of one that is still being made EC2 does not say which
// they are; their descriptions name it.
func Deregister(ctx context.Context, api remover, image types.Image) error {
	id := aws.ToString(image.ImageId)
	if _, err := api.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: image.ImageId}); err != nil && !awserr.NotFound(err) {
		return fmt.Errorf("deregister %s: %w", id, err)
	}
	snapshots, err := snapshotsOf(ctx, api, image)
	errs := []error{err}
	for _, snapshot := range snapshots {
		if err := DeleteSnapshot(ctx, api, snapshot, id); err != nil {
			errs = append(errs, fmt.Errorf("delete %s of %s: %w", snapshot, id, err))
		}
	}
	return errors.Join(errs...)
}

// DeleteSnapshot deletes a snapshot; one that is gone already is no error. An AMI that was made of it, and was deregistered
// a moment ago, holds it for a while. Another AMI that does is not waited for.
func DeleteSnapshot(ctx context.Context, api snapshotDeleter, snapshot, deregistered string) error {
	held := func(err error) bool {
		by, inUse := awserr.SnapshotInUse(err)
		return inUse && (by == "" || deregistered == "" || by == deregistered)
	}
	err := await.Retry(ctx, inUseLimit, held, func(ctx context.Context) error {
		_, err := api.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: aws.String(snapshot)})
		return err
	})
	if awserr.NotFound(err) {
		return nil
	}
	return err
}

// snapshotsOf are those that an AMI names, and those that were made for it. They are returned also with an error.
func snapshotsOf(ctx context.Context, api remover, image types.Image) ([]string, error) {
	found := map[string]bool{}
	for _, device := range image.BlockDeviceMappings {
		if device.Ebs != nil && aws.ToString(device.Ebs.SnapshotId) != "" {
			found[aws.ToString(device.Ebs.SnapshotId)] = true
		}
	}
	named := len(found) > 0 || image.State != types.ImageStatePending
	began := time.Now()
	err := await.Until(ctx, time.Minute, func(ctx context.Context) (bool, error) {
		made, err := madeFor(ctx, api, aws.ToString(image.ImageId))
		for _, id := range made {
			found[id] = true
		}
		return err == nil && (named || len(made) > 0 || time.Since(began) > appearLimit), err
	})
	if err != nil {
		err = fmt.Errorf("look for the snapshots of %s: %w", aws.ToString(image.ImageId), err)
	}
	return slices.Sorted(maps.Keys(found)), err
}

// madeFor are the snapshots that CreateImage or CopyImage made for an AMI, as their descriptions say.
func madeFor(ctx context.Context, api remover, image string) ([]string, error) {
	out, err := api.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: []types.Filter{{
		Name:   aws.String("description"),
		Values: []string{"Created by CreateImage(*) for " + image + "*", "Copied for DestinationAmi " + image + " *"},
	}}})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, snapshot := range out.Snapshots {
		ids = append(ids, aws.ToString(snapshot.SnapshotId))
	}
	return ids, nil
}
