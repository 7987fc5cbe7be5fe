package data

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
)

// giveAddress moves the service address to an instance, whoever had it.
func (d *data) giveAddress(ctx context.Context, i stack.Instance) error {
	address := i.Detail.Service
	has := func(ctx context.Context) (bool, error) { return d.hasAddress(ctx, i) }
	if there, err := has(ctx); err != nil || there {
		return err
	}
	_, err := d.stack.EC2.AssignPrivateIpAddresses(ctx, &ec2.AssignPrivateIpAddressesInput{
		NetworkInterfaceId: aws.String(i.Detail.Interface),
		PrivateIpAddresses: []string{address},
		AllowReassignment:  aws.Bool(true),
	})
	if err != nil {
		return fmt.Errorf("give %s to %s: %w", address, i.ID, err)
	}
	if err = tier.AwaitAddress(ctx, address, i.ID, has); err == nil {
		d.run.Observer.Moved("the database's address "+address, i.ID)
	}
	return err
}

// hasAddress tells whether an instance has its service address; one that is not to have one has what it needs.
func (d *data) hasAddress(ctx context.Context, i stack.Instance) (bool, error) {
	if i.Detail.Service == "" {
		return true, nil
	}
	out, err := d.stack.EC2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{
		NetworkInterfaceIds: []string{i.Detail.Interface},
	})
	if err != nil {
		return false, fmt.Errorf("look at the addresses of %s: %w", i.ID, err)
	}
	for _, eni := range out.NetworkInterfaces {
		if slices.ContainsFunc(eni.PrivateIpAddresses, func(a types.NetworkInterfacePrivateIpAddress) bool {
			return aws.ToString(a.PrivateIpAddress) == i.Detail.Service
		}) {
			return true, nil
		}
	}
	return false, nil
}
