package ec2fake

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
)

// network are VPCs and the resources in them.
type network struct {
	vpcs     resource.Table[types.Vpc]
	subnets  resource.Table[types.Subnet]
	gateways resource.Table[types.InternetGateway]
	nats     resource.Table[types.NatGateway]
	routes   resource.Table[types.RouteTable]
	groups   resource.Table[types.SecurityGroup]
	// hostnames are the VPCs whose instances get DNS names.
	hostnames    map[string]bool
	reservations resource.Table[types.SubnetCidrReservation]
	// ready is when a NAT gateway has come to where it is going.
	ready map[string]time.Time
}

func newNetwork(store *resource.Store) network {
	return network{
		vpcs: resource.Table[types.Vpc]{
			Store:   store,
			Missing: apierror.InvalidVpcIDNotFound,
			Tags:    func(v *types.Vpc) *[]types.Tag { return &v.Tags },
			Values: func(v *types.Vpc, name string) []string {
				return map[string][]string{
					"vpc-id":     {aws.ToString(v.VpcId)},
					"cidr":       {aws.ToString(v.CidrBlock)},
					"is-default": {fmt.Sprint(aws.ToBool(v.IsDefault))},
				}[name]
			},
		},
		subnets: resource.Table[types.Subnet]{
			Store:   store,
			Missing: apierror.InvalidSubnetIDNotFound,
			Tags:    func(s *types.Subnet) *[]types.Tag { return &s.Tags },
			Values: func(s *types.Subnet, name string) []string {
				return map[string][]string{
					"vpc-id":            {aws.ToString(s.VpcId)},
					"subnet-id":         {aws.ToString(s.SubnetId)},
					"availability-zone": {aws.ToString(s.AvailabilityZone)},
					"default-for-az":    {fmt.Sprint(aws.ToBool(s.DefaultForAz))},
				}[name]
			},
		},
		gateways: resource.Table[types.InternetGateway]{
			Store:   store,
			Missing: apierror.InvalidInternetGatewayIDNotFound,
			Tags:    func(g *types.InternetGateway) *[]types.Tag { return &g.Tags },
			Values: func(g *types.InternetGateway, name string) []string {
				if name != "attachment.vpc-id" {
					return nil
				}
				ids := []string{}
				for _, a := range g.Attachments {
					ids = append(ids, aws.ToString(a.VpcId))
				}
				return ids
			},
		},
		nats: resource.Table[types.NatGateway]{
			Store:   store,
			Missing: apierror.NatGatewayNotFound,
			Tags:    func(n *types.NatGateway) *[]types.Tag { return &n.Tags },
			Values: func(n *types.NatGateway, name string) []string {
				return map[string][]string{"state": {string(n.State)}, "vpc-id": {aws.ToString(n.VpcId)}}[name]
			},
		},
		reservations: resource.Table[types.SubnetCidrReservation]{
			Store:   store,
			Missing: apierror.InvalidSubnetReservationNotFound,
			Tags:    func(r *types.SubnetCidrReservation) *[]types.Tag { return &r.Tags },
			Values:  func(*types.SubnetCidrReservation, string) []string { return nil },
		},
		routes:    newRoutes(store),
		groups:    newGroups(store),
		hostnames: map[string]bool{},
		ready:     map[string]time.Time{},
	}
}

func (n *network) things() []string {
	all := slices.Concat(n.vpcs.IDs(), n.subnets.IDs(), n.gateways.IDs(), n.groups.IDs(),
		n.reservations.IDs())
	for _, row := range n.nats.Rows {
		if row.Value.State != types.NatGatewayStateDeleted {
			all = append(all, row.ID)
		}
	}
	for _, row := range n.routes.Rows {
		if !isMain(row.Value) {
			all = append(all, row.ID)
		}
	}
	return all
}

var vpcOperations = resource.Join(
	resource.Op(createVpc), resource.Op(describeVpcs), resource.Op(describeVpcAttribute),
	resource.Op(modifyVpcAttribute), resource.Op(deleteVpc), resource.Op(createSubnet),
	resource.Op(describeSubnets), resource.Op(modifySubnetAttribute), resource.Op(deleteSubnet),
	resource.Op(createInternetGateway), resource.Op(describeInternetGateways), resource.Op(attachInternetGateway),
	resource.Op(detachInternetGateway), resource.Op(deleteInternetGateway), resource.Op(createNatGateway),
	resource.Op(describeNatGateways), resource.Op(deleteNatGateway), resource.Op(createSubnetCidrReservation),
	resource.Op(getSubnetCidrReservations), resource.Op(deleteSubnetCidrReservation),
)

func createVpc(r *Region, in *ec2.CreateVpcInput) (*ec2.CreateVpcOutput, error) {
	if _, err := netip.ParsePrefix(aws.ToString(in.CidrBlock)); err != nil {
		return nil, Err(apierror.InvalidVpcRange, aws.ToString(in.CidrBlock))
	}
	made := r.network.vpcs.Create("vpc", types.ResourceTypeVpc, in.TagSpecifications,
		func(id string) *types.Vpc {
			return &types.Vpc{VpcId: aws.String(id), CidrBlock: in.CidrBlock, State: types.VpcStateAvailable}
		})
	r.network.routes.Create("rtb", types.ResourceTypeRouteTable, nil, func(id string) *types.RouteTable {
		return &types.RouteTable{
			RouteTableId: aws.String(id),
			VpcId:        made.VpcId,
			Associations: []types.RouteTableAssociation{{Main: aws.Bool(true), RouteTableId: aws.String(id)}},
		}
	})
	return &ec2.CreateVpcOutput{Vpc: r.network.vpcs.Tagged(*made.VpcId)}, nil
}

func describeVpcs(r *Region, in *ec2.DescribeVpcsInput) (*ec2.DescribeVpcsOutput, error) {
	found, err := r.network.vpcs.Describe(in.VpcIds, in.Filters)
	return &ec2.DescribeVpcsOutput{Vpcs: found}, err
}

func describeVpcAttribute(r *Region, in *ec2.DescribeVpcAttributeInput) (*ec2.DescribeVpcAttributeOutput, error) {
	if _, err := r.network.vpcs.Find(in.VpcId); err != nil {
		return nil, err
	}
	return &ec2.DescribeVpcAttributeOutput{
		VpcId:              in.VpcId,
		EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(r.network.hostnames[*in.VpcId])},
		EnableDnsSupport:   &types.AttributeBooleanValue{Value: aws.Bool(true)},
	}, nil
}

func modifyVpcAttribute(r *Region, in *ec2.ModifyVpcAttributeInput) (*ec2.ModifyVpcAttributeOutput, error) {
	if _, err := r.network.vpcs.Find(in.VpcId); err != nil {
		return nil, err
	}
	if in.EnableDnsHostnames != nil {
		r.network.hostnames[*in.VpcId] = aws.ToBool(in.EnableDnsHostnames.Value)
	}
	return nil, nil
}

func deleteVpc(r *Region, in *ec2.DeleteVpcInput) (*ec2.DeleteVpcOutput, error) {
	vpc, err := r.network.vpcs.Find(in.VpcId)
	if err != nil {
		return nil, err
	}
	id := *vpc.VpcId
	for _, row := range r.network.subnets.Rows {
		if aws.ToString(row.Value.VpcId) == id {
			return nil, Err(apierror.HasDependencies, "vpc", id)
		}
	}
	for _, row := range r.network.groups.Rows {
		if aws.ToString(row.Value.VpcId) == id {
			return nil, Err(apierror.HasDependencies, "vpc", id)
		}
	}
	for _, row := range r.network.gateways.Rows {
		for _, a := range row.Value.Attachments {
			if aws.ToString(a.VpcId) == id {
				return nil, Err(apierror.HasDependencies, "vpc", id)
			}
		}
	}
	for _, row := range slices.Clone(r.network.routes.Rows) {
		if aws.ToString(row.Value.VpcId) == id {
			if !isMain(row.Value) {
				return nil, Err(apierror.HasDependencies, "vpc", id)
			}
			r.network.routes.Remove(row.ID)
		}
	}
	r.network.vpcs.Remove(id)
	return nil, nil
}

func createSubnet(r *Region, in *ec2.CreateSubnetInput) (*ec2.CreateSubnetOutput, error) {
	if _, err := r.network.vpcs.Find(in.VpcId); err != nil {
		return nil, err
	}
	zone := in.AvailabilityZone
	if zone == nil {
		zone = aws.String(r.name + "a")
	}
	made := r.network.subnets.Create("subnet", types.ResourceTypeSubnet, in.TagSpecifications,
		func(id string) *types.Subnet {
			return &types.Subnet{
				SubnetId:                aws.String(id),
				VpcId:                   in.VpcId,
				CidrBlock:               in.CidrBlock,
				AvailabilityZone:        zone,
				AvailableIpAddressCount: aws.Int32(250),
				State:                   types.SubnetStateAvailable,
			}
		})
	return &ec2.CreateSubnetOutput{Subnet: r.network.subnets.Tagged(*made.SubnetId)}, nil
}

func describeSubnets(r *Region, in *ec2.DescribeSubnetsInput) (*ec2.DescribeSubnetsOutput, error) {
	found, err := r.network.subnets.Describe(in.SubnetIds, in.Filters)
	return &ec2.DescribeSubnetsOutput{Subnets: found}, err
}

func modifySubnetAttribute(
	r *Region, in *ec2.ModifySubnetAttributeInput,
) (*ec2.ModifySubnetAttributeOutput, error) {
	subnet, err := r.network.subnets.Find(in.SubnetId)
	if err != nil {
		return nil, err
	}
	if in.MapPublicIpOnLaunch != nil {
		subnet.MapPublicIpOnLaunch = in.MapPublicIpOnLaunch.Value
	}
	return nil, nil
}

func deleteSubnet(r *Region, in *ec2.DeleteSubnetInput) (*ec2.DeleteSubnetOutput, error) {
	r.settle()
	subnet, err := r.network.subnets.Find(in.SubnetId)
	if err != nil {
		return nil, err
	}
	for _, row := range r.compute.interfaces.Rows {
		if aws.ToString(row.Value.SubnetId) == *subnet.SubnetId {
			return nil, Err(apierror.HasDependencies, "subnet", *subnet.SubnetId)
		}
	}
	for _, row := range r.network.reservations.Rows {
		if aws.ToString(row.Value.SubnetId) == *subnet.SubnetId {
			return nil, Err(apierror.HasDependencies, "subnet", *subnet.SubnetId)
		}
	}
	r.network.subnets.Remove(*subnet.SubnetId)
	for _, row := range r.network.routes.Rows {
		row.Value.Associations = slices.DeleteFunc(row.Value.Associations, func(a types.RouteTableAssociation) bool {
			return aws.ToString(a.SubnetId) == *subnet.SubnetId
		})
	}
	return nil, nil
}

func createInternetGateway(
	r *Region, in *ec2.CreateInternetGatewayInput,
) (*ec2.CreateInternetGatewayOutput, error) {
	made := r.network.gateways.Create("igw", types.ResourceTypeInternetGateway, in.TagSpecifications,
		func(id string) *types.InternetGateway {
			return &types.InternetGateway{InternetGatewayId: aws.String(id)}
		})
	return &ec2.CreateInternetGatewayOutput{
		InternetGateway: r.network.gateways.Tagged(*made.InternetGatewayId),
	}, nil
}

func describeInternetGateways(
	r *Region, in *ec2.DescribeInternetGatewaysInput,
) (*ec2.DescribeInternetGatewaysOutput, error) {
	found, err := r.network.gateways.Describe(in.InternetGatewayIds, in.Filters)
	return &ec2.DescribeInternetGatewaysOutput{InternetGateways: found}, err
}

func attachInternetGateway(
	r *Region, in *ec2.AttachInternetGatewayInput,
) (*ec2.AttachInternetGatewayOutput, error) {
	gateway, err := r.network.gateways.Find(in.InternetGatewayId)
	if err != nil {
		return nil, err
	}
	if _, err := r.network.vpcs.Find(in.VpcId); err != nil {
		return nil, err
	}
	if len(gateway.Attachments) > 0 {
		return nil, Err(apierror.GatewayAlreadyAttached, *gateway.InternetGatewayId, *gateway.Attachments[0].VpcId)
	}
	gateway.Attachments = []types.InternetGatewayAttachment{{
		VpcId: in.VpcId,
		State: types.AttachmentStatus("available"),
	}}
	return nil, nil
}

func detachInternetGateway(
	r *Region, in *ec2.DetachInternetGatewayInput,
) (*ec2.DetachInternetGatewayOutput, error) {
	gateway, err := r.network.gateways.Find(in.InternetGatewayId)
	if err != nil {
		return nil, err
	}
	if len(gateway.Attachments) == 0 {
		return nil, Err(apierror.GatewayNotAttached, *gateway.InternetGatewayId, aws.ToString(in.VpcId))
	}
	gateway.Attachments = nil
	return nil, nil
}

func deleteInternetGateway(
	r *Region, in *ec2.DeleteInternetGatewayInput,
) (*ec2.DeleteInternetGatewayOutput, error) {
	gateway, err := r.network.gateways.Find(in.InternetGatewayId)
	if err != nil {
		return nil, err
	}
	if len(gateway.Attachments) > 0 {
		return nil, Err(apierror.HasDependencies, "internetGateway", *gateway.InternetGatewayId)
	}
	r.network.gateways.Remove(*gateway.InternetGatewayId)
	return nil, nil
}

func createNatGateway(r *Region, in *ec2.CreateNatGatewayInput) (*ec2.CreateNatGatewayOutput, error) {
	subnet, err := r.network.subnets.Find(in.SubnetId)
	if err != nil {
		return nil, err
	}
	address, err := r.compute.addresses.Find(in.AllocationId)
	if err != nil {
		return nil, err
	}
	if address.AssociationId != nil {
		return nil, Err(apierror.AddressAlreadyAssociated, *address.AllocationId, *address.AssociationId)
	}
	address.AssociationId = aws.String(r.store.Numbers.ID("eipassoc"))
	made := r.network.nats.Create("nat", types.ResourceTypeNatgateway, in.TagSpecifications,
		func(id string) *types.NatGateway {
			return &types.NatGateway{
				NatGatewayId:        aws.String(id),
				SubnetId:            in.SubnetId,
				VpcId:               subnet.VpcId,
				State:               types.NatGatewayStatePending,
				NatGatewayAddresses: []types.NatGatewayAddress{{AllocationId: in.AllocationId}},
			}
		})
	r.network.ready[*made.NatGatewayId] = time.Now().Add(r.account.Pace)
	return &ec2.CreateNatGatewayOutput{NatGateway: r.network.nats.Tagged(*made.NatGatewayId)}, nil
}

func (r *Region) settleNATs() {
	for id, at := range r.network.ready {
		if time.Now().Before(at) {
			continue
		}
		delete(r.network.ready, id)
		nat := r.network.nats.Get(id)
		if nat.State == types.NatGatewayStatePending {
			nat.State = types.NatGatewayStateAvailable
			continue
		}
		nat.State = types.NatGatewayStateDeleted
		if address := r.compute.addresses.Get(aws.ToString(nat.NatGatewayAddresses[0].AllocationId)); address != nil {
			address.AssociationId = nil
		}
	}
}

// FailGateway has a NAT gateway fail, and give its address back.
func FailGateway(r *Region, id string) {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	delete(r.network.ready, id)
	nat := r.network.nats.Get(id)
	nat.State = types.NatGatewayStateFailed
	r.compute.addresses.Get(aws.ToString(nat.NatGatewayAddresses[0].AllocationId)).AssociationId = nil
}

func describeNatGateways(r *Region, in *ec2.DescribeNatGatewaysInput) (*ec2.DescribeNatGatewaysOutput, error) {
	r.settleNATs()
	found, err := r.network.nats.Describe(in.NatGatewayIds, in.Filter)
	return &ec2.DescribeNatGatewaysOutput{NatGateways: found}, err
}

func deleteNatGateway(r *Region, in *ec2.DeleteNatGatewayInput) (*ec2.DeleteNatGatewayOutput, error) {
	r.settleNATs()
	nat, err := r.network.nats.Find(in.NatGatewayId)
	if err != nil {
		return nil, err
	}
	if nat.State != types.NatGatewayStateDeleted {
		nat.State = types.NatGatewayStateDeleting
		r.network.ready[*nat.NatGatewayId] = time.Now().Add(r.account.Pace)
	}
	return &ec2.DeleteNatGatewayOutput{NatGatewayId: nat.NatGatewayId}, nil
}

// AddSubnet puts a subnet into the account, and its VPC where that is not there, with what it leaves out: ids, a range,
// a zone.
func (r *Region) AddSubnet(subnet types.Subnet) string {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	if subnet.SubnetId == nil {
		subnet.SubnetId = aws.String(r.store.Numbers.ID("subnet"))
	}
	if subnet.VpcId == nil {
		subnet.VpcId = aws.String(r.store.Numbers.ID("vpc"))
	}
	if r.network.vpcs.Get(*subnet.VpcId) == nil {
		r.network.vpcs.Put(*subnet.VpcId, time.Time{}, &types.Vpc{
			VpcId:     subnet.VpcId,
			CidrBlock: aws.String("10.0.0.0/16"),
			State:     types.VpcStateAvailable,
		})
	}
	if subnet.CidrBlock == nil {
		subnet.CidrBlock = aws.String("10.0.1.0/24")
	}
	if subnet.AvailabilityZone == nil {
		subnet.AvailabilityZone = aws.String(r.name + "a")
	}
	r.store.SetTags(*subnet.SubnetId, time.Time{}, subnet.Tags)
	r.network.subnets.Put(*subnet.SubnetId, time.Time{}, &subnet)
	return *subnet.SubnetId
}

// RemoveSubnets has the region be without any subnet.
func (r *Region) RemoveSubnets() {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	r.network.subnets.Rows = nil
}

var regionOperations = resource.Join(
	resource.Op(describeRegions), resource.Op(describeAvailabilityZones), resource.Op(describeOfferings),
	resource.Op(createTags), resource.Op(deleteTags),
)

func describeRegions(r *Region, in *ec2.DescribeRegionsInput) (*ec2.DescribeRegionsOutput, error) {
	out := &ec2.DescribeRegionsOutput{}
	for _, region := range [][2]string{
		{"us-east-1", "opt-in-not-required"},
		{"eu-central-1", "opt-in-not-required"},
		{"eu-west-1", "opted-in"},
		{"me-south-1", "not-opted-in"},
	} {
		if region[1] == "not-opted-in" && !aws.ToBool(in.AllRegions) {
			continue
		}
		out.Regions = append(out.Regions, types.Region{
			RegionName:  aws.String(region[0]),
			OptInStatus: aws.String(region[1]),
		})
	}
	return out, nil
}

// zones are the region's.
func (r *Region) zones() []string {
	var all []string
	for _, letter := range []string{"a", "b", "c"} {
		all = append(all, r.name+letter)
	}
	return all
}

// offers tells whether a zone has an instance type.
func (r *Region) offers(zone, instanceType string) bool {
	return r.account.Offers == nil || r.account.Offers(zone, instanceType)
}

func describeAvailabilityZones(
	r *Region, in *ec2.DescribeAvailabilityZonesInput,
) (*ec2.DescribeAvailabilityZonesOutput, error) {
	for _, filter := range in.Filters {
		if aws.ToString(filter.Name) != "zone-type" || !slices.Contains(filter.Values, "availability-zone") {
			return nil, Err(apierror.InvalidFilter, aws.ToString(filter.Name))
		}
	}
	out := &ec2.DescribeAvailabilityZonesOutput{}
	for _, zone := range r.zones() {
		out.AvailabilityZones = append(out.AvailabilityZones, types.AvailabilityZone{
			ZoneName:   aws.String(zone),
			RegionName: aws.String(r.name),
			State:      types.AvailabilityZoneStateAvailable,
		})
	}
	return out, nil
}

// describeOfferings knows the instance types that a filter names, by zone.
func describeOfferings(
	r *Region, in *ec2.DescribeInstanceTypeOfferingsInput,
) (*ec2.DescribeInstanceTypeOfferingsOutput, error) {
	out := &ec2.DescribeInstanceTypeOfferingsOutput{}
	for _, filter := range in.Filters {
		if aws.ToString(filter.Name) != "instance-type" || in.LocationType != types.LocationTypeAvailabilityZone {
			return nil, Err(apierror.InvalidFilter, aws.ToString(filter.Name))
		}
		for _, zone := range r.zones() {
			for _, name := range filter.Values {
				if r.offers(zone, name) {
					out.InstanceTypeOfferings = append(out.InstanceTypeOfferings, types.InstanceTypeOffering{
						InstanceType: types.InstanceType(name),
						Location:     aws.String(zone),
						LocationType: in.LocationType,
					})
				}
			}
		}
	}
	out.InstanceTypeOfferings, out.NextToken = resource.Page(r.account.Behaviour, out.InstanceTypeOfferings,
		in.NextToken)
	return out, nil
}

func createTags(r *Region, in *ec2.CreateTagsInput) (*ec2.CreateTagsOutput, error) {
	for _, id := range in.Resources {
		if err := r.exists(id); err != nil {
			return nil, err
		}
	}
	for _, id := range in.Resources {
		r.store.SetTags(id, time.Now(), in.Tags)
	}
	return nil, nil
}

func deleteTags(r *Region, in *ec2.DeleteTagsInput) (*ec2.DeleteTagsOutput, error) {
	for _, id := range in.Resources {
		if err := r.exists(id); err != nil {
			return nil, err
		}
		for _, gone := range in.Tags {
			r.store.DeleteTag(id, *gone.Key)
		}
	}
	return nil, nil
}

// exists refuses unknown ids.
func (r *Region) exists(id string) error {
	if slices.Contains(r.things(), id) || r.compute.instances.Get(id) != nil || r.compute.interfaces.Get(id) != nil ||
		r.network.routes.Get(id) != nil {
		return nil
	}
	return Err(apierror.InvalidID, id)
}
