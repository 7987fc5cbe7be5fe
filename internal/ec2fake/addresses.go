package ec2fake

import (
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
)

func newAddresses(store *resource.Store) resource.Table[types.Address] {
	return resource.Table[types.Address]{
		Store:   store,
		Missing: apierror.InvalidAllocationIDNotFound,
		Tags:    func(a *types.Address) *[]types.Tag { return &a.Tags },
		Values: func(a *types.Address, name string) []string {
			return map[string][]string{
				"public-ip":     {aws.ToString(a.PublicIp)},
				"allocation-id": {aws.ToString(a.AllocationId)},
				"instance-id":   {aws.ToString(a.InstanceId)},
			}[name]
		},
	}
}

func interfaceValues(i *types.NetworkInterface, name string) []string {
	addresses := []string{}
	for _, a := range i.PrivateIpAddresses {
		addresses = append(addresses, aws.ToString(a.PrivateIpAddress))
	}
	attached := ""
	if i.Attachment != nil {
		attached = aws.ToString(i.Attachment.InstanceId)
	}
	return map[string][]string{
		"description":            {aws.ToString(i.Description)},
		"vpc-id":                 {aws.ToString(i.VpcId)},
		"subnet-id":              {aws.ToString(i.SubnetId)},
		"attachment.instance-id": {attached},

		"addresses.private-ip-address": addresses,
	}[name]
}

var addressOperations = resource.Join(
	resource.Op(allocateAddress), resource.Op(describeAddresses), resource.Op(associateAddress),
	resource.Op(disassociateAddress), resource.Op(releaseAddress),
)

func allocateAddress(r *Region, in *ec2.AllocateAddressInput) (*ec2.AllocateAddressOutput, error) {
	ip := aws.String("198.51.100." + strconv.Itoa(r.store.Numbers.Next("elastic")))
	made := r.compute.addresses.Create("eipalloc", types.ResourceTypeElasticIp, in.TagSpecifications,
		func(id string) *types.Address {
			return &types.Address{AllocationId: aws.String(id), PublicIp: ip, Domain: in.Domain}
		})
	return &ec2.AllocateAddressOutput{AllocationId: made.AllocationId, PublicIp: ip, Domain: in.Domain}, nil
}

func describeAddresses(r *Region, in *ec2.DescribeAddressesInput) (*ec2.DescribeAddressesOutput, error) {
	found, err := r.compute.addresses.Describe(in.AllocationIds, in.Filters)
	found = slices.DeleteFunc(found, func(a types.Address) bool {
		return len(in.PublicIps) > 0 && !slices.Contains(in.PublicIps, aws.ToString(a.PublicIp))
	})
	return &ec2.DescribeAddressesOutput{Addresses: found}, err
}

func associateAddress(r *Region, in *ec2.AssociateAddressInput) (*ec2.AssociateAddressOutput, error) {
	r.settle()
	address, err := r.compute.addresses.Find(in.AllocationId)
	if err != nil {
		return nil, err
	}
	i, err := r.compute.instances.Find(in.InstanceId)
	if err != nil {
		return nil, err
	}
	if i.State.Name != types.InstanceStateNameRunning && i.State.Name != types.InstanceStateNameStopped {
		return nil, Err(apierror.InvalidInstancePending, *i.InstanceId)
	}
	if address.AssociationId != nil && !aws.ToBool(in.AllowReassociation) {
		return nil, Err(apierror.AddressAlreadyAssociated, *address.AllocationId, *address.AssociationId)
	}
	r.compute.takeAddress(address)
	address.AssociationId = aws.String(r.store.Numbers.ID("eipassoc"))
	address.InstanceId, address.NetworkInterfaceId = i.InstanceId, i.NetworkInterfaces[0].NetworkInterfaceId
	i.PublicIpAddress = address.PublicIp
	return &ec2.AssociateAddressOutput{AssociationId: address.AssociationId}, nil
}

func (c *compute) takeAddress(address *types.Address) {
	if i := c.instances.Get(aws.ToString(address.InstanceId)); i != nil {
		i.PublicIpAddress = nil
	}
	address.AssociationId, address.InstanceId, address.NetworkInterfaceId = nil, nil, nil
}

func disassociateAddress(r *Region, in *ec2.DisassociateAddressInput) (*ec2.DisassociateAddressOutput, error) {
	for _, row := range r.compute.addresses.Rows {
		if row.Value.AssociationId != nil && *row.Value.AssociationId == aws.ToString(in.AssociationId) {
			r.compute.takeAddress(row.Value)
			return nil, nil
		}
	}
	return nil, Err(apierror.InvalidAssociationIDNotFound, aws.ToString(in.AssociationId))
}

func releaseAddress(r *Region, in *ec2.ReleaseAddressInput) (*ec2.ReleaseAddressOutput, error) {
	address, err := r.compute.addresses.Find(in.AllocationId)
	if err != nil {
		return nil, err
	}
	if address.AssociationId != nil {
		return nil, Err(apierror.InvalidIPAddressInUse, *address.PublicIp)
	}
	r.compute.addresses.Remove(*address.AllocationId)
	return nil, nil
}

var interfaceOperations = resource.Join(resource.Op(describeNetworkInterfaces), resource.Op(assignPrivateIPAddresses))

func describeNetworkInterfaces(
	r *Region, in *ec2.DescribeNetworkInterfacesInput,
) (*ec2.DescribeNetworkInterfacesOutput, error) {
	r.settle()
	found, err := r.compute.interfaces.Describe(in.NetworkInterfaceIds, in.Filters)
	return &ec2.DescribeNetworkInterfacesOutput{NetworkInterfaces: found}, err
}

func assignPrivateIPAddresses(
	r *Region, in *ec2.AssignPrivateIpAddressesInput,
) (*ec2.AssignPrivateIpAddressesOutput, error) {
	eni, err := r.compute.interfaces.Find(in.NetworkInterfaceId)
	if err != nil {
		return nil, err
	}
	for _, wanted := range in.PrivateIpAddresses {
		is := func(a types.NetworkInterfacePrivateIpAddress) bool { return aws.ToString(a.PrivateIpAddress) == wanted }
		for _, row := range r.compute.interfaces.Rows {
			if slices.ContainsFunc(row.Value.PrivateIpAddresses, is) && (!aws.ToBool(in.AllowReassignment) ||
				aws.ToString(row.Value.PrivateIpAddress) == wanted) {
				return nil, Err(apierror.AddressAssigned, wanted)
			}
			row.Value.PrivateIpAddresses = slices.DeleteFunc(slices.Clone(row.Value.PrivateIpAddresses), is)
		}
		eni.PrivateIpAddresses = append(slices.Clone(eni.PrivateIpAddresses),
			types.NetworkInterfacePrivateIpAddress{PrivateIpAddress: aws.String(wanted), Primary: aws.Bool(false)})
	}
	return nil, nil
}

// PrivateAddresses are those of an instance's interface.
func (r *Region) PrivateAddresses(instance string) []string {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	var all []string
	for _, row := range r.compute.interfaces.Rows {
		if a := row.Value.Attachment; a == nil || aws.ToString(a.InstanceId) != instance {
			continue
		}
		for _, address := range row.Value.PrivateIpAddresses {
			all = append(all, aws.ToString(address.PrivateIpAddress))
		}
	}
	return all
}
