package vpc

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/eni"
)

// assign gives an interface secondary addresses. Moto would give any, also those that another interface has; here one
// that is another's moves only if the request says so, and only if it is secondary there.
func (s *Interfaces) assign(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	nic, subnet, err := s.find(ctx, c.Get("NetworkInterfaceId"))
	if err != nil {
		return nil, err
	}
	wanted := c.List("PrivateIpAddress")
	if len(wanted) == 0 {
		return nil, awsquery.Faultf(apierror.UnsupportedOperation,
			"the local cloud assigns those secondary addresses that the request names")
	}
	described, err := s.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeNetworkInterfaces",
		"Filter.1.Name", "subnet-id", "Filter.1.Value.1", nic.Get("subnetId")))
	if err != nil {
		return nil, err
	}
	others := described.Items("networkInterfaceSet")
	moves := map[string][]string{}
	for _, text := range wanted {
		address, err := netip.ParseAddr(text)
		if err != nil || !subnet.Contains(address) || eni.Reserved(subnet, address) {
			return nil, awsquery.Faultf(apierror.InvalidParameterValue,
				"Address %s does not fall within the usable addresses of subnet %s (%s)",
				text, nic.Get("subnetId"), subnet)
		}
		holder, err := movable(others, nic, address, c.Get("AllowReassignment") == "true")
		if err != nil {
			return nil, err
		}
		if holder != "" {
			moves[holder] = append(moves[holder], text)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(moves)) {
		unassign := awsquery.NewCall("ec2", "UnassignPrivateIpAddresses", "NetworkInterfaceId", id)
		if _, err := s.moto.Forward(ctx, unassign.With("PrivateIpAddress", moves[id]...)); err != nil {
			return nil, err
		}
	}
	return s.network.Forward(ctx, c)
}

// movable is the interface that an address is to be taken from for another one, or empty if no other has it.
func movable(all []*awsquery.Node, to *awsquery.Node, address netip.Addr, allowed bool) (string, error) {
	for _, other := range all {
		held, err := eni.PrivateAddresses(other)
		if err != nil {
			continue
		}
		id := other.Get("networkInterfaceId")
		switch i := slices.Index(held, address); {
		case i < 0 || id == to.Get("networkInterfaceId"):
		case i == 0:
			return "", awsquery.Faultf(apierror.InvalidParameterValue,
				"Address %s is the primary address of %s, and cannot be reassigned", address, id)
		case !allowed:
			return "", awsquery.Fault(apierror.AddressAssigned, address)
		default:
			return id, nil
		}
	}
	return "", nil
}

// unassign takes secondary addresses away; moto would take the primary one too.
func (s *Interfaces) unassign(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	nic, _, err := s.find(ctx, c.Get("NetworkInterfaceId"))
	if err != nil {
		return nil, err
	}
	held, err := eni.PrivateAddresses(nic)
	if err != nil {
		return nil, err
	}
	for _, text := range c.List("PrivateIpAddress") {
		address, err := netip.ParseAddr(text)
		if i := slices.Index(held, address); err != nil || i < 1 {
			return nil, awsquery.Faultf(apierror.InvalidParameterValue,
				"Some of the specified addresses are not assigned to interface %s as secondary ones: %s",
				nic.Get("networkInterfaceId"), text)
		}
	}
	return s.network.Forward(ctx, c)
}

// find is a network interface and the range of its subnet.
func (s *Interfaces) find(ctx context.Context, id string) (*awsquery.Node, netip.Prefix, error) {
	described, err := s.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeNetworkInterfaces", "NetworkInterfaceId.1", id))
	if err != nil {
		return nil, netip.Prefix{}, err
	}
	for _, nic := range described.Items("networkInterfaceSet") {
		if nic.Get("networkInterfaceId") != id {
			continue
		}
		prefix, err := s.network.subnetRange(ctx, nic.Get("subnetId"))
		return nic, prefix, err
	}
	return nil, netip.Prefix{}, awsquery.Fault(apierror.InvalidNetworkInterfaceIDNotFound, id)
}
