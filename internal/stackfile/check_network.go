package stackfile

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
)

// idPattern is the form of a resource's id.
func idPattern(prefix string) *regexp.Regexp {
	return regexp.MustCompile("^" + prefix + "[0-9a-f]{8,17}$")
}

var (
	vpcID    = idPattern("vpc-")
	subnetID = idPattern("subnet-")
)

// unusable are the ranges that EC2 makes no VPC in.
var unusable = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("224.0.0.0/4"),
}

// checkNetwork decides whether the network is to be made or there already, by the first attribute that says so.
func (r *reader) checkNetwork(f *File, b *block) {
	n := &f.Network
	existing := []string{
		"vpc_id",
		"vpc_tags",
		"public_subnet_ids",
		"public_subnet_tags",
		"private_subnet_ids",
		"private_subnet_tags",
	}
	i := slices.IndexFunc(existing, b.given)
	if i < 0 {
		r.checkRanges(n, b)
		r.checkZone(f, b)
		return
	}
	for _, name := range []string{"cidr", "public_cidr", "private_cidr", "availability_zone"} {
		if b.given(name) {
			r.fault(b, name,
				"it is for a network that Goldsmith makes, and %s is for one that is there; take one out",
				existing[i])
		}
	}
	n.CIDR, n.PublicCIDR, n.PrivateCIDR = netip.Prefix{}, netip.Prefix{}, netip.Prefix{}
	r.matches(b, "vpc_id", n.VPCID, vpcID, "an id such as vpc-0123456789abcdef0")
	r.checkFilter(b, "vpc_tags", n.VPCTags)
	r.either(b, "vpc_id", "vpc_tags", true, "to find the VPC by")
	for _, subnet := range []struct {
		name string
		ids  []string
		tags map[string]string
	}{{"public", n.PublicSubnetIDs, n.PublicSubnetTags}, {"private", n.PrivateSubnetIDs, n.PrivateSubnetTags}} {
		ids, tags := subnet.name+"_subnet_ids", subnet.name+"_subnet_tags"
		r.checkIDs(b, ids, subnet.ids)
		r.checkFilter(b, tags, subnet.tags)
		needed := f.Database.Subnet == subnet.name || f.Web.Subnet == subnet.name
		r.either(b, ids, tags, needed, "to find the subnets by that a tier is in")
	}
}

// zoneName is the form of the name of an Availability Zone: its region's and a letter (EC2 User Guide, Regions and
// Zones). Local and Wavelength Zones have longer ones; no stack was tried in them.
var zoneName = regexp.MustCompile(`^([a-z]{2,4}(-[a-z]+)+-[0-9]+)[a-z]$`)

func (r *reader) checkZone(f *File, b *block) {
	zone := f.Network.AvailabilityZone
	r.matches(b, "availability_zone", zone, zoneName, "a zone such as eu-central-1a")
	if in := zoneName.FindStringSubmatch(zone); in != nil && f.Region != "" && in[1] != f.Region {
		r.fault(b, "availability_zone", "%s is in the region %s, and region is %s", zone, in[1], f.Region)
	}
}

// either wants one of two attributes at most, and one at least if it is needed.
func (r *reader) either(b *block, first, second string, needed bool, what string) {
	switch {
	case b.given(first) && b.given(second):
		r.fault(b, second, "it cannot go with %s; take one out", first)
	case needed && !b.given(first) && !b.given(second):
		r.fault(b, first, "it is missing; this or %s is needed, %s", second, what)
	}
}

func (r *reader) checkIDs(b *block, name string, ids []string) {
	if b.given(name) && len(ids) == 0 {
		r.fault(b, name, "it is empty; at least one id is needed")
	}
	for i, id := range ids {
		element := fmt.Sprintf("%s[%d]", name, i)
		r.matches(b, element, id, subnetID, "an id such as subnet-0123456789abcdef0")
		if slices.Contains(ids[:i], id) {
			r.fault(b, element, "%s is there twice", id)
		}
	}
}

// checkFilter checks tags that something is found by. They may be anybody's.
func (r *reader) checkFilter(b *block, name string, tags map[string]string) {
	if b.given(name) && len(tags) == 0 {
		r.fault(b, name, "it is empty; at least one tag is needed")
	}
	for key, value := range tags {
		r.checkTagLength(b, name, key, value)
	}
}

// checkRanges checks the ranges of a network that is to be made.
func (r *reader) checkRanges(n *Network, b *block) {
	for _, of := range []struct {
		name string
		is   netip.Prefix
	}{{"cidr", n.CIDR}, {"public_cidr", n.PublicCIDR}, {"private_cidr", n.PrivateCIDR}} {
		switch {
		case !of.is.Addr().Is4():
			r.fault(b, of.name, "%s should be an IPv4 range such as 10.0.0.0/16", of.is)
		case of.is.Bits() < 16 || of.is.Bits() > 28:
			r.fault(b, of.name, "%s should have a length of /16 to /28, which is what EC2 takes", of.is)
		case slices.ContainsFunc(unusable, of.is.Overlaps):
			r.fault(b, of.name,
				"%s is in a range that EC2 makes no VPC in; it should be a private one such as 10.0.0.0/16", of.is)
		case of.name != "cidr" && b.good("cidr") && !contains(n.CIDR, of.is):
			r.fault(b, of.name, "%s should be inside the VPC's cidr %s", of.is, n.CIDR)
		}
	}
	if b.good("public_cidr", "private_cidr") && n.PublicCIDR.Overlaps(n.PrivateCIDR) {
		name := "private_cidr"
		if !b.given(name) {
			name = "public_cidr"
		}
		r.fault(b, name, "the public subnet %s and the private one %s overlap; they should be apart", n.PublicCIDR,
			n.PrivateCIDR)
	}
}

func contains(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// reserved is the number of addresses of a subnet that AWS keeps for itself: the first four and the last.
const reserved = 5

// room is the number of addresses for instances in a subnet.
func room(subnet netip.Prefix) int { return 1<<(32-subnet.Bits()) - reserved }

// ServiceAddressIn is the database's address in a subnet: the one that is given, or ten after the subnet's first.
func (d *Database) ServiceAddressIn(subnet netip.Prefix) (netip.Addr, error) {
	if !subnet.Addr().Is4() {
		return netip.Addr{}, fmt.Errorf("%s should be an IPv4 range", subnet)
	}
	first := subnet.Masked().Addr().As4()
	base := binary.BigEndian.Uint32(first[:])
	if !d.ServiceAddress.IsValid() {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, base+10))), nil
	}
	if !subnet.Contains(d.ServiceAddress) {
		return netip.Addr{}, fmt.Errorf("%s should be inside %s, where the tier is", d.ServiceAddress, subnet)
	}
	bytes := d.ServiceAddress.As4()
	if at := binary.BigEndian.Uint32(bytes[:]) - base; at < reserved-1 || at == 1<<(32-subnet.Bits())-1 {
		return netip.Addr{}, fmt.Errorf(
			"%s is one of the five that AWS keeps for itself in %s: the first four and the last",
			d.ServiceAddress,
			subnet,
		)
	}
	return d.ServiceAddress, nil
}

// checkServiceAddress completes the address too. The ranges of a network that is there are not known yet.
func (r *reader) checkServiceAddress(f *File, b, network *block) {
	d := &f.Database
	if b.given("service_address") && b.good("service_address") && !d.ServiceAddress.Is4() {
		r.fault(b, "service_address", "%s should be an IPv4 address such as 10.0.2.10", d.ServiceAddress)
	}
	if f.Network.Existing() || !b.good("subnet", "service_address") ||
		!network.good("cidr", "public_cidr", "private_cidr") {
		return
	}
	address, err := d.ServiceAddressIn(f.Network.rangeOf(d.Subnet))
	if err != nil {
		r.fault(b, "service_address", "%v", err)
		return
	}
	d.ServiceAddress = address
}
