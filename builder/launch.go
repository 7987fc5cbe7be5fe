package builder

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/template/config"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/console"
)

// makeSecurityGroup makes a group that lets in the caller alone.
func (b *bake) makeSecurityGroup(ctx context.Context) error {
	if len(b.groups) > 0 {
		return nil
	}
	cidrs := b.config.TemporarySGSourceCidrs
	if len(cidrs) == 0 {
		address, err := b.caller(ctx)
		if err != nil {
			return err
		}
		cidrs = []string{address + "/32"}
		if strings.Contains(address, ":") {
			cidrs = []string{address + "/128"}
		}
	}
	b.ui.Say(fmt.Sprintf("Making a temporary security group for %s...", strings.Join(cidrs, ", ")))
	whole, cancel := making(ctx)
	defer cancel()
	made, err := b.ec2.CreateSecurityGroup(whole, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String("goldsmith-build-" + b.id), Description: aws.String("Temporary group of " + b.runName()), VpcId: aws.String(b.place.vpc),
		TagSpecifications: []types.TagSpecification{specification(types.ResourceTypeSecurityGroup, b.tags(b.runName(), b.config.RunTags))}})
	if err != nil {
		return err
	}
	b.groups = []string{aws.ToString(made.GroupId)}
	permission := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(int32(b.config.Comm.SSHPort)), ToPort: aws.Int32(int32(b.config.Comm.SSHPort))}
	for _, cidr := range cidrs {
		if strings.Contains(cidr, ":") {
			permission.Ipv6Ranges = append(permission.Ipv6Ranges, types.Ipv6Range{CidrIpv6: aws.String(cidr)})
		} else {
			permission.IpRanges = append(permission.IpRanges, types.IpRange{CidrIp: aws.String(cidr)})
		}
	}
	rules := &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(b.groups[0]), IpPermissions: []types.IpPermission{permission}}
	return await.Retry(ctx, await.Settle, awserr.NotFound, func(ctx context.Context) error { // the group is new
		_, err := b.ec2.AuthorizeSecurityGroupIngress(ctx, rules)
		return err
	})
}

// removeSecurityGroup finds the temporary group by its tag, so that one whose making was not answered goes too. The
// instance that was in it may hold it for a moment.
func (b *bake) removeSecurityGroup(ctx context.Context) error {
	if len(b.config.SecurityGroupIds) > 0 {
		return nil
	}
	found, err := b.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: filters(map[string]string{"tag:" + buildTag: b.id})})
	if err != nil {
		return err
	}
	for _, group := range found.SecurityGroups {
		b.ui.Say("Removing the temporary security group...")
		err := poll(ctx, 2*time.Minute, func(ctx context.Context) (bool, error) {
			_, err := b.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: group.GroupId})
			if awserr.Code(err) == "DependencyViolation" {
				return false, nil
			}
			if isGone(err) {
				err = nil
			}
			return true, err
		})
		if err != nil {
			return fmt.Errorf("delete security group %s: %w", aws.ToString(group.GroupId), err)
		}
	}
	return nil
}

// launch runs the instance.
func (b *bake) launch(ctx context.Context) error {
	userData, err := b.userData()
	if err != nil {
		return err
	}
	eni := types.InstanceNetworkInterfaceSpecification{DeviceIndex: aws.Int32(0), Groups: b.groups,
		DeleteOnTermination: aws.Bool(true), AssociatePublicIpAddress: b.config.AssociatePublicIpAddress.ToBoolPointer()}
	input := &ec2.RunInstancesInput{
		ImageId: aws.String(b.source.id), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), KeyName: aws.String(b.keys.name), UserData: aws.String(userData),
		NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{eni}, BlockDeviceMappings: b.blockDevices(),
		MetadataOptions: &types.InstanceMetadataOptionsRequest{HttpEndpoint: types.InstanceMetadataEndpointState(b.config.Metadata.HttpEndpoint),
			HttpTokens: types.HttpTokensState(b.config.Metadata.HttpTokens), HttpPutResponseHopLimit: aws.Int32(b.config.Metadata.HttpPutResponseHopLimit)},
		TagSpecifications: []types.TagSpecification{
			specification(types.ResourceTypeInstance, b.tags(b.runName(), b.config.RunTags)),
			specification(types.ResourceTypeVolume, b.tags(b.runName(), b.config.RunTags, b.config.RunVolumeTags)),
			specification(types.ResourceTypeNetworkInterface, b.tags(b.runName(), b.config.RunTags)),
		},
	}
	if b.config.IamInstanceProfile != "" {
		input.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String(b.config.IamInstanceProfile)}
	}
	b.instanceOptions(input)
	return b.launchSomewhere(ctx, input)
}

// blockDevices are the disks. The root's encryption is that of the AMI to be.
func (b *bake) blockDevices() []types.BlockDeviceMapping {
	devices := b.config.LaunchMappings
	rootGiven := false
	var mappings []types.BlockDeviceMapping
	for _, d := range devices {
		if d.DeviceName == b.source.rootDevice {
			rootGiven = true
			b.encryptRoot(&d)
		}
		mappings = append(mappings, d.mapping())
	}
	if !rootGiven && b.config.AMIEncryptBootVolume != config.TriUnset {
		root := BlockDevice{DeviceName: b.source.rootDevice, VolumeType: "gp3"}
		b.encryptRoot(&root)
		mappings = append(mappings, root.mapping())
	}
	return mappings
}

func (b *bake) encryptRoot(root *BlockDevice) {
	if b.config.AMIEncryptBootVolume != config.TriUnset {
		root.Encrypted, root.KmsKeyId = b.config.AMIEncryptBootVolume, b.config.keyOf(b.region)
	}
}

func (d BlockDevice) mapping() types.BlockDeviceMapping {
	if d.NoDevice {
		return types.BlockDeviceMapping{DeviceName: aws.String(d.DeviceName), NoDevice: aws.String("")}
	}
	ebs := &types.EbsBlockDevice{VolumeType: types.VolumeType(d.VolumeType), Encrypted: d.Encrypted.ToBoolPointer(), DeleteOnTermination: aws.Bool(!d.DeleteOnTermination.False())}
	if d.VolumeSize != 0 {
		ebs.VolumeSize = aws.Int32(d.VolumeSize)
	}
	if d.IOPS != 0 {
		ebs.Iops = aws.Int32(d.IOPS)
	}
	if d.Throughput != 0 {
		ebs.Throughput = aws.Int32(d.Throughput)
	}
	if d.KmsKeyId != "" {
		ebs.KmsKeyId = aws.String(d.KmsKeyId)
	}
	if d.SnapshotId != "" {
		ebs.SnapshotId = aws.String(d.SnapshotId)
	}
	return types.BlockDeviceMapping{DeviceName: aws.String(d.DeviceName), Ebs: ebs}
}

// terminate ends the instance and waits until it is gone, as its security group cannot go before. An instance whose
// launch was not answered is found by its tag.
func (b *bake) terminate(ctx context.Context) error {
	found, err := b.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: filters(map[string]string{"tag:" + buildTag: b.id})})
	if err != nil {
		return err
	}
	var ids []string
	for _, reservation := range found.Reservations {
		for _, instance := range reservation.Instances {
			if instance.State.Name != types.InstanceStateNameTerminated {
				ids = append(ids, aws.ToString(instance.InstanceId))
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	b.ui.Say("Terminating the instance...")
	if _, err := b.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		return fmt.Errorf("terminate %s: %w", strings.Join(ids, ", "), err)
	}
	return poll(ctx, cleanupDeadline, func(ctx context.Context) (bool, error) {
		out, err := b.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: ids})
		if err != nil {
			return isGone(err), nil
		}
		for _, reservation := range out.Reservations {
			for _, instance := range reservation.Instances {
				if instance.State.Name != types.InstanceStateNameTerminated {
					return false, nil
				}
			}
		}
		return true, nil
	})
}

// stopped is an instance that is not running though it should be, with what it said last.
func (b *bake) stopped(ctx context.Context, instance types.Instance) error {
	why := ""
	if instance.StateReason != nil {
		why = ": " + aws.ToString(instance.StateReason.Message)
	}
	return fmt.Errorf("instance %s is %s%s%s", b.instance, instance.State.Name, why, b.consoleTail(ctx))
}

// tailLimit is how long the end of the console is waited for, which only adds to an error.
const tailLimit = 10 * time.Second

// consoleTail is the end of the console, to be added to an error.
func (b *bake) consoleTail(ctx context.Context) string {
	limited, cancel := context.WithTimeout(ctx, tailLimit)
	defer cancel()
	return console.Shared.Tail(limited, b.ec2, b.instance)
}
