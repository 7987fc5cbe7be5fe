package stack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Network is the ids of a stack's network; what is not there is empty.
type Network struct {
	VPC          string `json:"vpc"`
	Public       string `json:"public_subnet"`
	Private      string `json:"private_subnet"`
	Gateway      string `json:"internet_gateway"`
	Address      string `json:"elastic_ip_allocation"`
	NAT          string `json:"nat_gateway"`
	PublicTable  string `json:"public_route_table"`
	PrivateTable string `json:"private_route_table"`
	WebGroup     string `json:"web_sg"`
	DatabaseSG   string `json:"db_sg"`
}

// Missing names what is not there of what a stack needs.
func (n Network) Missing() []string {
	var missing []string
	for _, part := range []struct{ name, id string }{{"VPC", n.VPC}, {"public subnet", n.Public}, {"private subnet", n.Private}, {"internet gateway", n.Gateway}, {"NAT gateway", n.NAT},
		{"public route table", n.PublicTable}, {"private route table", n.PrivateTable}, {"security group web-sg", n.WebGroup}, {"security group db-sg", n.DatabaseSG}} {
		if part.id == "" {
			missing = append(missing, part.name)
		}
	}
	return missing
}

// complete tells whether all of it is there.
func (n Network) complete() bool { return len(n.Missing()) == 0 }

// FindNetwork reads the network from the tags.
func (s *Stack) FindNetwork(ctx context.Context) (Network, error) {
	var n Network
	vpcs, err := s.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: s.mine()})
	if err != nil {
		return n, fmt.Errorf("find the network of stack %s: %w", s.name, err)
	}
	if len(vpcs.Vpcs) > 1 {
		return n, fmt.Errorf("find the network of stack %s: %d VPCs have its tag; there should be one", s.name, len(vpcs.Vpcs))
	}
	if len(vpcs.Vpcs) == 1 {
		n.VPC = aws.ToString(vpcs.Vpcs[0].VpcId)
	}
	for _, find := range []func(context.Context, *Network) error{s.findSubnets, s.findGateways, s.findTables, s.findGroups} {
		if err := find(ctx, &n); err != nil {
			return n, fmt.Errorf("find the network of stack %s: %w", s.name, err)
		}
	}
	return n, nil
}

func (s *Stack) findSubnets(ctx context.Context, n *Network) error {
	out, err := s.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: s.mine()})
	if err != nil {
		return err
	}
	for _, subnet := range out.Subnets {
		switch tagOf(subnet.Tags, subnetTag) {
		case "public":
			n.Public = aws.ToString(subnet.SubnetId)
		case "private":
			n.Private = aws.ToString(subnet.SubnetId)
		}
	}
	return nil
}

func (s *Stack) findGateways(ctx context.Context, n *Network) error {
	gateways, err := s.ec2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{Filters: s.mine()})
	if err != nil {
		return err
	}
	for _, gateway := range gateways.InternetGateways {
		n.Gateway = aws.ToString(gateway.InternetGatewayId)
	}
	addresses, err := s.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: s.mine()})
	if err != nil {
		return err
	}
	for _, address := range addresses.Addresses {
		if tagOf(address.Tags, addressTag) != "web" {
			n.Address = aws.ToString(address.AllocationId)
		}
	}
	nats, err := s.ec2.DescribeNatGateways(ctx, &ec2.DescribeNatGatewaysInput{Filter: s.mine("state", "pending,available")})
	if err != nil {
		return err
	}
	for _, nat := range nats.NatGateways {
		n.NAT = aws.ToString(nat.NatGatewayId)
	}
	return nil
}

func (s *Stack) findTables(ctx context.Context, n *Network) error {
	out, err := s.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: s.mine()})
	if err != nil {
		return err
	}
	for _, table := range out.RouteTables {
		switch tagOf(table.Tags, subnetTag) {
		case "public":
			n.PublicTable = aws.ToString(table.RouteTableId)
		case "private":
			n.PrivateTable = aws.ToString(table.RouteTableId)
		}
	}
	return nil
}

func (s *Stack) findGroups(ctx context.Context, n *Network) error {
	out, err := s.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: s.mine()})
	if err != nil {
		return err
	}
	for _, group := range out.SecurityGroups {
		switch aws.ToString(group.GroupName) {
		case "web-sg":
			n.WebGroup = aws.ToString(group.GroupId)
		case "db-sg":
			n.DatabaseSG = aws.ToString(group.GroupId)
		}
	}
	return nil
}

// NetworkUp makes what is missing of the network, and tells how much that was. It can be run again after it broke off.
func (s *Stack) NetworkUp(ctx context.Context, operator netip.Prefix) (Network, int, error) {
	n, err := s.FindNetwork(ctx)
	if err != nil {
		return n, 0, err
	}
	u := &networkUp{Stack: s, n: &n, operator: operator}
	for _, part := range []struct {
		name string
		make func(context.Context) error
	}{
		{"VPC " + vpcCIDR, u.vpc}, {"subnets", u.subnets}, {"internet gateway", u.gateway}, {"NAT gateway", u.nat},
		{"route tables", u.tables}, {"security groups", u.groups},
	} {
		if err := part.make(ctx); err != nil {
			return n, u.changes, fmt.Errorf("make the network of stack %s: %s: %w\nhint: what was made stays; run this again to go on", s.name, part.name, err)
		}
	}
	return n, u.changes, nil
}

// networkUp is one run of NetworkUp.
type networkUp struct {
	*Stack
	n        *Network
	operator netip.Prefix
	changes  int
}

func (u *networkUp) made(what, id string) {
	u.changes++
	u.say("made %s %s", what, id)
}

func (u *networkUp) vpc(ctx context.Context) error {
	if u.n.VPC == "" {
		out, err := u.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String(vpcCIDR), TagSpecifications: u.tagged(types.ResourceTypeVpc, u.name)})
		if err != nil {
			return err
		}
		u.n.VPC = aws.ToString(out.Vpc.VpcId)
		u.made("VPC", u.n.VPC)
	}
	_, err := u.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: aws.String(u.n.VPC), EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	return err
}

func (u *networkUp) subnets(ctx context.Context) error {
	zone := ""
	for _, subnet := range []struct {
		role, cidr string
		id         *string
	}{{"public", publicCIDR, &u.n.Public}, {"private", privateCIDR, &u.n.Private}} {
		if *subnet.id != "" {
			continue
		}
		input := &ec2.CreateSubnetInput{VpcId: aws.String(u.n.VPC), CidrBlock: aws.String(subnet.cidr),
			TagSpecifications: u.tagged(types.ResourceTypeSubnet, u.name+"-"+subnet.role, subnetTag, subnet.role)}
		if zone != "" {
			input.AvailabilityZone = aws.String(zone)
		}
		out, err := u.ec2.CreateSubnet(ctx, input)
		if err != nil {
			return err
		}
		*subnet.id, zone = aws.ToString(out.Subnet.SubnetId), aws.ToString(out.Subnet.AvailabilityZone)
		u.made(subnet.role+" subnet "+subnet.cidr, *subnet.id)
	}
	_, err := u.ec2.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{SubnetId: aws.String(u.n.Public), MapPublicIpOnLaunch: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	return err
}

func (u *networkUp) gateway(ctx context.Context) error {
	if u.n.Gateway == "" {
		out, err := u.ec2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{TagSpecifications: u.tagged(types.ResourceTypeInternetGateway, u.name)})
		if err != nil {
			return err
		}
		u.n.Gateway = aws.ToString(out.InternetGateway.InternetGatewayId)
		u.made("internet gateway", u.n.Gateway)
	}
	_, err := u.ec2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: aws.String(u.n.Gateway), VpcId: aws.String(u.n.VPC)})
	if code(err) == "Resource.AlreadyAssociated" {
		return nil
	}
	return err
}

func (u *networkUp) nat(ctx context.Context) error {
	if u.n.Address == "" {
		out, err := u.ec2.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc, TagSpecifications: u.tagged(types.ResourceTypeElasticIp, u.name+"-nat", addressTag, "nat")})
		if err != nil {
			return err
		}
		u.n.Address = aws.ToString(out.AllocationId)
		u.made("elastic IP", aws.ToString(out.PublicIp))
	}
	if u.n.NAT == "" {
		out, err := u.ec2.CreateNatGateway(ctx, &ec2.CreateNatGatewayInput{SubnetId: aws.String(u.n.Public), AllocationId: aws.String(u.n.Address),
			ClientToken: aws.String(u.name + "-" + u.n.Address), TagSpecifications: u.tagged(types.ResourceTypeNatgateway, u.name)})
		if err != nil {
			return err
		}
		u.n.NAT = aws.ToString(out.NatGateway.NatGatewayId)
		u.made("NAT gateway", u.n.NAT)
	}
	return ec2.NewNatGatewayAvailableWaiter(u.ec2, func(o *ec2.NatGatewayAvailableWaiterOptions) { o.MinDelay = time.Second }).
		Wait(ctx, &ec2.DescribeNatGatewaysInput{NatGatewayIds: []string{u.n.NAT}}, 5*time.Minute)
}

func (u *networkUp) tables(ctx context.Context) error {
	for _, table := range []struct {
		role, subnet string
		id           *string
		route        ec2.CreateRouteInput
	}{
		{"public", u.n.Public, &u.n.PublicTable, ec2.CreateRouteInput{GatewayId: aws.String(u.n.Gateway)}},
		{"private", u.n.Private, &u.n.PrivateTable, ec2.CreateRouteInput{NatGatewayId: aws.String(u.n.NAT)}},
	} {
		if *table.id == "" {
			out, err := u.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: aws.String(u.n.VPC), TagSpecifications: u.tagged(types.ResourceTypeRouteTable, u.name+"-"+table.role, subnetTag, table.role)})
			if err != nil {
				return err
			}
			*table.id = aws.ToString(out.RouteTable.RouteTableId)
			u.made(table.role+" route table", *table.id)
		}
		if err := u.completeTable(ctx, *table.id, table.subnet, table.route); err != nil {
			return err
		}
	}
	return nil
}

// completeTable gives a route table its default route and its subnet, if they are missing.
func (u *networkUp) completeTable(ctx context.Context, id, subnet string, route ec2.CreateRouteInput) error {
	out, err := u.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{id}})
	if err != nil {
		return err
	}
	routed, associated := false, false
	for _, table := range out.RouteTables {
		for _, r := range table.Routes {
			routed = routed || aws.ToString(r.DestinationCidrBlock) == "0.0.0.0/0"
		}
		for _, a := range table.Associations {
			associated = associated || aws.ToString(a.SubnetId) == subnet
		}
	}
	if !routed {
		route.RouteTableId, route.DestinationCidrBlock = aws.String(id), aws.String("0.0.0.0/0")
		if _, err := u.ec2.CreateRoute(ctx, &route); err != nil {
			return err
		}
		u.changes++
	}
	if !associated {
		if _, err := u.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: aws.String(id), SubnetId: aws.String(subnet)}); err != nil {
			return err
		}
		u.changes++
	}
	return nil
}

func (u *networkUp) groups(ctx context.Context) error {
	for _, group := range []struct {
		name, description string
		id                *string
	}{{"web-sg", "Web tier of stack " + u.name, &u.n.WebGroup}, {"db-sg", "Database tier of stack " + u.name, &u.n.DatabaseSG}} {
		if *group.id != "" {
			continue
		}
		out, err := u.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: aws.String(u.n.VPC), GroupName: aws.String(group.name),
			Description: aws.String(group.description), TagSpecifications: u.tagged(types.ResourceTypeSecurityGroup, group.name)})
		if err != nil {
			return err
		}
		*group.id = aws.ToString(out.GroupId)
		u.made("security group "+group.name, *group.id)
	}
	return errors.Join(
		u.setRules(ctx, u.n.WebGroup, webRules(u.operator)),
		u.setRules(ctx, u.n.DatabaseSG, databaseRules(u.n.WebGroup)))
}
