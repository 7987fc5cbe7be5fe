package api

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// An instance has the network interface that it was launched with. Others are records, but their addresses are taken.

// oneInterface refuses what would be a record only.
func (s *Server) oneInterface(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	return nil, awsquery.Fault("UnsupportedOperation",
		"an instance of the local cloud keeps the one network interface that it was launched with; %s is not to be had", c.Action())
}

// createNetworkInterface checks the addresses and groups, which the server behind takes as they come.
func (s *Server) createNetworkInterface(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	subnet, err := s.subnetRange(ctx, c.Get("SubnetId"))
	if err != nil {
		return nil, err
	}
	if err := s.haveGroups(ctx, c.List("SecurityGroupId")); err != nil {
		return nil, err
	}
	taken, err := s.takenIn(ctx, c.Get("SubnetId"))
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(c.Form)) {
		inList := strings.HasPrefix(name, "PrivateIpAddresses.") && strings.HasSuffix(name, ".PrivateIpAddress")
		if name != "PrivateIpAddress" && !inList {
			continue
		}
		address, err := netip.ParseAddr(c.Get(name))
		if err != nil || !subnet.Contains(address) || reserved(subnet, address) {
			return nil, awsquery.Fault("InvalidParameterValue", "Address %.60s does not fall within the usable addresses of subnet %s (%s)",
				c.Get(name), c.Get("SubnetId"), subnet)
		}
		if taken[address] {
			return nil, awsquery.Fault("InvalidIPAddress.InUse", "Address %s is in use.", address)
		}
	}
	return s.forwardNetwork(ctx, c)
}

// modifyNetworkInterface checks that the groups exist.
func (s *Server) modifyNetworkInterface(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	if err := s.haveGroups(ctx, c.List("SecurityGroupId")); err != nil {
		return nil, err
	}
	return s.forwardNetwork(ctx, c)
}

// subnetRange is the range of a subnet.
func (s *Server) subnetRange(ctx context.Context, id string) (netip.Prefix, error) {
	described, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeSubnets", "SubnetId.1", id))
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, subnet := range described.Items("subnetSet") {
		if subnet.Get("subnetId") == id {
			return netip.ParsePrefix(subnet.Get("cidrBlock"))
		}
	}
	return netip.Prefix{}, awsquery.Fault("InvalidSubnetID.NotFound", "The subnet ID '%.100s' does not exist", id)
}

// takenIn are the addresses in a subnet that an interface has. One that has none, of a version of this program that
// checked less, is not to cost the others.
func (s *Server) takenIn(ctx context.Context, subnet string) (map[netip.Addr]bool, error) {
	described, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeNetworkInterfaces",
		"Filter.1.Name", "subnet-id", "Filter.1.Value.1", subnet))
	if err != nil {
		return nil, err
	}
	taken := map[netip.Addr]bool{}
	for _, eni := range described.Items("networkInterfaceSet") {
		addresses, err := privateAddresses(eni)
		if err != nil {
			s.leftOut(eni.Get("networkInterfaceId"), err)
			continue
		}
		for _, address := range addresses {
			taken[address] = true
		}
	}
	return taken, nil
}
