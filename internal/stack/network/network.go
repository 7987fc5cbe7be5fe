// Package network has a stack's network: finding it by its tags, bringing it to the stack file's settings, and removing
// it. Of a VPC that was there before the stack only the security groups are the stack's.
package network

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
)

// Network holds the ids of a stack's network resources; the id of one that does not exist is empty.
type Network struct {
	VPC  string `json:"vpc"`
	CIDR string `json:"cidr"`
	// Existing says that the VPC was there before the stack. It and all that is in it but for the security groups of
	// the tiers belong to somebody else.
	Existing bool `json:"existing"`
	// Public and Private are the first subnets of either kind.
	Public       string `json:"public_subnet"`
	Private      string `json:"private_subnet"`
	Gateway      string `json:"internet_gateway"`
	Address      string `json:"elastic_ip_allocation"`
	NAT          string `json:"nat_gateway"`
	PublicTable  string `json:"public_route_table"`
	PrivateTable string `json:"private_route_table"`
	// Groups are the security groups, by tier; in JSON each is a member that is named for its tier.
	Groups map[string]string `json:"-"`
	// Subnets are all of them, by kind: public and private.
	Subnets map[string][]Subnet `json:"subnets"`
}

// MarshalJSON adds the security groups.
func (n Network) MarshalJSON() ([]byte, error) {
	type plain Network
	text, err := json.Marshal(plain(n))
	if err != nil {
		return nil, err
	}
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	for tier, id := range n.Groups {
		members[tier+"_sg"] = id
	}
	return json.Marshal(members)
}

// Subnet is one of a network's.
type Subnet struct {
	ID   string `json:"id"`
	CIDR string `json:"cidr"`
	Zone string `json:"zone"`

	mapsPublic bool // gives its instances public addresses
}

// subnetKinds are the kinds of subnets, the one that others need first.
var subnetKinds = []string{stack.PublicSubnet, stack.PrivateSubnet}

// Missing names the missing parts of a stack's network.
func (n Network) Missing(tiers []stack.Tier) []string {
	type part struct{ name, id string }
	parts := []part{{"VPC", n.VPC}}
	if !n.Existing {
		parts = append(parts,
			part{"public subnet", n.Public},
			part{"private subnet", n.Private},
			part{"internet gateway", n.Gateway},
			part{"NAT gateway", n.NAT},
			part{"public route table", n.PublicTable},
			part{"private route table", n.PrivateTable})
	}
	for _, t := range tiers {
		parts = append(parts, part{"security group " + t.Name + "-sg", n.Groups[t.Name]})
	}
	var missing []string
	for _, part := range parts {
		if part.id == "" {
			missing = append(missing, part.name)
		}
	}
	return missing
}

// SubnetOf returns the subnet for an instance of a tier, in a zone if one is named.
func (n Network) SubnetOf(s *stack.Stack, tier stack.Tier, zone string) (Subnet, error) {
	for _, subnet := range n.Subnets[tier.Subnet] {
		if zone == "" || subnet.Zone == zone {
			return subnet, nil
		}
	}
	if zone != "" {
		zone = " in zone " + zone + ", where its data volume is"
	}
	return Subnet{}, fmt.Errorf("find a subnet for tier %s of stack %s: its network has no %s one%s",
		tier.Name, s.Name, tier.Subnet, zone)
}

// Clients is the range that the addresses of the tiers are in that need a tier.
func (n Network) Clients(s *stack.Stack, tier stack.Tier) (netip.Prefix, error) {
	var all netip.Prefix
	for _, client := range s.Tiers {
		if !slices.Contains(client.Needs, tier.Name) {
			continue
		}
		for _, subnet := range n.Subnets[client.Subnet] {
			prefix, err := netip.ParsePrefix(subnet.CIDR)
			if err != nil || !prefix.Addr().Is4() {
				return all, fmt.Errorf("subnet %s: %q should be an IPv4 range", subnet.ID, subnet.CIDR)
			}
			all = covering(all, prefix)
		}
		if !all.IsValid() {
			return all, fmt.Errorf("find the %s tier's addresses in stack %s: its network has no %s subnet",
				client.Name, s.Name, client.Subnet)
		}
	}
	return all, nil
}

// covering is the smallest range that holds both; a may be none.
func covering(a, b netip.Prefix) netip.Prefix {
	if !a.IsValid() {
		return b.Masked()
	}
	bits := min(a.Bits(), b.Bits())
	for ; bits > 0; bits-- {
		if p, err := b.Addr().Prefix(bits); err == nil && p.Contains(a.Addr()) {
			return p
		}
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

// ServiceAddress is the private IP address of a data tier in the subnet, whichever instance serves.
func (n Subnet) ServiceAddress(tier stack.Tier) (string, error) {
	prefix, err := netip.ParsePrefix(n.CIDR)
	if err != nil {
		return "", fmt.Errorf("subnet %s: %w", n.ID, err)
	}
	address, err := tier.Data.AddressIn(prefix)
	if err != nil {
		return "", fmt.Errorf("service_address: %w", err)
	}
	return address.String(), nil
}

// Find reads the network from the tags: the VPC that has the stack's or, if that was there before, the one that
// the stack's security groups are in.
func Find(ctx context.Context, s *stack.Stack) (Network, error) {
	n := Network{Groups: map[string]string{}, Subnets: map[string][]Subnet{}}
	for _, t := range s.Tiers {
		n.Groups[t.Name] = "" // so that it is told as missing
	}
	for _, find := range []func(context.Context, *stack.Stack, *Network) error{
		findVPC, findGroups, findSubnets, findGateways, findTables,
	} {
		if err := find(ctx, s, &n); err != nil {
			return n, fmt.Errorf("find the network of stack %s: %w", s.Name, err)
		}
	}
	return n, nil
}

// findAll is Find for who makes what is missing. Filters lag behind: where the network is not complete and somebody
// worked on the stack a moment ago, it looks again for as long as that may be. VPCs, gateways and addresses have no
// name that EC2 would refuse a second time.
func findAll(ctx context.Context, s *stack.Stack) (Network, error) {
	n, err := Find(ctx, s)
	if err != nil || len(n.Missing(s.Tiers)) == 0 {
		return n, err
	}
	last, err := record.LastSign(ctx, s)
	if err != nil {
		return n, fmt.Errorf("find the network of stack %s: %w", s.Name, err)
	}
	until := last.Add(ec2ops.LookLimit)
	if time.Now().Before(until) {
		s.Logf("the network is not complete, and somebody worked on the stack a moment ago, whose work EC2 may not "+
			"show yet: looking again for %s", time.Until(until).Round(time.Second))
	}
	for err == nil && len(n.Missing(s.Tiers)) > 0 && time.Now().Before(until) {
		if err = await.Sleep(ctx, min(ec2ops.LookPause, time.Until(until))); err == nil {
			n, err = Find(ctx, s)
		}
	}
	return n, err
}

func findVPC(ctx context.Context, s *stack.Stack, n *Network) error {
	out, err := s.EC2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: s.OwnFilters()})
	if err != nil {
		return err
	}
	if len(out.Vpcs) > 1 {
		return fmt.Errorf("%d VPCs have its tag; there should be one", len(out.Vpcs))
	}
	for _, vpc := range out.Vpcs {
		n.VPC, n.CIDR = aws.ToString(vpc.VpcId), aws.ToString(vpc.CidrBlock)
	}
	return nil
}

// findGroups finds the security groups; where the VPC was there before, they say which it is.
func findGroups(ctx context.Context, s *stack.Stack, n *Network) error {
	out, err := s.EC2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: s.OwnFilters()})
	if err != nil {
		return err
	}
	for _, group := range out.SecurityGroups {
		tier := cmp.Or(ec2ops.TagValue(group.Tags, stack.TierTag),
			strings.TrimSuffix(aws.ToString(group.GroupName), "-sg"))
		if s.Tier(tier).Name == "" {
			continue
		}
		if err = noteGroup(n, tier, group); err != nil {
			return err
		}
	}
	if !n.Existing {
		return nil
	}
	vpc, err := ec2ops.VPC(ctx, s.EC2, n.VPC)
	n.CIDR = aws.ToString(vpc.CidrBlock)
	return err
}

// noteGroup notes the security group of a tier, and what its tags say of subnets that were there before.
func noteGroup(n *Network, tier string, group types.SecurityGroup) error {
	id := aws.ToString(group.GroupId)
	n.Groups[tier] = id
	switch vpc := aws.ToString(group.VpcId); {
	case n.VPC == "":
		n.VPC, n.Existing = vpc, true
	case n.VPC != vpc:
		return fmt.Errorf("security group %s has its tag, and is in %s and not in %s", id, vpc, n.VPC)
	}
	for _, kind := range subnetKinds {
		for _, id := range strings.Fields(ec2ops.TagValue(group.Tags, stack.SubnetTag+"-"+kind)) {
			if !slices.ContainsFunc(n.Subnets[kind], func(known Subnet) bool { return known.ID == id }) {
				n.Subnets[kind] = append(n.Subnets[kind], Subnet{ID: id})
			}
		}
	}
	return nil
}

// findSubnets finds those with the stack's tag; of those that were there before the security groups have told the ids.
func findSubnets(ctx context.Context, s *stack.Stack, n *Network) error {
	if !n.Existing {
		out, err := s.EC2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: s.OwnFilters()})
		if err != nil {
			return err
		}
		for _, subnet := range out.Subnets {
			kind := ec2ops.TagValue(subnet.Tags, stack.SubnetTag)
			n.Subnets[kind] = append(n.Subnets[kind], subnetFrom(subnet))
		}
	}
	for _, kind := range subnetKinds {
		if n.Existing && len(n.Subnets[kind]) > 0 {
			found, err := describeSubnets(ctx, s, &ec2.DescribeSubnetsInput{SubnetIds: SubnetIDs(n.Subnets[kind])})
			if err != nil {
				return err
			}
			n.Subnets[kind] = found
		}
		if len(n.Subnets[kind]) > 0 {
			n.setFirst(kind, n.Subnets[kind][0].ID)
		}
	}
	return nil
}

func (n *Network) setFirst(kind, id string) {
	if kind == stack.PublicSubnet {
		n.Public = id
	} else {
		n.Private = id
	}
}

// natAddress is the stack.AddressTag of the NAT gateway's elastic address.
const natAddress = "nat"

// describeSubnets are subnets in the order of their zones.
func describeSubnets(ctx context.Context, s *stack.Stack, input *ec2.DescribeSubnetsInput) ([]Subnet, error) {
	out, err := s.EC2.DescribeSubnets(ctx, input)
	if err != nil {
		return nil, err
	}
	var all []Subnet
	for _, subnet := range out.Subnets {
		all = append(all, subnetFrom(subnet))
	}
	slices.SortFunc(all, func(a, b Subnet) int { return strings.Compare(a.Zone+a.ID, b.Zone+b.ID) })
	return all, nil
}

// SubnetIDs are the ids of subnets.
func SubnetIDs(subnets []Subnet) []string {
	var ids []string
	for _, subnet := range subnets {
		ids = append(ids, subnet.ID)
	}
	return ids
}

func subnetFrom(subnet types.Subnet) Subnet {
	return Subnet{
		ID:         aws.ToString(subnet.SubnetId),
		CIDR:       aws.ToString(subnet.CidrBlock),
		Zone:       aws.ToString(subnet.AvailabilityZone),
		mapsPublic: aws.ToBool(subnet.MapPublicIpOnLaunch),
	}
}

func findGateways(ctx context.Context, s *stack.Stack, n *Network) error {
	gateways, err := s.EC2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{Filters: s.OwnFilters()})
	if err != nil {
		return err
	}
	for _, gateway := range gateways.InternetGateways {
		n.Gateway = aws.ToString(gateway.InternetGatewayId)
	}
	addresses, err := s.EC2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: s.OwnFilters()})
	if err != nil {
		return err
	}
	for _, address := range addresses.Addresses {
		if kind := ec2ops.TagValue(address.Tags, stack.AddressTag); kind == natAddress || kind == "" {
			n.Address = aws.ToString(address.AllocationId)
		}
	}
	nats, err := s.EC2.DescribeNatGateways(ctx, &ec2.DescribeNatGatewaysInput{Filter: s.OwnFilters("state",
		"pending,available")})
	if err != nil {
		return err
	}
	for _, nat := range nats.NatGateways {
		n.NAT = aws.ToString(nat.NatGatewayId)
	}
	return nil
}

func findTables(ctx context.Context, s *stack.Stack, n *Network) error {
	out, err := s.EC2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: s.OwnFilters()})
	if err != nil {
		return err
	}
	for _, table := range out.RouteTables {
		switch ec2ops.TagValue(table.Tags, stack.SubnetTag) {
		case stack.PublicSubnet:
			n.PublicTable = aws.ToString(table.RouteTableId)
		case stack.PrivateSubnet:
			n.PrivateTable = aws.ToString(table.RouteTableId)
		}
	}
	return nil
}
