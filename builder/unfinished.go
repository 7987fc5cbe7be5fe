package builder

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
)

// unfinishedTag is on an AMI, with its name, until all is done with it that was asked for. A run whose wait for the AMI
// ended too early leaves it there, and the next one goes on from it.
const unfinishedTag = images.UnfinishedTag

// unfinishedError is the failure of a build whose AMI may well be whole, only nobody could wait for it. The AMI is
// kept.
type unfinishedError struct {
	image, region string
	err           error
}

func (u *unfinishedError) Error() string {
	return fmt.Sprintf("%v\nhint: %s in %s is kept. The same build, run again, goes on from it; "+
		"packer build -force bakes anew. To be rid of it: aws ec2 deregister-image --delete-associated-snapshots "+
		"--region %s --image-id %s",
		u.err, u.image, u.region, u.region, u.image)
}

func (u *unfinishedError) Unwrap() error { return u.err }

// kept tells whether the AMI and its copies stay: the build is done, or a later run goes on from them.
func (b *bake) kept() bool {
	var u *unfinishedError
	return b.done || errors.As(b.failure, &u)
}

// forced tells whether an AMI is baked although there may be one already.
func (c *Config) forced() bool {
	return c.PackerForce || c.Unchanged != nil && c.Unchanged.Force
}

// unfinishedIn finds in a region the AMI of an earlier run that was not finished and had this build's name, or, where
// the build's inputs are known, the same of those. It may be pending still.
func unfinishedIn(ctx context.Context, api *ec2.Client, w wanted) (types.Image, bool, error) {
	found, err := ec2ops.OwnImages(ctx, api, ec2ops.Filter("tag-key", unfinishedTag))
	if err != nil {
		return types.Image{}, false, fmt.Errorf("look for an unfinished AMI: %w", err)
	}
	for _, image := range found {
		tag := func(key string) string { return ec2ops.TagValue(image.Tags, key) }
		if tag(unfinishedTag) != "" && tag(buildTag) != "" && tag(images.UnprovedTag) == "" && w.matches(image) {
			return image, true, nil
		}
	}
	return types.Image{}, false, nil
}

// wanted is the image that the build is to make: by its name or, where they are known, by its inputs.
type wanted struct {
	config *Config
	name   string
	inputs inputs.Inputs
}

// matches tells whether the build would make the same image.
func (w wanted) matches(image types.Image) bool {
	if w.inputs == nil {
		return aws.ToString(image.Name) == w.name
	}
	// Of other inputs, or too old: the name alone does not make it the same.
	tag := func(key string) string { return ec2ops.TagValue(image.Tags, key) }
	return tag(images.DigestTag) == w.inputs.Digest() && tag(images.SeriesTag) == w.config.series() &&
		age(image) <= w.config.Unchanged.maxAge
}

// adoptOrCheckNames goes on from what an earlier run left unfinished; else the name has to be free.
func (b *bake) adoptOrCheckNames(ctx context.Context) (err error) {
	if b.job.config.AMISkipCreateImage {
		return nil
	}
	if b.image, err = adopt(ctx, b.job, b.inputs, b.image); err != nil {
		return err
	}
	return checkNames(ctx, b.job, b.image)
}

// adopt is the AMI that the build is about: its own, or an unfinished one of an earlier run, which nothing is baked
// for. One that has failed since is removed.
func adopt(ctx context.Context, j *job, in inputs.Inputs, own builtImage) (builtImage, error) {
	if j.config.forced() {
		return own, nil
	}
	found, ok, err := unfinishedIn(ctx, j.ec2, wanted{j.config, own.name, in})
	if err != nil || !ok {
		return own, err
	}
	id := aws.ToString(found.ImageId)
	if ec2ops.Failed(found) {
		j.ui.Say(fmt.Sprintf("Removing the AMI %s of an earlier run: it is %s", id, found.State))
		return own, ec2ops.Deregister(ctx, j.ec2, found)
	}
	j.ui.Say(fmt.Sprintf("Going on from the AMI %s of an earlier run that did not see it finished: "+
		"nothing is baked (packer build -force bakes anew)", id))
	return builtImage{
		id:          id,
		name:        aws.ToString(found.Name),
		owner:       ec2ops.TagValue(found.Tags, buildTag),
		adopted:     true,
		manifest:    ec2ops.TagValue(found.Tags, images.ManifestTag),
		description: ec2ops.TagValue(found.Tags, imagespec.Tag),
	}, nil
}

// finish takes the tag off that says unfinished, the copies' first: by that of the AMI itself the next run goes on.
// From then on the AMI is the build's result.
func (b *bake) finish(ctx context.Context) error {
	for _, p := range slices.Backward(b.published()) {
		_, err := p.api.DeleteTags(ctx, &ec2.DeleteTagsInput{
			Resources: []string{p.image},
			Tags:      []types.Tag{{Key: aws.String(unfinishedTag)}},
		})
		if err != nil {
			err = fmt.Errorf("take the tag %s off %s: %w", unfinishedTag, p.image, err)
			return &unfinishedError{image: b.image.id, region: b.job.region, err: err}
		}
	}
	b.done = true
	removeRetired(ctx, b.job, b.retired)
	return nil
}
