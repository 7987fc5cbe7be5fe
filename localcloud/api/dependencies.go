package api

import (
	"context"
	"slices"
)

// EC2 refuses to delete what something else depends on; the server behind, mostly, does not.

func (s *Server) deleteSecurityGroup(ctx context.Context, c *call) (*node, error) {
	r, err := s.readNetwork(ctx)
	if err != nil {
		return nil, err
	}
	id := c.get("GroupId")
	for _, group := range r.groups {
		if id == "" && c.get("GroupName") == group.get("groupName") {
			id = group.get("groupId")
		}
		if group.get("groupId") == id && group.get("groupName") == "default" {
			return nil, fault("CannotDelete", "the specified group: \"%s\" name: \"default\" cannot be deleted by a user", id)
		}
	}
	for _, eni := range r.interfaces {
		if slices.Contains(eni.all("groupSet", "*", "groupId"), id) {
			return nil, fault("DependencyViolation", "resource %s has a dependent object: %s", id, eni.get("networkInterfaceId"))
		}
	}
	for _, group := range r.groups {
		for _, rule := range append(rules(group.items("ipPermissions")), rules(group.items("ipPermissionsEgress"))...) {
			if rule.Group == id && group.get("groupId") != id {
				return nil, fault("DependencyViolation", "resource %s has a dependent object: a rule of %s", id, group.get("groupId"))
			}
		}
	}
	c = c.clone()
	if id != "" {
		c.drop("GroupName")
		c.set("GroupId", id)
	}
	return s.forwardNetwork(ctx, c)
}

func (s *Server) deleteSubnet(ctx context.Context, c *call) (*node, error) {
	id := c.get("SubnetId")
	r, err := s.readNetwork(ctx)
	if err != nil {
		return nil, err
	}
	for _, eni := range r.interfaces {
		// What a NAT gateway had stays behind in the records when it is gone.
		if eni.get("subnetId") == id && eni.get("attachment", "instanceId") != "" {
			return nil, fault("DependencyViolation", "The subnet '%s' has dependencies and cannot be deleted: %s.", id, eni.get("networkInterfaceId"))
		}
	}
	for _, nat := range r.nats {
		if nat.get("subnetId") == id && nat.get("state") != "deleted" {
			return nil, fault("DependencyViolation", "The subnet '%s' has dependencies and cannot be deleted: %s.", id, nat.get("natGatewayId"))
		}
	}
	return s.forwardNetwork(ctx, c)
}

func (s *Server) deleteVpc(ctx context.Context, c *call) (*node, error) {
	id := c.get("VpcId")
	r, err := s.readNetwork(ctx)
	if err != nil {
		return nil, err
	}
	blocked := func(by string) error {
		return fault("DependencyViolation", "The vpc '%s' has dependencies and cannot be deleted: %s.", id, by)
	}
	for _, subnet := range r.subnets {
		if subnet.get("vpcId") == id {
			return nil, blocked(subnet.get("subnetId"))
		}
	}
	for _, gateway := range r.gateways {
		if slices.Contains(gateway.all("attachmentSet", "*", "vpcId"), id) {
			return nil, blocked(gateway.get("internetGatewayId"))
		}
	}
	for _, group := range r.groups {
		if group.get("vpcId") == id && group.get("groupName") != "default" {
			return nil, blocked(group.get("groupId"))
		}
	}
	return s.forwardNetwork(ctx, c)
}
