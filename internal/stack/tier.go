package stack

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// Kind says how a tier is redeployed.
type Kind string

const (
	// ServiceTier is stateless; an elastic address or a load balancer's targets move.
	ServiceTier Kind = "service"
	// DataTier has state on a volume of its own; the volume and a private service address move.
	DataTier Kind = "data"
)

// Kinds of subnets.
const (
	PublicSubnet  = "public"
	PrivateSubnet = "private"
)

// Tier is a part of a stack whose instances are alike.
type Tier struct {
	Name string
	// Title begins the description of the tier's security group.
	Title        string
	Kind         Kind
	Subnet       string // public or private
	InstanceType string
	// Release or Image say which image it runs, where that is not the current release's.
	Release, Image string
	// UserData is for its instances, beside Goldsmith's own.
	UserData string
	Tags     map[string]string
	Ingress  []Ingress
	// Reads are the parameters, below the stack's path, that its instances may read, and no others.
	Reads []string
	// Needs are the tiers whose address its instances are told.
	Needs   []string
	Service Service
	Data    Data
}

// Service has the fields of a service tier.
type Service struct {
	Count int32
	// Group says that an Auto Scaling group keeps the instances.
	Group bool
	// Ports are the TCP ports that a load balancer passes on; the first is the one that is asked for its health.
	Ports []int32
	// Probe is the health check that an instance of the tier must pass.
	Probe stackfile.HealthCheck
}

// Data has the fields of a data tier.
type Data struct {
	// Address is the service address; the zero one is ten after the subnet's first.
	Address netip.Addr
	// Port is the TCP port that the other tiers connect to.
	Port   int
	Volume stackfile.DataVolume
	// ProbeName names the tier in the answer of a tier that needs it and is not well.
	ProbeName string
}

// AddressIn is the service address in a subnet.
func (d Data) AddressIn(subnet netip.Prefix) (netip.Addr, error) {
	file := stackfile.Database{ServiceAddress: d.Address}
	return file.ServiceAddressIn(subnet)
}

// Peers of an Ingress beside the names of tiers.
const (
	FromOperator = "the operator"
	FromAnywhere = "anywhere"
)

// Ingress lets one port in, or all of ICMP, which has the port -1.
type Ingress struct {
	Protocol string
	Port     int32
	// Tier lets the instances of a tier in, or is FromOperator or FromAnywhere; empty lets CIDR in.
	Tier        string
	CIDR        netip.Prefix
	Description string
}

// TagPairs are the stack file's own tags of the tier, as keys and values in turn.
func (t Tier) TagPairs() []string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(t.Tags)) {
		pairs = append(pairs, key, t.Tags[key])
	}
	return pairs
}
