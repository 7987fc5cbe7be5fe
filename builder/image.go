package builder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

// builtImage is the AMI that the build makes, or that of an earlier run, which it goes on from.
type builtImage struct {
	id   string // empty until it is there
	name string
	// owner is the build that made it, or makes it: it is in buildTag of all that belongs to the AMI.
	owner    string
	adopted  bool   // it is of an earlier run
	manifest string // the digest of the manifest that is in it
	// description is the version of the description that is in it; empty where there is none.
	description string
	proved      bool
}

// stopInstance stops the instance, so that its disk is at rest when the image is made.
func stopInstance(ctx context.Context, j *job, id string, launched time.Time) error {
	if j.config.spot() {
		return nil // it cannot be stopped; CreateImage shuts it down for the moment of the snapshot
	}
	j.ui.Say("Stopping the instance...")
	if _, err := j.ec2.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{id}}); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, runDeadline)
	defer cancel()
	instance, err := ec2ops.UntilStopped(limited, j.ec2, id, launched)
	if _, over := ec2ops.StateOf(instance); err != nil && over {
		return j.notRunning(ctx, instance)
	}
	return err
}

// createImage makes the AMI, unless one was adopted, and waits until it can be launched.
func (b *bake) createImage(ctx context.Context) (err error) {
	made := time.Time{} // long ago
	if b.image.id == "" {
		made = time.Now()
		tags := imageSpecs(b.job, b.image, provenance(b.job, b.source, b.image, b.inputs))
		if b.image.id, err = createFrom(ctx, b.job, b.machine.instance, b.image.name, tags, b.retired); err != nil {
			return err
		}
	}
	return waitForImage(ctx, b.job, publication{b.job.region, b.image.id, b.job.ec2}, made)
}

// createFrom has EC2 make the AMI of the instance.
func createFrom(
	ctx context.Context, j *job, instance, name string, tags []types.TagSpecification, retired []retiredImage,
) (id string, err error) {
	j.ui.Say(fmt.Sprintf("Creating the AMI %s...", name))
	detached, cancel := createContext(ctx)
	defer cancel()
	input := &ec2.CreateImageInput{
		InstanceId:          aws.String(instance),
		Name:                aws.String(name),
		Description:         given(j.config.AMIDescription),
		BlockDeviceMappings: mappings(j.config.AMIMappings),
		TagSpecifications:   tags,
	}
	err = onceNameIsFree(detached, retired, func(ctx context.Context) error {
		out, callErr := j.ec2.CreateImage(ctx, input)
		if callErr == nil {
			id = aws.ToString(out.ImageId)
		}
		return callErr
	})
	if err == nil {
		j.ui.Message("AMI: " + id)
	}
	return id, lost(err)
}

// imageSpecs have the AMI and its snapshots, here and elsewhere, be made with their tags.
func imageSpecs(j *job, image builtImage, origin map[string]string) []types.TagSpecification {
	c, name, owner := j.config, image.name, image.owner
	unfinished := map[string]string{unfinishedTag: name}
	return []types.TagSpecification{
		ec2ops.Spec(types.ResourceTypeImage, j.tagsOf(owner, name, origin, c.Tags, unfinished)),
		ec2ops.Spec(types.ResourceTypeSnapshot, j.tagsOf(owner, name, c.Tags, c.SnapshotTags)),
	}
}

// waitForImage waits until an AMI can be launched. If that takes too long, or cannot be seen, the error is one that
// keeps the AMI.
func waitForImage(ctx context.Context, j *job, p publication, made time.Time) error {
	polling := j.config.PollingConfig
	limited, cancel := context.WithTimeout(ctx, imagePatience(polling))
	defer cancel()
	image, err := ec2ops.UntilImage(limited, p.api, p.image, ec2ops.Patience[*ec2.DescribeImagesOutput]{
		Made:  made,
		Pause: time.Duration(polling.DelaySeconds) * time.Second,
		Looks: polling.MaxAttempts,
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ec2ops.ErrLooks):
		err = fmt.Errorf("%w (aws_polling.max_attempts)", err)
	case ctx.Err() != nil, ec2ops.Failed(image):
		return err
	}
	return &unfinishedError{image: p.image, region: p.region, err: err}
}

func imagePatience(p Polling) time.Duration {
	if p.DelaySeconds > 0 && p.MaxAttempts > 0 {
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
		return markUnproved(ctx, b.job, b.image.id, b.failure)
	}
	if b.image.proved { // it is released: others may use it already
		b.job.ui.Say(fmt.Sprintf("Keeping the AMI %s, which is proved; the same build, run again, goes on from it",
			b.image.id))
		return nil
	}
	return removeImagesOf(ctx, b.job, b.job.ec2, b.image, isLost(b.failure))
}

// removeImagesOf removes the AMIs that a build made in a region: the one that is known, and those whose making was not
// answered, which are found by their tag.
func removeImagesOf(ctx context.Context, j *job, api *ec2.Client, made builtImage, lost bool) error {
	// Of one that is not shown yet the snapshots are not, either: they are looked for.
	images := map[string]types.Image{made.id: {ImageId: aws.String(made.id), State: types.ImageStatePending}}
	ids, failed := ec2ops.Made(ctx, lost, func(ctx context.Context) ([]string, error) {
		found, err := ec2ops.OwnImages(ctx, api, ec2ops.TagFilter(buildTag, made.owner))
		var ids []string
		for _, image := range found {
			images[aws.ToString(image.ImageId)] = image
			ids = append(ids, aws.ToString(image.ImageId))
		}
		return ids, err
	}, made.id)
	errs := []error{failed}
	for _, id := range ids {
		j.ui.Say("Removing the AMI " + id + "...")
		errs = append(errs, unprotect(ctx, api, images[id]), ec2ops.Deregister(ctx, api, images[id]))
	}
	return errors.Join(append(errs, removeSnapshots(ctx, api, made.owner))...)
}

// removeSnapshots removes the snapshots of a build that no AMI names: that of an AMI whose making broke off.
func removeSnapshots(ctx context.Context, api *ec2.Client, build string) error {
	found, err := ec2ops.OwnSnapshots(ctx, api, ec2ops.TagFilter(buildTag, build))
	if err != nil {
		return fmt.Errorf("look for the build's snapshots: %w", err)
	}
	var errs []error
	for _, snapshot := range found {
		id := aws.ToString(snapshot.SnapshotId)
		if err := ec2ops.DeleteSnapshot(ctx, api, id, ""); err != nil {
			errs = append(errs, fmt.Errorf("delete snapshot %s: %w", id, err))
		}
	}
	return errors.Join(errs...)
}
