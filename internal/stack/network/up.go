package network

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/uuid"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/quotas"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
)

// Up makes missing parts of the network and mends those that differ from the stack file, and returns these changes. It
// can be run again after it broke off.
func Up(ctx context.Context, s *stack.Stack) (n Network, changes []plan.Change, err error) {
	act := plan.NewActor(false)
	err = record.WithLock(ctx, s, func(ctx context.Context) error {
		n, err = Ensure(ctx, s, act)
		return err
	})
	return n, act.Changes(), err
}

// Ensure brings the network to the stack file's settings. With an Actor that is dry the subnets that are yet to be made
// have a range and no id.
func Ensure(ctx context.Context, s *stack.Stack, act *plan.Actor) (Network, error) {
	n, err := findAll(ctx, s)
	if err != nil {
		return n, err
	}
	operator, err := s.OperatorRange(ctx)
	if err != nil {
		return n, err
	}
	u := &update{
		stack:    s,
		n:        &n,
		operator: operator,
		act:      act,
	}
	parts := []struct {
		name string
		make func(context.Context) error
	}{
		{"zone", u.chooseZone},
		{"VPC", u.vpc},
		{"subnets", u.subnets},
		{"reserved addresses", u.reservations},
		{"internet gateway", u.gateway},
		{"NAT gateway", u.nat},
		{"route tables", u.tables},
		{"security groups", u.groups},
	}
	if s.Settings.Network.Existing() {
		parts = parts[len(parts)-1:]
		err := u.resolve(ctx)
		if err == nil {
			err = u.checkZones(ctx)
		}
		if err != nil {
			return n, fmt.Errorf("find the network that the stack file names for stack %s: %w", s.Name, err)
		}
	} else if n.Existing {
		return n, fmt.Errorf("make the network of stack %s: the stack is in %s, which was there before, and the "+
			"stack file wants one of its own\n"+
			"hint: name that VPC in the stack file, or move by goldsmith destroy", s.Name, n.VPC)
	}
	u.compareQuotas(ctx)
	for _, part := range parts {
		if err := part.make(ctx); err != nil {
			return n, fmt.Errorf("make the network of stack %s: %s: %w\nhint: what was made stays; run this again "+
				"to go on",
				s.Name, part.name, err)
		}
	}
	u.complete()
	return n, nil
}

// compareQuotas warns where the account has no room for a VPC and the addresses of the gateway and the tiers that are
// yet to be made.
func (u *update) compareQuotas(ctx context.Context) {
	if u.act.Dry() || u.n.Existing {
		return
	}
	vpcs, addresses := 0, 0
	if u.n.VPC == "" {
		vpcs = 1
	}
	if u.n.Address == "" {
		addresses = 1
		for _, t := range u.stack.Tiers {
			if t.Kind == stack.ServiceTier {
				addresses++ // each gets one at its first deployment
			}
		}
	}
	for _, warning := range quotas.Open(u.stack.Config).ForNetwork(ctx, "this stack", vpcs, addresses) {
		u.stack.Logf("warning: %s", warning)
	}
}

// update is one run of Ensure.
type update struct {
	stack    *stack.Stack
	n        *Network
	operator netip.Prefix
	act      *plan.Actor
	zone     string // where subnets are made
}

// do makes a change and says so. What else a thing needs that was made just now is part of making it.
func (u *update) do(c plan.Change, act func() (id string, err error)) error {
	return u.act.Do(c, func() (string, error) {
		id, err := act()
		switch {
		case err != nil:
		case c.Action == plan.Create:
			u.stack.Logf("made %s %s", c.What, id)
		case !u.act.Made(c.ID):
			u.stack.Logf("changed %s %s: %s", c.What, c.ID, c.Reason)
		}
		return id, err
	})
}

// complete fills in the ranges of the subnets that are yet to be made.
func (u *update) complete() {
	if u.stack.Settings.Network.Existing() {
		return
	}
	for _, kind := range subnetKinds {
		if len(u.n.Subnets[kind]) == 0 {
			u.n.Subnets[kind] = []Subnet{{CIDR: u.rangeOf(kind).String(), Zone: u.zone}}
		}
	}
}

// rangeOf is the range that the stack file gives a subnet.
func (u *update) rangeOf(kind string) netip.Prefix {
	if kind == stack.PublicSubnet {
		return u.stack.Settings.Network.PublicCIDR
	}
	return u.stack.Settings.Network.PrivateCIDR
}

// resolve finds the network that is there already, and refuses one that the stack could not run in.
func (u *update) resolve(ctx context.Context) error {
	f := u.stack.Settings.Network
	input := &ec2.DescribeVpcsInput{Filters: filters(f.VPCTags)}
	if f.VPCID != "" {
		input = &ec2.DescribeVpcsInput{VpcIds: []string{f.VPCID}}
	}
	out, err := u.stack.EC2.DescribeVpcs(ctx, input)
	if err != nil {
		return err
	}
	if len(out.Vpcs) != 1 {
		return fmt.Errorf("vpc_tags: %d VPCs in %s have them; there should be one", len(out.Vpcs),
			u.stack.Config.Region)
	}
	vpc := aws.ToString(out.Vpcs[0].VpcId)
	if u.n.VPC != "" && u.n.VPC != vpc {
		return fmt.Errorf("the stack is in %s, and the file names %s; it cannot move but by goldsmith destroy",
			u.n.VPC, vpc)
	}
	u.n.VPC, u.n.CIDR, u.n.Existing = vpc, aws.ToString(out.Vpcs[0].CidrBlock), true
	u.n.Public, u.n.Private, u.n.Subnets = "", "", map[string][]Subnet{}
	for _, kind := range []struct {
		name  string
		ids   []string
		tags  map[string]string
		first *string
	}{{"public", f.PublicSubnetIDs, f.PublicSubnetTags, &u.n.Public}, {"private", f.PrivateSubnetIDs,
		f.PrivateSubnetTags, &u.n.Private}} {
		if len(kind.ids) == 0 && len(kind.tags) == 0 {
			continue
		}
		in := append(filters(kind.tags), types.Filter{Name: aws.String("vpc-id"), Values: []string{vpc}})
		found, err := describeSubnets(ctx, u.stack, &ec2.DescribeSubnetsInput{SubnetIds: kind.ids, Filters: in})
		if err != nil {
			return fmt.Errorf("%s subnets: %w", kind.name, err)
		}
		if len(found) == 0 || len(kind.ids) > 0 && len(found) != len(kind.ids) {
			return fmt.Errorf("%s subnets: %d of those that the file names are in %s; there should be %d", kind.name,
				len(found), vpc, max(1, len(kind.ids)))
		}
		if len(found) > subnetLimit {
			return fmt.Errorf("%s subnets: there are %d; at most %d are taken", kind.name, len(found), subnetLimit)
		}
		u.n.Subnets[kind.name], *kind.first = found, found[0].ID
	}
	return u.checkWayOut(ctx)
}

// subnetLimit is the number of subnet ids that fit in one tag.
const subnetLimit = 10

func filters(tags map[string]string) []types.Filter {
	var all []types.Filter
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, types.Filter{Name: aws.String("tag:" + key), Values: []string{tags[key]}})
	}
	return all
}

// checkWayOut refuses public subnets that no internet gateway is routed to: nobody would reach the page.
func (u *update) checkWayOut(ctx context.Context) error {
	out, err := u.stack.EC2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: []types.Filter{{
		Name:   aws.String("vpc-id"),
		Values: []string{u.n.VPC},
	}}})
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
	for _, subnet := range u.n.Subnets[stack.PublicSubnet] {
		table, own := of[subnet.ID]
		if !own {
			table = main
		}
		if target, _ := defaultRoute(table); !strings.HasPrefix(target, "igw-") {
			return fmt.Errorf("public subnet %s: its route table %s has no route to the internet by an internet "+
				"gateway", subnet.ID, aws.ToString(table.RouteTableId))
		}
	}
	return nil
}

// defaultRoute returns the target id of a route table's 0.0.0.0/0 route; active is false where the target is gone.
func defaultRoute(table types.RouteTable) (target string, active bool) {
	for _, r := range table.Routes {
		if aws.ToString(r.DestinationCidrBlock) == "0.0.0.0/0" {
			for _, id := range []*string{r.GatewayId, r.NatGatewayId, r.TransitGatewayId, r.NetworkInterfaceId,
				r.InstanceId} {
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
func (u *update) sameRange(what, id, is string, wanted netip.Prefix) error {
	if is == wanted.String() {
		return nil
	}
	return fmt.Errorf("%s %s is %s, and the stack file wants %s, to which it cannot be changed\nhint: write %s "+
		"into the stack file, or make the stack anew after goldsmith destroy", what, id, is, wanted, is)
}

func (u *update) vpc(ctx context.Context) error {
	cidr := u.stack.Settings.Network.CIDR
	if u.n.VPC != "" {
		if err := u.sameRange("VPC", u.n.VPC, u.n.CIDR, cidr); err != nil {
			return err
		}
	} else {
		err := u.do(plan.Change{
			Action: plan.Create,
			What:   "VPC " + cidr.String(),
			Reason: plan.Missing,
		}, func() (string, error) {
			out, err := u.stack.EC2.CreateVpc(ctx, &ec2.CreateVpcInput{
				CidrBlock:         aws.String(cidr.String()),
				TagSpecifications: u.stack.TagsFor(types.ResourceTypeVpc, u.stack.Name),
			})
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
	return u.hostnames(ctx)
}

// hostnames has the VPC's instances get DNS names, as a private zone or an endpoint needs.
func (u *update) hostnames(ctx context.Context) error {
	if u.n.VPC == "" {
		return nil
	}
	out, err := u.stack.EC2.DescribeVpcAttribute(ctx, &ec2.DescribeVpcAttributeInput{
		VpcId:     aws.String(u.n.VPC),
		Attribute: types.VpcAttributeNameEnableDnsHostnames,
	})
	if err != nil || out.EnableDnsHostnames != nil && aws.ToBool(out.EnableDnsHostnames.Value) {
		return err
	}
	change := plan.Change{
		Action: plan.Modify,
		What:   "VPC",
		ID:     u.n.VPC,
		Reason: "its instances get no DNS names",
	}
	return u.do(change, func() (string, error) {
		_, err := u.stack.EC2.ModifyVpcAttribute(ctx, &ec2.ModifyVpcAttributeInput{
			VpcId:              aws.String(u.n.VPC),
			EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)},
		})
		return u.n.VPC, err
	})
}

func (u *update) subnets(ctx context.Context) error {
	for _, kind := range subnetKinds {
		cidr := u.rangeOf(kind)
		if known := u.n.Subnets[kind]; len(known) > 0 {
			if err := u.sameRange(kind+" subnet", known[0].ID, known[0].CIDR, cidr); err != nil {
				return err
			}
			continue
		}
		what := fmt.Sprintf("%s subnet %s in %s", kind, cidr, u.zone)
		change := plan.Change{Action: plan.Create, What: what, Reason: plan.Missing}
		if err := u.do(change, func() (string, error) { return u.subnet(ctx, kind, cidr) }); err != nil {
			return err
		}
	}
	public := u.n.Subnets[stack.PublicSubnet]
	if len(public) == 0 || public[0].mapsPublic {
		return nil
	}
	change := plan.Change{
		Action: plan.Modify,
		What:   "public subnet",
		ID:     u.n.Public,
		Reason: "its instances get no public address",
	}
	return u.do(change, func() (string, error) {
		_, err := u.stack.EC2.ModifySubnetAttribute(ctx, &ec2.ModifySubnetAttributeInput{
			SubnetId:            aws.String(u.n.Public),
			MapPublicIpOnLaunch: &types.AttributeBooleanValue{Value: aws.Bool(true)},
		})
		return u.n.Public, err
	})
}

// subnet makes the subnet of a kind. Both are in one zone: traffic between zones costs.
func (u *update) subnet(ctx context.Context, kind string, cidr netip.Prefix) (string, error) {
	input := &ec2.CreateSubnetInput{
		VpcId:             aws.String(u.n.VPC),
		CidrBlock:         aws.String(cidr.String()),
		AvailabilityZone:  aws.String(u.zone),
		TagSpecifications: u.stack.TagsFor(types.ResourceTypeSubnet, u.stack.Name+"-"+kind, stack.SubnetTag, kind),
	}
	out, err := u.stack.EC2.CreateSubnet(ctx, input)
	if err != nil {
		return "", err
	}
	made := subnetFrom(*out.Subnet)
	u.n.setFirst(kind, made.ID)
	u.n.Subnets[kind] = []Subnet{made}
	return made.ID, nil
}

func (u *update) gateway(ctx context.Context) error {
	attached := false
	if u.n.Gateway != "" {
		out, err := u.stack.EC2.DescribeInternetGateways(ctx,
			&ec2.DescribeInternetGatewaysInput{InternetGatewayIds: []string{u.n.Gateway}})
		if err != nil {
			return err
		}
		for _, gateway := range out.InternetGateways {
			for _, a := range gateway.Attachments {
				attached = attached || aws.ToString(a.VpcId) == u.n.VPC
			}
		}
	} else {
		err := u.do(plan.Change{
			Action: plan.Create,
			What:   "internet gateway",
			Reason: plan.Missing,
		}, func() (string, error) {
			out, err := u.stack.EC2.CreateInternetGateway(ctx,
				&ec2.CreateInternetGatewayInput{TagSpecifications: u.stack.TagsFor(types.ResourceTypeInternetGateway,
					u.stack.Name)})
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
	return u.do(plan.Change{
		Action: plan.Modify,
		What:   "internet gateway",
		ID:     u.n.Gateway,
		Reason: "it is not attached to the VPC",
	}, func() (string, error) {
		_, err := u.stack.EC2.AttachInternetGateway(ctx, &ec2.AttachInternetGatewayInput{
			InternetGatewayId: aws.String(u.n.Gateway),
			VpcId:             aws.String(u.n.VPC),
		})
		if awserr.Is(err, apierror.AlreadyAssociated) {
			err = nil
		}
		return u.n.Gateway, err
	})
}

func (u *update) nat(ctx context.Context) error {
	if u.n.Address == "" {
		err := u.do(plan.Change{
			Action: plan.Create,
			What:   "elastic IP of the NAT gateway",
			Reason: plan.Missing,
		}, func() (string, error) {
			out, err := u.stack.EC2.AllocateAddress(ctx, &ec2.AllocateAddressInput{
				Domain: types.DomainTypeVpc,
				TagSpecifications: u.stack.TagsFor(types.ResourceTypeElasticIp, u.stack.Name+"-nat", stack.AddressTag,
					"nat"),
			})
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
		err := u.do(plan.Change{
			Action: plan.Create,
			What:   "NAT gateway",
			Reason: plan.Missing,
		}, func() (string, error) {
			out, err := u.stack.EC2.CreateNatGateway(ctx, &ec2.CreateNatGatewayInput{
				SubnetId:     aws.String(u.n.Public),
				AllocationId: aws.String(u.n.Address),
				// Another for each attempt: for the token of one that failed EC2 may answer with that one again.
				ClientToken:       aws.String(uuid.NewString()),
				TagSpecifications: u.stack.TagsFor(types.ResourceTypeNatgateway, u.stack.Name),
			})
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
	if u.act.Dry() {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, natLimit)
	defer cancel()
	return ec2ops.UntilNATAvailable(limited, u.stack.EC2, u.n.NAT, time.Now())
}

func (u *update) tables(ctx context.Context) error {
	for _, table := range []struct {
		kind, subnet, target string
		id                   *string
	}{{"public", u.n.Public, u.n.Gateway, &u.n.PublicTable}, {"private", u.n.Private, u.n.NAT, &u.n.PrivateTable}} {
		what := table.kind + " route table"
		if *table.id == "" {
			err := u.do(plan.Change{Action: plan.Create, What: what, Reason: plan.Missing}, func() (string, error) {
				out, err := u.stack.EC2.CreateRouteTable(ctx, &ec2.CreateRouteTableInput{
					VpcId: aws.String(u.n.VPC),
					TagSpecifications: u.stack.TagsFor(types.ResourceTypeRouteTable, u.stack.Name+"-"+table.kind,
						stack.SubnetTag, table.kind),
				})
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
func (u *update) completeTable(ctx context.Context, what, id, subnet, target string) error {
	if id == "" {
		return nil
	}
	table, err := ec2ops.RouteTable(ctx, u.stack.EC2, id)
	if err != nil {
		return err
	}
	if is, active := defaultRoute(table); is != target || !active || target == "" {
		reason := "its default route is missing"
		if is != "" {
			reason = "its default route goes to " + is
		}
		err := u.do(plan.Change{
			Action: plan.Modify,
			What:   what,
			ID:     id,
			Reason: reason,
		}, func() (string, error) { return id, u.route(ctx, id, target, is != "") })
		if err != nil {
			return err
		}
	}
	for _, a := range table.Associations {
		if aws.ToString(a.SubnetId) == subnet {
			return nil
		}
	}
	return u.do(plan.Change{
		Action: plan.Modify,
		What:   what,
		ID:     id,
		Reason: "its subnet is not associated with it",
	}, func() (string, error) { return id, u.associate(ctx, id, subnet) })
}

// route sends what is for the internet to a gateway; replace says that it is sent somewhere else now.
func (u *update) route(ctx context.Context, table, target string, replace bool) error {
	var gateway, nat *string
	if strings.HasPrefix(target, "nat-") {
		nat = aws.String(target)
	} else {
		gateway = aws.String(target)
	}
	all := aws.String("0.0.0.0/0")
	var err error
	if replace {
		_, err = u.stack.EC2.ReplaceRoute(ctx, &ec2.ReplaceRouteInput{
			RouteTableId:         aws.String(table),
			DestinationCidrBlock: all,
			GatewayId:            gateway,
			NatGatewayId:         nat,
		})
	} else {
		_, err = u.stack.EC2.CreateRoute(ctx, &ec2.CreateRouteInput{
			RouteTableId:         aws.String(table),
			DestinationCidrBlock: all,
			GatewayId:            gateway,
			NatGatewayId:         nat,
		})
	}
	return err
}

// associate makes a subnet use a route table, whichever it uses now.
func (u *update) associate(ctx context.Context, table, subnet string) error {
	out, err := u.stack.EC2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{Filters: []types.Filter{{
		Name:   aws.String("association.subnet-id"),
		Values: []string{subnet},
	}}})
	if err != nil {
		return err
	}
	for _, other := range out.RouteTables {
		for _, a := range other.Associations {
			if aws.ToString(a.SubnetId) == subnet {
				_, err = u.stack.EC2.ReplaceRouteTableAssociation(ctx, &ec2.ReplaceRouteTableAssociationInput{
					AssociationId: a.RouteTableAssociationId,
					RouteTableId:  aws.String(table),
				})
				return err
			}
		}
	}
	_, err = u.stack.EC2.AssociateRouteTable(ctx, &ec2.AssociateRouteTableInput{
		RouteTableId: aws.String(table),
		SubnetId:     aws.String(subnet),
	})
	return err
}

// groups makes each tier's security group, the last tier's first: the rules of a tier name the groups of those that
// need it.
func (u *update) groups(ctx context.Context) error {
	for _, t := range slices.Backward(u.stack.Tiers) {
		if id := u.n.Groups[t.Name]; id != "" {
			if err := u.noteSubnets(ctx, id); err != nil {
				return err
			}
			continue
		}
		name := t.Name + "-sg"
		if u.n.Existing { // where another stack may have groups, too
			name = u.stack.Name + "-" + name
		}
		change := plan.Change{Action: plan.Create, What: "security group " + name, Reason: plan.Missing}
		err := u.do(change, func() (string, error) {
			id, err := u.group(ctx, t, name)
			u.n.Groups[t.Name] = id
			return id, err
		})
		if err != nil {
			return err
		}
	}
	for _, t := range slices.Backward(u.stack.Tiers) {
		if err := u.setRules(ctx, t.Name+"-sg", u.n.Groups[t.Name], u.rulesFor(t)); err != nil {
			return err
		}
	}
	return nil
}

// group makes a tier's security group. One of the stack's that EC2 did not show is it: `network up` ended a moment ago.
func (u *update) group(ctx context.Context, t stack.Tier, name string) (string, error) {
	tags := append(u.subnetTags(), stack.TierTag, t.Name)
	out, err := u.stack.EC2.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		VpcId:             aws.String(u.n.VPC),
		GroupName:         aws.String(name),
		Description:       aws.String(t.Title + " tier of stack " + u.stack.Name),
		TagSpecifications: u.stack.TagsFor(types.ResourceTypeSecurityGroup, name, tags...),
	})
	if err == nil {
		return aws.ToString(out.GroupId), nil
	}
	if !awserr.Is(err, apierror.InvalidGroupDuplicate) {
		return "", err
	}
	of := ec2ops.Filters(map[string]string{"group-name": name, "vpc-id": u.n.VPC})
	var id string
	failed := await.Until(ctx, await.Settle, func(ctx context.Context) (bool, error) {
		found, failed := ec2ops.SecurityGroups(ctx, u.stack.EC2, &ec2.DescribeSecurityGroupsInput{Filters: of})
		if failed != nil || len(found) == 0 {
			return false, failed
		}
		if id = aws.ToString(found[0].GroupId); ec2ops.TagValue(found[0].Tags, stack.StackTag) != u.stack.Name {
			return true, err // it is somebody else's
		}
		return true, nil
	})
	return id, failed
}

// subnetTags say which subnets of a VPC that was there before are the stack's, for those who have no stack file.
func (u *update) subnetTags() []string {
	if !u.n.Existing {
		return nil
	}
	var tags []string
	for _, kind := range subnetKinds {
		tags = append(tags, stack.SubnetTag+"-"+kind, strings.Join(SubnetIDs(u.n.Subnets[kind]), " "))
	}
	return tags
}

// noteSubnets has a group that is there say which subnets are the stack's now.
func (u *update) noteSubnets(ctx context.Context, group string) error {
	wanted := ec2ops.TagPairs(u.subnetTags()...)
	found, err := ec2ops.SecurityGroup(ctx, u.stack.EC2, group)
	if err != nil || len(stack.MissingTags(found.Tags, wanted)) == 0 {
		return err
	}
	return u.do(plan.Change{
		Action: plan.Modify,
		What:   "security group",
		ID:     group,
		Reason: "the stack file names other subnets than its tags",
	}, func() (string, error) {
		_, err := u.stack.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{group}, Tags: wanted})
		return group, err
	})
}
