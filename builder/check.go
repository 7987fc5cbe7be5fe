package builder

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
)

// source is the image to start from.
type source struct {
	id, name, rootDevice string
	rootGB               int32
}

// place is where the instance can be launched.
type place struct{ subnet, vpc, zone string }

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
	return b.checkRegions(ctx)
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
		return fmt.Errorf("%s: %w", attribute, naming(err, b.config.SourceAmi))
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

// naming adds the id that was asked for to an error that may not name it.
func naming(err error, id string) error {
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
	switch {
	case f.MostFree:
		slices.SortStableFunc(subnets, func(x, y types.Subnet) int {
			return int(aws.ToInt32(y.AvailableIpAddressCount)) - int(aws.ToInt32(x.AvailableIpAddressCount))
		})
	case f.Random:
		rand.Shuffle(len(subnets), func(i, j int) { subnets[i], subnets[j] = subnets[j], subnets[i] })
	case len(subnets) > 1 && len(f.Filters) > 0:
		return fmt.Errorf("%s: %d subnets match; narrow the filters, or set most_free or random", attribute, len(subnets))
	}
	for _, subnet := range subnets {
		p := place{subnet: aws.ToString(subnet.SubnetId), vpc: aws.ToString(subnet.VpcId), zone: aws.ToString(subnet.AvailabilityZone)}
		switch {
		case vpc != "" && p.vpc != vpc:
			return fmt.Errorf("%s: subnet %s belongs to %s, and vpc_id says %s", attribute, p.subnet, p.vpc, vpc)
		case len(b.places) > 0 && p.vpc != b.places[0].vpc && len(b.config.SubnetIds) > 0:
			return fmt.Errorf("%s: subnet %s belongs to %s, and %s to %s; they must be of one VPC", attribute, p.subnet, p.vpc, b.places[0].subnet, b.places[0].vpc)
		case len(b.places) == 0 || p.vpc == b.places[0].vpc:
			b.places = append(b.places, p)
		}
	}
	b.place = b.places[0]
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
	case len(b.config.SubnetIds) > 0:
		attribute, input.SubnetIds = "subnet_ids", b.config.SubnetIds
	case len(b.config.SubnetFilter.Filters) > 0:
		attribute = fmt.Sprintf("subnet_filter (%s)", text(b.config.SubnetFilter.Filters))
		input.Filters = filters(b.config.SubnetFilter.Filters)
	case vpc != "":
		attribute = "vpc_id"
	default:
		attribute, input.Filters = "subnet_id", filters(map[string]string{"default-for-az": "true"})
	}
	named := len(input.SubnetIds) > 0
	if vpc != "" && !named {
		input.Filters = append(input.Filters, filters(map[string]string{"vpc-id": vpc})...)
	}
	if b.config.AvailabilityZone != "" && !named {
		input.Filters = append(input.Filters, filters(map[string]string{"availability-zone": b.config.AvailabilityZone})...)
	}
	out, err := b.ec2.DescribeSubnets(ctx, input)
	if err != nil {
		return nil, attribute, fmt.Errorf("%s: %w", attribute, naming(err, b.config.SubnetId))
	}
	if len(out.Subnets) == 0 {
		return nil, attribute, fmt.Errorf("%s: no subnet matches in %s\nhint: name one with subnet_id or subnet_filter; goldsmith network up makes a stack's", attribute, b.region)
	}
	if order := b.config.SubnetIds; named && len(order) > 0 {
		slices.SortFunc(out.Subnets, func(x, y types.Subnet) int {
			return slices.Index(order, aws.ToString(x.SubnetId)) - slices.Index(order, aws.ToString(y.SubnetId))
		})
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

// isGone tells whether an error says that the thing is not there (any more).
func isGone(err error) bool { return awserr.NotFound(err) }
