package service

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

// ensureAddress makes the elastic address of a tier where there is none.
func ensureAddress(ctx context.Context, run *tier.Run, t stack.Tier) (types.Address, error) {
	s := run.Stack
	found, err := s.ElasticAddress(ctx, t)
	if err != nil {
		return types.Address{}, err
	}
	if found != nil {
		return *found, nil
	}
	var address types.Address
	change := plan.Change{Action: plan.Create, What: "elastic IP of the " + t.Name + " tier", Reason: plan.Missing}
	err = run.Act.Do(change, func() (string, error) {
		made, failed := s.EC2.AllocateAddress(ctx, &ec2.AllocateAddressInput{
			Domain:            types.DomainTypeVpc,
			TagSpecifications: s.TagsFor(types.ResourceTypeElasticIp, s.Name+"-"+t.Name, stack.AddressTag, t.Name),
		})
		if failed != nil {
			return "", fmt.Errorf("allocate the address of stack %s: %w", s.Name, failed)
		}
		s.Logf("made elastic IP %s", aws.ToString(made.PublicIp))
		address = types.Address{AllocationId: made.AllocationId, PublicIp: made.PublicIp}
		return aws.ToString(made.PublicIp), nil
	})
	return address, err
}

// giveAddress moves the elastic address of a tier to an instance, whoever had it.
func giveAddress(ctx context.Context, run *tier.Run, of stack.Tier, address types.Address, id string) error {
	ip := aws.ToString(address.PublicIp)
	_, err := run.Stack.EC2.AssociateAddress(ctx, &ec2.AssociateAddressInput{
		AllocationId:       address.AllocationId,
		InstanceId:         aws.String(id),
		AllowReassociation: aws.Bool(true),
	})
	if err != nil {
		return fmt.Errorf("give %s to %s: %w", ip, id, err)
	}
	err = tier.AwaitAddress(ctx, ip, id, func(ctx context.Context) (bool, error) {
		i, failed := run.Stack.Describe(ctx, id)
		return failed == nil && i.Public == ip, failed
	})
	if err == nil {
		run.Observer.Moved("the "+of.Name+" tier's address "+ip, id)
	}
	return err
}

// releaseAddresses gives back the elastic addresses that are tagged as being of this kind.
func releaseAddresses(ctx context.Context, s *stack.Stack, kind string) error {
	filters := s.OwnFilters("tag:"+stack.AddressTag, kind)
	out, err := s.EC2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: filters})
	if err != nil {
		return fmt.Errorf("find the addresses of stack %s: %w", s.Name, err)
	}
	for _, found := range out.Addresses {
		if found.AssociationId != nil {
			input := &ec2.DisassociateAddressInput{AssociationId: found.AssociationId}
			_, err := s.EC2.DisassociateAddress(ctx, input)
			if err != nil && !awserr.Is(err, apierror.InvalidAssociationIDNotFound) {
				return fmt.Errorf("take %s from its instance: %w", aws.ToString(found.PublicIp), err)
			}
		}
		_, err := s.EC2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: found.AllocationId})
		if err != nil {
			return fmt.Errorf("release %s: %w", aws.ToString(found.PublicIp), err)
		}
		s.Logf("released elastic IP %s", aws.ToString(found.PublicIp))
	}
	return nil
}
