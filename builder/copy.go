package builder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// publication is the AMI or a copy of it.
type publication struct {
	region, image string
	api           ec2API
}

// published are the AMI and its copies, the AMI first and the others by region.
func (b *bake) published() []publication {
	all := []publication{{b.region, b.image, b.ec2}}
	for _, region := range b.copyRegions() {
		if image := b.copies[region]; image != "" {
			all = append(all, publication{region, image, b.elsewhere(region)})
		}
	}
	return all
}

// copyRegions are the regions that the AMI is copied to, each once and without the build's own.
func (b *bake) copyRegions() []string {
	regions := slices.DeleteFunc(slices.Sorted(slices.Values(b.config.AMIRegions)), func(region string) bool { return region == b.region })
	return slices.Compact(regions)
}

// checkRegions asks EC2 whether the regions of the copies are there and open to the account.
func (b *bake) checkRegions(ctx context.Context) error {
	regions := b.copyRegions()
	for region := range b.config.AMIRegionKMSKeyIDs {
		if region != b.region && !slices.Contains(regions, region) {
			return fmt.Errorf("region_kms_key_ids: %q is neither in ami_regions nor the build's region", region)
		}
	}
	if len(regions) == 0 || b.config.AMISkipRegionValidation {
		return nil
	}
	out, err := b.ec2.DescribeRegions(ctx, &ec2.DescribeRegionsInput{AllRegions: aws.Bool(true)})
	if err != nil {
		return fmt.Errorf("ami_regions: %w", err)
	}
	open := map[string]bool{}
	for _, region := range out.Regions {
		open[aws.ToString(region.RegionName)] = aws.ToString(region.OptInStatus) != "not-opted-in"
	}
	for _, region := range regions {
		if usable, known := open[region]; !known {
			return fmt.Errorf("ami_regions: there is no region %q; skip_region_validation = true leaves this check out", region)
		} else if !usable {
			return fmt.Errorf("ami_regions: the account has not opted in to %s", region)
		}
	}
	return nil
}

// copyImage copies the AMI to each region at once and waits for all of them.
func (b *bake) copyImage(ctx context.Context) error {
	b.copies = map[string]string{}
	for _, region := range b.copyRegions() {
		image, err := b.copyTo(ctx, region)
		if err != nil {
			return fmt.Errorf("ami_regions: copy %s to %s: %w", b.image, region, err)
		}
		b.copies[region] = image
	}
	for _, region := range b.copyRegions() {
		if err := b.waitForImage(ctx, b.elsewhere(region), region, b.copies[region]); err != nil {
			return fmt.Errorf("ami_regions: %s: %w", region, err)
		}
	}
	return nil
}

func (b *bake) copyTo(ctx context.Context, region string) (image string, err error) {
	api := b.elsewhere(region)
	if b.adopted {
		found, ok, err := b.unfinishedIn(ctx, api)
		if err != nil {
			return "", err
		}
		if ok && valueOf(found.Tags, buildTag) == b.id {
			b.ui.Message(fmt.Sprintf("%s: going on from %s", region, aws.ToString(found.ImageId)))
			return aws.ToString(found.ImageId), nil
		}
	}
	input := &ec2.CopyImageInput{Name: aws.String(b.config.AMIName), Description: aws.String(b.config.AMIDescription), SourceImageId: aws.String(b.image),
		SourceRegion: aws.String(b.region), ClientToken: aws.String("goldsmith-" + b.id + "-" + region), TagSpecifications: b.imageTags(),
		Encrypted: b.config.AMIEncryptBootVolume.ToBoolPointer()}
	if b.config.AMIEncryptBootVolume.True() {
		input.KmsKeyId = given(b.config.AMIRegionKMSKeyIDs[region])
	}
	b.ui.Say(fmt.Sprintf("Copying the AMI to %s...", region))
	whole, cancel := making(ctx)
	defer cancel()
	var out *ec2.CopyImageOutput
	err = b.onceFree(whole, func(ctx context.Context) (err error) { out, err = api.CopyImage(ctx, input); return err })
	if err != nil {
		return "", err
	}
	b.ui.Message(fmt.Sprintf("%s: %s", region, aws.ToString(out.ImageId)))
	return aws.ToString(out.ImageId), ctx.Err()
}

// removeCopies takes the copies back of a build that did not succeed.
func (b *bake) removeCopies(ctx context.Context) error {
	if b.kept() {
		return nil
	}
	var errs []error
	for _, region := range b.copyRegions() {
		if err := b.removeImagesIn(ctx, b.elsewhere(region)); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", region, err))
		}
	}
	return errors.Join(errs...)
}

// unprotect takes off the protection that would keep an AMI that is removed.
func unprotect(ctx context.Context, api ec2API, image types.Image) error {
	if !isProtected(image) {
		return nil
	}
	_, err := api.DisableImageDeregistrationProtection(ctx, &ec2.DisableImageDeregistrationProtectionInput{ImageId: image.ImageId})
	return err
}

func isProtected(image types.Image) bool {
	return strings.HasPrefix(aws.ToString(image.DeregistrationProtection), "enabled")
}
