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

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// rule lets one protocol and a range of ports in from one peer, or out to it: a range of addresses, a security group or
// a prefix list.
type rule struct {
	egress   bool
	protocol string
	from, to int32 // ports; -1 for all
	peer     string
}

// String is the rule for people.
func (r rule) String() string {
	what := r.protocol
	switch {
	case r.protocol == "-1":
		what = "everything"
	case r.from == r.to && r.from >= 0:
		what = fmt.Sprintf("%s %d", r.protocol, r.from)
	case r.from >= 0:
		what = fmt.Sprintf("%s %d-%d", r.protocol, r.from, r.to)
	}
	if r.egress {
		return what + " to " + r.peer
	}
	return what + " from " + r.peer
}

// operatorRule describes the rule that follows the operator's address.
const operatorRule = "operator"

// rulesFor are the rules of a tier's group, with their descriptions: what it always has, and what the stack file adds. The
// database lets in the web tier's group and nobody else; both may go everywhere.
func (u *networkUp) rulesFor(tier string) map[rule]string {
	in := func(port int32, peer string) rule { return rule{protocol: "tcp", from: port, to: port, peer: peer} }
	web := cmp.Or(u.n.WebGroup, "web-sg")
	rules := map[rule]string{{egress: true, protocol: "-1", from: -1, to: -1, peer: "0.0.0.0/0"}: ""}
	if tier == "db" {
		for _, r := range []rule{in(22, web), in(3306, web), {protocol: "icmp", from: -1, to: -1, peer: web}} {
			rules[r] = "goldsmith"
		}
	} else {
		rules[in(22, u.operator.String())] = operatorRule
		rules[in(80, "0.0.0.0/0")], rules[in(443, "0.0.0.0/0")] = "goldsmith", "goldsmith"
	}
	for _, more := range u.tier(tier).Rules {
		rules[u.ruleOf(more)] = cmp.Or(more.Description, "goldsmith")
	}
	return rules
}

func (u *networkUp) ruleOf(r stackfile.Rule) rule {
	peer := r.CIDR.String()
	switch r.FromTier {
	case "web":
		peer = cmp.Or(u.n.WebGroup, "web-sg")
	case "db":
		peer = cmp.Or(u.n.DatabaseSG, "db-sg")
	}
	return rule{protocol: r.Protocol, from: r.Port, to: r.Port, peer: peer}
}

// compareRules is what has to be added to a group, and what has to go: what somebody added by hand is no part of the stack.
func compareRules(is, wanted map[rule]string) (add, remove []rule) {
	for r := range wanted {
		if _, ok := is[r]; !ok {
			add = append(add, r)
		}
	}
	for r := range is {
		if _, ok := wanted[r]; !ok {
			remove = append(remove, r)
		}
	}
	byText := func(a, b rule) int { return strings.Compare(a.String(), b.String()) }
	slices.SortFunc(add, byText)
	slices.SortFunc(remove, byText)
	return add, remove
}

// rulesOf are a group's rules with their descriptions.
func rulesOf(group types.SecurityGroup) map[rule]string {
	rules := map[rule]string{}
	for egress, permissions := range map[bool][]types.IpPermission{false: group.IpPermissions, true: group.IpPermissionsEgress} {
		for _, p := range permissions {
			r := rule{egress: egress, protocol: aws.ToString(p.IpProtocol), from: -1, to: -1}
			if p.FromPort != nil && p.ToPort != nil {
				r.from, r.to = *p.FromPort, *p.ToPort
			}
			add := func(peer, description *string) {
				r.peer = aws.ToString(peer)
				rules[r] = aws.ToString(description)
			}
			for _, v4 := range p.IpRanges {
				add(v4.CidrIp, v4.Description)
			}
			for _, v6 := range p.Ipv6Ranges {
				add(v6.CidrIpv6, v6.Description)
			}
			for _, pair := range p.UserIdGroupPairs {
				add(pair.GroupId, pair.Description)
			}
			for _, list := range p.PrefixListIds {
				add(list.PrefixListId, list.Description)
			}
		}
	}
	return rules
}

// permission is the rule as EC2 takes it; without a description it names the one to revoke.
func (r rule) permission(description string) types.IpPermission {
	p := types.IpPermission{IpProtocol: aws.String(r.protocol)}
	if r.protocol != "-1" {
		p.FromPort, p.ToPort = aws.Int32(r.from), aws.Int32(r.to)
	}
	var said *string
	if description != "" {
		said = aws.String(description)
	}
	prefix, err := netip.ParsePrefix(r.peer)
	switch {
	case err != nil && strings.HasPrefix(r.peer, "pl-"):
		p.PrefixListIds = []types.PrefixListId{{PrefixListId: aws.String(r.peer), Description: said}}
	case err != nil:
		p.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: aws.String(r.peer), Description: said}}
	case prefix.Addr().Is6():
		p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String(r.peer), Description: said}}
	default:
		p.IpRanges = []types.IpRange{{CidrIp: aws.String(r.peer), Description: said}}
	}
	return p
}

// setRules adds what is missing before it removes what is not wanted: what a new rule lets in instead of an old one, a
// security group instead of a range say, is let in at every moment. EC2 cannot change the kind of a rule's peer, so that
// such a rule is made anew, and never modified.
func (u *networkUp) setRules(ctx context.Context, name, group string, wanted map[rule]string) error {
	if group == "" { // that is yet to be made, with its rules
		return nil
	}
	out, err := u.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})
	if err != nil {
		return err
	}
	is := rulesOf(out.SecurityGroups[0])
	add, remove := compareRules(is, wanted)
	change := func(r rule, reason string, act func(types.IpPermission) error) error {
		err := u.do(Change{Action: "change", What: "security group " + name, ID: group, Reason: reason}, func() (string, error) { return group, act(r.permission(cmp.Or(wanted[r], is[r]))) })
		if err != nil {
			return fmt.Errorf("%s: %s: %w", group, reason, err)
		}
		return nil
	}
	id := aws.String(group)
	for _, r := range add {
		err := change(r, "it does not allow "+r.String(), func(p types.IpPermission) (err error) {
			if r.egress {
				_, err = u.ec2.AuthorizeSecurityGroupEgress(ctx, &ec2.AuthorizeSecurityGroupEgressInput{GroupId: id, IpPermissions: []types.IpPermission{p}})
			} else {
				_, err = u.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: id, IpPermissions: []types.IpPermission{p}})
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, r := range remove {
		err := change(r, "it allows "+r.String()+", which the stack does not", func(p types.IpPermission) (err error) {
			if r.egress {
				_, err = u.ec2.RevokeSecurityGroupEgress(ctx, &ec2.RevokeSecurityGroupEgressInput{GroupId: id, IpPermissions: []types.IpPermission{p}})
			} else {
				_, err = u.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: id, IpPermissions: []types.IpPermission{p}})
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
