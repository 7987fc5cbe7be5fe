package vpc

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/eni"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// Reservations answers the calls for subnet CIDR reservations, from which EC2 gives out no address by itself. Moto has
// none. The errors for wrong requests are those in moto's tests, which were run against AWS.
type Reservations struct {
	records *records.Store
	network *Network
}

// Handlers answer the calls of EC2 for subnet CIDR reservations.
func (s *Reservations) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"CreateSubnetCidrReservation": s.create,
		"GetSubnetCidrReservations":   s.get,
		"DeleteSubnetCidrReservation": s.delete,
	}
}

func (s *Reservations) create(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	subnet, kind := c.Get("SubnetId"), c.Get("ReservationType")
	around, err := s.network.subnetRange(ctx, subnet)
	if err != nil {
		return nil, err
	}
	if kind != "explicit" && kind != "prefix" {
		return nil, awsquery.Fault(apierror.InvalidValue, kind, "reservationType")
	}
	wanted, err := netip.ParsePrefix(c.Get("Cidr"))
	if err != nil || wanted.Masked() != wanted {
		return nil, awsquery.Fault(apierror.InvalidValue, c.Get("Cidr"), "cidrBlock").
			Adding("This is not a valid CIDR block.")
	}
	if !around.Contains(wanted.Addr()) || around.Bits() > wanted.Bits() {
		return nil, awsquery.Fault(apierror.ReservationOutside, around)
	}
	for _, other := range s.records.ReservationsIn(subnet) {
		if other.CIDR.Overlaps(wanted) {
			return nil, awsquery.Fault(apierror.ReservationOverlaps, wanted)
		}
	}
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, fmt.Errorf("make an id: %w", err)
	}
	made := records.Reservation{
		ID:          "scr-0" + hex.EncodeToString(id[:]),
		Subnet:      subnet,
		CIDR:        wanted,
		Kind:        kind,
		Description: c.Get("Description"),
		Tags:        tagsIn(c, "subnet-cidr-reservation"),
	}
	if err := s.records.Update(func(o *records.State) { o.Reservations[made.ID] = made }); err != nil {
		return nil, err
	}
	return awsquery.Reply(c.Action(), reservation("subnetCidrReservation", made)), nil
}

// tagsIn are the tags that a request has for what it makes.
func tagsIn(c *awsquery.Call, kind string) map[string]string {
	tags := map[string]string{}
	for i := 1; c.Get(fmt.Sprintf("TagSpecification.%d.ResourceType", i)) != ""; i++ {
		spec := fmt.Sprintf("TagSpecification.%d.", i)
		if c.Get(spec+"ResourceType") != kind {
			continue
		}
		for j := 1; c.Get(fmt.Sprintf("%sTag.%d.Key", spec, j)) != ""; j++ {
			tags[c.Get(fmt.Sprintf("%sTag.%d.Key", spec, j))] = c.Get(fmt.Sprintf("%sTag.%d.Value", spec, j))
		}
	}
	return tags
}

func reservation(name string, r records.Reservation) *awsquery.Node {
	var tags []*awsquery.Node
	for _, key := range slices.Sorted(maps.Keys(r.Tags)) {
		tags = append(tags, awsquery.Element("item", awsquery.Text("key", key), awsquery.Text("value", r.Tags[key])))
	}
	return awsquery.Element(name,
		awsquery.Text("subnetCidrReservationId", r.ID),
		awsquery.Text("subnetId", r.Subnet),
		awsquery.Text("cidr", r.CIDR.String()),
		awsquery.Text("reservationType", r.Kind),
		awsquery.Text("ownerId", awsquery.Account),
		awsquery.Text("description", r.Description),
		awsquery.Element("tagSet", tags...))
}

var reservationFilters = map[string]string{
	"reservationType": "reservationType",
	"subnet-id":       "subnetId",
	"tag-key":         "tagSet/*/key",
}

func (s *Reservations) get(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	if _, err := s.network.subnetRange(ctx, c.Get("SubnetId")); err != nil {
		return nil, err
	}
	_, filters, err := awsquery.TakeFilters(c, reservationFilters)
	if err != nil {
		return nil, err
	}
	var found []*awsquery.Node
	for _, r := range s.records.ReservationsIn(c.Get("SubnetId")) {
		if item := reservation("item", r); filters.Pass(item) {
			found = append(found, item)
		}
	}
	return awsquery.Reply(c.Action(), awsquery.Element("subnetIpv4CidrReservationSet", found...),
		awsquery.Element("subnetIpv6CidrReservationSet")), nil
}

func (s *Reservations) delete(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("SubnetCidrReservationId")
	found, ok := s.records.Reservation(id)
	if !ok {
		return nil, awsquery.Fault(apierror.InvalidSubnetReservationNotFound, id)
	}
	if err := s.records.Update(func(o *records.State) { delete(o.Reservations, id) }); err != nil {
		return nil, err
	}
	return awsquery.Reply(c.Action(), reservation("deletedSubnetCidrReservation", found)), nil
}

// Free are addresses of a subnet, at most so many, that can be given to who asks for none.
func (n *Network) Free(id string, subnet netip.Prefix, taken map[netip.Addr]bool, most int) []netip.Addr {
	reserved := n.records.ReservationsIn(id)
	var free []netip.Addr
	for address := subnet.Masked().Addr(); subnet.Contains(address) && len(free) < most; address = address.Next() {
		kept := func(r records.Reservation) bool { return r.CIDR.Contains(address) }
		if !eni.Reserved(subnet, address) && !taken[address] && !slices.ContainsFunc(reserved, kept) {
			free = append(free, address)
		}
	}
	return free
}
