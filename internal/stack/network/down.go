package stack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
)

// NetworkDown removes the network, and refuses while an instance is in it. Of a VPC that was there before the stack only
// the stack's security groups go.
func (s *Stack) NetworkDown(ctx context.Context) error { return s.alone(ctx, s.networkDown) }

func (s *Stack) networkDown(ctx context.Context) error {
	n, err := s.FindNetwork(ctx)
	if err != nil {
		return err
	}
	if n.VPC == "" {
		s.say("stack %s has no network", s.name)
		return nil
	}
	in := types.Filter{Name: aws.String("vpc-id"), Values: []string{n.VPC}}
	if n.Existing {
		in = types.Filter{Name: aws.String("instance.group-id"), Values: known(n.WebGroup, n.DatabaseSG)}
	}
	out, err := s.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{in,
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}}}})
	if err != nil {
		return fmt.Errorf("look for instances in %s: %w", n.VPC, err)
	}
	if len(out.Reservations) > 0 {
		return fmt.Errorf("remove the network of stack %s: instance %s is in it\nhint: goldsmith destroy --stack %s", s.name, aws.ToString(out.Reservations[0].Instances[0].InstanceId), s.name)
	}
	if n.Existing { // what is left of it is somebody else's
		n = Network{WebGroup: n.WebGroup, DatabaseSG: n.DatabaseSG}
	}
	if err := s.removeNetwork(ctx, n); err != nil {
		return fmt.Errorf("remove the network of stack %s: %w\nhint: what is left stays; run this again to go on", s.name, err)
	}
	s.say("removed the network of stack %s", s.name)
	return nil
}

func (s *Stack) natGatewaysDeleted(ctx context.Context, ids ...string) error {
	waiter := ec2.NewNatGatewayDeletedWaiter(s.ec2, func(o *ec2.NatGatewayDeletedWaiterOptions) {
		o.MinDelay, o.Retryable = time.Second, await.Patient(o.Retryable)
	})
	return waiter.Wait(ctx, &ec2.DescribeNatGatewaysInput{NatGatewayIds: ids}, 5*time.Minute)
}

// removeNetwork goes backwards through what NetworkUp makes.
func (s *Stack) removeNetwork(ctx context.Context, n Network) error {
	if n.NAT != "" {
		if _, err := s.ec2.DeleteNatGateway(ctx, &ec2.DeleteNatGatewayInput{NatGatewayId: aws.String(n.NAT)}); err != nil {
			return err
		}
		if err := s.natGatewaysDeleted(ctx, n.NAT); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		id     string
		remove func(id *string) error
	}{
		{n.Address, func(id *string) error {
			_, err := s.ec2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: id})
			return err
		}},
		// Rules that name the other group keep it from being deleted.
		{n.WebGroup, s.clearGroup(ctx)}, {n.DatabaseSG, s.clearGroup(ctx)},
		{n.DatabaseSG, func(id *string) error {
			_, err := s.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: id})
			return err
		}},
		{n.WebGroup, func(id *string) error {
			_, err := s.ec2.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: id})
			return err
		}},
		{n.Public, func(id *string) error {
			_, err := s.ec2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: id})
			return err
		}},
		{n.Private, func(id *string) error {
			_, err := s.ec2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: id})
			return err
		}},
		{n.PublicTable, s.removeTable(ctx)}, {n.PrivateTable, s.removeTable(ctx)},
		{n.Gateway, func(id *string) error {
			_, err := s.ec2.DetachInternetGateway(ctx, &ec2.DetachInternetGatewayInput{InternetGatewayId: id, VpcId: aws.String(n.VPC)})
			if err != nil && code(err) != "Gateway.NotAttached" {
				return err
			}
			_, err = s.ec2.DeleteInternetGateway(ctx, &ec2.DeleteInternetGatewayInput{InternetGatewayId: id})
			return err
		}},
		{n.VPC, func(id *string) error {
			_, err := s.ec2.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: id})
			return err
		}},
	} {
		if part.id == "" {
			continue
		}
		if err := part.remove(aws.String(part.id)); err != nil && !awserr.NotFound(err) {
			return fmt.Errorf("%s: %w", part.id, err)
		}
	}
	return nil
}

// clearGroup takes all rules from a security group.
func (s *Stack) clearGroup(ctx context.Context) func(*string) error {
	return func(id *string) error {
		out, err := s.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{*id}})
		if err != nil {
			return err
		}
		if ingress := out.SecurityGroups[0].IpPermissions; len(ingress) > 0 {
			_, err = s.ec2.RevokeSecurityGroupIngress(ctx, &ec2.RevokeSecurityGroupIngressInput{GroupId: id, IpPermissions: ingress})
		}
		return err
	}
}

// removeTable takes a route table from its subnets first, where those are still there.
func (s *Stack) removeTable(ctx context.Context) func(*string) error {
	return func(id *string) error {
		out, err := s.ec2.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{*id}})
		if err != nil {
			return err
		}
		for _, table := range out.RouteTables {
			for _, association := range table.Associations {
				_, err := s.ec2.DisassociateRouteTable(ctx, &ec2.DisassociateRouteTableInput{AssociationId: association.RouteTableAssociationId})
				if err != nil && !awserr.NotFound(err) {
					return err
				}
			}
		}
		_, err = s.ec2.DeleteRouteTable(ctx, &ec2.DeleteRouteTableInput{RouteTableId: id})
		return err
	}
}

// Destroy removes the stack's instances, roles, parameters, key pair and network. Images and snapshots stay.
func (s *Stack) Destroy(ctx context.Context) error { return s.alone(ctx, s.destroy) }

func (s *Stack) destroy(ctx context.Context) error {
	// The group first: it would launch others in place of instances that end.
	if err := s.removeGroup(ctx); err != nil {
		return err
	}
	all, err := s.Instances(ctx)
	if err != nil {
		return err
	}
	var ids []string
	for _, i := range all {
		ids = append(ids, i.ID)
	}
	if err := s.terminate(ctx, ids...); err != nil {
		return err
	}
	if err := errors.Join(s.releaseAddress(ctx), s.deleteVolumes(ctx)); err != nil {
		return err
	}
	if err := s.removeRoles(ctx); err != nil {
		return err
	}
	records, err := s.History(ctx)
	if err != nil {
		return err
	}
	if err := s.deleteParameters(ctx, records); err != nil {
		return err
	}
	for _, name := range []string{"/db/app_password", "/db/ca", "/db/ca_key"} {
		if _, err := s.ssm.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: aws.String(s.parameters() + name)}); err != nil && code(err) != "ParameterNotFound" {
			return fmt.Errorf("delete parameter %s%s: %w", s.parameters(), name, err)
		}
	}
	if _, err := s.ec2.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: aws.String(s.keyName())}); err != nil && code(err) != "InvalidKeyPair.NotFound" {
		return fmt.Errorf("delete key pair %s: %w", s.keyName(), err)
	}
	return s.networkDown(ctx)
}
