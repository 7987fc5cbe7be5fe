package vpc

import (
	"cmp"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

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
	return slices.ContainsFunc(asked,
		func(a ruleOfPeer) bool { return a.protocol == rule.protocol && a.from == rule.from && a.to == rule.to })
}

// port is a port of a described rule; where all are meant there may be none.
func port(item *awsquery.Node, name string) string { return cmp.Or(item.Get(name), "-1") }

// rulesIn are the rules of a described permission.
func rulesIn(permission *awsquery.Node) []ruleOfPeer {
	var all []ruleOfPeer
	for _, kind := range peerKinds {
		for _, peer := range permission.Items(kind.answer) {
			all = append(all, ruleOfPeer{
				protocol:    permission.Get("ipProtocol"),
				from:        port(permission, "fromPort"),
				to:          port(permission, "toPort"),
				list:        kind.list,
				id:          kind.id,
				peer:        peer.Get(kind.text),
				description: peer.Get("description"),
			})
		}
	}
	return all
}

// authorize is the call that makes the rule.
func (r ruleOfPeer) authorize(action, group string) *awsquery.Call {
	c := awsquery.NewCall("ec2", action, "GroupId", group, "IpPermissions.1.IpProtocol", r.protocol,
		"IpPermissions.1."+r.list+".1."+r.id, r.peer)
	if r.protocol != "-1" {
		c.Set("IpPermissions.1.FromPort", r.from)
		c.Set("IpPermissions.1.ToPort", r.to)
	}
	if r.description != "" {
		c.Set("IpPermissions.1."+r.list+".1.Description", r.description)
	}
	return c
}
