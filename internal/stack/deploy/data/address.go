package data

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
)

// giveAddress moves the service address to an instance, from nobody or from another instance of the stack.
func (d *data) giveAddress(ctx context.Context, i stack.Instance) error {
	address := i.Detail.Service
	has := func(ctx context.Context) (bool, error) { return d.hasAddress(ctx, i) }
	if there, err := has(ctx); err != nil || there {
		return err
	}
	err := await.Until(ctx, await.Settle, func(ctx context.Context) (bool, error) {
		holder, err := d.holder(ctx, i.Detail.Subnet, address)
		if err != nil {
			return false, err
		}
		_, err = d.stack.EC2.AssignPrivateIpAddresses(ctx, &ec2.AssignPrivateIpAddressesInput{
			NetworkInterfaceId: aws.String(i.Detail.Interface),
			PrivateIpAddresses: []string{address},
			// What EC2 does not show as the stack's is not moved, also where it only does not show it yet.
			AllowReassignment: aws.Bool(holder != ""),
		})
		if holder == "" && awserr.AddressAssigned(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("give %s to %s: %w", address, i.ID, err)
	}
	if err = tier.AwaitAddress(ctx, address, i.ID, has); err == nil {
		d.run.Observer.Moved("the "+d.tier.Name+" tier's address "+address, i.ID)
	}
	return err
}

// holder is the instance of the stack that has an address as a secondary one, or empty where nobody has it. The address
// of anybody else is not to be moved, and a primary one cannot be.
func (d *data) holder(ctx context.Context, subnet, address string) (string, error) {
	out, err := d.stack.EC2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{
		Filters: []types.Filter{
			ec2ops.Filter("subnet-id", subnet),
			ec2ops.Filter("addresses.private-ip-address", address),
		},
	})
	if err != nil {
		return "", fmt.Errorf("find out who has %s: %w", address, err)
	}
	if len(out.NetworkInterfaces) == 0 {
		return "", nil
	}
	eni, id := out.NetworkInterfaces[0], "" // an address is of one interface of its subnet
	if eni.Attachment != nil {
		id = aws.ToString(eni.Attachment.InstanceId)
	}
	own, err := d.owns(ctx, id)
	if err != nil {
		return "", err
	}
	what := strings.TrimSpace(aws.ToString(eni.NetworkInterfaceId) + " " + id)
	if !own {
		return "", fmt.Errorf("%s belongs to %s, which is not stack %s's, and is not taken from it\n"+
			"hint: another service_address in tier %q of the stack file", address, what, d.stack.Name, d.tier.Name)
	}
	if aws.ToString(eni.PrivateIpAddress) == address {
		return "", fmt.Errorf("%s is the primary address of %s, and cannot move\nhint: end that instance, or "+
			"another service_address in tier %q of the stack file", address, what, d.tier.Name)
	}
	return id, nil
}

// owns tells whether an instance is the stack's.
func (d *data) owns(ctx context.Context, id string) (bool, error) {
	known := func(i stack.Instance) bool { return i.ID == id }
	if id == "" || slices.ContainsFunc(d.run.Instances, known) || slices.ContainsFunc(d.outcome.Launched, known) {
		return id != "", nil
	}
	found, err := ec2ops.Instance(ctx, d.stack.EC2, id)
	if awserr.NotFound(err) {
		return false, nil
	}
	return ec2ops.TagValue(found.Tags, stack.StackTag) == d.stack.Name, err
}

// checkAddress refuses, before anything is changed, a service address that cannot be given to a new instance.
func (d *data) checkAddress(ctx context.Context) error {
	l := d.decision.Launch
	if !d.decision.Replace || l.Subnet.ID == "" {
		return nil
	}
	if _, err := d.holder(ctx, l.Subnet.ID, l.Service); err != nil {
		return fmt.Errorf("give the %s tier of stack %s its address: %w", d.tier.Name, d.stack.Name, err)
	}
	return nil
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
