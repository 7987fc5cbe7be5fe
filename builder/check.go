package builder

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

// sourceImage is the AMI to start from.
type sourceImage struct {
	id, name, rootDevice string
	rootGB               int32
	arch                 types.ArchitectureValues
}

// location is a subnet that the instance can be launched in, with its VPC and its zone.
type location struct{ subnet, vpc, zone string }

// check asks EC2 whether all that the build names is there, before anything is made.
func (b *bake) check(ctx context.Context) (err error) {
	j := b.job
	j.ui.Say("Checking the source AMI, the network and the AMI's name...")
	if b.source, err = findSource(ctx, j); err != nil {
		return err
	}
	j.ui.Message(fmt.Sprintf("source AMI: %s (%s)", b.source.id, b.source.name))
	if b.places, err = findPlaces(ctx, j); err != nil {
		return err
	}
	j.ui.Message(fmt.Sprintf("subnet: %s of %s", b.places[0].subnet, b.places[0].vpc))
	if err := checkGroups(ctx, j, b.places[0]); err != nil {
		return err
	}
	return checkRegions(ctx, j)
}

// findSource is the source AMI, which has to be one, available and on EBS.
func findSource(ctx context.Context, j *job) (sourceImage, error) {
	c := j.config
	input, attribute := &ec2.DescribeImagesInput{ImageIds: []string{c.SourceAmi}}, "source_ami"
	if f := c.SourceAmiFilter; c.SourceAmi == "" {
		input = &ec2.DescribeImagesInput{
			Filters:           ec2ops.Filters(f.Filters),
			Owners:            f.Owners,
			IncludeDeprecated: aws.Bool(f.IncludeDeprecated),
		}
		attribute = fmt.Sprintf("source_ami_filter (%s, owners %s)", text(f.Filters), strings.Join(f.Owners, ", "))
	}
	found, err := ec2ops.Images(ctx, j.ec2, input)
	switch {
	case err != nil:
		return sourceImage{}, fmt.Errorf("%s: %w", attribute, naming(err, c.SourceAmi))
	case len(found) == 0:
		return sourceImage{}, fmt.Errorf("%s: no AMI matches in %s", attribute, j.region)
	case len(found) > 1 && !c.SourceAmiFilter.MostRecent:
		return sourceImage{}, fmt.Errorf("%s: %d AMIs match; narrow the filters, or set most_recent", attribute,
			len(found))
	}
	youngest := slices.MaxFunc(found, func(x, y types.Image) int {
		return strings.Compare(aws.ToString(x.CreationDate), aws.ToString(y.CreationDate))
	})
	id := aws.ToString(youngest.ImageId)
	if youngest.State != types.ImageStateAvailable {
		return sourceImage{}, fmt.Errorf("%s: %s is %s; it must be available", attribute, id, youngest.State)
	}
	if youngest.RootDeviceType != types.DeviceTypeEbs {
		return sourceImage{}, fmt.Errorf("%s: the root device of %s is %s; it must be ebs", attribute, id,
			youngest.RootDeviceType)
	}
	source := sourceImage{
		id:         id,
		name:       aws.ToString(youngest.Name),
		rootDevice: aws.ToString(youngest.RootDeviceName),
		arch:       youngest.Architecture,
	}
	for _, device := range youngest.BlockDeviceMappings {
		if aws.ToString(device.DeviceName) == source.rootDevice && device.Ebs != nil {
			source.rootGB = aws.ToInt32(device.Ebs.VolumeSize)
		}
	}
	return source, checkRootSize(c, source)
}

// checkRootSize refuses a root volume that the source AMI does not fit on.
func checkRootSize(c *Config, source sourceImage) error {
	for i, device := range c.LaunchMappings {
		isRoot := device.DeviceName == source.rootDevice
		if isRoot && device.VolumeSize != 0 && device.VolumeSize < source.rootGB {
			return fmt.Errorf("launch_block_device_mappings[%d].volume_size: %d GiB is less than the %d of %s", i,
				device.VolumeSize, source.rootGB, source.id)
		}
	}
	return nil
}

func text(from map[string]string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(from)) {
		parts = append(parts, key+" = "+from[key])
	}
	return strings.Join(parts, ", ")
}

// naming adds the id that was asked for to an error that may not name it.
func naming(err error, id string) error {
	if id == "" || strings.Contains(err.Error(), id) {
		return err
	}
	return fmt.Errorf("%s: %w", id, err)
}

// findPlaces are the subnets that will do, all of one VPC; there is one at least.
func findPlaces(ctx context.Context, j *job) ([]location, error) {
	vpc, err := findVPC(ctx, j)
	if err != nil {
		return nil, err
	}
	subnets, attribute, err := findSubnets(ctx, j, vpc)
	if err != nil {
		return nil, err
	}
	f := j.config.SubnetFilter
	switch {
	case f.MostFree:
		slices.SortStableFunc(subnets, func(x, y types.Subnet) int {
			return int(aws.ToInt32(y.AvailableIpAddressCount)) - int(aws.ToInt32(x.AvailableIpAddressCount))
		})
	case f.Random:
		rand.Shuffle(len(subnets), func(i, k int) { subnets[i], subnets[k] = subnets[k], subnets[i] })
	case len(subnets) > 1 && len(f.Filters) > 0:
		return nil, fmt.Errorf("%s: %d subnets match; narrow the filters, or set most_free or random", attribute,
			len(subnets))
	}
	places, err := placesOf(subnets, vpc, len(j.config.SubnetIds) > 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", attribute, err)
	}
	return places, nil
}

// placesOf are those of the subnets that are of the first one's VPC. named says that the user wants each of them.
func placesOf(subnets []types.Subnet, vpc string, named bool) ([]location, error) {
	var places []location
	for _, subnet := range subnets {
		p := location{
			subnet: aws.ToString(subnet.SubnetId),
			vpc:    aws.ToString(subnet.VpcId),
			zone:   aws.ToString(subnet.AvailabilityZone),
		}
		switch {
		case vpc != "" && p.vpc != vpc:
			return nil, fmt.Errorf("subnet %s belongs to %s, and vpc_id says %s", p.subnet, p.vpc, vpc)
		case len(places) > 0 && p.vpc != places[0].vpc && named:
			return nil, fmt.Errorf("subnet %s belongs to %s, and %s to %s; they must be of one VPC", p.subnet, p.vpc,
				places[0].subnet, places[0].vpc)
		case len(places) == 0 || p.vpc == places[0].vpc:
			places = append(places, p)
		}
	}
	return places, nil
}

// findVPC is the VPC that the configuration names, or empty if it names none.
func findVPC(ctx context.Context, j *job) (string, error) {
	filters := j.config.VpcFilter.Filters
	if len(filters) == 0 {
		return j.config.VpcId, nil
	}
	found, err := ec2ops.VPCs(ctx, j.ec2, &ec2.DescribeVpcsInput{Filters: ec2ops.Filters(filters)})
	if err != nil {
		return "", fmt.Errorf("vpc_filter: %w", err)
	}
	if len(found) != 1 {
		return "", fmt.Errorf("vpc_filter (%s): %d VPCs match in %s; it must be one", text(filters), len(found),
			j.region)
	}
	return aws.ToString(found[0].VpcId), nil
}

func findSubnets(ctx context.Context, j *job, vpc string) (found []types.Subnet, attribute string, err error) {
	c, input := j.config, &ec2.DescribeSubnetsInput{}
	switch {
	case c.SubnetId != "":
		attribute, input.SubnetIds = "subnet_id", []string{c.SubnetId}
	case len(c.SubnetIds) > 0:
		attribute, input.SubnetIds = "subnet_ids", c.SubnetIds
	case len(c.SubnetFilter.Filters) > 0:
		attribute = fmt.Sprintf("subnet_filter (%s)", text(c.SubnetFilter.Filters))
		input.Filters = ec2ops.Filters(c.SubnetFilter.Filters)
	case vpc != "":
		attribute = "vpc_id"
	default:
		attribute, input.Filters = "subnet_id", []types.Filter{ec2ops.Filter("default-for-az", "true")}
	}
	named := len(input.SubnetIds) > 0
	if vpc != "" && !named {
		input.Filters = append(input.Filters, ec2ops.Filter("vpc-id", vpc))
	}
	if c.AvailabilityZone != "" && !named {
		input.Filters = append(input.Filters, ec2ops.Filter("availability-zone", c.AvailabilityZone))
	}
	if found, err = ec2ops.Subnets(ctx, j.ec2, input); err != nil {
		return nil, attribute, fmt.Errorf("%s: %w", attribute, naming(err, c.SubnetId))
	}
	if len(found) == 0 {
		return nil, attribute, fmt.Errorf("%s: no subnet matches in %s\n"+
			"hint: name one with subnet_id or subnet_filter; goldsmith network up makes a stack's", attribute, j.region)
	}
	if len(c.SubnetIds) > 0 && named {
		place := func(s types.Subnet) int { return slices.Index(c.SubnetIds, aws.ToString(s.SubnetId)) }
		slices.SortFunc(found, func(x, y types.Subnet) int { return place(x) - place(y) })
	}
	return found, attribute, nil
}

// checkGroups finds the security groups that the configuration names in the VPC.
func checkGroups(ctx context.Context, j *job, place location) error {
	if len(j.config.SecurityGroupIds) == 0 {
		return nil
	}
	input := &ec2.DescribeSecurityGroupsInput{GroupIds: j.config.SecurityGroupIds}
	found, err := ec2ops.SecurityGroups(ctx, j.ec2, input)
	if err != nil {
		return fmt.Errorf("security_group_ids: %w", err)
	}
	for _, group := range found {
		if vpc := aws.ToString(group.VpcId); vpc != place.vpc {
			return fmt.Errorf("security_group_ids: %s belongs to %s, and subnet %s to %s", aws.ToString(group.GroupId),
				vpc, place.subnet, place.vpc)
		}
	}
	return nil
}

// checkRegions asks EC2 whether the regions of the copies are there and open to the account.
func checkRegions(ctx context.Context, j *job) error {
	regions := j.copyRegions()
	for _, region := range slices.Sorted(maps.Keys(j.config.AMIRegionKMSKeyIDs)) {
		if region != j.region && !slices.Contains(regions, region) {
			return fmt.Errorf("region_kms_key_ids: %q is neither in ami_regions nor the build's region", region)
		}
	}
	if len(regions) == 0 || j.config.AMISkipRegionValidation {
		return nil
	}
	out, err := j.ec2.DescribeRegions(ctx, &ec2.DescribeRegionsInput{AllRegions: aws.Bool(true)})
	if err != nil {
		return fmt.Errorf("ami_regions: %w", err)
	}
	open := map[string]bool{}
	for _, region := range out.Regions {
		open[aws.ToString(region.RegionName)] = aws.ToString(region.OptInStatus) != "not-opted-in"
	}
	for _, region := range regions {
		if usable, known := open[region]; !known {
			return fmt.Errorf("ami_regions: there is no region %q; skip_region_validation = true leaves this check out",
				region)
		} else if !usable {
			return fmt.Errorf("ami_regions: the account has not opted in to %s", region)
		}
	}
	return nil
}
