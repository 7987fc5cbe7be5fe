package ec2fake

import (
	"encoding/base64"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
)

// compute are instances with their interfaces and addresses, key pairs and launch templates.
type compute struct {
	instances  resource.Table[types.Instance]
	interfaces resource.Table[types.NetworkInterface]
	keys       resource.Table[types.KeyPairInfo]
	templates  resource.Table[types.LaunchTemplate]
	versions   map[string][]types.LaunchTemplateVersion // by template
	addresses  resource.Table[types.Address]
	// turns are the states that instances are on the way to.
	turns map[string]turn
	// attributes are the changes of instances' attributes.
	attributes []*ec2.ModifyInstanceAttributeInput
	// spot are prices by type.
	spot map[string]string
}

// turn is a state that a thing has from some time on.
type turn struct {
	to types.InstanceStateName
	at time.Time
}

func newCompute(store *resource.Store) compute {
	return compute{
		instances: resource.Table[types.Instance]{
			Store:   store,
			Missing: apierror.InvalidInstanceIDNotFound,
			Tags:    func(i *types.Instance) *[]types.Tag { return &i.Tags },
			Values:  instanceValues,
		},
		interfaces: resource.Table[types.NetworkInterface]{
			Store:   store,
			Missing: apierror.InvalidNetworkInterfaceIDNotFound,
			Tags:    func(i *types.NetworkInterface) *[]types.Tag { return &i.TagSet },
			Values:  interfaceValues,
		},
		keys: resource.Table[types.KeyPairInfo]{
			Store:   store,
			Missing: apierror.InvalidKeyPairNotFound,
			Tags:    func(k *types.KeyPairInfo) *[]types.Tag { return &k.Tags },
			Values: func(k *types.KeyPairInfo, name string) []string {
				return map[string][]string{"key-name": {aws.ToString(k.KeyName)}}[name]
			},
		},
		templates: resource.Table[types.LaunchTemplate]{
			Store:   store,
			Missing: apierror.InvalidLaunchTemplateIDNotFound,
			Tags:    func(t *types.LaunchTemplate) *[]types.Tag { return &t.Tags },
			Values: func(t *types.LaunchTemplate, name string) []string {
				return map[string][]string{"launch-template-name": {aws.ToString(t.LaunchTemplateName)}}[name]
			},
		},
		versions:  map[string][]types.LaunchTemplateVersion{},
		addresses: newAddresses(store),
		turns:     map[string]turn{},
		spot:      map[string]string{},
	}
}

func (c *compute) things() []string {
	all := slices.Concat(c.keys.IDs(), c.templates.IDs(), c.addresses.IDs())
	for _, row := range c.instances.Rows {
		if row.Value.State.Name != types.InstanceStateNameTerminated {
			all = append(all, row.ID)
		}
	}
	for _, row := range c.interfaces.Rows {
		if row.Value.Attachment == nil {
			all = append(all, row.ID)
		}
	}
	return all
}

func instanceValues(i *types.Instance, name string) []string {
	switch name {
	case "instance-id":
		return []string{aws.ToString(i.InstanceId)}
	case "instance-state-name":
		return []string{string(i.State.Name)}
	case "image-id":
		return []string{aws.ToString(i.ImageId)}
	case "vpc-id":
		return []string{aws.ToString(i.VpcId)}
	case "subnet-id":
		return []string{aws.ToString(i.SubnetId)}
	case "instance.group-id":
		ids := []string{}
		for _, group := range i.SecurityGroups {
			ids = append(ids, aws.ToString(group.GroupId))
		}
		return ids
	}
	return nil
}

var instanceOperations = resource.Join(
	resource.Op(runInstances), resource.Op(describeInstances), resource.Op(startInstances),
	resource.Op(stopInstances), resource.Op(terminateInstances), resource.Op(rebootInstances),
	resource.Op(modifyInstanceAttribute), resource.Op(getConsoleOutput), resource.Op(describeSpotPriceHistory),
	resource.Op(describeInstanceTypes),
)

// describeInstanceTypes describes as much of types as their vCPUs, of which each has two.
func describeInstanceTypes(_ *Region, in *ec2.DescribeInstanceTypesInput) (*ec2.DescribeInstanceTypesOutput, error) {
	out := &ec2.DescribeInstanceTypesOutput{}
	for _, name := range in.InstanceTypes {
		out.InstanceTypes = append(out.InstanceTypes, types.InstanceTypeInfo{
			InstanceType: name,
			VCpuInfo:     &types.VCpuInfo{DefaultVCpus: aws.Int32(2)},
		})
	}
	return out, nil
}

func runInstances(r *Region, in *ec2.RunInstancesInput) (*ec2.RunInstancesOutput, error) {
	if _, err := r.storage.images.Find(in.ImageId); err != nil {
		return nil, err
	}
	if in.KeyName != nil {
		if _, err := r.compute.keys.Find(in.KeyName); err != nil {
			return nil, err
		}
	}
	if p := in.IamInstanceProfile; p != nil && !r.account.identity.Knows(aws.ToString(p.Name)) {
		return nil, Err(apierror.InvalidProfileNameUse, aws.ToString(p.Name))
	}
	spec := types.InstanceNetworkInterfaceSpecification{SubnetId: in.SubnetId, Groups: in.SecurityGroupIds}
	if len(in.NetworkInterfaces) > 0 {
		spec = in.NetworkInterfaces[0]
	}
	subnet, err := r.network.subnets.Find(spec.SubnetId)
	if err != nil {
		return nil, err
	}
	if zone := aws.ToString(subnet.AvailabilityZone); !r.offers(zone, string(in.InstanceType)) {
		return nil, Err(apierror.Unsupported, string(in.InstanceType), zone)
	}
	out := &ec2.RunInstancesOutput{}
	for range max(1, aws.ToInt32(in.MaxCount)) {
		made, err := r.launch(in, spec, subnet)
		if err != nil {
			return nil, err
		}
		out.Instances = append(out.Instances, *r.compute.instances.Tagged(aws.ToString(made.InstanceId)))
	}
	return out, nil
}

// launch makes one instance with its interface and its root volume.
func (r *Region) launch(
	in *ec2.RunInstancesInput,
	spec types.InstanceNetworkInterfaceSpecification,
	subnet *types.Subnet,
) (*types.Instance, error) {
	var groups []types.GroupIdentifier
	for _, id := range spec.Groups {
		group, err := r.network.groups.Find(aws.String(id))
		if err != nil {
			return nil, err
		}
		groups = append(groups, types.GroupIdentifier{GroupId: group.GroupId, GroupName: group.GroupName})
	}
	made := r.compute.instances.Create("i", types.ResourceTypeInstance, in.TagSpecifications,
		func(id string) *types.Instance {
			return &types.Instance{
				InstanceId:     aws.String(id),
				ImageId:        in.ImageId,
				InstanceType:   in.InstanceType,
				KeyName:        in.KeyName,
				LaunchTime:     aws.Time(time.Now()),
				SubnetId:       subnet.SubnetId,
				VpcId:          subnet.VpcId,
				SecurityGroups: groups,
				State:          &types.InstanceState{Name: types.InstanceStateNamePending},
				Placement:      &types.Placement{AvailabilityZone: subnet.AvailabilityZone},
			}
		})
	if in.InstanceMarketOptions != nil {
		made.InstanceLifecycle = types.InstanceLifecycleTypeSpot
	}
	if p := in.IamInstanceProfile; p != nil {
		made.IamInstanceProfile = &types.IamInstanceProfile{Arn: aws.String("arn:aws:iam::" + Number +
			":instance-profile/" + aws.ToString(p.Name))}
	}
	r.plugInterface(made, in, spec, subnet)
	r.plugDisks(made, in)
	r.compute.toward(*made.InstanceId, types.InstanceStateNameRunning)
	return made, nil
}

func (r *Region) plugInterface(
	made *types.Instance,
	in *ec2.RunInstancesInput,
	spec types.InstanceNetworkInterfaceSpecification,
	subnet *types.Subnet,
) {
	number := r.store.Numbers.Next("address")
	private := made.PrivateIpAddress
	if prefix, err := netip.ParsePrefix(aws.ToString(subnet.CidrBlock)); err == nil {
		address := prefix.Addr()
		for range 100 + number {
			address = address.Next()
		}
		for r.reserved(subnet, address) {
			address = address.Next()
		}
		private = aws.String(address.String())
	}
	made.PrivateIpAddress = private
	if aws.ToBool(spec.AssociatePublicIpAddress) ||
		spec.AssociatePublicIpAddress == nil && aws.ToBool(subnet.MapPublicIpOnLaunch) {
		made.PublicIpAddress = aws.String("192.0.2." + strconv.Itoa(number))
	}
	eni := r.compute.interfaces.Create("eni", types.ResourceTypeNetworkInterface, in.TagSpecifications,
		func(id string) *types.NetworkInterface {
			return &types.NetworkInterface{
				NetworkInterfaceId: aws.String(id),
				SubnetId:           subnet.SubnetId,
				VpcId:              subnet.VpcId,
				PrivateIpAddress:   private,
				PrivateIpAddresses: []types.NetworkInterfacePrivateIpAddress{
					{PrivateIpAddress: private, Primary: aws.Bool(true)},
				},
				Attachment: &types.NetworkInterfaceAttachment{
					InstanceId:  made.InstanceId,
					DeviceIndex: aws.Int32(0),
				},
			}
		})
	made.NetworkInterfaces = []types.InstanceNetworkInterface{{
		NetworkInterfaceId: eni.NetworkInterfaceId,
		PrivateIpAddress:   private,
		Attachment:         &types.InstanceNetworkInterfaceAttachment{DeviceIndex: aws.Int32(0)},
	}}
}

// plugDisks makes the volumes that an instance's image and its launch ask for. They go with it.
func (r *Region) plugDisks(made *types.Instance, in *ec2.RunInstancesInput) {
	disks := slices.Clone(r.storage.images.Get(*in.ImageId).BlockDeviceMappings)
	for _, wanted := range in.BlockDeviceMappings {
		disks = slices.DeleteFunc(disks, func(d types.BlockDeviceMapping) bool {
			return aws.ToString(d.DeviceName) == aws.ToString(wanted.DeviceName)
		})
		disks = append(disks, wanted)
	}
	for _, disk := range disks {
		if disk.Ebs == nil {
			continue
		}
		volume := r.storage.volumes.Create("vol", types.ResourceTypeVolume, in.TagSpecifications,
			func(id string) *types.Volume {
				return &types.Volume{
					VolumeId:         aws.String(id),
					Size:             disk.Ebs.VolumeSize,
					VolumeType:       disk.Ebs.VolumeType,
					Encrypted:        disk.Ebs.Encrypted,
					AvailabilityZone: made.Placement.AvailabilityZone,
					CreateTime:       made.LaunchTime,
					State:            types.VolumeStateInUse,
				}
			})
		plug(volume, made, aws.ToString(disk.DeviceName), true)
	}
}

// toward has an instance be in a state after the account's pace.
func (c *compute) toward(id string, state types.InstanceStateName) {
	c.turns[id] = turn{state, time.Now().Add(c.instances.Store.Behaviour.Pace)}
}

// settle has the instances be in the states that they have come to by now.
func (r *Region) settle() {
	for id, turn := range r.compute.turns {
		if time.Now().Before(turn.at) {
			continue
		}
		delete(r.compute.turns, id)
		instance := r.compute.instances.Get(id)
		if instance.State.Name == types.InstanceStateNameTerminated {
			continue
		}
		instance.State = &types.InstanceState{Name: turn.to}
		if turn.to == types.InstanceStateNameTerminated {
			r.dismantle(instance)
		}
	}
}

// dismantle frees the resources of a terminated instance.
func (r *Region) dismantle(i *types.Instance) {
	for _, eni := range i.NetworkInterfaces {
		r.compute.interfaces.Remove(aws.ToString(eni.NetworkInterfaceId))
	}
	for _, row := range slices.Clone(r.storage.volumes.Rows) {
		for _, a := range row.Value.Attachments {
			if aws.ToString(a.InstanceId) != *i.InstanceId {
				continue
			}
			if aws.ToBool(a.DeleteOnTermination) {
				r.storage.volumes.Remove(row.ID)
			} else {
				row.Value.Attachments, row.Value.State = nil, types.VolumeStateAvailable
			}
		}
	}
	for _, row := range r.compute.addresses.Rows {
		if aws.ToString(row.Value.InstanceId) == *i.InstanceId {
			row.Value.InstanceId, row.Value.AssociationId, row.Value.NetworkInterfaceId = nil, nil, nil
		}
	}
	i.NetworkInterfaces, i.PrivateIpAddress, i.PublicIpAddress = nil, nil, nil
}

func describeInstances(r *Region, in *ec2.DescribeInstancesInput) (*ec2.DescribeInstancesOutput, error) {
	r.settle()
	found, err := r.compute.instances.Describe(in.InstanceIds, in.Filters)
	if err != nil {
		return nil, err
	}
	found, next := resource.Page(r.account.Behaviour, found, in.NextToken)
	out := &ec2.DescribeInstancesOutput{NextToken: next}
	for _, i := range found {
		i.State = &types.InstanceState{Name: i.State.Name}
		out.Reservations = append(out.Reservations, types.Reservation{Instances: []types.Instance{i}})
	}
	return out, nil
}

// change has instances go to a state by way of another.
func change(r *Region, ids []string, by, to types.InstanceStateName) ([]types.InstanceStateChange, error) {
	r.settle()
	var all []*types.Instance
	for _, id := range ids {
		i, err := r.compute.instances.Find(aws.String(id))
		if err != nil {
			return nil, err
		}
		over := i.State.Name == types.InstanceStateNameTerminated || i.State.Name == types.InstanceStateNameShuttingDown
		if over && to != types.InstanceStateNameTerminated {
			return nil, Errf(apierror.IncorrectInstanceState, "The instance '%s' is %s", id, i.State.Name)
		}
		all = append(all, i)
	}
	var changes []types.InstanceStateChange
	for _, i := range all {
		was := i.State
		if was.Name != to && was.Name != types.InstanceStateNameTerminated {
			i.State = &types.InstanceState{Name: by}
			r.compute.toward(*i.InstanceId, to)
		}
		changes = append(changes, types.InstanceStateChange{
			InstanceId:    i.InstanceId,
			PreviousState: was,
			CurrentState:  i.State,
		})
	}
	return changes, nil
}

func startInstances(r *Region, in *ec2.StartInstancesInput) (*ec2.StartInstancesOutput, error) {
	all, err := change(r, in.InstanceIds, types.InstanceStateNamePending, types.InstanceStateNameRunning)
	return &ec2.StartInstancesOutput{StartingInstances: all}, err
}

func stopInstances(r *Region, in *ec2.StopInstancesInput) (*ec2.StopInstancesOutput, error) {
	all, err := change(r, in.InstanceIds, types.InstanceStateNameStopping, types.InstanceStateNameStopped)
	return &ec2.StopInstancesOutput{StoppingInstances: all}, err
}

func terminateInstances(r *Region, in *ec2.TerminateInstancesInput) (*ec2.TerminateInstancesOutput, error) {
	all, err := change(r, in.InstanceIds, types.InstanceStateNameShuttingDown, types.InstanceStateNameTerminated)
	r.settle()
	return &ec2.TerminateInstancesOutput{TerminatingInstances: all}, err
}

func rebootInstances(r *Region, in *ec2.RebootInstancesInput) (*ec2.RebootInstancesOutput, error) {
	for _, id := range in.InstanceIds {
		if _, err := r.compute.instances.Find(aws.String(id)); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func modifyInstanceAttribute(
	r *Region, in *ec2.ModifyInstanceAttributeInput,
) (*ec2.ModifyInstanceAttributeOutput, error) {
	r.settle()
	i, err := r.compute.instances.Find(in.InstanceId)
	if err != nil {
		return nil, err
	}
	if i.State.Name != types.InstanceStateNameStopped && (in.EnaSupport != nil || in.SriovNetSupport != nil) {
		return nil, Errf(apierror.IncorrectInstanceState, "The instance '%s' is not stopped", *i.InstanceId)
	}
	r.compute.attributes = append(r.compute.attributes, in)
	return nil, nil
}

func getConsoleOutput(r *Region, in *ec2.GetConsoleOutputInput) (*ec2.GetConsoleOutputOutput, error) {
	r.settle()
	i, err := r.compute.instances.Find(in.InstanceId)
	if err != nil {
		return nil, err
	}
	out := &ec2.GetConsoleOutputOutput{InstanceId: in.InstanceId, Timestamp: aws.Time(time.Now())}
	if r.account.Console != nil {
		told := *r.compute.instances.Tagged(*i.InstanceId)
		out.Output = aws.String(base64.StdEncoding.EncodeToString([]byte(r.account.Console(told))))
	}
	return out, nil
}

func describeSpotPriceHistory(
	r *Region, in *ec2.DescribeSpotPriceHistoryInput,
) (*ec2.DescribeSpotPriceHistoryOutput, error) {
	out := &ec2.DescribeSpotPriceHistoryOutput{}
	for _, kind := range in.InstanceTypes {
		if price, ok := r.compute.spot[string(kind)]; ok {
			out.SpotPriceHistory = append(out.SpotPriceHistory, types.SpotPrice{
				InstanceType:     kind,
				SpotPrice:        aws.String(price),
				AvailabilityZone: aws.String(r.name + "a"),
			})
		}
	}
	return out, nil
}

var keyOperations = resource.Join(resource.Op(importKeyPair), resource.Op(deleteKeyPair), resource.Op(describeKeyPairs))

func importKeyPair(r *Region, in *ec2.ImportKeyPairInput) (*ec2.ImportKeyPairOutput, error) {
	name := aws.ToString(in.KeyName)
	if r.compute.keys.Get(name) != nil {
		return nil, Err(apierror.InvalidKeyPairDuplicate)
	}
	r.compute.keys.Put(name, time.Now(), &types.KeyPairInfo{
		KeyName:    in.KeyName,
		KeyPairId:  aws.String(r.store.Numbers.ID("key")),
		PublicKey:  aws.String(strings.TrimSpace(string(in.PublicKeyMaterial))),
		CreateTime: aws.Time(time.Now()),
	})
	r.store.Born(name, types.ResourceTypeKeyPair, in.TagSpecifications)
	return &ec2.ImportKeyPairOutput{KeyName: in.KeyName}, nil
}

func deleteKeyPair(r *Region, in *ec2.DeleteKeyPairInput) (*ec2.DeleteKeyPairOutput, error) {
	r.compute.keys.Remove(aws.ToString(in.KeyName)) // one that is not there is no error to EC2
	return nil, nil
}

func describeKeyPairs(r *Region, in *ec2.DescribeKeyPairsInput) (*ec2.DescribeKeyPairsOutput, error) {
	found, err := r.compute.keys.Describe(in.KeyNames, in.Filters)
	return &ec2.DescribeKeyPairsOutput{KeyPairs: found}, err
}

// Instance is an instance as EC2 would describe it, or nil.
func (r *Region) Instance(id string) *types.Instance {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	r.settle()
	if r.compute.instances.Get(id) == nil {
		return nil
	}
	return r.compute.instances.Tagged(id)
}

// Instances are the ids of the instances that are not terminated.
func (r *Region) Instances() []string {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	r.settle()
	var ids []string
	for _, row := range r.compute.instances.Rows {
		if row.Value.State.Name != types.InstanceStateNameTerminated {
			ids = append(ids, row.ID)
		}
	}
	return ids
}

// End has an instance be terminated by nobody that the test knows, for a reason with one of EC2's codes.
func (r *Region) End(id, code, message string) {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	delete(r.compute.turns, id)
	i := r.compute.instances.Get(id)
	i.State = &types.InstanceState{Name: types.InstanceStateNameTerminated}
	i.StateReason = &types.StateReason{Code: aws.String(code), Message: aws.String(message)}
	r.dismantle(i)
}

// Attributes are the changes of instances' attributes.
func (r *Region) Attributes() []*ec2.ModifyInstanceAttributeInput {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	return slices.Clone(r.compute.attributes)
}

// SetSpotPrice sets the price of a type in dollars an hour.
func (r *Region) SetSpotPrice(kind, dollars string) {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	r.compute.spot[kind] = dollars
}
