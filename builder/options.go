package builder

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/template/config"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instancetype"
)

func (c *Config) optionDefaults() {
	if c.AMIIMDSSupport == "" {
		c.AMIIMDSSupport = string(types.ImdsSupportValuesV20)
	}
	if p := c.TemporaryInstanceProfilePolicy; p != nil && p.Version == "" {
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

// nitroTypes are those of them whose consoles are shown as they are written.
func (c *Config) nitroTypes() []string {
	return slices.DeleteFunc(c.types(), func(kind string) bool { return instancetype.NotNitro(kind) != nil })
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

// addOptions adds to a launch what the options of the instance ask for.
func addOptions(input *ec2.RunInstancesInput, c *Config) {
	if p := c.Placement; p != (Placement{}) {
		input.Placement = &types.Placement{
			Tenancy:              types.Tenancy(p.Tenancy),
			HostId:               given(p.HostId),
			HostResourceGroupArn: given(p.HostResourceGroupArn),
		}
	}
	input.CapacityReservationSpecification = c.capacityReservation()
	if c.EbsOptimized {
		input.EbsOptimized = aws.Bool(true)
	}
	if c.EnableUnlimitedCredits {
		input.CreditSpecification = &types.CreditSpecificationRequest{CpuCredits: aws.String("unlimited")}
	}
	if c.InstanceInitiatedShutdownBehavior != "" {
		input.InstanceInitiatedShutdownBehavior = types.ShutdownBehavior(c.InstanceInitiatedShutdownBehavior)
	}
}

// capacityReservation is nil where the configuration says nothing of one.
func (c *Config) capacityReservation() *types.CapacityReservationSpecification {
	named := c.CapacityReservationId != "" || c.CapacityReservationGroupArn != ""
	if c.CapacityReservationPreference == "" && !named {
		return nil
	}
	wanted := &types.CapacityReservationSpecification{
		CapacityReservationPreference: types.CapacityReservationPreference(c.CapacityReservationPreference),
	}
	if named {
		wanted.CapacityReservationTarget = &types.CapacityReservationTarget{
			CapacityReservationId:               given(c.CapacityReservationId),
			CapacityReservationResourceGroupArn: given(c.CapacityReservationGroupArn),
		}
	}
	return wanted
}

// addSpot asks for a spot instance, once, and for one that is not kept when EC2 wants it back.
func addSpot(input *ec2.RunInstancesInput, j *job) {
	options := &types.SpotMarketOptions{
		SpotInstanceType:             types.SpotInstanceTypeOneTime,
		InstanceInterruptionBehavior: types.InstanceInterruptionBehaviorTerminate,
	}
	if j.config.SpotPrice != "auto" {
		options.MaxPrice = aws.String(j.config.SpotPrice)
	}
	input.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{
		MarketType:  types.MarketTypeSpot,
		SpotOptions: options,
	}
	input.TagSpecifications = append(input.TagSpecifications, ec2ops.Spec(types.ResourceTypeSpotInstancesRequest,
		j.tags(j.runName(), j.config.RunTags, j.config.SpotTags)))
}

// given is a pointer to a text, nil if there is none.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// setNetworking sets the attributes of the stopped instance that its image takes over.
func setNetworking(ctx context.Context, j *job, instance string) error {
	if j.config.AMIENASupport != config.TriUnset {
		_, err := j.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{
			InstanceId: aws.String(instance),
			EnaSupport: &types.AttributeBooleanValue{Value: j.config.AMIENASupport.ToBoolPointer()},
		})
		if err != nil {
			return err
		}
	}
	if j.config.AMISriovNetSupport {
		_, err := j.ec2.ModifyInstanceAttribute(ctx, &ec2.ModifyInstanceAttributeInput{
			InstanceId:      aws.String(instance),
			SriovNetSupport: &types.AttributeValue{Value: aws.String("simple")},
		})
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
