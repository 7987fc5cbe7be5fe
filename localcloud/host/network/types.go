package network

import "net/netip"

// Interface is a machine's one network interface.
type Interface struct {
	ID         string // eni-…
	VPC        string
	Subnet     string
	MAC        string
	PrivateIPs []netip.Addr // the primary one first
}

// Topology is the whole network as it should be. Apply makes it so, atomically for each VPC's rules.
type Topology struct {
	VPCs []VPC
	// Public maps a public address (127.66.N.x) to the private address, in a VPC, that it reaches.
	Public map[netip.Addr]Target
}

// Target is an address inside a VPC. That of a load balancer has, for each port that it listens on, where connections
// go in turn, and no private address.
type Target struct {
	VPC      string
	Private  netip.Addr
	Balanced map[uint16][]netip.AddrPort
}

// VPC is a router with its subnets and what may pass between the interfaces in them.
type VPC struct {
	ID         string
	CIDRs      []netip.Prefix
	Subnets    []Subnet
	Interfaces []NetworkInterface
	// Groups are all security groups that an interface or a rule of this VPC names.
	Groups []SecurityGroup
}

// Subnet is a range and the routes out of it.
type Subnet struct {
	ID      string
	CIDR    netip.Prefix
	Gateway netip.Addr // the subnet's .1
	// Internet says what the default route leads to.
	Internet Internet
}

// Internet is the kind of target of a subnet's default route.
type Internet int

// NoInternet drops what leaves the VPC. ViaGateway is an internet gateway: only interfaces that have a public address
// get out, and are reachable from outside. ViaNAT is a NAT gateway: every interface gets out, and none is reachable.
const (
	NoInternet Internet = iota
	ViaGateway
	ViaNAT
)

// NetworkInterface has the data of an interface that the rules of a VPC need.
type NetworkInterface struct {
	ID         string
	Subnet     string
	PrivateIPs []netip.Addr
	Public     bool // has a public address
	Groups     []string
}

// SecurityGroup is a set of allow rules; everything else is dropped, and answers to what was allowed pass.
type SecurityGroup struct {
	ID      string
	Ingress []Rule
	Egress  []Rule
}

// Rule allows one protocol, port range and peer.
type Rule struct {
	Protocol string // tcp, udp, icmp, icmpv6, or -1 for all, or a number from 0 to 255
	From, To int    // ports, or ICMP type and code; -1 for all
	CIDR     netip.Prefix
	Group    string // sg-…: the members' private addresses; empty if CIDR is meant
}
