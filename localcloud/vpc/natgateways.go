package vpc

import (
	"context"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// describeNatGateways applies the filters here: moto knows few, and lets everything pass the others.
func (n *Network) describeNatGateways(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	rest, filters, err := awsquery.TakeFilters(c, natFilters)
	if err != nil {
		return nil, err
	}
	described, err := n.moto.Ask(ctx, rest)
	if err != nil {
		return nil, err
	}
	set := described.At("natGatewaySet")
	set.Children = filters.Keep(set.Children)
	return described, nil
}

// deleteNatGateway also gives up the gateway's address, which moto keeps bound to it, and its network interface, which
// moto keeps for ever.
func (n *Network) deleteNatGateway(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("NatGatewayId")
	described, err := n.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeNatGateways", "NatGatewayId.1", id))
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
		return nil, awsquery.Fault(apierror.NatGatewayNotFound, id)
	}
	addresses, err := n.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeAddresses"))
	if err != nil {
		return nil, err
	}
	had := nat.All("natGatewayAddressSet", "*", "allocationId")
	for _, address := range addresses.Items("addressesSet") {
		if association := address.Get("associationId"); association != "" &&
			slices.Contains(had, address.Get("allocationId")) {
			if _, err = n.moto.Forward(ctx, awsquery.NewCall("ec2", "DisassociateAddress",
				"AssociationId", association)); err != nil {
				return nil, err
			}
		}
	}
	answered, err := n.Forward(ctx, c)
	if err != nil || nat.Get("state") == "deleted" {
		return answered, err
	}
	for _, id := range nat.All("natGatewayAddressSet", "*", "networkInterfaceId") {
		end := awsquery.NewCall("ec2", "DeleteNetworkInterface", "NetworkInterfaceId", id)
		if _, err = n.moto.Forward(ctx, end); err != nil {
			return nil, err
		}
	}
	return answered, nil
}

var natFilters = map[string]string{
	"nat-gateway-id": "natGatewayId",
	"state":          "state",
	"subnet-id":      "subnetId",
	"vpc-id":         "vpcId",
	"tag-key":        "tagSet/*/key",
	"tag-value":      "tagSet/*/value",
}
