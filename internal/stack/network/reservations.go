package network

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

// reservations keep the service address of each data tier free: of an explicit reservation EC2 gives nothing to an
// interface that does not ask for it (Amazon VPC User Guide, Subnet CIDR reservations). Without one an instance may get
// it as its primary address, which cannot move. What has it already keeps it.
func (u *update) reservations(ctx context.Context) error {
	for _, t := range u.stack.Tiers {
		if t.Kind != stack.DataTier {
			continue
		}
		address, err := t.Data.AddressIn(u.rangeOf(t.Subnet))
		if err != nil {
			return fmt.Errorf("service_address: %w", err)
		}
		subnet := ""
		if there := u.n.Subnets[t.Subnet]; len(there) > 0 {
			subnet = there[0].ID
		}
		if err := u.reserve(ctx, t, subnet, address); err != nil {
			return err
		}
	}
	return nil
}

func (u *update) reserve(ctx context.Context, t stack.Tier, subnet string, address netip.Addr) error {
	if subnet != "" {
		all, err := reservationsOf(ctx, u.stack, subnet)
		if err != nil {
			return err
		}
		for _, r := range all {
			cidr, err := netip.ParsePrefix(aws.ToString(r.Cidr))
			if err == nil && cidr.Contains(address) && r.ReservationType == types.SubnetCidrReservationTypeExplicit {
				return nil
			}
		}
	}
	change := plan.Change{
		Action: plan.Create,
		What:   fmt.Sprintf("reservation of %s, where %s is found", address, t.Name),
		Reason: plan.Missing,
	}
	return u.do(change, func() (string, error) {
		out, err := u.stack.EC2.CreateSubnetCidrReservation(ctx, &ec2.CreateSubnetCidrReservationInput{
			SubnetId:        aws.String(subnet),
			Cidr:            aws.String(netip.PrefixFrom(address, address.BitLen()).String()),
			ReservationType: types.SubnetCidrReservationTypeExplicit,
			TagSpecifications: u.stack.TagsFor(types.ResourceTypeSubnetCidrReservation, u.stack.Name+"-"+t.Name,
				stack.TierTag, t.Name),
		})
		if err != nil {
			return "", err
		}
		return aws.ToString(out.SubnetCidrReservation.SubnetCidrReservationId), nil
	})
}

// reservationsOf are the reserved IPv4 ranges of a subnet.
func reservationsOf(ctx context.Context, s *stack.Stack, subnet string) ([]types.SubnetCidrReservation, error) {
	var all []types.SubnetCidrReservation
	input := &ec2.GetSubnetCidrReservationsInput{SubnetId: aws.String(subnet)}
	for {
		out, err := s.EC2.GetSubnetCidrReservations(ctx, input)
		if err != nil {
			return nil, err
		}
		all = append(all, out.SubnetIpv4CidrReservations...)
		if aws.ToString(out.NextToken) == "" {
			return all, nil
		}
		input.NextToken = out.NextToken
	}
}

// removeSubnet ends the stack's reservations first.
func removeSubnet(ctx context.Context, s *stack.Stack) func(*string) error {
	return func(id *string) error {
		all, err := reservationsOf(ctx, s, *id)
		if err != nil {
			return err
		}
		for _, r := range all {
			if ec2ops.TagValue(r.Tags, stack.StackTag) != s.Name {
				continue
			}
			_, err = s.EC2.DeleteSubnetCidrReservation(ctx, &ec2.DeleteSubnetCidrReservationInput{
				SubnetCidrReservationId: r.SubnetCidrReservationId,
			})
			if err != nil && !awserr.NotFound(err) {
				return err
			}
		}
		_, err = s.EC2.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: id})
		return err
	}
}
