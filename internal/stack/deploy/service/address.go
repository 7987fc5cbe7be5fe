package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
)

// webAddress is the elastic address that the web tier is reached by; nil where there is none yet.
func (s *Stack) webAddress(ctx context.Context) (*types.Address, error) {
	out, err := s.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: s.mine("tag:"+addressTag, "web")})
	if err != nil {
		return nil, fmt.Errorf("find the address of stack %s: %w", s.name, err)
	}
	// The answer to an allocation may have been lost, and the next have made another: the one that is used counts.
	var found *types.Address
	for i := range out.Addresses {
		if found == nil || found.AssociationId == nil && out.Addresses[i].AssociationId != nil {
			found = &out.Addresses[i]
		}
	}
	return found, nil
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
	err = arrived(ctx, aws.ToString(address.PublicIp), id, func(ctx context.Context) (bool, error) {
		i, err := s.describe(ctx, id)
		return err == nil && i.Public == aws.ToString(address.PublicIp), err
	})
	if err == nil {
		s.observer.moved("the page's address "+aws.ToString(address.PublicIp), id)
	}
	return err
}

// moveLimit is how long EC2 may take to show that an address has moved.
const moveLimit = time.Minute

// arrived waits until an instance has an address.
func arrived(ctx context.Context, address, id string, has func(context.Context) (bool, error)) error {
	err := await.Until(ctx, moveLimit, has)
	if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("give %s to %s: EC2 says that it did, and after %s %s does not have it: %w", address, id, moveLimit, id, err)
	}
	return err
}

// releaseAddress gives the elastic address back, and others of its kind.
func (s *Stack) releaseAddress(ctx context.Context) error {
	out, err := s.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: s.mine("tag:"+addressTag, "web")})
	if err != nil {
		return fmt.Errorf("find the address of stack %s: %w", s.name, err)
	}
	for _, found := range out.Addresses {
		if found.AssociationId != nil {
			if _, err := s.ec2.DisassociateAddress(ctx, &ec2.DisassociateAddressInput{AssociationId: found.AssociationId}); err != nil && code(err) != "InvalidAssociationID.NotFound" {
				return fmt.Errorf("take %s from its instance: %w", aws.ToString(found.PublicIp), err)
			}
		}
		if _, err := s.ec2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: found.AllocationId}); err != nil {
			return fmt.Errorf("release %s: %w", aws.ToString(found.PublicIp), err)
		}
	}
	return nil
}

// giveServiceAddress moves the database's address to an instance, whoever had it.
func (s *Stack) giveServiceAddress(ctx context.Context, i Instance) error {
	has := func(ctx context.Context) (bool, error) { return s.hasServiceAddress(ctx, i) }
	if there, err := has(ctx); err != nil || there {
		return err
	}
	_, err := s.ec2.AssignPrivateIpAddresses(ctx, &ec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: aws.String(i.eni), PrivateIpAddresses: []string{i.service}, AllowReassignment: aws.Bool(true)})
	if err != nil {
		return fmt.Errorf("give %s to %s: %w", i.service, i.ID, err)
	}
	if err = arrived(ctx, i.service, i.ID, has); err == nil {
		s.observer.moved("the database's address "+i.service, i.ID)
	}
	return err
}

// hasServiceAddress tells whether an instance has the database's address; one that is not to have one has what it needs.
func (s *Stack) hasServiceAddress(ctx context.Context, i Instance) (bool, error) {
	if i.service == "" {
		return true, nil
	}
	out, err := s.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{i.eni}})
	if err != nil {
		return false, fmt.Errorf("look at the addresses of %s: %w", i.ID, err)
	}
	return slices.ContainsFunc(out.NetworkInterfaces[0].PrivateIpAddresses, func(a types.NetworkInterfacePrivateIpAddress) bool {
		return aws.ToString(a.PrivateIpAddress) == i.service
	}), nil
}
