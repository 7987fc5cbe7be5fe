package stack

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
)

// findImage is the image that a tier is to run: the one that is asked for, or what the stack file names, or that of the
// current release or, in a stack that never had one, the youngest.
func (s *Stack) findImage(ctx context.Context, tier, asked string, current Release) (string, error) {
	file := s.tier(tier)
	named := cmp.Or(asked, file.AMI)
	if named == "" && file.Release != "" && file.Release != current.Name {
		return s.releasedImage(ctx, tier, file.Release)
	}
	if named = cmp.Or(named, current.image(tier)); named != "" {
		return named, s.checkImage(ctx, tier, named)
	}
	found, err := s.youngestImage(ctx, s.mine("tag:"+tierTag, tier, "state", "available"))
	if err == nil && found == "" {
		err = fmt.Errorf("there is none\nhint: packer build -var stack=%s .", s.name)
	}
	if err != nil {
		return "", fmt.Errorf("find the %s image of stack %s: %w", tier, s.name, err)
	}
	return found, nil
}

// releasedImage is the image of a release by its name.
func (s *Stack) releasedImage(ctx context.Context, tier, release string) (string, error) {
	found, err := s.youngestImage(ctx, s.mine("tag:"+tierTag, tier, "state", "available", "tag:"+images.ReleaseTag, release))
	if err == nil && found == "" {
		err = fmt.Errorf("no image has the tag %s=%s\nhint: goldsmith images", images.ReleaseTag, release)
	}
	if err != nil {
		return "", fmt.Errorf("find the %s image of release %s of stack %s in %s: %w", tier, release, s.name, s.conf.Region, err)
	}
	return found, nil
}

func (s *Stack) youngestImage(ctx context.Context, filters []types.Filter) (string, error) {
	out, err := s.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: filters})
	if err != nil {
		return "", err
	}
	var youngest types.Image
	for _, found := range out.Images {
		if aws.ToString(found.CreationDate) >= aws.ToString(youngest.CreationDate) {
			youngest = found
		}
	}
	return aws.ToString(youngest.ImageId), nil
}

// checkImage tells what is wrong with launching an image, if anything is.
func (s *Stack) checkImage(ctx context.Context, tier, id string) error {
	out, err := s.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{id}})
	if strings.HasPrefix(code(err), "InvalidAMIID") || err == nil && len(out.Images) == 0 {
		return fmt.Errorf("deploy %s image %s: region %s has none of this id\nhint: an AMI's id is good in one region only; goldsmith images lists those of this one, and a build's ami_regions makes it in others", tier, id, s.conf.Region)
	}
	if err != nil {
		return fmt.Errorf("look at the %s image %s in %s: %w", tier, id, s.conf.Region, err)
	}
	image := out.Images[0]
	if image.State != types.ImageStateAvailable {
		return fmt.Errorf("deploy %s image %s: it is %s; it should be available", tier, id, image.State)
	}
	if is := tagOf(image.Tags, tierTag); is != "" && is != tier {
		return fmt.Errorf("deploy %s image %s: it is an image of tier %s", tier, id, is)
	}
	return nil
}
