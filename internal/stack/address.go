package stack

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// webAddress is the elastic address that the web tier is reached by; nil where there is none yet.
func (s *Stack) webAddress(ctx context.Context) (*types.Address, error) {
	out, err := s.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: s.mine("tag:"+addressTag, "web")})
	if err != nil {
		return nil, fmt.Errorf("find the address of stack %s: %w", s.name, err)
	}
	if len(out.Addresses) == 0 {
		return nil, nil
	}
	return &out.Addresses[0], nil
}

func (s *Stack) ensureAddress(ctx context.Context) (types.Address, error) {
	found, err := s.webAddress(ctx)
	if err != nil {
		return types.Address{}, err
	}
	if found != nil {
		return *found, nil
	}
	made, err := s.ec2.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc, TagSpecifications: s.tagged(types.ResourceTypeElasticIp, s.name+"-web", addressTag, "web")})
	if err != nil {
		return types.Address{}, fmt.Errorf("allocate the address of stack %s: %w", s.name, err)
	}
	s.say("made elastic IP %s", aws.ToString(made.PublicIp))
	return types.Address{AllocationId: made.AllocationId, PublicIp: made.PublicIp}, nil
}

// giveAddress moves the elastic address to an instance, whoever had it.
func (s *Stack) giveAddress(ctx context.Context, address types.Address, id string) error {
	_, err := s.ec2.AssociateAddress(ctx, &ec2.AssociateAddressInput{AllocationId: address.AllocationId, InstanceId: aws.String(id), AllowReassociation: aws.Bool(true)})
	if err != nil {
		return fmt.Errorf("give %s to %s: %w", aws.ToString(address.PublicIp), id, err)
	}
	return nil
}

// releaseAddress gives the elastic address back.
func (s *Stack) releaseAddress(ctx context.Context) error {
	found, err := s.webAddress(ctx)
	if err != nil || found == nil {
		return err
	}
	if found.AssociationId != nil {
		if _, err := s.ec2.DisassociateAddress(ctx, &ec2.DisassociateAddressInput{AssociationId: found.AssociationId}); err != nil && code(err) != "InvalidAssociationID.NotFound" {
			return fmt.Errorf("take %s from its instance: %w", aws.ToString(found.PublicIp), err)
		}
	}
	if _, err := s.ec2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: found.AllocationId}); err != nil {
		return fmt.Errorf("release %s: %w", aws.ToString(found.PublicIp), err)
	}
	return nil
}

// giveServiceAddress moves the database's address to an instance, whoever had it.
func (s *Stack) giveServiceAddress(ctx context.Context, i Instance) error {
	if i.service == "" || slices.Contains(i.secondary, i.service) {
		return nil
	}
	_, err := s.ec2.AssignPrivateIpAddresses(ctx, &ec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: aws.String(i.eni), PrivateIpAddresses: []string{i.service}, AllowReassignment: aws.Bool(true)})
	if err != nil {
		return fmt.Errorf("give %s to %s: %w", i.service, i.ID, err)
	}
	return nil
}
