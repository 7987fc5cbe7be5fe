package api

import (
	"context"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// EC2 refuses to delete what something else depends on; the server behind, mostly, does not.

func (s *Server) deleteSecurityGroup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	r, err := s.readNetwork(ctx)
	if err != nil {
		return nil, err
	}
	id := c.Get("GroupId")
	for _, group := range r.groups {
		if id == "" && c.Get("GroupName") == group.Get("groupName") {
			id = group.Get("groupId")
		}
		if group.Get("groupId") == id && group.Get("groupName") == "default" {
			return nil, awsquery.Fault("CannotDelete", "the specified group: \"%s\" name: \"default\" cannot be deleted by a user", id)
		}
	}
	for _, eni := range r.interfaces {
		if slices.Contains(eni.All("groupSet", "*", "groupId"), id) {
			return nil, awsquery.Fault("DependencyViolation", "resource %s has a dependent object: %s", id, eni.Get("networkInterfaceId"))
		}
	}
	for _, group := range r.groups {
		for _, rule := range append(rules(group.Items("ipPermissions")), rules(group.Items("ipPermissionsEgress"))...) {
			if rule.Group == id && group.Get("groupId") != id {
				return nil, awsquery.Fault("DependencyViolation", "resource %s has a dependent object: a rule of %s", id, group.Get("groupId"))
			}
		}
	}
	c = c.Clone()
	if id != "" {
		c.Drop("GroupName")
		c.Set("GroupId", id)
	}
	return s.forwardNetwork(ctx, c)
}

func (s *Server) deleteSubnet(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("SubnetId")
	r, err := s.readNetwork(ctx)
	if err != nil {
		return nil, err
	}
	for _, eni := range r.interfaces {
		// What a NAT gateway had stays behind in the records when it is gone.
		if eni.Get("subnetId") == id && eni.Get("attachment", "instanceId") != "" {
			return nil, awsquery.Fault("DependencyViolation", "The subnet '%s' has dependencies and cannot be deleted: %s.", id, eni.Get("networkInterfaceId"))
		}
	}
	for _, nat := range r.nats {
		if nat.Get("subnetId") == id && nat.Get("state") != "deleted" {
			return nil, awsquery.Fault("DependencyViolation", "The subnet '%s' has dependencies and cannot be deleted: %s.", id, nat.Get("natGatewayId"))
		}
	}
	return s.forwardNetwork(ctx, c)
}

func (s *Server) deleteVpc(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("VpcId")
	r, err := s.readNetwork(ctx)
	if err != nil {
		return nil, err
	}
	blocked := func(by string) error {
		return awsquery.Fault("DependencyViolation", "The vpc '%s' has dependencies and cannot be deleted: %s.", id, by)
	}
	for _, subnet := range r.subnets {
		if subnet.Get("vpcId") == id {
			return nil, blocked(subnet.Get("subnetId"))
		}
	}
	for _, gateway := range r.gateways {
		if slices.Contains(gateway.All("attachmentSet", "*", "vpcId"), id) {
			return nil, blocked(gateway.Get("internetGatewayId"))
		}
	}
	for _, group := range r.groups {
		if group.Get("vpcId") == id && group.Get("groupName") != "default" {
			return nil, blocked(group.Get("groupId"))
		}
	}
	return s.forwardNetwork(ctx, c)
}
