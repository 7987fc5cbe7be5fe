package api

import (
	"context"
	"net/netip"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// allocateAddress gives an elastic address of the local cloud's range.
func (s *Server) allocateAddress(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	c = c.Clone()
	var address netip.Addr
	s.view(func(o *overlay) { address = o.freePublic() })
	if !address.IsValid() {
		return nil, awsquery.Fault("AddressLimitExceeded", "The maximum number of addresses has been reached.")
	}
	c.Set("Domain", "vpc")
	c.Set("Address", address.String())
	return s.forwardNetwork(ctx, c)
}

// address is an elastic address as the server behind has it, by any of the names that calls use.
func (s *Server) address(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	described, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeAddresses"))
	if err != nil {
		return nil, err
	}
	for _, by := range []struct{ parameter, element, code string }{
		{"AllocationId", "allocationId", "InvalidAllocationID.NotFound"},
		{"AssociationId", "associationId", "InvalidAssociationID.NotFound"},
		{"PublicIp", "publicIp", "InvalidAddress.NotFound"},
	} {
		wanted := c.Get(by.parameter)
		if wanted == "" {
			continue
		}
		for _, address := range described.Items("addressesSet") {
			if address.Get(by.element) == wanted {
				return address, nil
			}
		}
		return nil, awsquery.Fault(by.code, "The %s '%s' does not exist", by.parameter, wanted)
	}
	return nil, awsquery.Fault("MissingParameter", "The request must name the address by AllocationId, AssociationId or PublicIp")
}

// associateAddress moves an elastic address; an instance that had it has it no more, and one that gets it loses its
// automatic one.
func (s *Server) associateAddress(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	address, err := s.address(ctx, c)
	if err != nil {
		return nil, err
	}
	if balancer := s.balancerAt(address.Get("allocationId")); balancer != "" {
		return nil, awsquery.Fault("Resource.AlreadyAssociated", "resource %s is already associated with load balancer %s", address.Get("allocationId"), balancer)
	}
	if id := c.Get("InstanceId"); id != "" {
		if err := s.inStates([]string{id}, "given an address", "pending", "running", "stopping", "stopped"); err != nil {
			return nil, err
		}
	}
	if association := address.Get("associationId"); association != "" {
		if c.Get("AllowReassociation") == "false" {
			return nil, awsquery.Fault("Resource.AlreadyAssociated", "resource %s is already associated with associate-id %s", address.Get("allocationId"), association)
		}
		if _, err := s.forward(ctx, awsquery.NewCall("ec2", "DisassociateAddress", "AssociationId", association)); err != nil {
			return nil, err
		}
	}
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, s.readdress(ctx, c.Get("InstanceId"), address.Get("instanceId"))
}

func (s *Server) disassociateAddress(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	address, err := s.address(ctx, c)
	if err != nil {
		return nil, err
	}
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, s.readdress(ctx, address.Get("instanceId"))
}

func (s *Server) releaseAddress(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	address, err := s.address(ctx, c)
	if err != nil {
		return nil, err
	}
	if address.Get("associationId") != "" {
		return nil, awsquery.Fault("InvalidIPAddress.InUse", "Address %s is in use.", address.Get("publicIp"))
	}
	if balancer := s.balancerAt(address.Get("allocationId")); balancer != "" {
		return nil, awsquery.Fault("InvalidIPAddress.InUse", "Address %s is in use by load balancer %s.", address.Get("publicIp"), balancer)
	}
	nats, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeNatGateways"))
	if err != nil {
		return nil, err
	}
	for _, nat := range nats.Items("natGatewaySet") {
		for _, id := range nat.All("natGatewayAddressSet", "*", "allocationId") {
			if id == address.Get("allocationId") && nat.Get("state") == "available" {
				return nil, awsquery.Fault("InvalidIPAddress.InUse", "Address %s is in use by %s.", address.Get("publicIp"), nat.Get("natGatewayId"))
			}
		}
	}
	return s.forwardNetwork(ctx, c)
}

// readdress makes the network and the metadata of instances follow a change of elastic addresses. Who has one has no
// automatic one any more.
func (s *Server) readdress(ctx context.Context, instances ...string) error {
	if err := s.applyNetwork(ctx); err != nil {
		return err
	}
	for _, id := range instances {
		record, ok := s.instance(id)
		if !ok || record.State == "terminated" {
			continue
		}
		loses := false
		s.view(func(o *overlay) { loses = o.hasElastic(id) && record.Public.IsValid() })
		if loses {
			if err := s.changeInstance(id, func(record *instanceRecord) { record.Public = netip.Addr{} }); err != nil {
				return err
			}
		}
		if err := s.refreshMetadata(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// freeElastic disassociates what an instance has, before it goes.
func (s *Server) freeElastic(ctx context.Context, id string) error {
	described, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeAddresses"))
	if err != nil {
		return err
	}
	for _, address := range described.Items("addressesSet") {
		if address.Get("instanceId") != id || address.Get("associationId") == "" {
			continue
		}
		if _, err := s.forward(ctx, awsquery.NewCall("ec2", "DisassociateAddress", "AssociationId", address.Get("associationId"))); err != nil {
			return err
		}
	}
	return nil
}

// describeAddresses shows addresses of load balancers as associated, with no instance of the caller's.
func (s *Server) describeAddresses(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	described, err := s.ask(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, item := range described.Items("addressesSet") {
		if allocation := item.Get("allocationId"); s.balancerAt(allocation) != "" {
			item.Set("eipassoc-"+strings.TrimPrefix(allocation, "eipalloc-"), "associationId")
			item.Set("amazon-elb", "networkInterfaceOwnerId")
		}
	}
	return described, nil
}
