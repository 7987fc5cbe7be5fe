package builder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/hashicorp/packer-plugin-sdk/template/config"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

// machine is the instance that is baked, and what it was launched with.
type machine struct {
	keys    keyPairs
	groups  []string
	profile string // the instance profile's name; empty where there is none
	// instance is its id, and host where SSH goes to.
	instance, host string
	launched       time.Time
}

// makeSecurityGroup has the instance be in the groups that the configuration names, or in one that lets in the caller
// alone.
func (b *bake) makeSecurityGroup(ctx context.Context) (err error) {
	if b.machine.groups = b.job.config.SecurityGroupIds; len(b.machine.groups) > 0 {
		return nil
	}
	group, err := createSecurityGroup(ctx, b.job, b.places[0].vpc)
	if group != "" {
		b.machine.groups = []string{group}
	}
	return err
}

// createSecurityGroup makes a temporary group, and returns its id.
func createSecurityGroup(ctx context.Context, j *job, vpc string) (string, error) {
	cidrs := j.config.TemporarySGSourceCidrs
	if len(cidrs) == 0 {
		address, err := j.caller(ctx)
		if err != nil {
			return "", err
		}
		cidrs = []string{address + "/32"}
		if strings.Contains(address, ":") {
			cidrs = []string{address + "/128"}
		}
	}
	j.ui.Say(fmt.Sprintf("Making a temporary security group for %s...", strings.Join(cidrs, ", ")))
	detached, cancel := createContext(ctx)
	defer cancel()
	made, err := j.ec2.CreateSecurityGroup(detached, &ec2.CreateSecurityGroupInput{
		GroupName:         aws.String(j.temporaryName()),
		Description:       aws.String("Temporary group of " + plain(j.runName())),
		VpcId:             aws.String(vpc),
		TagSpecifications: j.runSpecs(types.ResourceTypeSecurityGroup),
	})
	if err != nil {
		return "", lost(err)
	}
	rules := &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId:       made.GroupId,
		IpPermissions: []types.IpPermission{sshFrom(cidrs, int32(j.config.Comm.SSHPort))},
	}
	_, err = j.ec2.AuthorizeSecurityGroupIngress(ctx, rules)
	return aws.ToString(made.GroupId), err
}

func sshFrom(cidrs []string, port int32) types.IpPermission {
	permission := types.IpPermission{
		IpProtocol: aws.String("tcp"),
		FromPort:   aws.Int32(port),
		ToPort:     aws.Int32(port),
	}
	for _, cidr := range cidrs {
		if strings.Contains(cidr, ":") {
			permission.Ipv6Ranges = append(permission.Ipv6Ranges, types.Ipv6Range{CidrIpv6: aws.String(cidr)})
		} else {
			permission.IpRanges = append(permission.IpRanges, types.IpRange{CidrIp: aws.String(cidr)})
		}
	}
	return permission
}

// heldLimit is how long a security group may be held by an instance that is gone.
const heldLimit = 2 * time.Minute

// removeSecurityGroup removes the temporary group, also one whose making was not answered: it is found by its tag. The
// instance that was in it may hold it for a moment.
func removeSecurityGroup(ctx context.Context, j *job, known []string, lost bool) error {
	if len(j.config.SecurityGroupIds) > 0 {
		return nil
	}
	groups, failed := ec2ops.Made(ctx, lost, func(ctx context.Context) ([]string, error) {
		found, err := ec2ops.SecurityGroups(ctx, j.ec2, &ec2.DescribeSecurityGroupsInput{
			Filters: []types.Filter{ec2ops.TagFilter(buildTag, j.id)},
		})
		var ids []string
		for _, group := range found {
			ids = append(ids, aws.ToString(group.GroupId))
		}
		return ids, err
	}, known...)
	for _, group := range groups {
		j.ui.Say("Removing the temporary security group...")
		err := await.Until(ctx, heldLimit, func(ctx context.Context) (bool, error) {
			_, err := j.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: aws.String(group)})
			if awserr.Is(err, apierror.DependencyViolation) {
				return false, nil
			}
			if awserr.NotFound(err) {
				err = nil
			}
			return true, err
		})
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("delete security group %s: %w", group, err))
		}
	}
	return failed
}

// launch runs the instance.
func (b *bake) launch(ctx context.Context) error {
	input, err := launchInput(b.job, b.source, b.machine)
	if err != nil {
		return err
	}
	instance, err := launchSomewhere(ctx, b.job, input, b.places)
	b.machine.instance, b.machine.launched = aws.ToString(instance.InstanceId), time.Now()
	if err != nil {
		return err
	}
	b.describe()
	b.machine.host, err = hostOf(b.job.config, instance)
	return err
}

// launchInput asks for the instance, but for its type and its subnet.
func launchInput(j *job, source sourceImage, m machine) (*ec2.RunInstancesInput, error) {
	c := j.config
	userData, err := userDataFor(c, m.keys)
	if err != nil {
		return nil, err
	}
	specs := append(j.runSpecs(types.ResourceTypeInstance, types.ResourceTypeNetworkInterface),
		ec2ops.Spec(types.ResourceTypeVolume, j.tags(j.runName(), c.RunTags, c.RunVolumeTags)))
	input := &ec2.RunInstancesInput{
		ImageId:  aws.String(source.id),
		MinCount: aws.Int32(1),
		MaxCount: aws.Int32(1),
		KeyName:  aws.String(m.keys.name),
		UserData: aws.String(userData),
		NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{{
			DeviceIndex:              aws.Int32(0),
			Groups:                   m.groups,
			DeleteOnTermination:      aws.Bool(true),
			AssociatePublicIpAddress: c.AssociatePublicIpAddress.ToBoolPointer(),
		}},
		BlockDeviceMappings: blockDevices(j, source),
		MetadataOptions: &types.InstanceMetadataOptionsRequest{
			HttpEndpoint:            types.InstanceMetadataEndpointState(c.Metadata.HttpEndpoint),
			HttpTokens:              types.HttpTokensState(c.Metadata.HttpTokens),
			HttpPutResponseHopLimit: aws.Int32(c.Metadata.HttpPutResponseHopLimit),
			InstanceMetadataTags:    types.InstanceMetadataTagsState(c.Metadata.InstanceMetadataTags),
		},
		TagSpecifications: specs,
	}
	if m.profile != "" {
		input.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String(m.profile)}
	}
	addOptions(input, c)
	if c.spot() {
		addSpot(input, j)
	}
	return input, nil
}

// blockDevices are the disks. The root's encryption is that of the AMI to be.
func blockDevices(j *job, source sourceImage) []types.BlockDeviceMapping {
	c := j.config
	encrypt := func(root *BlockDevice) {
		if c.AMIEncryptBootVolume != config.TriUnset {
			root.Encrypted, root.KmsKeyId = c.AMIEncryptBootVolume, c.keyOf(j.region)
		}
	}
	rootGiven := false
	var mappings []types.BlockDeviceMapping
	for _, d := range c.LaunchMappings {
		if d.DeviceName == source.rootDevice {
			rootGiven = true
			encrypt(&d)
		}
		mappings = append(mappings, d.mapping())
	}
	if !rootGiven && c.AMIEncryptBootVolume != config.TriUnset {
		root := BlockDevice{DeviceName: source.rootDevice, VolumeType: "gp3"}
		encrypt(&root)
		mappings = append(mappings, root.mapping())
	}
	return mappings
}

func (d BlockDevice) mapping() types.BlockDeviceMapping {
	if d.NoDevice {
		return types.BlockDeviceMapping{DeviceName: aws.String(d.DeviceName), NoDevice: aws.String("")}
	}
	ebs := &types.EbsBlockDevice{
		VolumeType:          types.VolumeType(d.VolumeType),
		Encrypted:           d.Encrypted.ToBoolPointer(),
		DeleteOnTermination: aws.Bool(!d.DeleteOnTermination.False()),
	}
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

// terminate ends the instance and waits until it is gone, as its security group cannot go before. Instances whose
// launch was not answered are found by their tag; the one that is known may not be found by it yet.
func terminate(ctx context.Context, j *job, known string, lost bool) error {
	over := map[string]bool{}
	ids, failed := ec2ops.Made(ctx, lost, func(ctx context.Context) ([]string, error) {
		found, err := ec2ops.Instances(ctx, j.ec2, &ec2.DescribeInstancesInput{
			Filters: []types.Filter{ec2ops.TagFilter(buildTag, j.id)},
		})
		var ids []string
		for _, instance := range found {
			id := aws.ToString(instance.InstanceId)
			state, _ := ec2ops.StateOf(instance)
			ids, over[id] = append(ids, id), state == types.InstanceStateNameTerminated
		}
		return ids, err
	}, known)
	ids = slices.DeleteFunc(ids, func(id string) bool { return over[id] })
	if len(ids) == 0 {
		return failed
	}
	j.ui.Say("Terminating the instance...")
	return errors.Join(failed, ec2ops.Terminate(ctx, j.ec2, ids...))
}

// lostError is that of a call that may have made something although it failed.
type lostError struct{ error }

func (l lostError) Unwrap() error { return l.error }

// lost marks the error of a call that makes something if it may have done so.
func lost(err error) error {
	if awserr.Unanswered(err) {
		return lostError{err}
	}
	return err
}

// isLost tells whether a build failed since it does not know whether something was made.
func isLost(err error) bool {
	var l lostError
	return errors.As(err, &l)
}
