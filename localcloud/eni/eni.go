package eni

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
)

// PublicName is the DNS name of a public address.
func PublicName(address string) string {
	return "ec2-" + strings.ReplaceAll(address, ".", "-") + ".compute-1.amazonaws.com"
}

// OverlayInterface gives a described interface its MAC address, and the public address that leads to it, if any.
func OverlayInterface(eni *awsquery.Node, public string) {
	eni.Set(macOf(eni.Get("networkInterfaceId")), "macAddress")
	owners := append([]*awsquery.Node{eni}, eni.Items("privateIpAddressesSet")...)
	for _, owner := range owners {
		owner.Remove("association")
		if public != "" && (owner == eni || owner.Get("primary") == "true") {
			owner.Children = append(owner.Children,
				awsquery.Element("association", awsquery.Text("publicIp", public),
					awsquery.Text("publicDnsName", PublicName(public)), awsquery.Text("ipOwnerId", "amazon")))
		}
	}
}

// InterfaceOf is an instance's one interface.
func InterfaceOf(item *awsquery.Node) (network.Interface, error) {
	interfaces := item.Items("networkInterfaceSet")
	if len(interfaces) == 0 {
		return network.Interface{}, fmt.Errorf("instance %s has no network interface", item.Get("instanceId"))
	}
	eni := interfaces[0]
	addresses, err := PrivateAddresses(eni)
	return network.Interface{
		ID:         eni.Get("networkInterfaceId"),
		VPC:        eni.Get("vpcId"),
		Subnet:     eni.Get("subnetId"),
		MAC:        macOf(eni.Get("networkInterfaceId")),
		PrivateIPs: addresses,
	}, err
}

// macOf is a locally administered address that follows from the interface's id: moto gives many
// interfaces the same one.
func macOf(eni string) string {
	digits := fmt.Sprintf("%010s", strings.TrimPrefix(eni, "eni-"))
	parts := []string{"02"}
	for i := 0; i < 10; i += 2 {
		parts = append(parts, digits[i:i+2])
	}
	return strings.Join(parts, ":")
}

// PrivateAddresses are those of an interface, the primary one first.
func PrivateAddresses(eni *awsquery.Node) ([]netip.Addr, error) {
	primary, err := netip.ParseAddr(eni.Get("privateIpAddress"))
	if err != nil {
		return nil, fmt.Errorf("read the address of %s: %w", eni.Get("networkInterfaceId"), err)
	}
	addresses := []netip.Addr{primary}
	for _, text := range eni.All("privateIpAddressesSet", "*", "privateIpAddress") {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("read the addresses of %s: %w", eni.Get("networkInterfaceId"), err)
		}
		if address != primary {
			addresses = append(addresses, address)
		}
	}
	return addresses, nil
}

// Reserved are the first four addresses of a subnet and its last, as on EC2.
func Reserved(subnet netip.Prefix, address netip.Addr) bool {
	first := subnet.Masked().Addr()
	for range 4 {
		if address == first {
			return true
		}
		first = first.Next()
	}
	return !subnet.Contains(address.Next())
}
