package network

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
)

// Down removes the network, and refuses while an instance is in it. Of a VPC that was there before the stack only
// the stack's security groups go.
func Down(ctx context.Context, s *stack.Stack) error {
	return record.WithLock(ctx, s, func(ctx context.Context) error { return Remove(ctx, s) })
}

// Remove is Down for a caller that has the lock.
func Remove(ctx context.Context, s *stack.Stack) error {
	n, err := Find(ctx, s)
	if err != nil {
		return err
	}
	if n.VPC == "" {
		s.Logf("stack %s has no network", s.Name)
		return nil
	}
	in := types.Filter{Name: aws.String("vpc-id"), Values: []string{n.VPC}}
	if n.Existing {
		in = types.Filter{Name: aws.String("instance.group-id"), Values: n.groupIDs()}
	}
	out, err := s.EC2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{in,
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}}}})
	if err != nil {
		return fmt.Errorf("look for instances in %s: %w", n.VPC, err)
	}
	if len(out.Reservations) > 0 {
		return fmt.Errorf("remove the network of stack %s: instance %s is in it\nhint: goldsmith destroy --stack %s",
			s.Name, aws.ToString(out.Reservations[0].Instances[0].InstanceId), s.Name)
	}
	if n.Existing { // what is left of it is somebody else's
		n = Network{Groups: n.Groups}
	}
	if err := removeParts(ctx, s, n); err != nil {
		return fmt.Errorf("remove the network of stack %s: %w\nhint: what is left stays; run this again to go on",
			s.Name, err)
	}
	s.Logf("removed the network of stack %s", s.Name)
	return nil
}

// natLimit is how long a NAT gateway may take to come or to go.
const natLimit = 5 * time.Minute

func natGatewayDeleted(ctx context.Context, s *stack.Stack, id string) error {
	limited, cancel := context.WithTimeout(ctx, natLimit)
	defer cancel()
	return ec2ops.UntilNATDeleted(limited, s.EC2, id)
}

// groupIDs are the security groups that are there.
func (n Network) groupIDs() []string {
	ids := slices.Sorted(maps.Values(n.Groups))
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" })
}

// removeParts removes the parts that Ensure makes, in reverse order.
func removeParts(ctx context.Context, s *stack.Stack, n Network) error {
	if n.NAT != "" {
		input := &ec2.DeleteNatGatewayInput{NatGatewayId: aws.String(n.NAT)}
		if _, err := s.EC2.DeleteNatGateway(ctx, input); err != nil {
			return err
		}
		if err := natGatewayDeleted(ctx, s, n.NAT); err != nil {
			return err
		}
	}
	parts := []part{{n.Address, func(id *string) error {
		_, err := s.EC2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: id})
		return err
	}}}
	// Rules that name the other group keep it from being deleted.
	for _, t := range s.Tiers {
		parts = append(parts, part{n.Groups[t.Name], clearGroup(ctx, s)})
	}
	for _, t := range s.Tiers {
		parts = append(parts, part{n.Groups[t.Name], func(id *string) error {
			_, err := s.EC2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: id})
			return err
		}})
	}
	for _, subnet := range []string{n.Public, n.Private} {
		parts = append(parts, part{subnet, removeSubnet(ctx, s)})
	}
	parts = append(parts,
		part{n.PublicTable, removeTable(ctx, s)},
		part{n.PrivateTable, removeTable(ctx, s)},
		part{n.Gateway, removeGateway(ctx, s, n.VPC)},
		part{n.VPC, func(id *string) error {
			_, err := s.EC2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: id})
			return err
		}})
	for _, part := range parts {
		if part.id == "" {
			continue
		}
		if err := part.remove(aws.String(part.id)); err != nil && !awserr.NotFound(err) {
			return fmt.Errorf("%s: %w", part.id, err)
		}
	}
	return nil
}

// part is one of a network's, with how it is removed.
type part struct {
	id     string
	remove func(id *string) error
}

func removeGateway(ctx context.Context, s *stack.Stack, vpc string) func(*string) error {
	return func(id *string) error {
		detach := &ec2.DetachInternetGatewayInput{InternetGatewayId: id, VpcId: aws.String(vpc)}
		_, err := s.EC2.DetachInternetGateway(ctx, detach)
		if err != nil && !awserr.Is(err, apierror.GatewayNotAttached) {
			return err
		}
		_, err = s.EC2.DeleteInternetGateway(ctx, &ec2.DeleteInternetGatewayInput{InternetGatewayId: id})
		return err
	}
}

// clearGroup takes all rules from a security group.
func clearGroup(ctx context.Context, s *stack.Stack) func(*string) error {
	return func(id *string) error {
		group, err := ec2ops.SecurityGroup(ctx, s.EC2, *id)
		if err != nil {
			return err
		}
		if ingress := group.IpPermissions; len(ingress) > 0 {
			_, err = s.EC2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{
				GroupId:       id,
				IpPermissions: ingress,
			})
		}
		return err
	}
}

// removeTable takes a route table from its subnets first, where those are still there.
func removeTable(ctx context.Context, s *stack.Stack) func(*string) error {
	return func(id *string) error {
		table, err := ec2ops.RouteTable(ctx, s.EC2, *id)
		if err != nil {
			return err
		}
		for _, association := range table.Associations {
			_, err = s.EC2.DisassociateRouteTable(ctx,
				&ec2.DisassociateRouteTableInput{AssociationId: association.RouteTableAssociationId})
			if err != nil && !awserr.NotFound(err) {
				return err
			}
		}
		_, err = s.EC2.DeleteRouteTable(ctx, &ec2.DeleteRouteTableInput{RouteTableId: id})
		return err
	}
}
