package network

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

// goldenVPC has each way to the internet, and a group that names another.
func goldenVPC() VPC {
	prefix, address := netip.MustParsePrefix, netip.MustParseAddr
	everywhere := []Rule{{Protocol: "-1", From: -1, To: -1, CIDR: prefix("0.0.0.0/0")}}
	return VPC{
		ID: "vpc-1", CIDRs: []netip.Prefix{prefix("10.0.0.0/16")},
		Subnets: []Subnet{
			{ID: "subnet-public", CIDR: prefix("10.0.1.0/24"), Gateway: address("10.0.1.1"), Internet: ViaGateway},
			{ID: "subnet-private", CIDR: prefix("10.0.2.0/24"), Gateway: address("10.0.2.1"), Internet: NoInternet},
			{ID: "subnet-nat", CIDR: prefix("10.0.3.0/24"), Gateway: address("10.0.3.1"), Internet: ViaNAT},
		},
		Interfaces: []NetworkInterface{
			{
				ID:         "eni-web",
				Subnet:     "subnet-public",
				PrivateIPs: []netip.Addr{address("10.0.1.10"), address("10.0.1.11")},
				Public:     true,
				Groups:     []string{"sg-web"},
			},
			{
				ID:         "eni-hidden",
				Subnet:     "subnet-public",
				PrivateIPs: []netip.Addr{address("10.0.1.20")},
				Groups:     []string{"sg-web"},
			},
			{
				ID:         "eni-db",
				Subnet:     "subnet-private",
				PrivateIPs: []netip.Addr{address("10.0.2.10")},
				Public:     true,
				Groups:     []string{"sg-db"},
			},
			{
				ID:         "eni-work",
				Subnet:     "subnet-nat",
				PrivateIPs: []netip.Addr{address("10.0.3.10")},
				Groups:     []string{"sg-db", "sg-web"},
			},
		},
		Groups: []SecurityGroup{
			{ID: "sg-web", Egress: everywhere, Ingress: []Rule{
				{
					Protocol: "tcp",
					From:     443,
					To:       443,
					CIDR:     prefix("0.0.0.0/0"),
				},
				{Protocol: "tcp", From: 22, To: 22, CIDR: prefix("198.51.100.1/32")},
			}},
			{
				ID:      "sg-db",
				Egress:  []Rule{{Protocol: "tcp", From: 0, To: 65535, Group: "sg-web"}},
				Ingress: []Rule{{Protocol: "tcp", From: 3306, To: 3306, Group: "sg-web"}},
			},
			{ID: "sg-empty"},
		},
	}
}

func TestRulesetIsGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/ruleset.nft")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ruleset(goldenVPC()); err != nil || got != string(want) {
		t.Errorf("%v, or the rule set is not as in testdata/ruleset.nft:\n%s", err, got)
	}
}

// Apply compares rule sets to see whether anything has changed.
func TestRulesetDoesNotDependOnOrder(t *testing.T) {
	vpc := goldenVPC()
	slices.Reverse(vpc.Interfaces)
	slices.Reverse(vpc.Groups)
	slices.Reverse(vpc.Subnets)
	other, err := ruleset(vpc)
	if golden, _ := ruleset(goldenVPC()); err != nil || other != golden {
		t.Errorf("another order gives another rule set, or none: %v", err)
	}
}

func TestWriteRule(t *testing.T) {
	everybody := netip.MustParsePrefix("0.0.0.0/0")
	for _, c := range []struct {
		name string
		rule Rule
		want string
	}{
		{"everything", Rule{Protocol: "-1", From: -1, To: -1, CIDR: everybody}, "accept"},
		{
			"a network whose address has host bits",
			Rule{Protocol: "-1", From: -1, To: -1, CIDR: netip.MustParsePrefix("10.0.1.7/24")},
			"ip saddr 10.0.1.0/24 accept",
		},
		{"ports", Rule{Protocol: "udp", From: 5000, To: 6000, CIDR: everybody}, "udp dport 5000-6000 accept"},
		{"all ports", Rule{Protocol: "6", From: 0, To: 65535, CIDR: everybody}, "meta l4proto tcp accept"},
		{"a group", Rule{Protocol: "tcp", From: 1, To: 1, Group: "sg-1"}, "ip saddr @sg_1 tcp dport 1-1 accept"},
		{"a group that is no more", Rule{Protocol: "tcp", From: 1, To: 1, Group: "sg-2"}, ""},
		{
			"a kind of ping",
			Rule{Protocol: "icmp", From: 8, To: 0, CIDR: everybody},
			"meta l4proto icmp icmp type 8 icmp code 0 accept",
		},
		{"every ping", Rule{Protocol: "1", From: -1, To: -1, CIDR: everybody}, "meta l4proto icmp accept"},
		{"another protocol", Rule{Protocol: "50", From: -1, To: -1, CIDR: everybody}, "meta l4proto 50 accept"},
		{"IPv6", Rule{Protocol: "tcp", From: 1, To: 1, CIDR: netip.MustParsePrefix("::/0")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b strings.Builder
			writeRule(&b, map[string]SecurityGroup{"sg-1": {}}, "saddr", c.rule, "accept")
			if got := strings.TrimSpace(b.String()); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestDeviceFitsTheKernel(t *testing.T) {
	one, other := device("eni-0123456789abcdef0"), device("eni-0123456789abcdef1")
	if len(one) > 15 || one == other {
		t.Errorf("got %q and %q", one, other)
	}
}
