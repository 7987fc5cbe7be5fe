package builder

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

// publication is the AMI or a copy of it.
type publication struct {
	region, image string
	api           *ec2.Client
}

// published are the AMI and its copies, the AMI first and the others by region.
func (b *bake) published() []publication {
	all := []publication{{b.job.region, b.image.id, b.job.ec2}}
	for _, region := range b.job.copyRegions() {
		if image := b.copies[region]; image != "" {
			all = append(all, publication{region, image, b.job.elsewhere(region)})
		}
	}
	return all
}

// copyImage copies the AMI to each region at once and waits for all of them.
func (b *bake) copyImage(ctx context.Context) error {
	b.copies = map[string]string{}
	made := time.Now()
	for _, region := range b.job.copyRegions() {
		image, err := b.copyTo(ctx, region)
		if err != nil {
			return fmt.Errorf("ami_regions: copy %s to %s: %w", b.image.id, region, err)
		}
		b.copies[region] = image
	}
	for _, p := range b.published()[1:] {
		if err := waitForImage(ctx, b.job, p, made); err != nil {
			return fmt.Errorf("ami_regions: %s: %w", p.region, err)
		}
	}
	return nil
}

// copyTo is the AMI's copy in a region, which an earlier run may have made.
func (b *bake) copyTo(ctx context.Context, region string) (image string, err error) {
	j, api := b.job, b.job.elsewhere(region)
	if b.image.adopted {
		found, ok, findErr := unfinishedIn(ctx, api, wanted{j.config, b.image.name, b.inputs})
		if findErr != nil {
			return "", findErr
		}
		if ok && ec2ops.TagValue(found.Tags, buildTag) == b.image.owner {
			j.ui.Message(fmt.Sprintf("%s: going on from %s", region, aws.ToString(found.ImageId)))
			return aws.ToString(found.ImageId), nil
		}
	}
	input := &ec2.CopyImageInput{
		Name:              aws.String(b.image.name),
		Description:       given(j.config.AMIDescription),
		SourceImageId:     aws.String(b.image.id),
		SourceRegion:      aws.String(j.region),
		ClientToken:       aws.String("goldsmith-" + b.image.owner + "-" + region),
		TagSpecifications: imageSpecs(j, b.image, provenance(j, b.source, b.image, b.inputs)),
		Encrypted:         j.config.AMIEncryptBootVolume.ToBoolPointer(),
	}
	if j.config.AMIEncryptBootVolume.True() {
		input.KmsKeyId = given(j.config.AMIRegionKMSKeyIDs[region])
	}
	j.ui.Say(fmt.Sprintf("Copying the AMI to %s...", region))
	detached, cancel := createContext(ctx)
	defer cancel()
	err = onceNameIsFree(detached, b.retired, func(ctx context.Context) error {
		out, callErr := api.CopyImage(ctx, input)
		if callErr == nil {
			image = aws.ToString(out.ImageId)
		}
		return callErr
	})
	if err != nil {
		return "", lost(err)
	}
	j.ui.Message(fmt.Sprintf("%s: %s", region, image))
	return image, ctx.Err()
}

// removeCopies takes the copies back of a build that did not succeed.
func (b *bake) removeCopies(ctx context.Context) error {
	if b.kept() {
		return nil
	}
	var errs []error
	for _, region := range b.job.copyRegions() {
		made := builtImage{id: b.copies[region], owner: b.image.owner}
		if err := removeImagesOf(ctx, b.job, b.job.elsewhere(region), made, isLost(b.failure)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", region, err))
		}
	}
	return errors.Join(errs...)
}

// unprotect takes off the protection that would keep an AMI that is removed.
func unprotect(ctx context.Context, api *ec2.Client, image types.Image) error {
	if !isProtected(image) {
		return nil
	}
	_, err := api.DisableImageDeregistrationProtection(ctx, &ec2.DisableImageDeregistrationProtectionInput{
		ImageId: image.ImageId,
	})
	return err
}

func isProtected(image types.Image) bool {
	return strings.HasPrefix(aws.ToString(image.DeregistrationProtection), "enabled")
}
