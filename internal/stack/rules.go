package stack

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// rule lets one protocol and port in from one peer, a range or a security group.
type rule struct {
	protocol string
	port     int32 // -1 for all
	peer     string
}

// operatorRule marks the rule that follows the operator's address.
const operatorRule = "operator"

func webRules(operator netip.Prefix) []rule {
	return []rule{{"tcp", 22, operator.String()}, {"tcp", 80, "0.0.0.0/0"}, {"tcp", 443, "0.0.0.0/0"}}
}

func databaseRules(webGroup string) []rule {
	return []rule{{"tcp", 22, webGroup}, {"tcp", 3306, webGroup}, {"icmp", -1, webGroup}}
}

// compareRules is what has to be let in, and what no longer. A rule that somebody added is not ours to remove, but for
// the one that follows the operator's address.
func compareRules(is map[rule]string, wanted []rule) (add, remove, foreign []rule) {
	for _, r := range wanted {
		if _, ok := is[r]; !ok {
			add = append(add, r)
		}
	}
	for r, description := range is {
		switch {
		case slices.Contains(wanted, r):
		case description == operatorRule:
			remove = append(remove, r)
		default:
			foreign = append(foreign, r)
		}
	}
	return add, remove, foreign
}

// rulesOf are a group's ingress rules with their descriptions.
func rulesOf(group types.SecurityGroup) map[rule]string {
	rules := map[rule]string{}
	for _, p := range group.IpPermissions {
		r := rule{protocol: aws.ToString(p.IpProtocol), port: -1}
		if p.FromPort != nil {
			r.port = *p.FromPort
		}
		for _, v4 := range p.IpRanges {
			r.peer = aws.ToString(v4.CidrIp)
			rules[r] = aws.ToString(v4.Description)
		}
		for _, v6 := range p.Ipv6Ranges {
			r.peer = aws.ToString(v6.CidrIpv6)
			rules[r] = aws.ToString(v6.Description)
		}
		for _, pair := range p.UserIdGroupPairs {
			r.peer = aws.ToString(pair.GroupId)
			rules[r] = aws.ToString(pair.Description)
		}
	}
	return rules
}

func (r rule) permission() types.IpPermission {
	p := types.IpPermission{IpProtocol: aws.String(r.protocol), FromPort: aws.Int32(r.port), ToPort: aws.Int32(r.port)}
	prefix, err := netip.ParsePrefix(r.peer)
	description := aws.String("goldsmith")
	if r.port == 22 {
		description = aws.String(operatorRule)
	}
	switch {
	case err != nil:
		p.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: aws.String(r.peer)}}
	case prefix.Addr().Is6():
		p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String(r.peer), Description: description}}
	default:
		p.IpRanges = []types.IpRange{{CidrIp: aws.String(r.peer), Description: description}}
	}
	return p
}

// setRules adds what is missing before it removes what is not wanted any more.
func (u *networkUp) setRules(ctx context.Context, group string, wanted []rule) error {
	out, err := u.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})
	if err != nil {
		return err
	}
	add, remove, foreign := compareRules(rulesOf(out.SecurityGroups[0]), wanted)
	for _, r := range add {
		if _, err := u.ec2.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{GroupId: aws.String(group), IpPermissions: []types.IpPermission{r.permission()}}); err != nil {
			return fmt.Errorf("let %s %d from %s into %s: %w", r.protocol, r.port, r.peer, group, err)
		}
		u.changes++
	}
	for _, r := range remove {
		if _, err := u.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: aws.String(group), IpPermissions: []types.IpPermission{r.permission()}}); err != nil {
			return fmt.Errorf("shut %s %d from %s out of %s: %w", r.protocol, r.port, r.peer, group, err)
		}
		u.changes++
	}
	for _, r := range foreign {
		u.say("note: %s has a rule that is not the stack's: %s %d from %s", group, r.protocol, r.port, r.peer)
	}
	return nil
}
