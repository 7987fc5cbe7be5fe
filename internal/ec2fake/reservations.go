package ec2fake

import (
	"net/netip"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
)

func createSubnetCidrReservation(
	r *Region, in *ec2.CreateSubnetCidrReservationInput,
) (*ec2.CreateSubnetCidrReservationOutput, error) {
	subnet, err := r.network.subnets.Find(in.SubnetId)
	if err != nil {
		return nil, err
	}
	wanted, err := netip.ParsePrefix(aws.ToString(in.Cidr))
	if err != nil {
		return nil, Err(apierror.InvalidValue, aws.ToString(in.Cidr), "cidrBlock")
	}
	around, err := netip.ParsePrefix(aws.ToString(subnet.CidrBlock))
	if err != nil || !around.Contains(wanted.Addr()) || around.Bits() > wanted.Bits() {
		return nil, Err(apierror.ReservationOutside, aws.ToString(subnet.CidrBlock))
	}
	for _, row := range r.network.reservations.Rows {
		if other := aws.ToString(row.Value.Cidr); aws.ToString(row.Value.SubnetId) == *subnet.SubnetId &&
			netip.MustParsePrefix(other).Overlaps(wanted) {
			return nil, Err(apierror.ReservationOverlaps, *in.Cidr)
		}
	}
	made := r.network.reservations.Create("scr", types.ResourceTypeSubnetCidrReservation, in.TagSpecifications,
		func(id string) *types.SubnetCidrReservation {
			return &types.SubnetCidrReservation{
				SubnetCidrReservationId: aws.String(id),
				SubnetId:                in.SubnetId,
				Cidr:                    in.Cidr,
				ReservationType:         in.ReservationType,
				OwnerId:                 aws.String(Number),
			}
		})
	return &ec2.CreateSubnetCidrReservationOutput{
		SubnetCidrReservation: r.network.reservations.Tagged(*made.SubnetCidrReservationId),
	}, nil
}

func getSubnetCidrReservations(
	r *Region, in *ec2.GetSubnetCidrReservationsInput,
) (*ec2.GetSubnetCidrReservationsOutput, error) {
	subnet, err := r.network.subnets.Find(in.SubnetId)
	if err != nil {
		return nil, err
	}
	all, err := r.network.reservations.Describe(nil, in.Filters)
	if err != nil {
		return nil, err
	}
	out := &ec2.GetSubnetCidrReservationsOutput{}
	for _, one := range all {
		if aws.ToString(one.SubnetId) == *subnet.SubnetId {
			out.SubnetIpv4CidrReservations = append(out.SubnetIpv4CidrReservations, one)
		}
	}
	return out, nil
}

func deleteSubnetCidrReservation(
	r *Region, in *ec2.DeleteSubnetCidrReservationInput,
) (*ec2.DeleteSubnetCidrReservationOutput, error) {
	found, err := r.network.reservations.Find(in.SubnetCidrReservationId)
	if err != nil {
		return nil, err
	}
	r.network.reservations.Remove(*found.SubnetCidrReservationId)
	return &ec2.DeleteSubnetCidrReservationOutput{DeletedSubnetCidrReservation: found}, nil
}

// reserved tells whether an address is not given to who does not ask for it.
func (r *Region) reserved(subnet *types.Subnet, address netip.Addr) bool {
	for _, row := range r.network.reservations.Rows {
		if aws.ToString(row.Value.SubnetId) == aws.ToString(subnet.SubnetId) &&
			netip.MustParsePrefix(aws.ToString(row.Value.Cidr)).Contains(address) {
			return true
		}
	}
	return false
}

// AddInterface puts an interface of somebody else into the account, in a subnet and with an address as its primary
// one, and others as secondary ones.
func (r *Region) AddInterface(subnet, instance, primary string, secondary ...string) string {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	eni := types.NetworkInterface{
		NetworkInterfaceId: aws.String(r.store.Numbers.ID("eni")),
		SubnetId:           aws.String(subnet),
		PrivateIpAddress:   aws.String(primary),
		PrivateIpAddresses: []types.NetworkInterfacePrivateIpAddress{
			{PrivateIpAddress: aws.String(primary), Primary: aws.Bool(true)},
		},
		Attachment: &types.NetworkInterfaceAttachment{InstanceId: some(instance)},
	}
	for _, address := range secondary {
		eni.PrivateIpAddresses = append(eni.PrivateIpAddresses,
			types.NetworkInterfacePrivateIpAddress{PrivateIpAddress: aws.String(address)})
	}
	r.compute.interfaces.Put(*eni.NetworkInterfaceId, time.Time{}, &eni)
	return *eni.NetworkInterfaceId
}
