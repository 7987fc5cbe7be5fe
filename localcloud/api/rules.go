package api

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// revokeRules takes rules from a security group. The server behind mixes up the peers of rules that have their ports in
// common, from the first time that it describes them; so all rules of those ports go, and the other peers get theirs anew.
func (s *Server) revokeRules(ctx context.Context, c *call) (*node, error) {
	c, err := listed(c)
	if err != nil {
		return nil, err
	}
	asked := askedRules(c)
	if len(asked) == 0 {
		return s.forwardNetwork(ctx, c)
	}
	group, authorize, list := c.get("GroupId"), "AuthorizeSecurityGroupIngress", "ipPermissions"
	egress := c.action() == "RevokeSecurityGroupEgress"
	if egress {
		authorize, list = "AuthorizeSecurityGroupEgress", "ipPermissionsEgress"
	}
	described, err := s.ask(ctx, newCall("ec2", "DescribeSecurityGroups", "GroupId.1", group))
	if err != nil {
		return nil, err
	}
	rules, err := s.ask(ctx, newCall("ec2", "DescribeSecurityGroupRules", "Filter.1.Name", "group-id", "Filter.1.Value.1", group))
	if err != nil {
		return nil, err
	}
	var keep []ruleOfPeer
	found := map[ruleOfPeer]bool{}
	for _, item := range described.items("securityGroupInfo") {
		for _, permission := range item.items(list) {
			for _, rule := range rulesIn(permission) {
				switch {
				case slices.Contains(asked, rule.bare()):
					found[rule.bare()] = true
				case samePorts(asked, rule):
					keep = append(keep, rule)
				}
			}
		}
	}
	for _, rule := range asked {
		if !found[rule] {
			return nil, fault("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
		}
	}
	var ids []string
	for _, item := range rules.items("securityGroupRuleSet") {
		rule := ruleOfPeer{protocol: item.get("ipProtocol"), from: port(item, "fromPort"), to: port(item, "toPort")}
		if strings.EqualFold(item.get("isEgress"), strconv.FormatBool(egress)) && samePorts(asked, rule) {
			ids = append(ids, item.get("securityGroupRuleId"))
		}
	}
	byID := c.with("SecurityGroupRuleId", ids...)
	byID.drop("IpPermissions.")
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
	return slices.ContainsFunc(asked, func(a ruleOfPeer) bool { return a.protocol == rule.protocol && a.from == rule.from && a.to == rule.to })
}

// port is a port of a described rule; where all are meant there may be none.
func port(item *node, name string) string { return cmp.Or(item.get(name), "-1") }

// rulesIn are the rules of a described permission.
func rulesIn(permission *node) []ruleOfPeer {
	var all []ruleOfPeer
	for _, kind := range peerKinds {
		for _, peer := range permission.items(kind.answer) {
			all = append(all, ruleOfPeer{protocol: permission.get("ipProtocol"), from: port(permission, "fromPort"), to: port(permission, "toPort"),
				list: kind.list, id: kind.id, peer: peer.get(kind.text), description: peer.get("description")})
		}
	}
	return all
}

// askedRules are the rules that a request names.
func askedRules(c *call) []ruleOfPeer {
	var all []ruleOfPeer
	for i := 1; ; i++ {
		permission := fmt.Sprintf("IpPermissions.%d.", i)
		rule := ruleOfPeer{protocol: protocolName(c.get(permission + "IpProtocol")), from: cmp.Or(c.get(permission+"FromPort"), "-1"), to: cmp.Or(c.get(permission+"ToPort"), "-1")}
		if rule.protocol == "" {
			return all
		}
		for _, kind := range peerKinds {
			rule.list, rule.id = kind.list, kind.id
			for j := 1; ; j++ {
				if rule.peer = c.get(fmt.Sprintf("%s%s.%d.%s", permission, kind.list, j, kind.id)); rule.peer == "" {
					break
				}
				all = append(all, rule)
			}
		}
	}
}

// authorize is the call that makes the rule.
func (r ruleOfPeer) authorize(action, group string) *call {
	c := newCall("ec2", action, "GroupId", group, "IpPermissions.1.IpProtocol", r.protocol, "IpPermissions.1."+r.list+".1."+r.id, r.peer)
	if r.protocol != "-1" {
		c.set("IpPermissions.1.FromPort", r.from)
		c.set("IpPermissions.1.ToPort", r.to)
	}
	if r.description != "" {
		c.set("IpPermissions.1."+r.list+".1.Description", r.description)
	}
	return c
}
