package api

import (
	"context"
	"net/netip"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// freePublic is a public address that nobody has: neither an instance, nor as an elastic one. The zero address says
// that there is none left. The caller holds s.mu.
func (s *Server) freePublic(o *overlay) netip.Addr {
	taken := map[netip.Addr]bool{}
	for _, record := range o.Instances {
		taken[record.Public] = true
	}
	for address := range o.elastic {
		taken[address] = true
	}
	prefix := s.config.Public.Masked()
	for address := prefix.Addr().Next().Next(); prefix.Contains(address.Next()); address = address.Next() {
		if !taken[address] {
			return address
		}
	}
	return netip.Addr{}
}

// hasElastic tells whether an instance has an elastic address.
func (o *overlay) hasElastic(id string) bool {
	for _, holder := range o.elastic {
		if holder == id {
			return true
		}
	}
	return false
}

// publicOf is the address by which an instance is reached from outside: its elastic one, else its automatic one.
func (s *Server) publicOf(id string, record instanceRecord) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if record.State == "terminated" {
		return ""
	}
	for address, holder := range s.overlay.elastic {
		if holder == id {
			return address.String()
		}
	}
	if record.Public.IsValid() {
		return record.Public.String()
	}
	return ""
}

// allocateAddress gives an elastic address of the local cloud's range.
func (s *Server) allocateAddress(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	c = c.Clone()
	s.mu.Lock()
	address := s.freePublic(&s.overlay)
	s.mu.Unlock()
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

// describeNatGateways applies the filters here: the server behind knows few, and lets everything pass the others.
func (s *Server) describeNatGateways(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	rest, filters, err := awsquery.TakeFilters(c, natFilters)
	if err != nil {
		return nil, err
	}
	described, err := s.ask(ctx, rest)
	if err != nil {
		return nil, err
	}
	set := described.At("natGatewaySet")
	set.Children = slices.DeleteFunc(set.Children, func(item *awsquery.Node) bool { return !filters.Pass(item) })
	return described, nil
}

// deleteNatGateway also gives up the gateway's address, which the server behind keeps bound to it.
func (s *Server) deleteNatGateway(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("NatGatewayId")
	described, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeNatGateways", "NatGatewayId.1", id))
	if err != nil {
		return nil, err
	}
	var nat *awsquery.Node
	for _, item := range described.Items("natGatewaySet") {
		if item.Get("natGatewayId") == id {
			nat = item
		}
	}
	if nat == nil {
		return nil, awsquery.Fault("NatGatewayNotFound", "NAT gateway %s was not found", id)
	}
	addresses, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeAddresses"))
	if err != nil {
		return nil, err
	}
	had := nat.All("natGatewayAddressSet", "*", "allocationId")
	for _, address := range addresses.Items("addressesSet") {
		if association := address.Get("associationId"); association != "" && slices.Contains(had, address.Get("allocationId")) {
			if _, err := s.forward(ctx, awsquery.NewCall("ec2", "DisassociateAddress", "AssociationId", association)); err != nil {
				return nil, err
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
		s.mu.Lock()
		loses := s.overlay.hasElastic(id) && record.Public.IsValid()
		s.mu.Unlock()
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
