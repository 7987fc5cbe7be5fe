package stack

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Network is what a stack's network is made of; what is not there is empty.
type Network struct {
	VPC  string `json:"vpc"`
	CIDR string `json:"cidr"`
	// Existing says that the VPC was there before the stack. It and all that is in it but for the two security groups
	// belong to somebody else.
	Existing bool `json:"existing"`
	// Public and Private are the first subnets of either kind.
	Public       string `json:"public_subnet"`
	Private      string `json:"private_subnet"`
	Gateway      string `json:"internet_gateway"`
	Address      string `json:"elastic_ip_allocation"`
	NAT          string `json:"nat_gateway"`
	PublicTable  string `json:"public_route_table"`
	PrivateTable string `json:"private_route_table"`
	WebGroup     string `json:"web_sg"`
	DatabaseSG   string `json:"db_sg"`
	// Subnets are all of them, by kind: public and private.
	Subnets map[string][]Subnet `json:"subnets"`
}

// Subnet is one of a network's.
type Subnet struct {
	ID   string `json:"id"`
	CIDR string `json:"cidr"`
	Zone string `json:"zone"`

	mapsPublic bool // gives its instances public addresses
}

// subnetKinds are the kinds of subnets, the one that others need first.
var subnetKinds = []string{"public", "private"}

// Missing names what is not there of what a stack needs.
func (n Network) Missing() []string {
	parts := []struct{ name, id string }{{"VPC", n.VPC}}
	if !n.Existing {
		parts = append(parts, []struct{ name, id string }{{"public subnet", n.Public}, {"private subnet", n.Private}, {"internet gateway", n.Gateway}, {"NAT gateway", n.NAT},
			{"public route table", n.PublicTable}, {"private route table", n.PrivateTable}}...)
	}
	parts = append(parts, []struct{ name, id string }{{"security group web-sg", n.WebGroup}, {"security group db-sg", n.DatabaseSG}}...)
	var missing []string
	for _, part := range parts {
		if part.id == "" {
			missing = append(missing, part.name)
		}
	}
	return missing
}

// complete tells whether all of it is there.
func (n Network) complete() bool { return len(n.Missing()) == 0 }

// group is the security group of a tier.
func (n Network) group(tier string) *string {
	if tier == "db" {
		return aws.String(n.DatabaseSG)
	}
	return aws.String(n.WebGroup)
}

// subnetOf is where an instance of a tier belongs, in a zone if one is named.
func (s *Stack) subnetOf(n Network, tier, zone string) (Subnet, error) {
	kind := s.tier(tier).Subnet
	for _, subnet := range n.Subnets[kind] {
		if zone == "" || subnet.Zone == zone {
			return subnet, nil
		}
	}
	if zone != "" {
		zone = " in zone " + zone + ", where its data volume is"
	}
	return Subnet{}, fmt.Errorf("find a subnet for tier %s of stack %s: its network has no %s one%s", tier, s.name, kind, zone)
}

// clients is the range that the web tier's addresses are in.
func (s *Stack) clients(n Network) (netip.Prefix, error) {
	var all netip.Prefix
	for _, subnet := range n.Subnets[s.file.Web.Subnet] {
		prefix, err := netip.ParsePrefix(subnet.CIDR)
		if err != nil || !prefix.Addr().Is4() {
			return all, fmt.Errorf("subnet %s: %q should be an IPv4 range", subnet.ID, subnet.CIDR)
		}
		all = covering(all, prefix)
	}
	if !all.IsValid() {
		return all, fmt.Errorf("find the web tier's addresses in stack %s: its network has no %s subnet", s.name, s.file.Web.Subnet)
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

// serviceAddress is where the web tier finds the database, whichever instance that is.
func (s *Stack) serviceAddress(subnet Subnet) (string, error) {
	prefix, err := netip.ParsePrefix(subnet.CIDR)
	if err != nil {
		return "", fmt.Errorf("subnet %s: %w", subnet.ID, err)
	}
	address, err := s.file.Database.ServiceAddressIn(prefix)
	if err != nil {
		return "", fmt.Errorf("service_address: %w", err)
	}
	return address.String(), nil
}

// FindNetwork reads the network from the tags: the VPC that has the stack's or, if that was there before, the one that
// the stack's security groups are in.
func (s *Stack) FindNetwork(ctx context.Context) (Network, error) {
	n := Network{Subnets: map[string][]Subnet{}}
	for _, find := range []func(context.Context, *Network) error{s.findVPC, s.findGroups, s.findSubnets, s.findGateways, s.findTables} {
		if err := find(ctx, &n); err != nil {
			return n, fmt.Errorf("find the network of stack %s: %w", s.name, err)
		}
	}
	return n, nil
}

func (s *Stack) findVPC(ctx context.Context, n *Network) error {
	out, err := s.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: s.mine()})
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
func (s *Stack) findGroups(ctx context.Context, n *Network) error {
	out, err := s.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: s.mine()})
	if err != nil {
		return err
	}
	for _, group := range out.SecurityGroups {
		tier := cmp.Or(tagOf(group.Tags, tierTag), strings.TrimSuffix(aws.ToString(group.GroupName), "-sg"))
		id := map[string]*string{"db": &n.DatabaseSG, "web": &n.WebGroup}[tier]
		if id == nil {
			continue
		}
		*id = aws.ToString(group.GroupId)
		switch vpc := aws.ToString(group.VpcId); {
		case n.VPC == "":
			n.VPC, n.Existing = vpc, true
		case n.VPC != vpc:
			return fmt.Errorf("security group %s has its tag, and is in %s and not in %s", *id, vpc, n.VPC)
		}
		for _, kind := range subnetKinds {
			for id := range strings.FieldsFuncSeq(tagOf(group.Tags, subnetTag+"-"+kind), func(r rune) bool { return r == ' ' }) {
				if !slices.ContainsFunc(n.Subnets[kind], func(known Subnet) bool { return known.ID == id }) {
					n.Subnets[kind] = append(n.Subnets[kind], Subnet{ID: id})
				}
			}
		}
	}
	if !n.Existing {
		return nil
	}
	vpcs, err := s.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{n.VPC}})
	if err != nil {
		return err
	}
	n.CIDR = aws.ToString(vpcs.Vpcs[0].CidrBlock)
	return nil
}

// findSubnets finds those with the stack's tag; of those that were there before the security groups have told the ids.
func (s *Stack) findSubnets(ctx context.Context, n *Network) error {
	if !n.Existing {
		out, err := s.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: s.mine()})
		if err != nil {
			return err
		}
		for _, subnet := range out.Subnets {
			kind := tagOf(subnet.Tags, subnetTag)
			n.Subnets[kind] = append(n.Subnets[kind], subnetFrom(subnet))
		}
	}
	for _, kind := range subnetKinds {
		if n.Existing && len(n.Subnets[kind]) > 0 {
			found, err := s.describeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: subnetIDs(n.Subnets[kind])})
			if err != nil {
				return err
			}
			n.Subnets[kind] = found
		}
		if len(n.Subnets[kind]) > 0 {
			*map[string]*string{"public": &n.Public, "private": &n.Private}[kind] = n.Subnets[kind][0].ID
		}
	}
	return nil
}

// describeSubnets are subnets in the order of their zones.
func (s *Stack) describeSubnets(ctx context.Context, input *ec2.DescribeSubnetsInput) ([]Subnet, error) {
	out, err := s.ec2.DescribeSubnets(ctx, input)
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

func subnetIDs(subnets []Subnet) []string {
	var ids []string
	for _, subnet := range subnets {
		ids = append(ids, subnet.ID)
	}
	return ids
}

func subnetFrom(subnet types.Subnet) Subnet {
	return Subnet{ID: aws.ToString(subnet.SubnetId), CIDR: aws.ToString(subnet.CidrBlock), Zone: aws.ToString(subnet.AvailabilityZone), mapsPublic: aws.ToBool(subnet.MapPublicIpOnLaunch)}
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
		if kind := tagOf(address.Tags, addressTag); kind != "web" && kind != zoneAddress {
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
