package ec2fake

import (
	"encoding/json"
	"regexp"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
)

func newRoutes(store *resource.Store) resource.Table[types.RouteTable] {
	return resource.Table[types.RouteTable]{
		Store:   store,
		Missing: apierror.InvalidRouteTableIDNotFound,
		Tags:    func(t *types.RouteTable) *[]types.Tag { return &t.Tags },
		Values: func(t *types.RouteTable, name string) []string {
			switch name {
			case "vpc-id":
				return []string{aws.ToString(t.VpcId)}
			case "association.subnet-id":
				ids := []string{}
				for _, a := range t.Associations {
					ids = append(ids, aws.ToString(a.SubnetId))
				}
				return ids
			}
			return nil
		},
	}
}

func newGroups(store *resource.Store) resource.Table[types.SecurityGroup] {
	return resource.Table[types.SecurityGroup]{
		Store:   store,
		Missing: apierror.InvalidGroupNotFound,
		Tags:    func(g *types.SecurityGroup) *[]types.Tag { return &g.Tags },
		Values: func(g *types.SecurityGroup, name string) []string {
			return map[string][]string{
				"vpc-id":     {aws.ToString(g.VpcId)},
				"group-id":   {aws.ToString(g.GroupId)},
				"group-name": {aws.ToString(g.GroupName)},
			}[name]
		},
	}
}

// isMain tells whether a route table is the one that a VPC was made with.
func isMain(t *types.RouteTable) bool {
	return slices.ContainsFunc(t.Associations, func(a types.RouteTableAssociation) bool { return aws.ToBool(a.Main) })
}

var routeOperations = resource.Join(
	resource.Op(createRouteTable), resource.Op(describeRouteTables), resource.Op(deleteRouteTable),
	resource.Op(createRoute), resource.Op(replaceRoute), resource.Op(associateRouteTable),
	resource.Op(replaceRouteTableAssociation), resource.Op(disassociateRouteTable),
)

func createRouteTable(r *Region, in *ec2.CreateRouteTableInput) (*ec2.CreateRouteTableOutput, error) {
	vpc, err := r.network.vpcs.Find(in.VpcId)
	if err != nil {
		return nil, err
	}
	made := r.network.routes.Create("rtb", types.ResourceTypeRouteTable, in.TagSpecifications,
		func(id string) *types.RouteTable {
			return &types.RouteTable{
				RouteTableId: aws.String(id),
				VpcId:        in.VpcId,
				Routes: []types.Route{{
					DestinationCidrBlock: vpc.CidrBlock,
					GatewayId:            aws.String("local"),
					State:                types.RouteStateActive,
				}},
			}
		})
	return &ec2.CreateRouteTableOutput{RouteTable: r.network.routes.Tagged(*made.RouteTableId)}, nil
}

func describeRouteTables(r *Region, in *ec2.DescribeRouteTablesInput) (*ec2.DescribeRouteTablesOutput, error) {
	r.settleNATs()
	found, err := r.network.routes.Describe(in.RouteTableIds, in.Filters)
	for i := range found {
		found[i].Routes = slices.Clone(found[i].Routes)
		for j, route := range found[i].Routes {
			if r.network.goneTarget(route) {
				found[i].Routes[j].State = types.RouteStateBlackhole
			}
		}
	}
	return &ec2.DescribeRouteTablesOutput{RouteTables: found}, err
}

// goneTarget tells whether the target of a route was deleted.
func (n *network) goneTarget(route types.Route) bool {
	if id := aws.ToString(route.NatGatewayId); id != "" {
		nat := n.nats.Get(id)
		return nat == nil || nat.State == types.NatGatewayStateDeleted
	}
	id := aws.ToString(route.GatewayId)
	return id != "local" && n.gateways.Get(id) == nil
}

func deleteRouteTable(r *Region, in *ec2.DeleteRouteTableInput) (*ec2.DeleteRouteTableOutput, error) {
	table, err := r.network.routes.Find(in.RouteTableId)
	if err != nil {
		return nil, err
	}
	if len(table.Associations) > 0 {
		return nil, Err(apierror.HasDependencies, "routeTable", *table.RouteTableId)
	}
	r.network.routes.Remove(*table.RouteTableId)
	return nil, nil
}

func createRoute(r *Region, in *ec2.CreateRouteInput) (*ec2.CreateRouteOutput, error) {
	table, err := r.network.routes.Find(in.RouteTableId)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(table.Routes, isTo(in.DestinationCidrBlock)) {
		return nil, Err(apierror.RouteAlreadyExists, *in.DestinationCidrBlock)
	}
	return nil, r.network.setRoute(table, in.DestinationCidrBlock, in.GatewayId, in.NatGatewayId)
}

func isTo(cidr *string) func(types.Route) bool {
	return func(route types.Route) bool { return aws.ToString(route.DestinationCidrBlock) == aws.ToString(cidr) }
}

func (n *network) setRoute(table *types.RouteTable, to, gateway, nat *string) error {
	if gateway != nil {
		if _, err := n.gateways.Find(gateway); err != nil {
			return err
		}
	}
	if nat != nil {
		if _, err := n.nats.Find(nat); err != nil {
			return err
		}
	}
	table.Routes = append(slices.DeleteFunc(slices.Clone(table.Routes), isTo(to)), types.Route{
		DestinationCidrBlock: to,
		GatewayId:            gateway,
		NatGatewayId:         nat,
		State:                types.RouteStateActive,
	})
	return nil
}

func replaceRoute(r *Region, in *ec2.ReplaceRouteInput) (*ec2.ReplaceRouteOutput, error) {
	table, err := r.network.routes.Find(in.RouteTableId)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(table.Routes, isTo(in.DestinationCidrBlock)) {
		return nil, Err(apierror.InvalidRouteNotFound, *in.DestinationCidrBlock, *table.RouteTableId)
	}
	return nil, r.network.setRoute(table, in.DestinationCidrBlock, in.GatewayId, in.NatGatewayId)
}

func (n *network) associate(table *types.RouteTable, subnet *string) *string {
	id := aws.String(n.routes.Store.Numbers.ID("rtbassoc"))
	table.Associations = append(slices.Clone(table.Associations), types.RouteTableAssociation{
		RouteTableAssociationId: id,
		RouteTableId:            table.RouteTableId,
		SubnetId:                subnet,
		Main:                    aws.Bool(false),
	})
	return id
}

func associateRouteTable(r *Region, in *ec2.AssociateRouteTableInput) (*ec2.AssociateRouteTableOutput, error) {
	table, err := r.network.routes.Find(in.RouteTableId)
	if err != nil {
		return nil, err
	}
	if _, err := r.network.subnets.Find(in.SubnetId); err != nil {
		return nil, err
	}
	for _, row := range r.network.routes.Rows {
		for _, a := range row.Value.Associations {
			if aws.ToString(a.SubnetId) == *in.SubnetId {
				return nil, Err(apierror.AlreadyAssociated, *in.SubnetId, row.ID)
			}
		}
	}
	return &ec2.AssociateRouteTableOutput{AssociationId: r.network.associate(table, in.SubnetId)}, nil
}

// dissociate takes a subnet from its route table, and tells the subnet.
func (n *network) dissociate(association *string) (*string, error) {
	for _, row := range n.routes.Rows {
		for i, a := range row.Value.Associations {
			if a.RouteTableAssociationId != nil && *a.RouteTableAssociationId == aws.ToString(association) {
				row.Value.Associations = slices.Delete(slices.Clone(row.Value.Associations), i, i+1)
				return a.SubnetId, nil
			}
		}
	}
	return nil, Err(apierror.InvalidAssociationIDNotFound, aws.ToString(association))
}

func replaceRouteTableAssociation(
	r *Region, in *ec2.ReplaceRouteTableAssociationInput,
) (*ec2.ReplaceRouteTableAssociationOutput, error) {
	table, err := r.network.routes.Find(in.RouteTableId)
	if err != nil {
		return nil, err
	}
	subnet, err := r.network.dissociate(in.AssociationId)
	if err != nil {
		return nil, err
	}
	return &ec2.ReplaceRouteTableAssociationOutput{NewAssociationId: r.network.associate(table, subnet)}, nil
}

func disassociateRouteTable(
	r *Region, in *ec2.DisassociateRouteTableInput,
) (*ec2.DisassociateRouteTableOutput, error) {
	_, err := r.network.dissociate(in.AssociationId)
	return nil, err
}

var groupOperations = resource.Join(
	resource.Op(createSecurityGroup), resource.Op(describeSecurityGroups), resource.Op(deleteSecurityGroup),
	resource.Op(authorizeSecurityGroupIngress), resource.Op(authorizeSecurityGroupEgress),
	resource.Op(revokeSecurityGroupIngress), resource.Op(revokeSecurityGroupEgress),
)

// groupDescription matches a valid GroupDescription, as CreateSecurityGroup documents it.
var groupDescription = regexp.MustCompile(`^[A-Za-z0-9 ._:/()#,@\[\]+=&;{}!$*-]{1,255}$`)

func createSecurityGroup(r *Region, in *ec2.CreateSecurityGroupInput) (*ec2.CreateSecurityGroupOutput, error) {
	if _, err := r.network.vpcs.Find(in.VpcId); err != nil {
		return nil, err
	}
	if said := aws.ToString(in.Description); !groupDescription.MatchString(said) {
		return nil, Err(apierror.InvalidGroupDescription, said)
	}
	for _, row := range r.network.groups.Rows {
		if aws.ToString(row.Value.VpcId) == *in.VpcId && aws.ToString(row.Value.GroupName) == *in.GroupName {
			return nil, Err(apierror.InvalidGroupDuplicate, *in.GroupName, aws.ToString(in.VpcId))
		}
	}
	all := types.IpPermission{
		IpProtocol: aws.String("-1"),
		IpRanges:   []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}},
	}
	made := r.network.groups.Create("sg", types.ResourceTypeSecurityGroup, in.TagSpecifications,
		func(id string) *types.SecurityGroup {
			return &types.SecurityGroup{
				GroupId:             aws.String(id),
				GroupName:           in.GroupName,
				Description:         in.Description,
				VpcId:               in.VpcId,
				OwnerId:             aws.String(Number),
				IpPermissionsEgress: []types.IpPermission{all},
			}
		})
	return &ec2.CreateSecurityGroupOutput{GroupId: made.GroupId, Tags: r.store.TagsOf(*made.GroupId)}, nil
}

func describeSecurityGroups(
	r *Region, in *ec2.DescribeSecurityGroupsInput,
) (*ec2.DescribeSecurityGroupsOutput, error) {
	found, err := r.network.groups.Describe(in.GroupIds, in.Filters)
	return &ec2.DescribeSecurityGroupsOutput{SecurityGroups: found}, err
}

func deleteSecurityGroup(r *Region, in *ec2.DeleteSecurityGroupInput) (*ec2.DeleteSecurityGroupOutput, error) {
	r.settle()
	group, err := r.network.groups.Find(in.GroupId)
	if err != nil {
		return nil, err
	}
	id := *group.GroupId
	for _, row := range r.compute.instances.Rows {
		uses := func(g types.GroupIdentifier) bool { return aws.ToString(g.GroupId) == id }
		over := row.Value.State.Name == types.InstanceStateNameTerminated
		if !over && slices.ContainsFunc(row.Value.SecurityGroups, uses) {
			return nil, Err(apierror.DependencyViolation, id)
		}
	}
	for _, row := range r.network.groups.Rows {
		for _, rule := range slices.Concat(row.Value.IpPermissions, row.Value.IpPermissionsEgress) {
			for _, pair := range rule.UserIdGroupPairs {
				if row.ID != id && aws.ToString(pair.GroupId) == id {
					return nil, Err(apierror.DependencyViolation, id)
				}
			}
		}
	}
	r.network.groups.Remove(id)
	return nil, nil
}

// flat are permissions with one source each, as rules are compared.
func flat(permissions []types.IpPermission) []types.IpPermission {
	var all []types.IpPermission
	for _, p := range permissions {
		one := types.IpPermission{IpProtocol: p.IpProtocol, FromPort: p.FromPort, ToPort: p.ToPort}
		for _, source := range p.IpRanges {
			rule := one
			rule.IpRanges = []types.IpRange{source}
			all = append(all, rule)
		}
		for _, source := range p.Ipv6Ranges {
			rule := one
			rule.Ipv6Ranges = []types.Ipv6Range{source}
			all = append(all, rule)
		}
		for _, source := range p.UserIdGroupPairs {
			rule := one
			rule.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: source.GroupId}}
			all = append(all, rule)
		}
	}
	return all
}

// ruleKey is a rule's JSON without descriptions: EC2 compares rules without them.
func ruleKey(p types.IpPermission) string {
	for i := range p.IpRanges {
		p.IpRanges = []types.IpRange{{CidrIp: p.IpRanges[i].CidrIp}}
	}
	for i := range p.Ipv6Ranges {
		p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: p.Ipv6Ranges[i].CidrIpv6}}
	}
	text, _ := json.Marshal(p)
	return string(text)
}

func authorize(r *Region, id *string, rules []types.IpPermission, egress bool) error {
	group, err := r.network.groups.Find(id)
	if err != nil {
		return err
	}
	list := permissions(group, egress)
	for _, rule := range flat(rules) {
		for _, there := range *list {
			if ruleKey(there) == ruleKey(rule) {
				return Err(apierror.InvalidPermissionDuplicate, "peer")
			}
		}
		*list = append(slices.Clone(*list), rule)
	}
	return nil
}

func revoke(r *Region, id *string, rules []types.IpPermission, egress bool) error {
	group, err := r.network.groups.Find(id)
	if err != nil {
		return err
	}
	list := permissions(group, egress)
	for _, rule := range flat(rules) {
		same := func(there types.IpPermission) bool { return ruleKey(there) == ruleKey(rule) }
		if !slices.ContainsFunc(*list, same) {
			return Err(apierror.InvalidPermissionNotFound)
		}
		*list = slices.DeleteFunc(slices.Clone(*list), same)
	}
	return nil
}

func permissions(group *types.SecurityGroup, egress bool) *[]types.IpPermission {
	if egress {
		return &group.IpPermissionsEgress
	}
	return &group.IpPermissions
}

func authorizeSecurityGroupIngress(
	r *Region, in *ec2.AuthorizeSecurityGroupIngressInput,
) (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
	return nil, authorize(r, in.GroupId, in.IpPermissions, false)
}

func authorizeSecurityGroupEgress(
	r *Region, in *ec2.AuthorizeSecurityGroupEgressInput,
) (*ec2.AuthorizeSecurityGroupEgressOutput, error) {
	return nil, authorize(r, in.GroupId, in.IpPermissions, true)
}

func revokeSecurityGroupIngress(
	r *Region, in *ec2.RevokeSecurityGroupIngressInput,
) (*ec2.RevokeSecurityGroupIngressOutput, error) {
	return nil, revoke(r, in.GroupId, in.IpPermissions, false)
}

func revokeSecurityGroupEgress(
	r *Region, in *ec2.RevokeSecurityGroupEgressInput,
) (*ec2.RevokeSecurityGroupEgressOutput, error) {
	return nil, revoke(r, in.GroupId, in.IpPermissions, true)
}

// AddGroup puts a security group into the account.
func (r *Region) AddGroup(group types.SecurityGroup) {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	r.store.SetTags(*group.GroupId, time.Time{}, group.Tags)
	r.network.groups.Put(*group.GroupId, time.Time{}, &group)
}

// Group is a security group as EC2 would describe it, or nil.
func (r *Region) Group(id string) *types.SecurityGroup {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	if r.network.groups.Get(id) == nil {
		return nil
	}
	return r.network.groups.Tagged(id)
}
