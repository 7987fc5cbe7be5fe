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
	"github.com/aws/smithy-go"
)

// source is the image to start from.
type source struct {
	id, name, rootDevice string
	rootGB               int32
}

// place is where the instance is launched.
type place struct{ subnet, vpc string }

// check asks EC2 whether all that the build names is there, before anything is made.
func (b *bake) check(ctx context.Context) error {
	b.ui.Say("Checking the source AMI, the network and the AMI's name...")
	if err := b.findSource(ctx); err != nil {
		return err
	}
	b.ui.Message(fmt.Sprintf("source AMI: %s (%s)", b.source.id, b.source.name))
	if err := b.findPlace(ctx); err != nil {
		return err
	}
	b.ui.Message(fmt.Sprintf("subnet: %s of %s", b.place.subnet, b.place.vpc))
	if err := b.checkGroups(ctx); err != nil {
		return err
	}
	return b.checkName(ctx)
}

func (b *bake) findSource(ctx context.Context) error {
	input, attribute := &ec2.DescribeImagesInput{ImageIds: []string{b.config.SourceAmi}}, "source_ami"
	if b.config.SourceAmi == "" {
		f := b.config.SourceAmiFilter
		input = &ec2.DescribeImagesInput{Filters: filters(f.Filters), Owners: f.Owners, IncludeDeprecated: aws.Bool(f.IncludeDeprecated)}
		attribute = fmt.Sprintf("source_ami_filter (%s, owners %s)", text(f.Filters), strings.Join(f.Owners, ", "))
	}
	out, err := b.ec2.DescribeImages(ctx, input)
	if err != nil {
		return fmt.Errorf("%s: %w", attribute, named(err, b.config.SourceAmi))
	}
	images := out.Images
	switch {
	case len(images) == 0:
		return fmt.Errorf("%s: no AMI matches in %s", attribute, b.region)
	case len(images) > 1 && !b.config.SourceAmiFilter.MostRecent:
		return fmt.Errorf("%s: %d AMIs match; narrow the filters, or set most_recent", attribute, len(images))
	}
	youngest := slices.MaxFunc(images, func(x, y types.Image) int {
		return strings.Compare(aws.ToString(x.CreationDate), aws.ToString(y.CreationDate))
	})
	id := aws.ToString(youngest.ImageId)
	if youngest.State != types.ImageStateAvailable {
		return fmt.Errorf("%s: %s is %s; it must be available", attribute, id, youngest.State)
	}
	if youngest.RootDeviceType != types.DeviceTypeEbs {
		return fmt.Errorf("%s: the root device of %s is %s; it must be ebs", attribute, id, youngest.RootDeviceType)
	}
	b.source = source{id: id, name: aws.ToString(youngest.Name), rootDevice: aws.ToString(youngest.RootDeviceName)}
	for _, device := range youngest.BlockDeviceMappings {
		if aws.ToString(device.DeviceName) == b.source.rootDevice && device.Ebs != nil {
			b.source.rootGB = aws.ToInt32(device.Ebs.VolumeSize)
		}
	}
	for i, device := range b.config.LaunchMappings {
		if device.DeviceName == b.source.rootDevice && device.VolumeSize != 0 && device.VolumeSize < b.source.rootGB {
			return fmt.Errorf("launch_block_device_mappings[%d].volume_size: %d GiB is less than the %d of %s", i, device.VolumeSize, b.source.rootGB, id)
		}
	}
	return nil
}

func text(from map[string]string) string {
	var parts []string
	for key, value := range from {
		parts = append(parts, key+" = "+value)
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// named adds the id that was asked for to an error that may not name it.
func named(err error, id string) error {
	if id == "" || strings.Contains(err.Error(), id) {
		return err
	}
	return fmt.Errorf("%s: %w", id, err)
}

// findPlace settles subnet and VPC.
func (b *bake) findPlace(ctx context.Context) error {
	vpc, err := b.findVPC(ctx)
	if err != nil {
		return err
	}
	subnets, attribute, err := b.findSubnets(ctx, vpc)
	if err != nil {
		return err
	}
	f := b.config.SubnetFilter
	chosen := subnets[0]
	switch {
	case f.MostFree:
		chosen = slices.MaxFunc(subnets, func(x, y types.Subnet) int {
			return int(aws.ToInt32(x.AvailableIpAddressCount)) - int(aws.ToInt32(y.AvailableIpAddressCount))
		})
	case f.Random:
		chosen = pick(subnets)
	case len(subnets) > 1 && len(f.Filters) > 0:
		return fmt.Errorf("%s: %d subnets match; narrow the filters, or set most_free or random", attribute, len(subnets))
	}
	b.place = place{subnet: aws.ToString(chosen.SubnetId), vpc: aws.ToString(chosen.VpcId)}
	if vpc != "" && b.place.vpc != vpc {
		return fmt.Errorf("%s: subnet %s belongs to %s, and vpc_id says %s", attribute, b.place.subnet, b.place.vpc, vpc)
	}
	return nil
}

// findVPC is the VPC that the configuration names, or empty if it names none.
func (b *bake) findVPC(ctx context.Context) (string, error) {
	if len(b.config.VpcFilter.Filters) == 0 {
		return b.config.VpcId, nil
	}
	out, err := b.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: filters(b.config.VpcFilter.Filters)})
	if err != nil {
		return "", fmt.Errorf("vpc_filter: %w", err)
	}
	if len(out.Vpcs) != 1 {
		return "", fmt.Errorf("vpc_filter (%s): %d VPCs match in %s; it must be one", text(b.config.VpcFilter.Filters), len(out.Vpcs), b.region)
	}
	return aws.ToString(out.Vpcs[0].VpcId), nil
}

func (b *bake) findSubnets(ctx context.Context, vpc string) (subnets []types.Subnet, attribute string, err error) {
	input := &ec2.DescribeSubnetsInput{}
	switch {
	case b.config.SubnetId != "":
		attribute, input.SubnetIds = "subnet_id", []string{b.config.SubnetId}
	case len(b.config.SubnetFilter.Filters) > 0:
		attribute = fmt.Sprintf("subnet_filter (%s)", text(b.config.SubnetFilter.Filters))
		input.Filters = filters(b.config.SubnetFilter.Filters)
	case vpc != "":
		attribute = "vpc_id"
	default:
		attribute, input.Filters = "subnet_id", filters(map[string]string{"default-for-az": "true"})
	}
	if vpc != "" && b.config.SubnetId == "" {
		input.Filters = append(input.Filters, filters(map[string]string{"vpc-id": vpc})...)
	}
	if b.config.AvailabilityZone != "" && b.config.SubnetId == "" {
		input.Filters = append(input.Filters, filters(map[string]string{"availability-zone": b.config.AvailabilityZone})...)
	}
	out, err := b.ec2.DescribeSubnets(ctx, input)
	if err != nil {
		return nil, attribute, fmt.Errorf("%s: %w", attribute, named(err, b.config.SubnetId))
	}
	if len(out.Subnets) == 0 {
		return nil, attribute, fmt.Errorf("%s: no subnet matches in %s\nhint: name one with subnet_id or subnet_filter; goldsmith network up makes a stack's", attribute, b.region)
	}
	return out.Subnets, attribute, nil
}

func (b *bake) checkGroups(ctx context.Context) error {
	if len(b.config.SecurityGroupIds) == 0 {
		return nil
	}
	out, err := b.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: b.config.SecurityGroupIds})
	if err != nil {
		return fmt.Errorf("security_group_ids: %w", err)
	}
	for _, group := range out.SecurityGroups {
		if vpc := aws.ToString(group.VpcId); vpc != b.place.vpc {
			return fmt.Errorf("security_group_ids: %s belongs to %s, and subnet %s to %s", aws.ToString(group.GroupId), vpc, b.place.subnet, b.place.vpc)
		}
	}
	b.groups = b.config.SecurityGroupIds
	return nil
}

func (b *bake) checkName(ctx context.Context) error {
	out, err := b.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: filters(map[string]string{"name": b.config.AMIName})})
	if err != nil {
		return fmt.Errorf("ami_name: %w", err)
	}
	if len(out.Images) > 0 {
		return fmt.Errorf("ami_name: %q is taken by %s", b.config.AMIName, aws.ToString(out.Images[0].ImageId))
	}
	return nil
}

// isGone tells whether an error says that the thing is not there (any more).
func isGone(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && (strings.Contains(api.ErrorCode(), "NotFound") || api.ErrorCode() == "InvalidAMIID.Unavailable")
}
