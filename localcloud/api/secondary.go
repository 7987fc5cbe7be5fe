package api

import (
	"context"
	"net/netip"
	"slices"
)

// assignPrivateIPAddresses gives an interface secondary addresses. The server behind would give any, also those that
// another interface has; here one that is another's moves only if the request says so, and only if it is secondary there.
func (s *Server) assignPrivateIPAddresses(ctx context.Context, c *call) (*node, error) {
	eni, subnet, err := s.interfaceIn(ctx, c.get("NetworkInterfaceId"))
	if err != nil {
		return nil, err
	}
	l := &launch{subnet: subnet}
	wanted := c.list("PrivateIpAddress")
	if len(wanted) == 0 {
		return nil, fault("UnsupportedOperation", "the local cloud assigns those secondary addresses that the request names")
	}
	described, err := s.ask(ctx, newCall("ec2", "DescribeNetworkInterfaces", "Filter.1.Name", "subnet-id", "Filter.1.Value.1", eni.get("subnetId")))
	if err != nil {
		return nil, err
	}
	moves := map[string][]string{}
	for _, text := range wanted {
		address, err := netip.ParseAddr(text)
		if err != nil || !subnet.Contains(address) || l.reserved(address) {
			return nil, fault("InvalidParameterValue", "Address %s does not fall within the usable addresses of subnet %s (%s)", text, eni.get("subnetId"), subnet)
		}
		for _, other := range described.items("networkInterfaceSet") {
			held, err := privateAddresses(other)
			if err != nil {
				continue
			}
			id := other.get("networkInterfaceId")
			switch i := slices.Index(held, address); {
			case i < 0 || id == eni.get("networkInterfaceId"):
			case i == 0:
				return nil, fault("InvalidParameterValue", "Address %s is the primary address of %s, and cannot be reassigned", text, id)
			case c.get("AllowReassignment") != "true":
				return nil, fault("InvalidParameterValue", "Address %s is assigned to %s already; AllowReassignment would move it", text, id)
			default:
				moves[id] = append(moves[id], text)
			}
		}
	}
	for id, addresses := range moves {
		if _, err := s.forward(ctx, newCall("ec2", "UnassignPrivateIpAddresses", "NetworkInterfaceId", id).with("PrivateIpAddress", addresses...)); err != nil {
			return nil, err
		}
	}
	return s.forwardNetwork(ctx, c)
}

// unassignPrivateIPAddresses takes secondary addresses away; the server behind would take the primary one too.
func (s *Server) unassignPrivateIPAddresses(ctx context.Context, c *call) (*node, error) {
	eni, _, err := s.interfaceIn(ctx, c.get("NetworkInterfaceId"))
	if err != nil {
		return nil, err
	}
	held, err := privateAddresses(eni)
	if err != nil {
		return nil, err
	}
	for _, text := range c.list("PrivateIpAddress") {
		address, err := netip.ParseAddr(text)
		if i := slices.Index(held, address); err != nil || i < 1 {
			return nil, fault("InvalidParameterValue", "Some of the specified addresses are not assigned to interface %s as secondary ones: %s", eni.get("networkInterfaceId"), text)
		}
	}
	return s.forwardNetwork(ctx, c)
}

// interfaceIn is a network interface and the range of its subnet.
func (s *Server) interfaceIn(ctx context.Context, id string) (*node, netip.Prefix, error) {
	described, err := s.ask(ctx, newCall("ec2", "DescribeNetworkInterfaces", "NetworkInterfaceId.1", id))
	if err != nil {
		return nil, netip.Prefix{}, err
	}
	for _, eni := range described.items("networkInterfaceSet") {
		if eni.get("networkInterfaceId") != id {
			continue
		}
		prefix, err := s.subnetRange(ctx, eni.get("subnetId"))
		return eni, prefix, err
	}
	return nil, netip.Prefix{}, fault("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", id)
}
