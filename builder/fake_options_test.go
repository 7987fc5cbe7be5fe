package builder

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"
)

// shelf is what an account has of images and of how instances are launched.
type shelf struct {
	once        bool // a call fails once
	own         []*types.Image
	permissions map[string][]types.LaunchPermission // by image
	volumes     map[string][]types.CreateVolumePermission
	copies      []*ec2.CopyImageInput
	registered  []*ec2.RegisterImageInput
	created     []types.BlockDeviceMapping
	networking  []*ec2.ModifyInstanceAttributeInput
	abroad      map[string]*account

	launches []ec2.RunInstancesInput
	tried    []string           // types and subnets
	full     map[string]string  // by type and subnet, the code that a launch gets
	vanishes map[string]bool    // by the same, instances that end for want of room
	reason   *types.StateReason // of the instance
	spot     map[string]string  // prices by type
	policy   string             // of the role
	unknown  int                // launches for which a new profile is not known
	making   map[string]string  // snapshots that no AMI names yet, with that which they are made for
	inUse    map[string]int     // how often a snapshot is in use when it is to be deleted
}

// pendingSnapshots are those with one of these descriptions.
func (a *account) pendingSnapshots(descriptions []string) []string {
	var found []string
	for id, image := range a.making {
		if a.has(id) && slices.Contains(descriptions, "Created by CreateImage(*) for "+image+"*") {
			found = append(found, id)
		}
	}
	return found
}

// mine are tags of a build.
func mine(id string) []types.TagSpecification {
	return []types.TagSpecification{{ResourceType: types.ResourceTypeImage, Tags: []types.Tag{{Key: aws.String(buildTag), Value: aws.String(id)}}}}
}

func (a *account) elsewhere(region string) ec2API {
	if a.abroad == nil {
		a.abroad = map[string]*account{}
	}
	if a.abroad[region] == nil {
		a.abroad[region] = newAccount(a.t)
	}
	return a.abroad[region]
}

// put makes an image and its snapshot.
func (a *account) put(suffix, name string, tags []types.TagSpecification) *types.Image {
	image := &types.Image{ImageId: aws.String("ami-" + suffix), Name: aws.String(name), State: types.ImageStateAvailable, RootDeviceName: aws.String("/dev/xvda"),
		BlockDeviceMappings: []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{SnapshotId: aws.String("snap-" + suffix), Encrypted: aws.Bool(true)}}}}
	a.things["ami-"+suffix], a.things["snap-"+suffix] = nil, nil
	for _, spec := range tags {
		if valueOf(spec.Tags, buildTag) == "" {
			a.t.Errorf("ami-%s is made with a %s without the build's tag", suffix, spec.ResourceType)
		}
		if spec.ResourceType == types.ResourceTypeImage {
			image.Tags = slices.Clone(spec.Tags)
		}
	}
	a.own = append(a.own, image)
	return image
}

func (a *account) take(id string) {
	a.own = slices.DeleteFunc(a.own, func(image *types.Image) bool {
		if aws.ToString(image.ImageId) == id && isProtected(*image) {
			a.t.Errorf("%s is protected and deregistered", id)
		}
		return aws.ToString(image.ImageId) == id
	})
	a.remove(id, "InvalidAMIID.NotFound")
}

func (a *account) image(id *string) *types.Image {
	for _, image := range a.own {
		if aws.ToString(image.ImageId) == aws.ToString(id) {
			return image
		}
	}
	return nil
}

// find answers DescribeImages of own images.
func (a *account) find(in *ec2.DescribeImagesInput) []types.Image {
	var found []types.Image
	for _, image := range a.own {
		ok := slices.Contains(in.Owners, "self") || slices.Contains(in.ImageIds, aws.ToString(image.ImageId))
		for _, f := range in.Filters {
			value := aws.ToString(image.Name)
			if key, isTag := strings.CutPrefix(aws.ToString(f.Name), "tag:"); isTag {
				value = valueOf(image.Tags, key)
			}
			if aws.ToString(f.Name) == "tag-key" {
				ok = ok && valueOf(image.Tags, f.Values[0]) != ""
				continue
			}
			ok = ok && slices.Contains(f.Values, value)
		}
		if ok {
			found = append(found, *image)
		}
	}
	return found
}

func (a *account) freeName(name string) error {
	if slices.ContainsFunc(a.own, func(image *types.Image) bool { return aws.ToString(image.Name) == name }) {
		return gone("InvalidAMIName.Duplicate")
	}
	return nil
}

// tryOf is a launch in short: type and subnet.
func tryOf(in *ec2.RunInstancesInput) string {
	return string(in.InstanceType) + " " + strings.TrimPrefix(aws.ToString(in.NetworkInterfaces[0].SubnetId), "subnet-")
}

func (a *account) launching(in *ec2.RunInstancesInput) error {
	if a.unknown--; a.unknown >= 0 {
		return &smithy.GenericAPIError{Code: "InvalidParameterValue", Message: "Value (x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name"}
	}
	a.tried = append(a.tried, tryOf(in))
	if code := a.full[tryOf(in)]; code != "" {
		return gone(code)
	}
	for _, other := range a.launches {
		if aws.ToString(other.ClientToken) == aws.ToString(in.ClientToken) {
			a.t.Errorf("two launches with the client token %s", aws.ToString(in.ClientToken))
		}
	}
	return nil
}

func (a *account) launched(in *ec2.RunInstancesInput) {
	a.launches = append(a.launches, *in)
	a.state, a.reason = types.InstanceStateNameRunning, nil
	for _, spec := range in.TagSpecifications {
		if valueOf(spec.Tags, buildTag) == "" {
			a.t.Errorf("a %s is launched without the build's tag", spec.ResourceType)
		}
	}
	if in.IamInstanceProfile != nil && strings.HasPrefix(aws.ToString(in.IamInstanceProfile.Name), "goldsmith-build-") && !a.has("profile") {
		a.t.Errorf("launched with profile %s, which is not there", aws.ToString(in.IamInstanceProfile.Name))
	}
	if a.vanishes[tryOf(in)] {
		a.state = types.InstanceStateNameTerminated
		a.reason = &types.StateReason{Code: aws.String("Server.InsufficientInstanceCapacity"), Message: aws.String("no room")}
	}
}

func (a *account) isSpot() bool {
	return len(a.launches) > 0 && a.launches[len(a.launches)-1].InstanceMarketOptions != nil
}

func (a *account) DescribeRegions(context.Context, *ec2.DescribeRegionsInput, ...func(*ec2.Options)) (*ec2.DescribeRegionsOutput, error) {
	out := &ec2.DescribeRegionsOutput{}
	for name, status := range map[string]string{"us-east-1": "opt-in-not-required", "eu-central-1": "opt-in-not-required", "eu-west-1": "opted-in", "me-south-1": "not-opted-in"} {
		out.Regions = append(out.Regions, types.Region{RegionName: aws.String(name), OptInStatus: aws.String(status)})
	}
	return out, a.fails["DescribeRegions"]
}

func (a *account) DescribeSpotPriceHistory(context.Context, *ec2.DescribeSpotPriceHistoryInput, ...func(*ec2.Options)) (*ec2.DescribeSpotPriceHistoryOutput, error) {
	out := &ec2.DescribeSpotPriceHistoryOutput{}
	for kind, price := range a.spot {
		out.SpotPriceHistory = append(out.SpotPriceHistory, types.SpotPrice{InstanceType: types.InstanceType(kind), SpotPrice: aws.String(price), AvailabilityZone: aws.String("us-east-1a")})
	}
	return out, a.fails["DescribeSpotPriceHistory"]
}

func (a *account) DescribeImageAttribute(_ context.Context, in *ec2.DescribeImageAttributeInput, _ ...func(*ec2.Options)) (*ec2.DescribeImageAttributeOutput, error) {
	return &ec2.DescribeImageAttributeOutput{LaunchPermissions: a.permissions[*in.ImageId]}, a.fails["DescribeImageAttribute"]
}

func (a *account) ModifyInstanceAttribute(_ context.Context, in *ec2.ModifyInstanceAttributeInput, _ ...func(*ec2.Options)) (*ec2.ModifyInstanceAttributeOutput, error) {
	return nil, a.do("ModifyInstanceAttribute", func() { a.networking = append(a.networking, in) })
}

func (a *account) ModifyImageAttribute(_ context.Context, in *ec2.ModifyImageAttributeInput, _ ...func(*ec2.Options)) (*ec2.ModifyImageAttributeOutput, error) {
	return nil, a.do("ModifyImageAttribute", func() {
		if in.ImdsSupport != nil {
			a.image(in.ImageId).ImdsSupport = types.ImdsSupportValues(*in.ImdsSupport.Value)
		}
		if in.LaunchPermission != nil {
			if a.permissions == nil {
				a.permissions = map[string][]types.LaunchPermission{}
			}
			a.permissions[*in.ImageId] = append(a.permissions[*in.ImageId], in.LaunchPermission.Add...)
		}
	})
}

func (a *account) ModifySnapshotAttribute(_ context.Context, in *ec2.ModifySnapshotAttributeInput, _ ...func(*ec2.Options)) (*ec2.ModifySnapshotAttributeOutput, error) {
	return nil, a.do("ModifySnapshotAttribute", func() {
		if a.volumes == nil {
			a.volumes = map[string][]types.CreateVolumePermission{}
		}
		a.volumes[*in.SnapshotId] = append(a.volumes[*in.SnapshotId], in.CreateVolumePermission.Add...)
	})
}

func (a *account) CopyImage(_ context.Context, in *ec2.CopyImageInput, _ ...func(*ec2.Options)) (*ec2.CopyImageOutput, error) {
	if err := a.freeName(aws.ToString(in.Name)); err != nil {
		return nil, err
	}
	return &ec2.CopyImageOutput{ImageId: aws.String("ami-0copy")}, a.do("CopyImage", func() {
		a.copies = append(a.copies, in)
		a.put("0copy", *in.Name, in.TagSpecifications)
	})
}

func (a *account) RegisterImage(_ context.Context, in *ec2.RegisterImageInput, _ ...func(*ec2.Options)) (*ec2.RegisterImageOutput, error) {
	if err := a.freeName(aws.ToString(in.Name)); err != nil {
		return nil, err
	}
	return &ec2.RegisterImageOutput{ImageId: aws.String("ami-0again")}, a.do("RegisterImage", func() {
		a.registered = append(a.registered, in)
		for _, device := range in.BlockDeviceMappings {
			if !a.has(*device.Ebs.SnapshotId) || device.Ebs.Encrypted != nil {
				a.t.Errorf("registered with %+v", *device.Ebs)
			}
		}
		a.things["ami-0again"] = nil
		a.own = append(a.own, &types.Image{ImageId: aws.String("ami-0again"), Name: in.Name, State: types.ImageStateAvailable, BlockDeviceMappings: in.BlockDeviceMappings})
	})
}

func (a *account) EnableImageDeprecation(_ context.Context, in *ec2.EnableImageDeprecationInput, _ ...func(*ec2.Options)) (*ec2.EnableImageDeprecationOutput, error) {
	return nil, a.do("EnableImageDeprecation", func() { a.image(in.ImageId).DeprecationTime = aws.String(in.DeprecateAt.Format(time.RFC3339)) })
}

func (a *account) EnableImageDeregistrationProtection(_ context.Context, in *ec2.EnableImageDeregistrationProtectionInput, _ ...func(*ec2.Options)) (*ec2.EnableImageDeregistrationProtectionOutput, error) {
	return nil, a.do("EnableImageDeregistrationProtection", func() {
		a.image(in.ImageId).DeregistrationProtection = aws.String("enabled-without-cooldown")
	})
}

func (a *account) DisableImageDeregistrationProtection(_ context.Context, in *ec2.DisableImageDeregistrationProtectionInput, _ ...func(*ec2.Options)) (*ec2.DisableImageDeregistrationProtectionOutput, error) {
	return nil, a.do("DisableImageDeregistrationProtection", func() { a.image(in.ImageId).DeregistrationProtection = aws.String("disabled") })
}

func (a *account) DeleteTags(_ context.Context, in *ec2.DeleteTagsInput, _ ...func(*ec2.Options)) (*ec2.DeleteTagsOutput, error) {
	return nil, a.do("DeleteTags", func() {
		image := a.image(&in.Resources[0])
		image.Tags = slices.DeleteFunc(image.Tags, func(tag types.Tag) bool { return *tag.Key == *in.Tags[0].Key })
	})
}

// enter makes a thing of IAM's, with the build's tag.
func (a *account) enter(id string, tags []iamtypes.Tag) {
	a.things[id] = nil
	if !slices.ContainsFunc(tags, func(tag iamtypes.Tag) bool { return *tag.Key == buildTag && *tag.Value != "" }) {
		a.t.Errorf("%s is made without the build's tag", id)
	}
}

func (a *account) CreateRole(_ context.Context, in *iam.CreateRoleInput, _ ...func(*iam.Options)) (*iam.CreateRoleOutput, error) {
	return nil, a.do("CreateRole", func() { a.enter("role", in.Tags) })
}

func (a *account) PutRolePolicy(_ context.Context, in *iam.PutRolePolicyInput, _ ...func(*iam.Options)) (*iam.PutRolePolicyOutput, error) {
	return nil, a.do("PutRolePolicy", func() { a.things["policy"], a.policy = nil, *in.PolicyDocument })
}

func (a *account) CreateInstanceProfile(_ context.Context, in *iam.CreateInstanceProfileInput, _ ...func(*iam.Options)) (*iam.CreateInstanceProfileOutput, error) {
	return nil, a.do("CreateInstanceProfile", func() { a.enter("profile", in.Tags) })
}

func (a *account) AddRoleToInstanceProfile(context.Context, *iam.AddRoleToInstanceProfileInput, ...func(*iam.Options)) (*iam.AddRoleToInstanceProfileOutput, error) {
	return nil, a.do("AddRoleToInstanceProfile", func() { a.things["role in profile"] = nil })
}

func (a *account) GetInstanceProfile(context.Context, *iam.GetInstanceProfileInput, ...func(*iam.Options)) (*iam.GetInstanceProfileOutput, error) {
	return &iam.GetInstanceProfileOutput{InstanceProfile: &iamtypes.InstanceProfile{Roles: []iamtypes.Role{{}}}}, a.fails["GetInstanceProfile"]
}

func (a *account) RemoveRoleFromInstanceProfile(context.Context, *iam.RemoveRoleFromInstanceProfileInput, ...func(*iam.Options)) (*iam.RemoveRoleFromInstanceProfileOutput, error) {
	return nil, a.remove("role in profile", "NoSuchEntity")
}

func (a *account) DeleteInstanceProfile(context.Context, *iam.DeleteInstanceProfileInput, ...func(*iam.Options)) (*iam.DeleteInstanceProfileOutput, error) {
	if a.has("role in profile") || a.has("i-0made") {
		a.t.Error("the profile is removed while it is in use")
	}
	return nil, a.remove("profile", "NoSuchEntity")
}

func (a *account) DeleteRolePolicy(context.Context, *iam.DeleteRolePolicyInput, ...func(*iam.Options)) (*iam.DeleteRolePolicyOutput, error) {
	return nil, a.remove("policy", "NoSuchEntity")
}

func (a *account) DeleteRole(context.Context, *iam.DeleteRoleInput, ...func(*iam.Options)) (*iam.DeleteRoleOutput, error) {
	if a.has("policy") || a.has("role in profile") {
		a.t.Error("the role is removed while it is in use")
	}
	return nil, a.remove("role", "NoSuchEntity")
}
