package vpc

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

func (n *Network) deleteSubnet(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("SubnetId")
	r, err := n.read(ctx)
	if err != nil {
		return nil, err
	}
	for _, nic := range r.interfaces {
		// What a NAT gateway had stays behind in the records when it is gone.
		if nic.Get("subnetId") == id && nic.Get("attachment", "instanceId") != "" {
			return nil, awsquery.Fault(apierror.HasDependencies, "subnet", id).
				Adding("(%s)", nic.Get("networkInterfaceId"))
		}
	}
	for _, nat := range r.nats {
		if nat.Get("subnetId") == id && nat.Get("state") != "deleted" {
			return nil, awsquery.Fault(apierror.HasDependencies, "subnet", id).
				Adding("(%s)", nat.Get("natGatewayId"))
		}
	}
	answered, err := n.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, n.records.Update(func(o *records.State) {
		maps.DeleteFunc(o.Reservations, func(_ string, r records.Reservation) bool { return r.Subnet == id })
	})
}

func (n *Network) deleteVpc(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("VpcId")
	r, err := n.read(ctx)
	if err != nil {
		return nil, err
	}
	blocked := func(by string) error {
		return awsquery.Fault(apierror.HasDependencies, "vpc", id).Adding("(%s)", by)
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
	return n.Forward(ctx, c)
}

// elsewhere are ranges that no VPC can have: those of no network, and the one of this API.
var elsewhere = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("224.0.0.0/3"),
}

func possibleRange(text string) error {
	cidr, err := netip.ParsePrefix(text)
	if err != nil {
		return nil // moto says so, or takes it of a pool
	}
	if slices.ContainsFunc(elsewhere, cidr.Overlaps) {
		return awsquery.Fault(apierror.InvalidVpcRange, text)
	}
	return nil
}

// EC2 refuses to delete what something else depends on; moto, mostly, does not.

// createVpc completes a VPC's default group.
func (n *Network) createVpc(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	if err := possibleRange(c.Get("CidrBlock")); err != nil {
		return nil, err
	}
	answered, err := n.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := n.admitMembers(ctx, answered.Get("vpc", "vpcId")); err != nil {
		return nil, err
	}
	if err := n.Apply(ctx); err != nil {
		return nil, err
	}
	return answered, nil
}
