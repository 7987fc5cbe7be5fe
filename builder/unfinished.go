package builder

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
)

// unfinishedTag is on an AMI, with its name, until all is done with it that was asked for. A run whose wait for the AMI
// ended too early leaves it there, and the next one goes on from it.
const unfinishedTag = images.UnfinishedTag

// unfinished is the failure of a build whose AMI may well be whole, only nobody could wait for it. The AMI is kept.
type unfinished struct {
	image, region, name string
	err                 error
}

func (u *unfinished) Error() string {
	return fmt.Sprintf("%v\nhint: %s in %s is kept. The same build, run again, goes on from it; packer build -force bakes anew. To be rid of it: "+
		"aws ec2 deregister-image --delete-associated-snapshots --region %s --image-id %s", u.err, u.image, u.region, u.region, u.image)
}

func (u *unfinished) Unwrap() error { return u.err }

// kept tells whether the AMI and its copies stay: the build is done, or a later run goes on from them.
func (b *bake) kept() bool {
	var u *unfinished
	return b.done || errors.As(b.failure, &u)
}

// adoptable finds the AMI of an earlier run that was not finished and had this build's name, or, where the build's inputs
// are known, the same of those. It may be pending still.
func (b *bake) adoptable(ctx context.Context) (types.Image, bool, error) {
	if b.config.PackerForce || b.config.Unchanged != nil && b.config.Unchanged.Force {
		return types.Image{}, false, nil
	}
	return b.unfinishedIn(ctx, b.ec2)
}

func (b *bake) unfinishedIn(ctx context.Context, api ec2API) (types.Image, bool, error) {
	out, err := api.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: filters(map[string]string{"tag-key": unfinishedTag})})
	if err != nil {
		return types.Image{}, false, fmt.Errorf("look for an unfinished AMI: %w", err)
	}
	for _, image := range out.Images {
		if valueOf(image.Tags, unfinishedTag) != "" && valueOf(image.Tags, buildTag) != "" && valueOf(image.Tags, images.UnprovedTag) == "" && b.isOurs(image) {
			return image, true, nil
		}
	}
	return types.Image{}, false, nil
}

// isOurs tells whether the build would make the same image.
func (b *bake) isOurs(image types.Image) bool {
	if b.inputs == nil {
		return aws.ToString(image.Name) == b.config.AMIName
	}
	// Of other inputs, or too old: the name alone does not make it the same.
	return valueOf(image.Tags, images.DigestTag) == b.inputs.Digest() && valueOf(image.Tags, images.SeriesTag) == b.series() && age(image) <= b.config.Unchanged.maxAge
}

// adoptOrCheckNames takes over what an earlier run left unfinished; else the name has to be free.
func (b *bake) adoptOrCheckNames(ctx context.Context) error {
	if b.config.AMISkipCreateImage {
		return nil
	}
	if err := b.adopt(ctx); err != nil {
		return err
	}
	return b.checkNames(ctx)
}

// adopt takes an unfinished AMI for the build's own, with its build's id: nothing is baked then. One that has failed
// since is removed.
func (b *bake) adopt(ctx context.Context) error {
	image, ok, err := b.adoptable(ctx)
	if err != nil || !ok {
		return err
	}
	id := aws.ToString(image.ImageId)
	if image.State != types.ImageStateAvailable && image.State != types.ImageStatePending && image.State != types.ImageStateTransient {
		b.ui.Say(fmt.Sprintf("Removing the AMI %s of an earlier run: it is %s", id, image.State))
		return images.Deregister(ctx, b.ec2, image)
	}
	b.ui.Say(fmt.Sprintf("Going on from the AMI %s of an earlier run that did not see it finished: nothing is baked (packer build -force bakes anew)", id))
	b.image, b.adopted, b.id = id, true, valueOf(image.Tags, buildTag)
	b.config.AMIName, b.manifest = aws.ToString(image.Name), valueOf(image.Tags, images.ManifestTag)
	return nil
}

// finish takes the tag off that says unfinished, the copies' first: by that of the AMI itself the next run goes on. From
// then on the AMI is the build's result.
func (b *bake) finish(ctx context.Context) error {
	for _, p := range slices.Backward(b.published()) {
		_, err := p.api.DeleteTags(ctx, &ec2.DeleteTagsInput{Resources: []string{p.image}, Tags: []types.Tag{{Key: aws.String(unfinishedTag)}}})
		if err != nil {
			return &unfinished{image: b.image, region: b.region, name: b.config.AMIName, err: fmt.Errorf("take the tag %s off %s: %w", unfinishedTag, p.image, err)}
		}
	}
	b.done = true
	return b.removeRetired(ctx)
}

// skipImage is all that is done of an AMI that is not wanted.
func (b *bake) skipImage(context.Context) error {
	b.ui.Say("Making no AMI: skip_create_ami is set")
	b.done = true
	return nil
}

func valueOf(tags []types.Tag, key string) string {
	for _, tag := range tags {
		if aws.ToString(tag.Key) == key {
			return aws.ToString(tag.Value)
		}
	}
	return ""
}

// imageTags are the tags of the AMI and its snapshots, here and elsewhere.
func (b *bake) imageTags() []types.TagSpecification {
	name := b.config.AMIName
	return []types.TagSpecification{
		specification(types.ResourceTypeImage, b.tags(name, b.provenance(), b.config.Tags, map[string]string{unfinishedTag: name})),
		specification(types.ResourceTypeSnapshot, b.tags(name, b.config.Tags, b.config.SnapshotTags)),
	}
}

// baking is a step that is left out where there is nothing to bake.
type baking struct{ multistep.Step }

// Run does the step.
func (s baking) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	if state.Get(stateKey).(*bake).adopted {
		return multistep.ActionContinue
	}
	return s.Step.Run(ctx, state)
}

// Cleanup undoes the step.
func (s baking) Cleanup(state multistep.StateBag) {
	if !state.Get(stateKey).(*bake).adopted {
		s.Step.Cleanup(state)
	}
}
