package ec2ops

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

// Deregisterer removes images and their snapshots; *ec2.Client does.
type Deregisterer interface {
	SnapshotDeleter
	ec2.DescribeSnapshotsAPIClient
	DeregisterImage(
		context.Context, *ec2.DeregisterImageInput, ...func(*ec2.Options),
	) (*ec2.DeregisterImageOutput, error)
}

// SnapshotDeleter deletes snapshots; *ec2.Client does.
type SnapshotDeleter interface {
	DeleteSnapshot(context.Context, *ec2.DeleteSnapshotInput, ...func(*ec2.Options)) (*ec2.DeleteSnapshotOutput, error)
}

const (
	// inUseLimit is how long a snapshot may be in use by an AMI that is deregistered.
	inUseLimit = time.Minute
	// appearLimit is how long the snapshots of an AMI that is being made may take to be seen.
	appearLimit = 20 * time.Second
)

// Deregister removes an AMI and the snapshots that it is made of. Of one that is still being made EC2 does not say
// which they are; their descriptions name it.
func Deregister(ctx context.Context, api Deregisterer, image types.Image) error {
	id := aws.ToString(image.ImageId)
	_, err := api.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: image.ImageId})
	if err != nil && !awserr.NotFound(err) {
		return fmt.Errorf("deregister %s: %w", id, err)
	}
	snapshots, err := allSnapshotsOf(ctx, api, image)
	errs := []error{err}
	for _, snapshot := range snapshots {
		if err := DeleteSnapshot(ctx, api, snapshot, id); err != nil {
			errs = append(errs, fmt.Errorf("delete %s of %s: %w", snapshot, id, err))
		}
	}
	return errors.Join(errs...)
}

// DeleteSnapshot deletes a snapshot; one that is gone already is no error. An AMI that was made of it, and was
// deregistered a moment ago, holds it for a while. Another AMI that does is not waited for.
func DeleteSnapshot(ctx context.Context, api SnapshotDeleter, snapshot, deregistered string) error {
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

// allSnapshotsOf are those that an AMI names, and those that were made for it. They are returned also with an error.
func allSnapshotsOf(ctx context.Context, api Deregisterer, image types.Image) ([]string, error) {
	found := map[string]bool{}
	for _, id := range SnapshotsOf(image) {
		found[id] = true
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
func madeFor(ctx context.Context, api Deregisterer, image string) ([]string, error) {
	found, err := OwnSnapshots(ctx, api, Filter("description",
		"Created by CreateImage(*) for "+image+"*", "Copied for DestinationAmi "+image+" *"))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, snapshot := range found {
		ids = append(ids, aws.ToString(snapshot.SnapshotId))
	}
	return ids, nil
}
