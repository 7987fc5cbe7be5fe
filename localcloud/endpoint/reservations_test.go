package endpoint

import (
	"net/netip"
	"testing"
)

func TestSubnetCidrReservations(t *testing.T) {
	s := newServer(t, twoTiers(t), newMachinery(t))
	create := func(subnet, kind, cidr string) []string {
		return []string{"SubnetId", subnet, "ReservationType", kind, "Cidr", cidr,
			"TagSpecification.1.ResourceType", "subnet-cidr-reservation", "TagSpecification.1.Tag.1.Key", "a",
			"TagSpecification.1.Tag.1.Value", "b"}
	}
	for _, c := range []struct {
		code string
		of   []string
	}{
		{"InvalidSubnetID.NotFound", create("subnet-x", "explicit", "10.0.2.10/32")},
		{"InvalidParameterValue", create("subnet-b", "soft", "10.0.2.10/32")},
		{"InvalidParameterValue", create("subnet-b", "explicit", "10.0.2.10")},
		{"InvalidParameterValue", create("subnet-b", "explicit", "10.0.2.10/24")},
		{"InvalidParameterValue", create("subnet-b", "explicit", "10.0.1.10/32")},
		{"InvalidParameterValue", create("subnet-b", "explicit", "10.0.2.0/23")},
	} {
		refused(t, s, c.code, "CreateSubnetCidrReservation", c.of...)
	}
	made := mustRequest(t, s, "CreateSubnetCidrReservation", create("subnet-b", "explicit", "10.0.2.4/30")...)
	id := made.Get("subnetCidrReservation", "subnetCidrReservationId")
	refused(t, s, "InvalidParameterValue", "CreateSubnetCidrReservation",
		create("subnet-b", "explicit", "10.0.2.5/32")...)
	got := mustRequest(t, s, "GetSubnetCidrReservations", "SubnetId", "subnet-b", "Filter.1.Name", "tag:a",
		"Filter.1.Value.1", "b").Items("subnetIpv4CidrReservationSet")
	if len(got) != 1 || got[0].Get("subnetCidrReservationId") != id || got[0].Get("cidr") != "10.0.2.4/30" {
		t.Errorf("got %v, want %s", got, id)
	}
	refused(t, s, "InvalidSubnetID.NotFound", "GetSubnetCidrReservations", "SubnetId", "subnet-x")

	// What asks for no address gets none of it.
	subnet := netip.MustParsePrefix("10.0.2.0/24")
	if free := s.network.Free("subnet-b", subnet, nil, 1); free[0] != netip.MustParseAddr("10.0.2.8") {
		t.Errorf("the first free one is %v", free)
	}
	mustRequest(t, s, "DeleteSubnetCidrReservation", "SubnetCidrReservationId", id)
	refused(t, s, "InvalidSubnetCidrReservationID.NotFound", "DeleteSubnetCidrReservation",
		"SubnetCidrReservationId", id)
	if free := s.network.Free("subnet-b", subnet, nil, 1); free[0] != netip.MustParseAddr("10.0.2.4") {
		t.Errorf("the first free one is %v then", free)
	}
}
