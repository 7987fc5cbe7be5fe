// Package host makes machines, disks and networks real on this Linux host: what an EC2 API only records. It knows
// nothing of the API itself; package api tells it what should be so.
//
// A machine is Debian's systemd in systemd-nspawn, in a network namespace and a control group of its own. Its root is
// an overlay: the layers of its image below, and above them what it writes, on an ext4 of the root volume's size, so
// that a full disk is full. An image is such an upper layer, frozen; of a stopped machine nothing is copied.
//
// A VPC is a namespace that routes between its machines, with security groups as its firewall; VPCs may have the same
// addresses. The internet is a namespace too, which holds the operator (198.51.100.1), the API and the package cache,
// and from which nothing leads further. Public addresses are loopback addresses of the host.
//
// All of it lives in the mount namespace of the process that opens it, so that the kernel takes most of it down when
// that process ends, however it ends. Machines, control groups and one table of firewall rules are outlived by it;
// Clear and the next Open end those.
//
// Limits:
//   - Machines share the host's kernel: an image's own kernel, boot loader and kernel modules are not tested. They are
//     not limited in memory or processors.
//   - A machine is no boundary. There is no user namespace: root in a machine can mount proc and devtmpfs, and so write the
//     host's kernel settings and open its disks and other machines' disks. Run only images that you would run as root, and
//     the cloud in a virtual machine where you would not.
//   - A machine has one interface, and IPv4 only. An instance does not reach another's public address, only its
//     private one.
//   - A connection from the host to a public address is TCP, and is accepted before it is known whether the machine
//     takes it. One that is refused is reset at once; one that a security group drops is reset after ten seconds,
//     where on EC2 the client would be left waiting.
//   - There is no udev in a machine: an attached volume is a device node and a link in /dev/disk/by-id, but no .device
//     unit of systemd ever appears. A device that is still held open when its volume is detached stays readable.
//   - Images and machines stand on the base image that they were made of, in the cache directory: without it they do
//     not start.
package host

import (
	"context"
	"log/slog"
	"net/netip"
	"time"
)

// Config names a cloud and where it lives. Two clouds with different names do not touch each other.
type Config struct {
	// Name is the cloud's name: lower-case letters, digits and dashes, at most 20.
	Name string
	// StateDir holds what survives: images, volumes, machines, the API's journal.
	StateDir string
	// CacheDir is shared by all clouds of the host: base images, package cache.
	CacheDir string
	// RunDir holds what a reboot may lose: sockets, pid files, namespaces' names.
	RunDir string
	Log    *slog.Logger
}

// Addresses are the cloud's fixed addresses.
type Addresses struct {
	API          netip.AddrPort // where the host reaches the EC2 API: 127.66.N.1:4566
	PublicPrefix netip.Prefix   // 127.66.N.0/24; public addresses are .2 to .254
	Operator     netip.Addr     // 198.51.100.1: how machines see the host's user
	InetAPI      netip.AddrPort // 198.51.100.20:80: where machines reach the same EC2 API
}

// Machine describes an instance's machine.
type Machine struct {
	ID         string // i-…
	Image      string // ami-… (or a base image's)
	RootVolume string // vol-…, made by RunMachine
	RootSizeGB int
	Hostname   string
	Interface  Interface
	// UserData is what the user gave, decoded; the NoCloud seed is made from it.
	UserData []byte
	// SSHKeys are authorized_keys lines of the launch's key pair.
	SSHKeys []string
}

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

// Internet is where a subnet's default route leads.
type Internet int

// NoInternet drops what leaves the VPC. ViaGateway is an internet gateway: only interfaces that have a public address
// get out, and are reachable from outside. ViaNAT is a NAT gateway: every interface gets out, and none is reachable.
const (
	NoInternet Internet = iota
	ViaGateway
	ViaNAT
)

// NetworkInterface is what the rules of a VPC need to know of an interface.
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

// Metadata is what a machine's metadata service answers.
type Metadata struct {
	InstanceID, ImageID, InstanceType, Region, Zone, AccountID string
	LocalIPv4, PublicIPv4, MAC, LocalHostname                  string
	SecurityGroups                                             []string
	UserData                                                   []byte
	KeyName, PublicKey                                         string
	ProfileARN, ProfileID, RoleName                            string
	Tags                                                       map[string]string // only if instance metadata tags are enabled
	// TokensRequired refuses requests without an IMDSv2 session token.
	TokensRequired bool
	Disabled       bool
	Launched       time.Time
	// Credentials makes temporary credentials of the role; nil without an instance profile.
	Credentials func(context.Context) (Credentials, error)
}

// Credentials are temporary, as the metadata service gives them out.
type Credentials struct {
	AccessKeyID, SecretAccessKey, Token string
	Expiration                          time.Time
}

// Exit says that a machine ended without having been told to by the API: it powered itself off or died.
type Exit struct {
	ID  string
	Err error // nil if it powered itself off
}
