package vpc

import (
	"context"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// OpenDefaultVPC gives the default VPC its way to the internet and its group's rule, which moto leaves out.
// It is done once, in calls that are the first of the journal; later the VPC is its users'.
func (n *Network) OpenDefaultVPC(ctx context.Context) error {
	vpc, err := n.defaultVPC(ctx)
	if err != nil || vpc == "" {
		return err // it was deleted
	}
	steps := []func(ctx context.Context, vpc string) error{
		n.createGateway,
		n.attachGateway,
		n.routeToGateway,
		n.admitMembers,
	}
	// A crash may have come between two of them.
	for i := len(n.moto.Journaled()); err == nil && i < len(steps); i++ {
		err = steps[i](ctx, vpc)
	}
	return err
}

func (n *Network) createGateway(ctx context.Context, _ string) error {
	_, err := n.moto.Forward(ctx, awsquery.NewCall("ec2", "CreateInternetGateway"))
	return err
}

// defaultGateway is the id of the first internet gateway, which the default VPC gets.
func (n *Network) defaultGateway(ctx context.Context) (string, error) {
	return n.moto.First(ctx, awsquery.NewCall("ec2", "DescribeInternetGateways"), "internetGatewaySet",
		"internetGatewayId")
}

func (n *Network) attachGateway(ctx context.Context, vpc string) error {
	gateway, err := n.defaultGateway(ctx)
	if err != nil {
		return err
	}
	_, err = n.moto.Forward(ctx, awsquery.NewCall("ec2", "AttachInternetGateway", "InternetGatewayId", gateway,
		"VpcId", vpc))
	return err
}

func (n *Network) routeToGateway(ctx context.Context, vpc string) error {
	gateway, err := n.defaultGateway(ctx)
	if err != nil {
		return err
	}
	table, err := n.moto.First(ctx, awsquery.NewCall("ec2", "DescribeRouteTables", "Filter.1.Name", "vpc-id",
		"Filter.1.Value.1", vpc), "routeTableSet", "routeTableId")
	if err != nil {
		return err
	}
	_, err = n.moto.Forward(ctx, awsquery.NewCall("ec2", "CreateRoute", "RouteTableId", table,
		"DestinationCidrBlock", "0.0.0.0/0", "GatewayId", gateway))
	return err
}

// defaultVPC is the id of the default VPC, or empty if it was deleted.
func (n *Network) defaultVPC(ctx context.Context) (string, error) {
	described, err := n.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeVpcs", "Filter.1.Name", "isDefault",
		"Filter.1.Value.1", "true"))
	if err != nil {
		return "", err
	}
	for _, vpc := range described.Items("vpcSet") {
		return vpc.Get("vpcId"), nil
	}
	return "", nil
}

// admitMembers has the default group of a VPC admit everything from its own members, as EC2's do.
func (n *Network) admitMembers(ctx context.Context, vpc string) error {
	group, err := n.moto.First(ctx, awsquery.NewCall("ec2", "DescribeSecurityGroups", "Filter.1.Name", "vpc-id",
		"Filter.1.Value.1", vpc,
		"Filter.2.Name", "group-name", "Filter.2.Value.1", "default"), "securityGroupInfo", "groupId")
	if err != nil {
		return err
	}
	_, err = n.moto.Forward(ctx, awsquery.NewCall("ec2", "AuthorizeSecurityGroupIngress", "GroupId", group,
		"IpPermissions.1.IpProtocol", "-1", "IpPermissions.1.Groups.1.GroupId", group))
	return err
}
