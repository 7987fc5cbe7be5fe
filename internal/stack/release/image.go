package release

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
)

// FindImage is the image that a tier is to run: the one that is asked for, or what the stack file names, or that of the
// current release or, in a stack that has none, the youngest, a proved one if there is one.
func FindImage(ctx context.Context, s *stack.Stack, t stack.Tier, asked string, current Release) (string, error) {
	named := cmp.Or(asked, t.Image)
	if named == "" && t.Release != "" && t.Release != current.Name {
		return releasedImage(ctx, s, t.Name, t.Release)
	}
	if named = cmp.Or(named, current.Images[t.Name]); named != "" {
		return named, checkImage(ctx, s, t.Name, named)
	}
	found, err := youngestImage(ctx, s, s.OwnFilters("tag:"+stack.TierTag, t.Name, "state", "available"))
	if err == nil && found == "" {
		err = fmt.Errorf("there is none\nhint: packer build -var stack=%s ./", s.Name)
	}
	if err != nil {
		return "", fmt.Errorf("find the %s image of stack %s: %w", t.Name, s.Name, err)
	}
	return found, nil
}

// releasedImage is the image of a release by its name.
func releasedImage(ctx context.Context, s *stack.Stack, tier, name string) (string, error) {
	filters := s.OwnFilters("tag:"+stack.TierTag, tier, "state", "available", "tag:"+images.ReleaseTag, name)
	found, err := youngestImage(ctx, s, filters)
	if err == nil && found == "" {
		err = fmt.Errorf("no image has the tag %s=%s\nhint: goldsmith images", images.ReleaseTag, name)
	}
	if err != nil {
		return "", fmt.Errorf("find the %s image of release %s of stack %s in %s: %w", tier, name, s.Name,
			s.Config.Region, err)
	}
	return found, nil
}

// youngestImage is the youngest image that filters find, a proved one if there is one; empty is for none.
func youngestImage(ctx context.Context, s *stack.Stack, filters []types.Filter) (string, error) {
	all, err := ec2ops.OwnImages(ctx, s.EC2, filters...)
	if err != nil {
		return "", err
	}
	rank := func(i types.Image) string { // proved ones before all others, each in the order of their age
		return fmt.Sprintf("%t %s", ec2ops.TagValue(i.Tags, images.ProvedTag) != "", aws.ToString(i.CreationDate))
	}
	slices.SortStableFunc(all, func(a, b types.Image) int { return cmp.Compare(rank(a), rank(b)) })
	if len(all) == 0 {
		return "", nil
	}
	return aws.ToString(all[len(all)-1].ImageId), nil
}

// checkImage tells what is wrong with launching an image, if anything is.
func checkImage(ctx context.Context, s *stack.Stack, tier, id string) error {
	out, err := s.EC2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{id}})
	gone := awserr.NotFound(err) || awserr.Is(err, apierror.InvalidAMIIDMalformed)
	if gone || err == nil && len(out.Images) == 0 {
		return fmt.Errorf("deploy %s image %s: region %s has none of this id\nhint: an AMI's id is good in one "+
			"region only; goldsmith images lists those of this one, and a build's ami_regions makes it in "+
			"others", tier, id, s.Config.Region)
	}
	if err != nil {
		return fmt.Errorf("look at the %s image %s in %s: %w", tier, id, s.Config.Region, err)
	}
	image := out.Images[0]
	if image.State != types.ImageStateAvailable {
		return fmt.Errorf("deploy %s image %s: it is %s; it should be available", tier, id, image.State)
	}
	if is := ec2ops.TagValue(image.Tags, stack.TierTag); is != "" && is != tier {
		return fmt.Errorf("deploy %s image %s: it is an image of tier %s", tier, id, is)
	}
	sealed := ec2ops.TagValue(image.Tags, images.ManifestTag) != ""
	if err := imagespec.CheckTag(ec2ops.TagValue(image.Tags, imagespec.Tag), sealed); err != nil {
		return fmt.Errorf("deploy %s image %s: %w", tier, id, err)
	}
	return nil
}

func imageExists(ctx context.Context, s *stack.Stack, image string) (bool, error) {
	found, err := ec2ops.Images(ctx, s.EC2, &ec2.DescribeImagesInput{ImageIds: []string{image}})
	if awserr.NotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at image %s: %w", image, err)
	}
	return len(found) == 1 && found[0].State == types.ImageStateAvailable, nil
}
