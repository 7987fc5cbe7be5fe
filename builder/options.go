package builder

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
)

// optionAPI is what the options of instance and image ask of EC2.
type optionAPI interface {
	DescribeRegions(context.Context, *ec2.DescribeRegionsInput, ...func(*ec2.Options)) (*ec2.DescribeRegionsOutput, error)
	DescribeSpotPriceHistory(context.Context, *ec2.DescribeSpotPriceHistoryInput, ...func(*ec2.Options)) (*ec2.DescribeSpotPriceHistoryOutput, error)
	DescribeImageAttribute(context.Context, *ec2.DescribeImageAttributeInput, ...func(*ec2.Options)) (*ec2.DescribeImageAttributeOutput, error)
	ModifyInstanceAttribute(context.Context, *ec2.ModifyInstanceAttributeInput, ...func(*ec2.Options)) (*ec2.ModifyInstanceAttributeOutput, error)
	ModifyImageAttribute(context.Context, *ec2.ModifyImageAttributeInput, ...func(*ec2.Options)) (*ec2.ModifyImageAttributeOutput, error)
	ModifySnapshotAttribute(context.Context, *ec2.ModifySnapshotAttributeInput, ...func(*ec2.Options)) (*ec2.ModifySnapshotAttributeOutput, error)
	CopyImage(context.Context, *ec2.CopyImageInput, ...func(*ec2.Options)) (*ec2.CopyImageOutput, error)
	RegisterImage(context.Context, *ec2.RegisterImageInput, ...func(*ec2.Options)) (*ec2.RegisterImageOutput, error)
	EnableImageDeprecation(context.Context, *ec2.EnableImageDeprecationInput, ...func(*ec2.Options)) (*ec2.EnableImageDeprecationOutput, error)
	EnableImageDeregistrationProtection(context.Context, *ec2.EnableImageDeregistrationProtectionInput, ...func(*ec2.Options)) (*ec2.EnableImageDeregistrationProtectionOutput, error)
	DisableImageDeregistrationProtection(context.Context, *ec2.DisableImageDeregistrationProtectionInput, ...func(*ec2.Options)) (*ec2.DisableImageDeregistrationProtectionOutput, error)
	DeleteTags(context.Context, *ec2.DeleteTagsInput, ...func(*ec2.Options)) (*ec2.DeleteTagsOutput, error)
}

func (c *Config) optionDefaults() {
	if c.AMIIMDSSupport == "" {
		c.AMIIMDSSupport = string(types.ImdsSupportValuesV20)
	}
	if p := c.TemporaryIamInstanceProfilePolicyDocument; p != nil && p.Version == "" {
		p.Version = "2012-10-17"
	}
	if c.PackerForce {
		c.AMIForceDeregister = true
	}
	if c.Placement.Tenancy == "" {
		c.Placement.Tenancy = c.Tenancy
	}
	if c.Placement.Tenancy == "" && (c.Placement.HostId != "" || c.Placement.HostResourceGroupArn != "") {
		c.Placement.Tenancy = string(types.TenancyHost)
	}
}

// types are the instance types that will do, the first being wanted most.
func (c *Config) types() []string {
	var all []string
	for _, kind := range slices.Concat([]string{c.InstanceType}, c.SpotInstanceTypes, c.InstanceTypes) {
		if kind != "" && !slices.Contains(all, kind) {
			all = append(all, kind)
		}
	}
	return all
}

func (c *Config) firstType() string {
	if all := c.types(); len(all) > 0 {
		return all[0]
	}
	return ""
}

func (c *Config) spot() bool { return c.SpotPrice != "" && c.SpotPrice != "0" }

// keyOf is the KMS key for the AMI of the build's own region; empty is the region's default.
func (c *Config) keyOf(region string) string {
	if key, ok := c.AMIRegionKMSKeyIDs[region]; ok {
		return key
	}
	return c.AMIKmsKeyId
}

// burstable are the families of instance types that have CPU credits.
var burstable = []string{"t2", "t3", "t3a", "t4g"}

func isBurstable(kind string) bool {
	family, _, _ := strings.Cut(kind, ".")
	return slices.Contains(burstable, family)
}

// instanceOptions adds to a launch what the options of the instance ask for.
func (b *bake) instanceOptions(input *ec2.RunInstancesInput) {
	c := b.config
	if b.profile != "" {
		input.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String(b.profile)}
	}
	if c.Metadata.InstanceMetadataTags != "" {
		input.MetadataOptions.InstanceMetadataTags = types.InstanceMetadataTagsState(c.Metadata.InstanceMetadataTags)
	}
	if p := c.Placement; p != (Placement{}) {
		input.Placement = &types.Placement{Tenancy: types.Tenancy(p.Tenancy), HostId: given(p.HostId), HostResourceGroupArn: given(p.HostResourceGroupArn)}
	}
	if c.CapacityReservationPreference != "" || c.CapacityReservationId != "" || c.CapacityReservationGroupArn != "" {
		input.CapacityReservationSpecification = &types.CapacityReservationSpecification{CapacityReservationPreference: types.CapacityReservationPreference(c.CapacityReservationPreference)}
		if c.CapacityReservationId != "" || c.CapacityReservationGroupArn != "" {
			input.CapacityReservationSpecification.CapacityReservationTarget = &types.CapacityReservationTarget{
				CapacityReservationId: given(c.CapacityReservationId), CapacityReservationResourceGroupArn: given(c.CapacityReservationGroupArn)}
		}
	}
	if c.EbsOptimized {
		input.EbsOptimized = aws.Bool(true)
	}
	if c.EnableUnlimitedCredits {
		input.CreditSpecification = &types.CreditSpecificationRequest{CpuCredits: aws.String("unlimited")}
	}
	if c.InstanceInitiatedShutdownBehavior != "" {
		input.InstanceInitiatedShutdownBehavior = types.ShutdownBehavior(c.InstanceInitiatedShutdownBehavior)
	}
	if c.spot() {
		options := &types.SpotMarketOptions{SpotInstanceType: types.SpotInstanceTypeOneTime, InstanceInterruptionBehavior: types.InstanceInterruptionBehaviorTerminate}
		if c.SpotPrice != "auto" {
			options.MaxPrice = aws.String(c.SpotPrice)
		}
		input.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: types.MarketTypeSpot, SpotOptions: options}
		input.TagSpecifications = append(input.TagSpecifications, specification(types.ResourceTypeSpotInstancesRequest, b.tags(b.runName(), c.RunTags, c.SpotTags)))
	}
}

// given is a pointer to a text, nil if there is none.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// setNetworking sets the attributes of the stopped instance that its image takes over.
func (b *bake) setNetworking(ctx context.Context) error {
	if b.config.AMIENASupport != config.TriUnset {
		_, err := b.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: aws.String(b.instance),
			EnaSupport: &types.AttributeBooleanValue{Value: b.config.AMIENASupport.ToBoolPointer()}})
		if err != nil {
			return err
		}
	}
	if b.config.AMISriovNetSupport {
		_, err := b.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{InstanceId: aws.String(b.instance),
			SriovNetSupport: &types.AttributeValue{Value: aws.String("simple")}})
		return err
	}
	return nil
}

// mappings are disks as EC2 has them.
func mappings(disks []BlockDevice) []types.BlockDeviceMapping {
	var all []types.BlockDeviceMapping
	for _, disk := range disks {
		all = append(all, disk.mapping())
	}
	return all
}
