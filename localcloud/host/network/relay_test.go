package network

import (
	"net/netip"
	"testing"
)

func TestTargetsOfPublicAddresses(t *testing.T) {
	at := netip.MustParseAddrPort
	r := &relay{links: map[string]string{"vpc-1": "vpc1"}, public: map[netip.Addr]Target{
		at("127.66.1.2:0").Addr(): {VPC: "vpc-1", Private: at("10.0.1.4:0").Addr()},
		at("127.66.1.3:0").Addr(): {
			VPC:      "vpc-1",
			Balanced: map[uint16][]netip.AddrPort{443: {at("10.0.1.5:8443"), at("10.0.1.6:8443")}, 80: nil},
		},
		at("127.66.1.4:0").Addr(): {VPC: "vpc-2", Private: at("10.0.1.4:0").Addr()},
	}}
	if got, link, err := r.target(at("127.66.1.2:22")); err != nil || got != at("10.0.1.4:22") || link != "vpc1" {
		t.Errorf("an instance: %s over %s, %v", got, link, err)
	}
	seen := map[netip.AddrPort]int{}
	for range 10 {
		got, _, err := r.target(at("127.66.1.3:443"))
		if err != nil {
			t.Fatal(err)
		}
		seen[got]++
	}
	if seen[at("10.0.1.5:8443")] != 5 || seen[at("10.0.1.6:8443")] != 5 {
		t.Errorf("a load balancer with two targets: %v", seen)
	}
	for _, nobody := range []string{"127.66.1.3:80", "127.66.1.3:22", "127.66.1.4:80", "127.66.1.5:80"} {
		if got, _, err := r.target(at(nobody)); err == nil {
			t.Errorf("%s leads to %s", nobody, got)
		}
	}
}
