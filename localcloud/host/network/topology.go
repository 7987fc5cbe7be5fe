package network

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/ec2id"
)

// What a topology says becomes rules and commands of root's. So all of it is checked before anything is applied, and
// a ruleset is written of nothing but checked ids, numbers and addresses.

// Numbers of protocols, by IANA.
const (
	allProtocols = -1
	icmp         = 1
	tcp          = 6
	udp          = 17
	icmpv6       = 58
)

var protocols = map[string]int{"-1": allProtocols, "icmp": icmp, "tcp": tcp, "udp": udp, "icmpv6": icmpv6}

// protocol is the number of a rule's protocol, or allProtocols.
func (r Rule) protocol() (int, error) {
	if number, ok := protocols[r.Protocol]; ok {
		return number, nil
	}
	// Only the shortest writing of a number, so that two rules that are the same look the same.
	if number, err := strconv.ParseUint(r.Protocol, 10, 8); err == nil && strconv.FormatUint(number, 10) == r.Protocol {
		return int(number), nil
	}
	return 0, fmt.Errorf("protocol %.60q: tcp, udp, icmp, icmpv6, -1 or a number from 0 to 255 is needed", r.Protocol)
}

// Check refuses a rule that a firewall cannot have. EC2 has ports mean nothing to protocols that have none.
func (r Rule) Check() error {
	number, err := r.protocol()
	if err != nil {
		return err
	}
	switch number {
	case tcp, udp:
		if !r.allPorts() && (r.From < 0 || r.To > 65535 || r.From > r.To) {
			return fmt.Errorf("ports %d to %d: a range between 0 and 65535, or -1 for all, is needed", r.From, r.To)
		}
	case icmp, icmpv6:
		if r.From < -1 || r.From > 255 || r.To < -1 || r.To > 255 {
			return fmt.Errorf("ICMP type %d, code %d: numbers from 0 to 255, or -1 for all, are needed", r.From, r.To)
		}
	}
	if r.Group != "" {
		return ec2id.Group.Check(r.Group)
	}
	if !r.CIDR.IsValid() {
		return errors.New("a group or a range of addresses is needed as the peer")
	}
	return nil
}

// allPorts tells whether a rule for TCP or UDP is for each port.
func (r Rule) allPorts() bool {
	return (r.From == -1 || r.From == 0) && (r.To == -1 || r.To == 65535)
}

// Check refuses a topology of which a part would end up where it does not belong, and names the part.
func (t Topology) Check() error {
	seen := map[string]bool{}
	for _, vpc := range t.VPCs {
		if err := vpc.check(); err != nil {
			return err
		}
		if seen[vpc.ID] {
			return fmt.Errorf("vpc %s is there twice", vpc.ID)
		}
		seen[vpc.ID] = true
	}
	for address, target := range t.Public {
		if !address.Is4() {
			return fmt.Errorf("public address %.60q is no IPv4 address", address.String())
		}
		err := ec2id.VPC.Check(target.VPC)
		if target.Balanced == nil {
			err = cmp.Or(err, checkAddresses(target.Private))
		}
		for _, to := range target.Balanced {
			for _, at := range to {
				err = cmp.Or(err, checkAddresses(at.Addr()))
			}
		}
		if err != nil {
			return fmt.Errorf("public address %s: %w", address, err)
		}
	}
	return nil
}

func (v VPC) check() error {
	if err := ec2id.VPC.Check(v.ID); err != nil {
		return err
	}
	for _, subnet := range v.Subnets {
		if err := subnet.check(); err != nil {
			return fmt.Errorf("%s: %w", v.ID, err)
		}
	}
	devices, groups := map[string]string{}, map[string]bool{}
	for _, i := range v.Interfaces {
		if err := i.check(); err != nil {
			return fmt.Errorf("%s: %w", v.ID, err)
		}
		if other, ok := devices[device(i.ID)]; ok {
			return fmt.Errorf("%s: the names of interfaces %s and %s do not differ enough", v.ID, other, i.ID)
		}
		devices[device(i.ID)] = i.ID
	}
	for _, group := range v.Groups {
		if err := group.check(); err != nil {
			return fmt.Errorf("%s: %w", v.ID, err)
		}
		if groups[group.ID] {
			return fmt.Errorf("%s: group %s is there twice", v.ID, group.ID)
		}
		groups[group.ID] = true
	}
	return nil
}

func (s Subnet) check() error {
	if err := ec2id.Subnet.Check(s.ID); err != nil {
		return err
	}
	if !s.CIDR.IsValid() || !s.CIDR.Addr().Is4() || !s.Gateway.Is4() {
		return fmt.Errorf("%s: an IPv4 range and the address of its gateway are needed", s.ID)
	}
	return nil
}

func (i NetworkInterface) check() error {
	if err := ec2id.Interface.Check(i.ID); err != nil {
		return err
	}
	err := cmp.Or(ec2id.Subnet.Check(i.Subnet), checkAddresses(i.PrivateIPs...))
	for _, group := range i.Groups {
		err = cmp.Or(err, ec2id.Group.Check(group))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", i.ID, err)
	}
	return nil
}

func (g SecurityGroup) check() error {
	if err := ec2id.Group.Check(g.ID); err != nil {
		return err
	}
	for _, rules := range [][]Rule{g.Ingress, g.Egress} {
		for _, rule := range rules {
			if err := rule.Check(); err != nil {
				return fmt.Errorf("a rule of %s: %w", g.ID, err)
			}
		}
	}
	return nil
}

// Check refuses an interface whose machine would not be on its network, or on more than that.
func (i Interface) Check() error {
	if err := ec2id.Interface.Check(i.ID); err != nil {
		return err
	}
	err := cmp.Or(ec2id.VPC.Check(i.VPC), ec2id.Subnet.Check(i.Subnet), checkAddresses(i.PrivateIPs...))
	if mac, bad := net.ParseMAC(i.MAC); err == nil && (bad != nil || mac.String() != i.MAC) {
		err = fmt.Errorf("MAC address %.60q: one such as 02:00:00:00:00:01 is needed", i.MAC)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", i.ID, err)
	}
	return nil
}

// checkAddresses refuses what is no IPv4 address: machines have no other.
func checkAddresses(addresses ...netip.Addr) error {
	for _, address := range addresses {
		if !address.Is4() {
			return fmt.Errorf("private address %.60q is no IPv4 address", address.String())
		}
	}
	return nil
}
