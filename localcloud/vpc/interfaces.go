package vpc

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/eni"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// An instance has the network interface that it was launched with. Others are records, but their addresses are taken.

// Interfaces answers the calls for network interfaces.
type Interfaces struct {
	moto           *moto.Client
	records        *records.Store
	network        *Network
	securityGroups *SecurityGroups
}

// Handlers answer the calls of EC2 for network interfaces that are more than a record.
func (s *Interfaces) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"AssignPrivateIpAddresses":        s.assign,
		"UnassignPrivateIpAddresses":      s.unassign,
		"DescribeNetworkInterfaces":       s.describe,
		"CreateNetworkInterface":          s.create,
		"ModifyNetworkInterfaceAttribute": s.modify,
		"AttachNetworkInterface":          s.refuseSecond,
		"DetachNetworkInterface":          s.refuseSecond,
	}
}

// refuseSecond refuses what would be a record only.
func (s *Interfaces) refuseSecond(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	return nil, awsquery.Faultf(apierror.UnsupportedOperation,
		"an instance of the local cloud keeps the one network interface that it was launched with; %s is not to be"+
			" had", c.Action())
}

// create checks the addresses and groups, which moto takes as they come.
func (s *Interfaces) create(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	subnet, err := s.network.subnetRange(ctx, c.Get("SubnetId"))
	if err != nil {
		return nil, err
	}
	if err = s.securityGroups.Exist(ctx, c.List("SecurityGroupId")); err != nil {
		return nil, err
	}
	taken, err := s.network.TakenIn(ctx, c.Get("SubnetId"))
	if err != nil {
		return nil, err
	}
	asked := false
	for _, name := range slices.Sorted(maps.Keys(c.Form)) {
		inList := strings.HasPrefix(name, "PrivateIpAddresses.") && strings.HasSuffix(name, ".PrivateIpAddress")
		if name != "PrivateIpAddress" && !inList {
			continue
		}
		asked = true
		address, err := netip.ParseAddr(c.Get(name))
		if err != nil || !subnet.Contains(address) || eni.Reserved(subnet, address) {
			return nil, awsquery.Faultf(apierror.InvalidParameterValue,
				"Address %.60s does not fall within the usable addresses of subnet %s (%s)",
				c.Get(name), c.Get("SubnetId"), subnet)
		}
		if taken[address] {
			return nil, awsquery.Fault(apierror.InvalidIPAddressInUse, address)
		}
	}
	if reserved := s.records.ReservationsIn(c.Get("SubnetId")); !asked && len(reserved) > 0 {
		free := s.network.Free(c.Get("SubnetId"), subnet, taken, 1)
		if len(free) == 0 {
			return nil, awsquery.Fault(apierror.InsufficientFreeAddressesInSubnet, subnet)
		}
		c = c.Clone()
		c.Set("PrivateIpAddress", free[0].String())
	}
	return s.network.Forward(ctx, c)
}

// modify checks that the groups exist.
func (s *Interfaces) modify(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	if err := s.securityGroups.Exist(ctx, c.List("SecurityGroupId")); err != nil {
		return nil, err
	}
	return s.network.Forward(ctx, c)
}

// subnetRange is the range of a subnet.
func (n *Network) subnetRange(ctx context.Context, id string) (netip.Prefix, error) {
	described, err := n.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeSubnets", "SubnetId.1", id))
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, subnet := range described.Items("subnetSet") {
		if subnet.Get("subnetId") == id {
			return netip.ParsePrefix(subnet.Get("cidrBlock"))
		}
	}
	return netip.Prefix{}, awsquery.Fault(apierror.InvalidSubnetIDNotFound, id)
}

// TakenIn are the addresses in a subnet that an interface has. One that has none, of a version of this program that
// checked less, is not to cost the others.
func (n *Network) TakenIn(ctx context.Context, subnet string) (map[netip.Addr]bool, error) {
	described, err := n.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeNetworkInterfaces",
		"Filter.1.Name", "subnet-id", "Filter.1.Value.1", subnet))
	if err != nil {
		return nil, err
	}
	taken := map[netip.Addr]bool{}
	for _, nic := range described.Items("networkInterfaceSet") {
		addresses, err := eni.PrivateAddresses(nic)
		if err != nil {
			n.leftOut(nic.Get("networkInterfaceId"), err)
			continue
		}
		for _, address := range addresses {
			taken[address] = true
		}
	}
	return taken, nil
}

func (s *Interfaces) describe(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	rest, filters, err := awsquery.TakeFilters(c, interfaceFilters)
	if err != nil {
		return nil, err
	}
	described, err := s.moto.Ask(ctx, rest)
	if err != nil {
		return nil, err
	}
	for _, nic := range described.Items("networkInterfaceSet") {
		id := nic.Get("attachment", "instanceId")
		if record, ok := s.records.Instance(id); ok {
			eni.OverlayInterface(nic, s.records.PublicOf(id, record))
		}
	}
	set := described.At("networkInterfaceSet")
	set.Children = filters.Keep(set.Children)
	return described, nil
}

// interfaceFilters are the paths, in an interface's description, of the values of a filter. Moto looks for addresses
// among the primary ones only.
var interfaceFilters = map[string]string{
	"addresses.association.public-ip": "privateIpAddressesSet/*/association/publicIp",
	"addresses.primary":               "privateIpAddressesSet/*/primary",
	"addresses.private-ip-address":    "privateIpAddressesSet/*/privateIpAddress",
	"association.allocation-id":       "association/allocationId",
	"association.public-ip":           "association/publicIp",
	"attachment.attachment-id":        "attachment/attachmentId",
	"attachment.instance-id":          "attachment/instanceId",
	"attachment.status":               "attachment/status",
	"availability-zone":               "availabilityZone",
	"description":                     "description",
	"group-id":                        "groupSet/*/groupId",
	"group-name":                      "groupSet/*/groupName",
	"interface-type":                  "interfaceType",
	"mac-address":                     "macAddress",
	"network-interface-id":            "networkInterfaceId",
	"owner-id":                        "ownerId",
	"private-dns-name":                "privateDnsName",
	"private-ip-address":              "privateIpAddress",
	"requester-managed":               "requesterManaged",
	"status":                          "status",
	"subnet-id":                       "subnetId",
	"tag-key":                         "tagSet/*/key",
	"tag-value":                       "tagSet/*/value",
	"vpc-id":                          "vpcId",
}
