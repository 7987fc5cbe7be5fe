package api

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// revokeRules takes rules from a security group. The server behind mixes up the peers of rules that have their ports in
// common, from the first time that it describes them; so all rules of those ports go, and the other peers get theirs anew.
func (s *Server) revokeRules(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	c, err := s.byGroupID(ctx, c)
	if err != nil {
		return nil, err
	}
	if c, err = listed(c); err != nil {
		return nil, err
	}
	if c.Get("IpPermissions.1.IpProtocol") == "" {
		return s.forwardNetwork(ctx, c) // by the rules' ids
	}
	asked, err := admittedPermissions(c)
	if err != nil {
		return nil, err
	}
	group, authorize, list := c.Get("GroupId"), "AuthorizeSecurityGroupIngress", "ipPermissions"
	egress := c.Action() == "RevokeSecurityGroupEgress"
	if egress {
		authorize, list = "AuthorizeSecurityGroupEgress", "ipPermissionsEgress"
	}
	described, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeSecurityGroups", "GroupId.1", group))
	if err != nil {
		return nil, err
	}
	rules, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeSecurityGroupRules", "Filter.1.Name", "group-id", "Filter.1.Value.1", group))
	if err != nil {
		return nil, err
	}
	var keep []ruleOfPeer
	found := map[ruleOfPeer]bool{}
	for _, item := range described.Items("securityGroupInfo") {
		for _, permission := range item.Items(list) {
			for _, rule := range rulesIn(permission) {
				switch {
				case slices.Contains(asked, rule.comparable()):
					found[rule.comparable()] = true
				case samePorts(asked, rule):
					keep = append(keep, rule)
				}
			}
		}
	}
	for _, rule := range asked {
		if !found[rule] {
			return nil, awsquery.Fault("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
		}
	}
	var ids []string
	for _, item := range rules.Items("securityGroupRuleSet") {
		rule := ruleOfPeer{protocol: item.Get("ipProtocol"), from: port(item, "fromPort"), to: port(item, "toPort")}
		if strings.EqualFold(item.Get("isEgress"), strconv.FormatBool(egress)) && samePorts(asked, rule) {
			ids = append(ids, item.Get("securityGroupRuleId"))
		}
	}
	byID := c.With("SecurityGroupRuleId", ids...)
	byID.Drop("IpPermissions.")
	answered, err := s.forward(ctx, byID)
	if err != nil {
		return nil, err
	}
	for _, rule := range keep {
		if _, err := s.forward(ctx, rule.authorize(authorize, group)); err != nil {
			return nil, err
		}
	}
	if err := s.applyNetwork(ctx); err != nil {
		return nil, err
	}
	return answered, nil
}

// ruleOfPeer is one peer of one permission. list is the request's name for the kind of the peer, id that of its name.
type ruleOfPeer struct{ protocol, from, to, list, id, peer, description string }

// peerKinds are the kinds of peers, as answers and as requests call them.
var peerKinds = []struct{ answer, text, list, id string }{
	{"ipRanges", "cidrIp", "IpRanges", "CidrIp"}, {"ipv6Ranges", "cidrIpv6", "Ipv6Ranges", "CidrIpv6"},
	{"prefixListIds", "prefixListId", "PrefixListIds", "PrefixListId"}, {"groups", "groupId", "Groups", "GroupId"},
}

// bare is the rule without what does not tell it from others.
func (r ruleOfPeer) bare() ruleOfPeer {
	r.description = ""
	return r
}

func samePorts(asked []ruleOfPeer, rule ruleOfPeer) bool {
	rule = rule.comparable()
	return slices.ContainsFunc(asked, func(a ruleOfPeer) bool { return a.protocol == rule.protocol && a.from == rule.from && a.to == rule.to })
}

// port is a port of a described rule; where all are meant there may be none.
func port(item *awsquery.Node, name string) string { return cmp.Or(item.Get(name), "-1") }

// rulesIn are the rules of a described permission.
func rulesIn(permission *awsquery.Node) []ruleOfPeer {
	var all []ruleOfPeer
	for _, kind := range peerKinds {
		for _, peer := range permission.Items(kind.answer) {
			all = append(all, ruleOfPeer{protocol: permission.Get("ipProtocol"), from: port(permission, "fromPort"), to: port(permission, "toPort"),
				list: kind.list, id: kind.id, peer: peer.Get(kind.text), description: peer.Get("description")})
		}
	}
	return all
}

// byGroupID is a request with its security group's id in the place of its name, by which the default VPC's are known.
func (s *Server) byGroupID(ctx context.Context, c *awsquery.Call) (*awsquery.Call, error) {
	name := c.Get("GroupName")
	if c.Get("GroupId") != "" || name == "" {
		return c, nil
	}
	vpc, err := s.defaultVPC(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeSecurityGroups",
		"Filter.1.Name", "vpc-id", "Filter.1.Value.1", vpc, "Filter.2.Name", "group-name", "Filter.2.Value.1", name))
	if err != nil {
		return nil, err
	}
	for _, group := range groups.Items("securityGroupInfo") {
		c = c.Clone()
		c.Drop("GroupName")
		c.Set("GroupId", group.Get("groupId"))
		return c, nil
	}
	return nil, awsquery.Fault("InvalidGroup.NotFound", "The security group '%.255s' does not exist in the default VPC", name)
}

// authorize is the call that makes the rule.
func (r ruleOfPeer) authorize(action, group string) *awsquery.Call {
	c := awsquery.NewCall("ec2", action, "GroupId", group, "IpPermissions.1.IpProtocol", r.protocol, "IpPermissions.1."+r.list+".1."+r.id, r.peer)
	if r.protocol != "-1" {
		c.Set("IpPermissions.1.FromPort", r.from)
		c.Set("IpPermissions.1.ToPort", r.to)
	}
	if r.description != "" {
		c.Set("IpPermissions.1."+r.list+".1.Description", r.description)
	}
	return c
}
