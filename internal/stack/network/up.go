package stack

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
)

// Change is one thing that is done to a stack, or would be.
type Change struct {
	// Action is create, change, replace or remove.
	Action string `json:"action"`
	// What is it, for people.
	What string `json:"what"`
	// ID is what it is done to; empty where that is yet to be made.
	ID string `json:"id,omitempty"`
	// Reason is why.
	Reason string `json:"reason"`
}

// NetworkUp makes what is missing of the network and mends what differs from the stack file, and tells what that was. It
// can be run again after it broke off.
func (s *Stack) NetworkUp(ctx context.Context) (n Network, changes []Change, err error) {
	err = s.alone(ctx, func(ctx context.Context) error {
		n, changes, err = s.bringNetwork(ctx, false)
		return err
	})
	return n, changes, err
}

// bringNetwork makes the network what the stack file says. dry only tells what that would take.
func (s *Stack) bringNetwork(ctx context.Context, dry bool) (Network, []Change, error) {
	n, err := s.FindNetwork(ctx)
	if err != nil {
		return n, nil, err
	}
	operator, err := s.operator(ctx)
	if err != nil {
		return n, nil, err
	}
	u := &networkUp{Stack: s, n: &n, operator: operator, dry: dry}
	parts := []struct {
		name string
		make func(context.Context) error
	}{{"VPC", u.vpc}, {"subnets", u.subnets}, {"internet gateway", u.gateway}, {"NAT gateway", u.nat}, {"route tables", u.tables}, {"security groups", u.groups}}
	if s.file.Network.Existing() {
		parts = parts[len(parts)-1:]
		if err := u.resolve(ctx); err != nil {
			return n, nil, fmt.Errorf("find the network that the stack file names for stack %s: %w", s.name, err)
		}
	} else if n.Existing {
		return n, nil, fmt.Errorf("make the network of stack %s: the stack is in %s, which was there before, and the stack file wants one of its own\nhint: name that VPC in the stack file, or move by goldsmith destroy", s.name, n.VPC)
	}
	for _, part := range parts {
		if err := part.make(ctx); err != nil {
			return n, u.changes, fmt.Errorf("make the network of stack %s: %s: %w\nhint: what was made stays; run this again to go on", s.name, part.name, err)
		}
	}
	return n, u.changes, nil
}

// networkUp is one run of bringNetwork.
type networkUp struct {
	*Stack
	n        *Network
	operator netip.Prefix
	dry      bool
	changes  []Change
	made     []string
}

// do notes a change and, unless all is dry, makes it. What made something tells its id. What else a thing needs that was
// made just now is part of making it.
func (u *networkUp) do(c Change, act func() (id string, err error)) error {
	if !u.dry {
		id, err := act()
		if err != nil {
			return err
		}
		switch {
		case c.Action == "create":
			c.ID = id
			u.made = append(u.made, id)
			u.say("made %s %s", c.What, id)
		case slices.Contains(u.made, c.ID):
			return nil
		default:
			u.say("changed %s %s: %s", c.What, c.ID, c.Reason)
		}
	}
	u.changes = append(u.changes, c)
	return nil
}

const missing = "it is missing"

// resolve finds the network that is there already, and refuses one that the stack could not run in.
func (u *networkUp) resolve(ctx context.Context) error {
	f := u.file.Network
	input := &ec2.DescribeVpcsInput{Filters: filters(f.VPCTags)}
	if f.VPCID != "" {
		input = &ec2.DescribeVpcsInput{VpcIds: []string{f.VPCID}}
	}
	out, err := u.ec2.DescribeVpcs(ctx, input)
	if err != nil {
		return err
	}
	if len(out.Vpcs) != 1 {
		return fmt.Errorf("vpc_tags: %d VPCs in %s have them; there should be one", len(out.Vpcs), u.conf.Region)
	}
	vpc := aws.ToString(out.Vpcs[0].VpcId)
	if u.n.VPC != "" && u.n.VPC != vpc {
		return fmt.Errorf("the stack is in %s, and the file names %s; it cannot move but by goldsmith destroy", u.n.VPC, vpc)
	}
	u.n.VPC, u.n.CIDR, u.n.Existing = vpc, aws.ToString(out.Vpcs[0].CidrBlock), true
	u.n.Public, u.n.Private, u.n.Subnets = "", "", map[string][]Subnet{}
	for _, kind := range []struct {
		name  string
		ids   []string
		tags  map[string]string
		first *string
	}{{"public", f.PublicSubnetIDs, f.PublicSubnetTags, &u.n.Public}, {"private", f.PrivateSubnetIDs, f.PrivateSubnetTags, &u.n.Private}} {
		if len(kind.ids) == 0 && len(kind.tags) == 0 {
			continue
		}
		in := append(filters(kind.tags), types.Filter{Name: aws.String("vpc-id"), Values: []string{vpc}})
		found, err := u.describeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: kind.ids, Filters: in})
		if err != nil {
			return fmt.Errorf("%s subnets: %w", kind.name, err)
		}
		if len(found) == 0 || len(kind.ids) > 0 && len(found) != len(kind.ids) {
			return fmt.Errorf("%s subnets: %d of those that the file names are in %s; there should be %d", kind.name, len(found), vpc, max(1, len(kind.ids)))
		}
		if len(found) > subnetLimit {
			return fmt.Errorf("%s subnets: there are %d; at most %d are taken", kind.name, len(found), subnetLimit)
		}
		u.n.Subnets[kind.name], *kind.first = found, found[0].ID
	}
	return u.checkWayOut(ctx)
}

// subnetLimit is how many ids a tag has room for.
const subnetLimit = 10

func filters(tags map[string]string) []types.Filter {
	var all []types.Filter
	for key, value := range tags {
		all = append(all, types.Filter{Name: aws.String("tag:" + key), Values: []string{value}})
	}
	return all
}

// checkWayOut refuses public subnets that no internet gateway is routed to: nobody would reach the page.
func (u *networkUp) checkWayOut(ctx context.Context) error {
	out, err := u.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{u.n.VPC}}}})
	if err != nil {
		return err
	}
	var main types.RouteTable
	of := map[string]types.RouteTable{}
	for _, table := range out.RouteTables {
		for _, a := range table.Associations {
			if aws.ToBool(a.Main) {
				main = table
			}
			of[aws.ToString(a.SubnetId)] = table
		}
	}
	for _, subnet := range u.n.Subnets["public"] {
		table, own := of[subnet.ID]
		if !own {
			table = main
		}
		if target, _ := defaultRoute(table); !strings.HasPrefix(target, "igw-") {
			return fmt.Errorf("public subnet %s: its route table %s has no route to the internet by an internet gateway", subnet.ID, aws.ToString(table.RouteTableId))
		}
	}
	return nil
}

// defaultRoute is where a route table sends what is for the internet; active is false where that is gone.
func defaultRoute(table types.RouteTable) (target string, active bool) {
	for _, r := range table.Routes {
		if aws.ToString(r.DestinationCidrBlock) == "0.0.0.0/0" {
			for _, id := range []*string{r.GatewayId, r.NatGatewayId, r.TransitGatewayId, r.NetworkInterfaceId, r.InstanceId} {
				if aws.ToString(id) != "" {
					return *id, r.State != types.RouteStateBlackhole
				}
			}
			return "", false
		}
	}
	return "", false
}

// sameRange refuses a range that is not the file's: EC2 cannot change it.
func (u *networkUp) sameRange(what, id, is string, wanted netip.Prefix) error {
	if is == wanted.String() {
		return nil
	}
	return fmt.Errorf("%s %s is %s, and the stack file wants %s, to which it cannot be changed\nhint: write %s into the stack file, or make the stack anew after goldsmith destroy", what, id, is, wanted, is)
}

func (u *networkUp) vpc(ctx context.Context) error {
	cidr := u.file.Network.CIDR
	if u.n.VPC != "" {
		if err := u.sameRange("VPC", u.n.VPC, u.n.CIDR, cidr); err != nil {
			return err
		}
	} else {
		err := u.do(Change{Action: "create", What: "VPC " + cidr.String(), Reason: missing}, func() (string, error) {
			out, err := u.ec2.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String(cidr.String()), TagSpecifications: u.tagged(types.ResourceTypeVpc, u.name)})
			if err != nil {
				return "", err
			}
			u.n.VPC, u.n.CIDR = aws.ToString(out.Vpc.VpcId), cidr.String()
			return u.n.VPC, nil
		})
		if err != nil {
			return err
		}
	}
	if u.dry {
		return nil
	}
	_, err := u.ec2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{VpcId: aws.String(u.n.VPC), EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
	return err
}

func (u *networkUp) subnets(ctx context.Context) error {
	for _, kind := range subnetKinds {
		cidr, id := u.file.Network.PublicCIDR, &u.n.Public
		if kind == "private" {
			cidr, id = u.file.Network.PrivateCIDR, &u.n.Private
		}
		if *id != "" {
			if err := u.sameRange(kind+" subnet", *id, u.n.Subnets[kind][0].CIDR, cidr); err != nil {
				return err
			}
			continue
		}
		err := u.do(Change{Action: "create", What: kind + " subnet " + cidr.String(), Reason: missing}, func() (string, error) {
			input := &ec2.CreateSubnetInput{VpcId: aws.String(u.n.VPC), CidrBlock: aws.String(cidr.String()),
				TagSpecifications: u.tagged(types.ResourceTypeSubnet, u.name+"-"+kind, subnetTag, kind)}
			if public := u.n.Subnets["public"]; len(public) > 0 { // both in one zone: traffic between zones costs
				input.AvailabilityZone = aws.String(public[0].Zone)
			}
			out, err := u.ec2.CreateSubnet(ctx, input)
			if err != nil {
				return "", err
			}
			made := subnetFrom(*out.Subnet)
			*id, u.n.Subnets[kind] = made.ID, []Subnet{made}
			return made.ID, nil
		})
		if err != nil {
			return err
		}
	}
	if public := u.n.Subnets["public"]; len(public) > 0 && !public[0].mapsPublic {
		return u.do(Change{Action: "change", What: "public subnet", ID: u.n.Public, Reason: "its instances get no public address"}, func() (string, error) {
			_, err := u.ec2.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{SubnetId: aws.String(u.n.Public), MapPublicIpOnLaunch: &types.AttributeBooleanValue{Value: aws.Bool(true)}})
			return u.n.Public, err
		})
	}
	return nil
}

func (u *networkUp) gateway(ctx context.Context) error {
	attached := false
	if u.n.Gateway != "" {
		out, err := u.ec2.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{InternetGatewayIds: []string{u.n.Gateway}})
		if err != nil {
			return err
		}
		for _, a := range out.InternetGateways[0].Attachments {
			attached = attached || aws.ToString(a.VpcId) == u.n.VPC
		}
	} else {
		err := u.do(Change{Action: "create", What: "internet gateway", Reason: missing}, func() (string, error) {
			out, err := u.ec2.CreateInternetGateway(ctx, &ec2.CreateInternetGatewayInput{TagSpecifications: u.tagged(types.ResourceTypeInternetGateway, u.name)})
			if err != nil {
				return "", err
			}
			u.n.Gateway = aws.ToString(out.InternetGateway.InternetGatewayId)
			return u.n.Gateway, nil
		})
		if err != nil {
			return err
		}
	}
	if attached || u.n.Gateway == "" {
		return nil
	}
	return u.do(Change{Action: "change", What: "internet gateway", ID: u.n.Gateway, Reason: "it is not attached to the VPC"}, func() (string, error) {
		_, err := u.ec2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{InternetGatewayId: aws.String(u.n.Gateway), VpcId: aws.String(u.n.VPC)})
		if code(err) == "Resource.AlreadyAssociated" {
			err = nil
		}
		return u.n.Gateway, err
	})
}

func (u *networkUp) nat(ctx context.Context) error {
	if u.n.Address == "" {
		err := u.do(Change{Action: "create", What: "elastic IP of the NAT gateway", Reason: missing}, func() (string, error) {
			out, err := u.ec2.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc, TagSpecifications: u.tagged(types.ResourceTypeElasticIp, u.name+"-nat", addressTag, "nat")})
			if err != nil {
				return "", err
			}
			u.n.Address = aws.ToString(out.AllocationId)
			return aws.ToString(out.PublicIp), nil
		})
		if err != nil {
			return err
		}
	}
	if u.n.NAT == "" {
		err := u.do(Change{Action: "create", What: "NAT gateway", Reason: missing}, func() (string, error) {
			out, err := u.ec2.CreateNatGateway(ctx, &ec2.CreateNatGatewayInput{SubnetId: aws.String(u.n.Public), AllocationId: aws.String(u.n.Address),
				ClientToken: aws.String(u.name + "-" + u.n.Address), TagSpecifications: u.tagged(types.ResourceTypeNatgateway, u.name)})
			if err != nil {
				return "", err
			}
			u.n.NAT = aws.ToString(out.NatGateway.NatGatewayId)
			return u.n.NAT, nil
		})
		if err != nil {
			return err
		}
	}
	if u.dry {
		return nil
	}
	return ec2.NewNatGatewayAvailableWaiter(u.ec2, func(o *ec2.NatGatewayAvailableWaiterOptions) {
		o.MinDelay, o.Retryable = time.Second, await.Patient(o.Retryable)
	}).
		Wait(ctx, &ec2.DescribeNatGatewaysInput{NatGatewayIds: []string{u.n.NAT}}, 5*time.Minute)
}

func (u *networkUp) tables(ctx context.Context) error {
	for _, table := range []struct {
		kind, subnet, target string
		id                   *string
	}{{"public", u.n.Public, u.n.Gateway, &u.n.PublicTable}, {"private", u.n.Private, u.n.NAT, &u.n.PrivateTable}} {
		what := table.kind + " route table"
		if *table.id == "" {
			err := u.do(Change{Action: "create", What: what, Reason: missing}, func() (string, error) {
				out, err := u.ec2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{VpcId: aws.String(u.n.VPC), TagSpecifications: u.tagged(types.ResourceTypeRouteTable, u.name+"-"+table.kind, subnetTag, table.kind)})
				if err != nil {
					return "", err
				}
				*table.id = aws.ToString(out.RouteTable.RouteTableId)
				return *table.id, nil
			})
			if err != nil {
				return err
			}
		}
		if err := u.completeTable(ctx, what, *table.id, table.subnet, table.target); err != nil {
			return err
		}
	}
	return nil
}

// completeTable gives a route table its default route and its subnet, where that is not so already.
func (u *networkUp) completeTable(ctx context.Context, what, id, subnet, target string) error {
	if id == "" {
		return nil
	}
	out, err := u.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{id}})
	if err != nil {
		return err
	}
	table := out.RouteTables[0]
	if is, active := defaultRoute(table); is != target || !active || target == "" {
		reason := "its default route is missing"
		if is != "" {
			reason = "its default route goes to " + is
		}
		err := u.do(Change{Action: "change", What: what, ID: id, Reason: reason}, func() (string, error) { return id, u.route(ctx, id, target, is != "") })
		if err != nil {
			return err
		}
	}
	for _, a := range table.Associations {
		if aws.ToString(a.SubnetId) == subnet {
			return nil
		}
	}
	return u.do(Change{Action: "change", What: what, ID: id, Reason: "its subnet is not associated with it"}, func() (string, error) { return id, u.associate(ctx, id, subnet) })
}

// route sends what is for the internet to a gateway; replace says that it is sent somewhere else now.
func (u *networkUp) route(ctx context.Context, table, target string, replace bool) error {
	var gateway, nat *string
	if strings.HasPrefix(target, "nat-") {
		nat = aws.String(target)
	} else {
		gateway = aws.String(target)
	}
	all := aws.String("0.0.0.0/0")
	var err error
	if replace {
		_, err = u.ec2.ReplaceRoute(ctx, &ec2.ReplaceRouteInput{RouteTableId: aws.String(table), DestinationCidrBlock: all, GatewayId: gateway, NatGatewayId: nat})
	} else {
		_, err = u.ec2.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: aws.String(table), DestinationCidrBlock: all, GatewayId: gateway, NatGatewayId: nat})
	}
	return err
}

// associate makes a subnet use a route table, whichever it uses now.
func (u *networkUp) associate(ctx context.Context, table, subnet string) error {
	out, err := u.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: []types.Filter{{Name: aws.String("association.subnet-id"), Values: []string{subnet}}}})
	if err != nil {
		return err
	}
	for _, other := range out.RouteTables {
		for _, a := range other.Associations {
			if aws.ToString(a.SubnetId) == subnet {
				_, err := u.ec2.ReplaceRouteTableAssociation(ctx, &ec2.ReplaceRouteTableAssociationInput{AssociationId: a.RouteTableAssociationId, RouteTableId: aws.String(table)})
				return err
			}
		}
	}
	_, err = u.ec2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{RouteTableId: aws.String(table), SubnetId: aws.String(subnet)})
	return err
}

func (u *networkUp) groups(ctx context.Context) error {
	for _, group := range []struct {
		tier, description string
		id                *string
	}{{"web", "Web tier of stack " + u.name, &u.n.WebGroup}, {"db", "Database tier of stack " + u.name, &u.n.DatabaseSG}} {
		name := group.tier + "-sg"
		if u.n.Existing { // where another stack may have groups, too
			name = u.name + "-" + name
		}
		if *group.id != "" {
			if err := u.noteSubnets(ctx, *group.id); err != nil {
				return err
			}
			continue
		}
		err := u.do(Change{Action: "create", What: "security group " + name, Reason: missing}, func() (string, error) {
			out, err := u.ec2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{VpcId: aws.String(u.n.VPC), GroupName: aws.String(name),
				Description: aws.String(group.description), TagSpecifications: u.tagged(types.ResourceTypeSecurityGroup, name, append(u.subnetTags(), tierTag, group.tier)...)})
			if err != nil {
				return "", err
			}
			*group.id = aws.ToString(out.GroupId)
			return *group.id, nil
		})
		if err != nil {
			return err
		}
	}
	if err := u.setRules(ctx, "web-sg", u.n.WebGroup, u.rulesFor("web")); err != nil {
		return err
	}
	return u.setRules(ctx, "db-sg", u.n.DatabaseSG, u.rulesFor("db"))
}

// subnetTags say which subnets of a VPC that was there before are the stack's, for those who have no stack file.
func (u *networkUp) subnetTags() []string {
	if !u.n.Existing {
		return nil
	}
	var tags []string
	for _, kind := range subnetKinds {
		tags = append(tags, subnetTag+"-"+kind, strings.Join(subnetIDs(u.n.Subnets[kind]), " "))
	}
	return tags
}

// noteSubnets has a group that is there say which subnets are the stack's now.
func (u *networkUp) noteSubnets(ctx context.Context, group string) error {
	wanted := tagList(u.subnetTags()...)
	out, err := u.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})
	if err != nil {
		return err
	}
	for _, tag := range wanted {
		if tagOf(out.SecurityGroups[0].Tags, aws.ToString(tag.Key)) != aws.ToString(tag.Value) {
			return u.do(Change{Action: "change", What: "security group", ID: group, Reason: "the stack file names other subnets than its tags"}, func() (string, error) {
				_, err := u.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{group}, Tags: wanted})
				return group, err
			})
		}
	}
	return nil
}
