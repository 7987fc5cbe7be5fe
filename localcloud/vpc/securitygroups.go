package vpc

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
)

// SecurityGroups answers the calls for security groups and their rules.
type SecurityGroups struct {
	moto    *moto.Client
	network *Network
}

// Handlers answer the calls of EC2 for security groups that are more than a record.
func (s *SecurityGroups) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"DeleteSecurityGroup":           s.delete,
		"AuthorizeSecurityGroupIngress": s.authorize,
		"AuthorizeSecurityGroupEgress":  s.authorize,
		"RevokeSecurityGroupIngress":    s.revoke,
		"RevokeSecurityGroupEgress":     s.revoke,
	}
}

func (s *SecurityGroups) delete(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	r, err := s.network.read(ctx)
	if err != nil {
		return nil, err
	}
	id := c.Get("GroupId")
	for _, group := range r.groups {
		if id == "" && c.Get("GroupName") == group.Get("groupName") {
			id = group.Get("groupId")
		}
		if group.Get("groupId") == id && group.Get("groupName") == "default" {
			return nil, awsquery.Fault(apierror.CannotDeleteDefaultGroup, id)
		}
	}
	for _, nic := range r.interfaces {
		if slices.Contains(nic.All("groupSet", "*", "groupId"), id) {
			return nil, awsquery.Fault(apierror.DependencyViolation, id).Adding("(%s)", nic.Get("networkInterfaceId"))
		}
	}
	for _, group := range r.groups {
		for _, rule := range append(rules(group.Items("ipPermissions")), rules(group.Items("ipPermissionsEgress"))...) {
			if rule.Group == id && group.Get("groupId") != id {
				return nil, awsquery.Fault(apierror.DependencyViolation, id).
					Adding("(a rule of %s)", group.Get("groupId"))
			}
		}
	}
	c = c.Clone()
	if id != "" {
		c.Drop("GroupName")
		c.Set("GroupId", id)
	}
	return s.network.Forward(ctx, c)
}

// Exist refuses security groups that are not there: the firewall could have no rule for one.
func (s *SecurityGroups) Exist(ctx context.Context, groups []string) error {
	if len(groups) == 0 {
		return nil
	}
	described, err := s.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeSecurityGroups"))
	if err != nil {
		return err
	}
	there := described.All("securityGroupInfo", "*", "groupId")
	for _, id := range groups {
		if !slices.Contains(there, id) {
			return awsquery.Fault(apierror.InvalidGroupNotFound, id)
		}
	}
	return nil
}

// authorize adds rules to a security group.
func (s *SecurityGroups) authorize(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	checked, err := s.Admit(ctx, c)
	if err != nil {
		return nil, err
	}
	return s.network.Forward(ctx, checked)
}

// Admit checks a request for rules, and writes it in the one form that the rest of this package reads.
func (s *SecurityGroups) Admit(ctx context.Context, c *awsquery.Call) (*awsquery.Call, error) {
	c, err := s.byGroupID(ctx, c)
	if err != nil {
		return nil, err
	}
	if c, err = listed(c); err != nil {
		return nil, err
	}
	asked, err := admittedPermissions(c)
	if err != nil {
		return nil, err
	}
	for i, rule := range asked {
		if slices.Contains(asked[:i], rule) {
			return nil, awsquery.Faultf(apierror.InvalidParameterValue,
				"The same permission must not appear multiple times")
		}
	}
	described, err := s.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeSecurityGroups", "GroupId.1", c.Get("GroupId")))
	if err != nil {
		return nil, err
	}
	list := "ipPermissions"
	if c.Action() == "AuthorizeSecurityGroupEgress" {
		list = "ipPermissionsEgress"
	}
	for _, group := range described.Items("securityGroupInfo") {
		for _, permission := range group.Items(list) {
			for _, rule := range rulesIn(permission) {
				if slices.Contains(asked, rule.comparable()) {
					return nil, awsquery.Fault(apierror.InvalidPermissionDuplicate,
						fmt.Sprintf("peer: %s, %s, from port: %s, to port: %s, ALLOW", rule.peer,
							strings.ToUpper(rule.protocol), rule.from, rule.to))
				}
			}
		}
	}
	return c, nil
}

// revoke takes rules from a security group. Moto mixes up the peers of rules that have their ports in common, from the
// first time that it describes them; so all rules of those ports go, and the other peers get theirs anew.
func (s *SecurityGroups) revoke(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	c, err := s.byGroupID(ctx, c)
	if err != nil {
		return nil, err
	}
	if c, err = listed(c); err != nil {
		return nil, err
	}
	if c.Get("IpPermissions.1.IpProtocol") == "" {
		return s.network.Forward(ctx, c) // by the rules' ids
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
	keep, err := s.othersOfPorts(ctx, group, list, asked)
	if err != nil {
		return nil, err
	}
	ids, err := s.idsOfPorts(ctx, group, egress, asked)
	if err != nil {
		return nil, err
	}
	byID := c.With("SecurityGroupRuleId", ids...)
	byID.Drop("IpPermissions.")
	answered, err := s.moto.Forward(ctx, byID)
	if err != nil {
		return nil, err
	}
	for _, rule := range keep {
		if _, err := s.moto.Forward(ctx, rule.authorize(authorize, group)); err != nil {
			return nil, err
		}
	}
	if err := s.network.Apply(ctx); err != nil {
		return nil, err
	}
	return answered, nil
}

// byGroupID is a request with its security group's id in the place of its name, by which the default VPC's are known.
func (s *SecurityGroups) byGroupID(ctx context.Context, c *awsquery.Call) (*awsquery.Call, error) {
	name := c.Get("GroupName")
	if c.Get("GroupId") != "" || name == "" {
		return c, nil
	}
	vpc, err := s.network.defaultVPC(ctx)
	if err != nil {
		return nil, err
	}
	groups, err := s.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeSecurityGroups",
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
	return nil, awsquery.Fault(apierror.InvalidGroupNotFound, name).Adding("in the default VPC")
}

// othersOfPorts are the rules of a group that share the ports of the rules that were asked for, and are not among them.
// All that were asked for must be there.
func (s *SecurityGroups) othersOfPorts(
	ctx context.Context, group, list string, asked []ruleOfPeer,
) (others []ruleOfPeer, err error) {
	described, err := s.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeSecurityGroups", "GroupId.1", group))
	if err != nil {
		return nil, err
	}
	found := map[ruleOfPeer]bool{}
	for _, item := range described.Items("securityGroupInfo") {
		for _, permission := range item.Items(list) {
			for _, rule := range rulesIn(permission) {
				switch {
				case slices.Contains(asked, rule.comparable()):
					found[rule.comparable()] = true
				case samePorts(asked, rule):
					others = append(others, rule)
				}
			}
		}
	}
	for _, rule := range asked {
		if !found[rule] {
			return nil, awsquery.Fault(apierror.InvalidPermissionNotFound)
		}
	}
	return others, nil
}

// idsOfPorts are the ids of all rules of a group that share the ports of the rules that were asked for.
func (s *SecurityGroups) idsOfPorts(
	ctx context.Context, group string, egress bool, asked []ruleOfPeer,
) (ids []string, err error) {
	described, err := s.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeSecurityGroupRules",
		"Filter.1.Name", "group-id", "Filter.1.Value.1", group))
	if err != nil {
		return nil, err
	}
	for _, item := range described.Items("securityGroupRuleSet") {
		rule := ruleOfPeer{protocol: item.Get("ipProtocol"), from: port(item, "fromPort"), to: port(item, "toPort")}
		if strings.EqualFold(item.Get("isEgress"), strconv.FormatBool(egress)) && samePorts(asked, rule) {
			ids = append(ids, item.Get("securityGroupRuleId"))
		}
	}
	return ids, nil
}
