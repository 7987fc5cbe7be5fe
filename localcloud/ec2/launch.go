package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/eni"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/vpc"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/workqueue"
)

// launch is a RunInstances request that was found good.
type launch struct {
	call      *awsquery.Call // rewritten
	subnet    netip.Prefix
	subnetID  string
	asked     netip.Addr // private address, if one was asked for
	taken     map[netip.Addr]bool
	public    bool
	rootGB    int
	keepRoot  bool
	volumes   []launchVolume
	userData  []byte
	publicKey string
	eniTags   []string // of its network interface, as parameters of CreateTags
}

// launchVolume is a data volume that comes with the instance.
type launchVolume struct {
	device, snapshot string
	sizeGB           int
}

// LaunchLimit is the highest number of instances that one call may ask for.
const LaunchLimit = 50

// Launches makes instances.
type Launches struct {
	moto      *moto.Client
	records   *records.Store
	queue     *workqueue.Queue
	network   *vpc.Network
	instances *Instances
	images    *Images
	keyPairs  *KeyPairs
	machinery ImageStore
}

// Handlers answer the calls of EC2 for launches that are more than a record.
func (s *Launches) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"RunInstances": s.Run,
	}
}

// Run makes one machine for each instance. The request is checked by what EC2 checks and moto does not, and rewritten
// to name one interface with a private address, as only that is freed again there.
func (s *Launches) Run(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	token := c.Get("ClientToken")
	if token != "" {
		if made, err := s.launchedBefore(ctx, c); made != nil || err != nil {
			return made, err
		}
	}
	minimum, maximum, err := counts(c)
	if err != nil {
		return nil, err
	}
	l, err := s.planLaunch(ctx, c)
	if err != nil {
		return nil, err
	}
	addresses, err := s.freeAddresses(l, minimum, maximum)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, address := range addresses {
		id, err := s.launchOne(ctx, l, address)
		if err != nil {
			return nil, errors.Join(err, s.takeBack(ctx, ids))
		}
		ids = append(ids, id)
	}
	if token != "" {
		err := s.records.Update(func(o *records.State) {
			o.Launches[token] = records.Launch{
				Request:   digest(c),
				Instances: ids,
			}
		})
		if err != nil {
			return nil, errors.Join(err, s.takeBack(ctx, ids))
		}
	}
	for _, id := range ids {
		s.queue.Enqueue(id, func(ctx context.Context) error { return s.instances.BringUp(ctx, id, l.volumes) })
	}
	return s.launched(ctx, ids)
}

// Check tells what is wrong with a RunInstances request.
func (s *Launches) Check(ctx context.Context, c *awsquery.Call) error {
	if _, _, err := counts(c); err != nil {
		return err
	}
	_, err := s.planLaunch(ctx, c)
	return err
}

func counts(c *awsquery.Call) (minimum, maximum int, err error) {
	minimum, err1 := strconv.Atoi(c.Get("MinCount"))
	maximum, err2 := strconv.Atoi(c.Get("MaxCount"))
	if err := errors.Join(err1, err2); err != nil || minimum < 1 || maximum < minimum || minimum > LaunchLimit {
		return 0, 0, awsquery.Faultf(apierror.InvalidParameterValue,
			"MinCount and MaxCount must be numbers of instances from 1 to %d, MinCount not the larger", LaunchLimit)
	}
	return minimum, min(maximum, LaunchLimit), nil
}

// launchedBefore answers a repeated request with what the first one made.
func (s *Launches) launchedBefore(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	token := c.Get("ClientToken")
	before, ok := s.records.Launch(token)
	if !ok {
		return nil, nil
	}
	if before.Request != digest(c) {
		return nil, awsquery.Faultf(apierror.IdempotentParameterMismatch,
			"The client token '%s' was used before, with other parameters", token)
	}
	return s.launched(ctx, before.Instances)
}

// digest is of a request's parameters.
func digest(c *awsquery.Call) string {
	sum := sha256.Sum256(c.Encoded())
	return hex.EncodeToString(sum[:])
}

// launched is the answer to a launch.
func (s *Launches) launched(ctx context.Context, ids []string) (*awsquery.Node, error) {
	described, err := s.instances.describe(ctx, awsquery.NewCall("ec2", "DescribeInstances").With("InstanceId", ids...))
	if err != nil {
		return nil, err
	}
	var first *awsquery.Node
	for _, reservation := range described.Items("reservationSet") {
		if first == nil {
			first = reservation
			continue
		}
		first.At("instancesSet").Children = append(first.At("instancesSet").Children,
			reservation.Items("instancesSet")...)
	}
	if first == nil {
		return nil, awsquery.Fault(apierror.InvalidInstanceIDNotFound, ids[0])
	}
	return awsquery.Reply("RunInstances", first.Children...), nil
}

// launchOne makes an instance in the records.
func (s *Launches) launchOne(ctx context.Context, l *launch, address netip.Addr) (id string, err error) {
	c := l.call.Clone()
	c.Set("NetworkInterface.1.PrivateIpAddress", address.String())
	answered, err := s.moto.Forward(ctx, c)
	if err != nil {
		return "", err
	}
	item, err := answered.One("instancesSet")
	if err != nil {
		return "", err
	}
	id = item.Get("instanceId")
	record := &records.Instance{
		State:      "pending",
		WantPublic: l.public,
		Root: records.Root{
			RootVolume: volumeAt(item, moto.RootDevice),
			RootSizeGB: l.rootGB,
			KeepRoot:   l.keepRoot,
		},
		Launched:            time.Now(),
		TerminateOnShutdown: c.Get("InstanceInitiatedShutdownBehavior") == "terminate",
		MetadataOptions: records.MetadataOptions{
			TokensRequired:   c.Get("MetadataOptions.HttpTokens") == "required",
			MetadataDisabled: c.Get("MetadataOptions.HttpEndpoint") == "disabled",
			MetadataTags:     c.Get("MetadataOptions.InstanceMetadataTags") == "enabled",
		},
		UserData:    l.userData,
		PublicKey:   l.publicKey,
		ClientToken: c.Get("ClientToken"),
	}
	err = s.tagInterface(ctx, item, l.eniTags)
	err = errors.Join(err, s.records.Update(func(o *records.State) {
		if o.Instances[id] = record; l.public {
			record.Public = o.FreePublic()
		}
	}))
	if err == nil && l.public && !record.Public.IsValid() {
		err = awsquery.Faultf(apierror.InsufficientAddressCapacity, "the local cloud has no free public address left")
	}
	if err != nil {
		return "", errors.Join(err, s.takeBack(ctx, []string{id}))
	}
	return id, nil
}

// tagInterface tags the network interface of an instance that is just made.
func (s *Launches) tagInterface(ctx context.Context, instance *awsquery.Node, tags []string) error {
	if len(tags) == 0 {
		return nil
	}
	eni := instance.All("networkInterfaceSet", "*", "networkInterfaceId")
	if len(eni) != 1 {
		return fmt.Errorf("tag the network interface of %s: it has %d", instance.Get("instanceId"), len(eni))
	}
	tags = append([]string{"ResourceId.1", eni[0]}, tags...)
	_, err := s.moto.Forward(ctx, awsquery.NewCall("ec2", "CreateTags", tags...))
	return err
}

// takeBack ends instances that have no machine yet, because the launch as a whole failed.
func (s *Launches) takeBack(ctx context.Context, ids []string) error {
	var errs []error
	for _, id := range ids {
		_, err := s.instances.terminateRecord(ctx, id, awsquery.NewCall("ec2", "TerminateInstances"))
		s.instances.setState(id, "terminated", "Server.InternalError: the launch failed")
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// planLaunch checks a request and rewrites it.
func (s *Launches) planLaunch(ctx context.Context, original *awsquery.Call) (*launch, error) {
	c := original.Clone()
	l := &launch{call: c, taken: map[netip.Addr]bool{}}
	if c.Get("NetworkInterface.1.NetworkInterfaceId") != "" || c.Get("NetworkInterface.2.DeviceIndex") != "" {
		return nil, awsquery.Faultf(apierror.UnsupportedOperation,
			"instances of the local cloud have one network interface, which is made with them")
	}
	if kind := c.Get("InstanceType"); strings.HasSuffix(kind, ".metal") {
		return nil, awsquery.Fault(apierror.InsufficientInstanceCapacity, kind, "all").
			Adding("The local cloud has no bare metal.")
	}
	if err := s.planDisks(ctx, l); err != nil {
		return nil, err
	}
	subnet, err := s.launchSubnet(ctx, c)
	if err != nil {
		return nil, err
	}
	if l.subnet, err = netip.ParsePrefix(subnet.Get("cidrBlock")); err != nil {
		return nil, err
	}
	l.subnetID = subnet.Get("subnetId")
	if err = s.planAddresses(ctx, l, subnet); err != nil {
		return nil, err
	}
	if err = s.planGroups(ctx, c, subnet.Get("vpcId")); err != nil {
		return nil, err
	}
	if l.userData, err = base64.StdEncoding.DecodeString(c.Get("UserData")); err != nil {
		return nil, awsquery.Fault(apierror.InvalidUserDataMalformed)
	}
	if len(l.userData) > 16<<10 {
		return nil, awsquery.Fault(apierror.UserDataLimit, 16384)
	}
	if name := c.Get("KeyName"); name != "" {
		if l.publicKey, err = s.keyPairs.Find(name); err != nil {
			return nil, err
		}
	}
	c.Set("MinCount", "1")
	c.Set("MaxCount", "1")
	c.Set("NetworkInterface.1.DeviceIndex", "0")
	c.Set("NetworkInterface.1.SubnetId", subnet.Get("subnetId"))
	c.Set("NetworkInterface.1.DeleteOnTermination", "true")
	c.Set("NetworkInterface.1.AssociatePublicIpAddress", "false") // public addresses are given here
	l.call, l.eniTags = splitTags(c, "network-interface")
	return l, nil
}

// launchSubnet is the subnet that the request names, or the default VPC's first one.
func (s *Launches) launchSubnet(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("NetworkInterface.1.SubnetId")
	if id == "" {
		id = c.Get("SubnetId")
	}
	c.Form.Del("SubnetId")
	question := awsquery.NewCall("ec2", "DescribeSubnets", "SubnetId.1", id)
	if id == "" {
		question = awsquery.NewCall("ec2", "DescribeSubnets", "Filter.1.Name", "defaultForAz",
			"Filter.1.Value.1", "true")
	}
	described, err := s.moto.Ask(ctx, question)
	if err != nil {
		return nil, err
	}
	zone := c.Get("Placement.AvailabilityZone")
	for _, subnet := range described.Items("subnetSet") {
		if zone == "" || subnet.Get("availabilityZone") == zone {
			return subnet, nil
		}
	}
	if id != "" {
		return nil, awsquery.Faultf(apierror.InvalidParameterValue,
			"The subnet '%s' is not in the availability zone %s", id, zone)
	}
	return nil, awsquery.Faultf(apierror.MissingInput, "No subnets found for the default VPC. Please specify a subnet.")
}

// planAddresses moves what the request says of addresses to its one interface.
func (s *Launches) planAddresses(ctx context.Context, l *launch, subnet *awsquery.Node) error {
	c, id := l.call, subnet.Get("subnetId")
	l.public = subnet.Get("mapPublicIpOnLaunch") == "true"
	if wanted := c.Get("NetworkInterface.1.AssociatePublicIpAddress"); wanted != "" {
		l.public = wanted == "true"
	}
	asked := c.Get("PrivateIpAddress")
	for _, inner := range []string{"NetworkInterface.1.PrivateIpAddress",
		"NetworkInterface.1.PrivateIpAddresses.1.PrivateIpAddress"} {
		if value := c.Get(inner); value != "" {
			asked = value
		}
	}
	c.Drop("PrivateIpAddress", "NetworkInterface.1.PrivateIpAddress")
	taken, err := s.network.TakenIn(ctx, id)
	if err != nil {
		return err
	}
	maps.Copy(l.taken, taken)
	if asked == "" {
		return nil
	}
	if l.asked, err = netip.ParseAddr(asked); err != nil || !l.subnet.Contains(l.asked) ||
		eni.Reserved(l.subnet, l.asked) {
		return awsquery.Faultf(apierror.InvalidParameterValue,
			"Address %s does not fall within the usable addresses of subnet %s (%s)", asked, id, l.subnet)
	}
	if l.taken[l.asked] {
		return awsquery.Fault(apierror.InvalidIPAddressInUse, asked)
	}
	return nil
}

// freeAddresses are private addresses for as many instances as there is room for.
func (s *Launches) freeAddresses(l *launch, minimum, maximum int) ([]netip.Addr, error) {
	if l.asked.IsValid() {
		if maximum > 1 {
			return nil, awsquery.Faultf(apierror.InvalidParameterCombination,
				"Multiple instances cannot have the one private address %s", l.asked)
		}
		return []netip.Addr{l.asked}, nil
	}
	free := s.network.Free(l.subnetID, l.subnet, l.taken, maximum)
	if len(free) < minimum {
		return nil, awsquery.Fault(apierror.InsufficientFreeAddressesInSubnet, l.subnet)
	}
	return free, nil
}

// planGroups moves the security groups to the interface, and refuses those of another VPC.
func (s *Launches) planGroups(ctx context.Context, c *awsquery.Call, network string) error {
	ids := append(c.List("SecurityGroupId"), c.List("NetworkInterface.1.SecurityGroupId")...)
	described, err := s.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeSecurityGroups"))
	if err != nil {
		return err
	}
	vpcOf, byName := map[string]string{}, map[string]string{}
	for _, group := range described.Items("securityGroupInfo") {
		vpcOf[group.Get("groupId")] = group.Get("vpcId")
		if group.Get("vpcId") == network {
			byName[group.Get("groupName")] = group.Get("groupId")
		}
	}
	for _, name := range c.List("SecurityGroup") {
		if byName[name] == "" {
			return awsquery.Fault(apierror.InvalidGroupNotFound, name).Adding("in VPC '%s'", network)
		}
		ids = append(ids, byName[name])
	}
	if len(ids) == 0 {
		ids = []string{byName["default"]}
	}
	c.Drop("SecurityGroup", "NetworkInterface.1.SecurityGroupId")
	for i, id := range ids {
		if vpcOf[id] == "" {
			return awsquery.Fault(apierror.InvalidGroupNotFound, id)
		}
		if vpcOf[id] != network {
			return awsquery.Faultf(apierror.InvalidParameter,
				"Security group %s of %s and the subnet, of %s, belong to different networks.", id, vpcOf[id], network)
		}
		c.Set(fmt.Sprintf("NetworkInterface.1.SecurityGroupId.%d", i+1), id)
	}
	return nil
}

// planDisks reads the block device mappings, the root's size and volumes beside it, and writes them out in full.
func (s *Launches) planDisks(ctx context.Context, l *launch) error {
	c := l.call
	imageGB, imageRoot, err := s.launchable(ctx, c.Get("ImageId"))
	if err != nil {
		return err
	}
	l.rootGB = imageGB
	original := c.Clone()
	c.Drop("BlockDeviceMapping.")
	rootType := "gp3"
	for i := 1; original.Get(fmt.Sprintf("BlockDeviceMapping.%d.DeviceName", i)) != ""; i++ {
		prefix := fmt.Sprintf("BlockDeviceMapping.%d.", i)
		device, size := original.Get(prefix+"DeviceName"), 0
		if _, none := original.Form[prefix+"NoDevice"]; none || original.Get(prefix+"VirtualName") != "" {
			continue
		}
		if given := original.Get(prefix + "Ebs.VolumeSize"); given != "" {
			if size, err = volumeSize(given); err != nil {
				return err
			}
		}
		if device != moto.RootDevice && device != imageRoot {
			if err := s.planVolume(ctx, l, original, prefix, size); err != nil {
				return err
			}
			continue
		}
		if size != 0 && size < imageGB {
			return awsquery.Faultf(apierror.InvalidBlockDeviceMapping,
				"Volume of size %dGB is smaller than snapshot of image '%s', expect size >= %dGB", size,
				c.Get("ImageId"), imageGB)
		}
		l.rootGB = max(size, imageGB)
		l.keepRoot = original.Get(prefix+"Ebs.DeleteOnTermination") == "false"
		if kind := original.Get(prefix + "Ebs.VolumeType"); kind != "" {
			rootType = kind
		}
	}
	mapDevice(c, 1, moto.RootDevice, l.rootGB, rootType, !l.keepRoot)
	return nil
}

// planVolume adds a data volume.
func (s *Launches) planVolume(ctx context.Context, l *launch, c *awsquery.Call, prefix string, size int) error {
	v := launchVolume{device: c.Get(prefix + "DeviceName"), snapshot: c.Get(prefix + "Ebs.SnapshotId"), sizeGB: size}
	if size == 0 || v.snapshot != "" {
		least, err := s.images.snapshotSize(ctx, v.snapshot)
		if err != nil {
			return err
		}
		if size != 0 && size < least {
			return awsquery.Faultf(apierror.InvalidBlockDeviceMapping,
				"Volume of size %dGB is smaller than snapshot '%s', expect size >= %dGB", size, v.snapshot, least)
		}
		v.sizeGB = max(size, least)
	}
	kind := c.Get(prefix + "Ebs.VolumeType")
	if kind == "" {
		kind = "gp3"
	}
	l.volumes = append(l.volumes, v)
	mapDevice(l.call, len(l.volumes)+1, v.device, v.sizeGB, kind, c.Get(prefix+"Ebs.DeleteOnTermination") == "true")
	return nil
}

func mapDevice(c *awsquery.Call, index int, device string, sizeGB int, kind string, deleted bool) {
	prefix := fmt.Sprintf("BlockDeviceMapping.%d.", index)
	c.Set(prefix+"DeviceName", device)
	c.Set(prefix+"Ebs.VolumeSize", strconv.Itoa(sizeGB))
	c.Set(prefix+"Ebs.VolumeType", kind)
	c.Set(prefix+"Ebs.DeleteOnTermination", strconv.FormatBool(deleted))
}

// launchable is the size and the root device of an image that can be launched.
func (s *Launches) launchable(ctx context.Context, id string) (sizeGB int, root string, err error) {
	if id == "" {
		return 0, "", awsquery.Fault(apierror.MissingParameter, "ImageId")
	}
	described, err := s.images.describe(ctx, awsquery.NewCall("ec2", "DescribeImages", "ImageId.1", id))
	if err != nil {
		return 0, "", err
	}
	if len(described.Items("imagesSet")) == 0 {
		return 0, "", awsquery.Fault(apierror.InvalidAMIIDNotFound, id)
	}
	image := described.Items("imagesSet")[0]
	if state := image.Get("imageState"); state != "available" || !slices.Contains(s.machinery.Images(), id) {
		return 0, "", awsquery.Fault(apierror.InvalidAMIIDUnavailable, id).
			Adding("It is %s, and its disk is not of this cloud or not there yet.", state)
	}
	root, sizeGB = image.Get("rootDeviceName"), defaultRootGB
	for _, device := range image.Items("blockDeviceMapping") {
		if size, err := strconv.Atoi(device.Get("ebs", "volumeSize")); err == nil && device.Get("deviceName") == root {
			sizeGB = size
		}
	}
	return sizeGB, root, nil
}
