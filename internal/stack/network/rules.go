package network

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

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
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

// madeHere describes rules that nobody described.
const madeHere = "goldsmith"

// rulesFor are the rules of a tier's group, with their descriptions: those that let the tier's clients in, and one that
// lets everything out.
func (u *update) rulesFor(t stack.Tier) map[rule]string {
	rules := map[rule]string{{
		egress:   true,
		protocol: "-1",
		from:     -1,
		to:       -1,
		peer:     anywhere,
	}: ""}
	for _, in := range t.Ingress {
		description := cmp.Or(in.Description, madeHere)
		if in.Tier == stack.FromOperator {
			description = operatorRule
		}
		rules[rule{
			protocol: in.Protocol,
			from:     in.Port,
			to:       in.Port,
			peer:     u.peerOf(in),
		}] = description
	}
	return rules
}

const anywhere = "0.0.0.0/0"

// peerOf is whom an Ingress lets in, as rules name it.
func (u *update) peerOf(in stack.Ingress) string {
	switch in.Tier {
	case "":
		return in.CIDR.String()
	case stack.FromOperator:
		return u.operator.String()
	case stack.FromAnywhere:
		return anywhere
	}
	return cmp.Or(u.n.Groups[in.Tier], in.Tier+"-sg")
}

// compareRules returns the rules to authorize in a group and those to revoke, sorted; rules that somebody added by hand
// are revoked too.
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
	for _, direction := range []struct {
		egress      bool
		permissions []types.IpPermission
	}{{false, group.IpPermissions}, {true, group.IpPermissionsEgress}} {
		for _, p := range direction.permissions {
			r := rule{
				egress:   direction.egress,
				protocol: aws.ToString(p.IpProtocol),
				from:     -1,
				to:       -1,
			}
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
// security group instead of a range say, is let in at every moment. EC2 cannot change the kind of a rule's peer, so
// that such a rule is made anew, and never modified.
func (u *update) setRules(ctx context.Context, name, group string, wanted map[rule]string) error {
	if group == "" { // that is yet to be made, with its rules
		return nil
	}
	found, err := ec2ops.SecurityGroup(ctx, u.stack.EC2, group)
	if err != nil {
		return err
	}
	is := rulesOf(found)
	add, remove := compareRules(is, wanted)
	change := func(r rule, reason string, act func(types.IpPermission) error) error {
		c := plan.Change{
			Action: plan.Modify,
			What:   "security group " + name,
			ID:     group,
			Reason: reason,
		}
		err := u.do(c, func() (string, error) { return group, act(r.permission(cmp.Or(wanted[r], is[r]))) })
		if err != nil {
			return fmt.Errorf("%s: %s: %w", group, reason, err)
		}
		return nil
	}
	for _, r := range add {
		err := change(r, "it does not allow "+r.String(), func(p types.IpPermission) error {
			return u.authorize(ctx, group, r.egress, p)
		})
		if err != nil {
			return err
		}
	}
	for _, r := range remove {
		reason := "it allows " + r.String() + ", which the stack does not"
		err := change(r, reason, func(p types.IpPermission) error { return u.revoke(ctx, group, r.egress, p) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (u *update) authorize(ctx context.Context, group string, egress bool, p types.IpPermission) (err error) {
	id, permissions := aws.String(group), []types.IpPermission{p}
	if egress {
		input := &ec2.AuthorizeSecurityGroupEgressInput{GroupId: id, IpPermissions: permissions}
		_, err = u.stack.EC2.AuthorizeSecurityGroupEgress(ctx, input)
	} else {
		input := &ec2.AuthorizeSecurityGroupIngressInput{GroupId: id, IpPermissions: permissions}
		_, err = u.stack.EC2.AuthorizeSecurityGroupIngress(ctx, input)
	}
	return err
}

func (u *update) revoke(ctx context.Context, group string, egress bool, p types.IpPermission) (err error) {
	id, permissions := aws.String(group), []types.IpPermission{p}
	if egress {
		input := &ec2.RevokeSecurityGroupEgressInput{GroupId: id, IpPermissions: permissions}
		_, err = u.stack.EC2.RevokeSecurityGroupEgress(ctx, input)
	} else {
		input := &ec2.RevokeSecurityGroupIngressInput{GroupId: id, IpPermissions: permissions}
		_, err = u.stack.EC2.RevokeSecurityGroupIngress(ctx, input)
	}
	return err
}
