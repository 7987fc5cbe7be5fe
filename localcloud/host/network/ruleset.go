package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// uplink is the router's interface towards the internet.
const uplink = "inet0"

// ruleset is a VPC's firewall as nft(8) reads it. A packet between two interfaces has to pass the spoofing check and
// the egress rules of where it comes from, and then the ingress rules of where it goes; answers to what was let
// through pass. It is a pure function, so that two equal networks have equal rule sets.
func ruleset(vpc VPC) (string, error) {
	if err := vpc.check(); err != nil {
		return "", err
	}
	var b strings.Builder
	groups := map[string]SecurityGroup{}
	for _, group := range vpc.Groups {
		groups[group.ID] = group
	}
	interfaces := slices.Clone(vpc.Interfaces)
	slices.SortFunc(interfaces, func(a, b NetworkInterface) int { return strings.Compare(a.ID, b.ID) })
	b.WriteString("flush ruleset\ntable ip goldsmith {\n")
	writeGroups(&b, vpc)
	writeIngress(&b, vpc, groups, interfaces)
	writeEgress(&b, groups, interfaces)
	writeForward(&b, vpc, interfaces)
	// What is for the router itself, the metadata service, is told apart by where it comes from.
	b.WriteString("  chain input {\n    type filter hook input priority filter; policy accept;\n")
	for _, i := range interfaces {
		fmt.Fprintf(&b, "    iifname %q %s\n", device(i.ID), dropSpoofed(i))
	}
	b.WriteString("  }\n  chain postrouting {\n    type nat hook postrouting priority srcnat;\n")
	fmt.Fprintf(&b, "    oifname %q masquerade\n  }\n}\n", uplink)
	return b.String(), nil
}

// writeGroups writes each group's members as a set.
func writeGroups(b *strings.Builder, vpc VPC) {
	for _, group := range sortedGroups(vpc.Groups) {
		members := groupMembers(vpc, group.ID)
		fmt.Fprintf(b, "  set %s {\n    type ipv4_addr\n%s  }\n", setName(group.ID), elements(members))
	}
}

// writeIngress writes a chain for what goes to each interface, and one that chooses among those.
func writeIngress(b *strings.Builder, vpc VPC, groups map[string]SecurityGroup, interfaces []NetworkInterface) {
	for _, i := range interfaces {
		fmt.Fprintf(b, "  chain in_%s {\n", device(i.ID))
		for _, id := range i.Groups {
			for _, rule := range groups[id].Ingress {
				writeRule(b, groups, "saddr", rule, "accept")
			}
		}
		b.WriteString("    drop\n  }\n")
	}
	b.WriteString("  chain ingress {\n")
	for _, i := range interfaces {
		fmt.Fprintf(b, "    oifname %q goto in_%s\n", device(i.ID), device(i.ID))
	}
	writeOutside(b, vpc, interfaces)
	b.WriteString("    drop\n  }\n")
}

// writeEgress writes a chain for what comes from each interface.
func writeEgress(b *strings.Builder, groups map[string]SecurityGroup, interfaces []NetworkInterface) {
	for _, i := range interfaces {
		fmt.Fprintf(b, "  chain out_%s {\n", device(i.ID))
		fmt.Fprintf(b, "    %s\n", dropSpoofed(i))
		for _, id := range i.Groups {
			for _, rule := range groups[id].Egress {
				writeRule(b, groups, "daddr", rule, "goto ingress")
			}
		}
		b.WriteString("    drop\n  }\n")
	}
}

// writeForward writes the chain that each packet to or from an interface passes first.
func writeForward(b *strings.Builder, vpc VPC, interfaces []NetworkInterface) {
	b.WriteString("  chain forward {\n    type filter hook forward priority filter; policy drop;\n" +
		"    ct state established,related accept\n")
	for _, i := range interfaces {
		fmt.Fprintf(b, "    iifname %q goto out_%s\n", device(i.ID), device(i.ID))
	}
	for _, i := range interfaces {
		if i.Public && internetOf(vpc, i.Subnet) == ViaGateway {
			fmt.Fprintf(b, "    iifname %q oifname %q goto in_%s\n", uplink, device(i.ID), device(i.ID))
		}
	}
	b.WriteString("  }\n")
}

// dropSpoofed drops what an interface sends under an address that is not its own.
func dropSpoofed(i NetworkInterface) string {
	if len(i.PrivateIPs) == 0 {
		return "drop"
	}
	return fmt.Sprintf("ip saddr != { %s } drop", join(i.PrivateIPs))
}

// writeOutside lets those out to the internet whose subnet has a way there.
func writeOutside(b *strings.Builder, vpc VPC, interfaces []NetworkInterface) {
	for _, i := range interfaces {
		internet := internetOf(vpc, i.Subnet)
		if internet == ViaNAT || internet == ViaGateway && i.Public {
			fmt.Fprintf(b, "    iifname %q oifname %q accept\n", device(i.ID), uplink)
		}
	}
}

func internetOf(vpc VPC, subnet string) Internet {
	for _, s := range vpc.Subnets {
		if s.ID == subnet {
			return s.Internet
		}
	}
	return NoInternet
}

// writeRule writes one allow rule of an interface; side is saddr for ingress, daddr for egress. The rule has been
// checked; of its text nothing is written but the id of its group.
func writeRule(b *strings.Builder, groups map[string]SecurityGroup, side string, rule Rule, verdict string) {
	var match string
	switch {
	case rule.Group != "":
		if _, ok := groups[rule.Group]; !ok {
			return // a group that is no more has no members
		}
		match = fmt.Sprintf("ip %s @%s ", side, setName(rule.Group))
	case !rule.CIDR.Addr().Is4():
		return // machines have no IPv6
	case rule.CIDR.Bits() > 0:
		match = fmt.Sprintf("ip %s %s ", side, rule.CIDR.Masked())
	}
	number, err := rule.protocol()
	if err != nil {
		return // what is not understood allows nothing
	}
	switch number {
	case allProtocols:
	case tcp, udp:
		protocol := map[int]string{tcp: "tcp", udp: "udp"}[number]
		if rule.allPorts() {
			match += "meta l4proto " + protocol + " "
		} else {
			match += fmt.Sprintf("%s dport %d-%d ", protocol, rule.From, rule.To)
		}
	case icmp:
		match += "meta l4proto icmp "
		if rule.From >= 0 {
			match += fmt.Sprintf("icmp type %d ", rule.From)
		}
		if rule.From >= 0 && rule.To >= 0 {
			match += fmt.Sprintf("icmp code %d ", rule.To)
		}
	default:
		match += fmt.Sprintf("meta l4proto %d ", number)
	}
	fmt.Fprintf(b, "    %s%s\n", match, verdict)
}

func sortedGroups(groups []SecurityGroup) []SecurityGroup {
	sorted := slices.Clone(groups)
	slices.SortFunc(sorted, func(a, b SecurityGroup) int { return strings.Compare(a.ID, b.ID) })
	return sorted
}

// groupMembers are the private addresses of the interfaces that are in a group.
func groupMembers(vpc VPC, group string) []netip.Addr {
	var members []netip.Addr
	for _, i := range vpc.Interfaces {
		if slices.Contains(i.Groups, group) {
			members = append(members, i.PrivateIPs...)
		}
	}
	slices.SortFunc(members, netip.Addr.Compare)
	return slices.Compact(members)
}

func elements(addresses []netip.Addr) string {
	if len(addresses) == 0 {
		return ""
	}
	return fmt.Sprintf("    elements = { %s }\n", join(addresses))
}

func join(addresses []netip.Addr) string {
	var texts []string
	for _, a := range addresses {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ", ")
}

func setName(group string) string { return strings.ReplaceAll(group, "-", "_") }

// device is the name of the router's end of an interface's link. The kernel takes 15 characters.
func device(eni string) string {
	name := strings.ReplaceAll(eni, "-", "")
	if len(name) > 13 {
		name = name[len(name)-13:]
	}
	return "v" + name
}
