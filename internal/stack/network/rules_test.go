package network

import (
	"net/netip"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// rulesUp is a run over a network that is there.
func rulesUp(more ...stackfile.Rule) *update {
	file := stackfile.Default()
	file.Database.Rules = more
	return &update{
		stack:    defaultstack.New(aws.Config{}, file, func(string, ...any) {}),
		n:        &Network{Groups: map[string]string{"web": "sg-web", "db": "sg-db"}},
		operator: netip.MustParsePrefix("192.0.2.1/32"),
	}
}

// rulesOfTier are the rules of a tier of the default stack.
func (u *update) rulesOfTier(name string) map[rule]string {
	return u.rulesFor(u.stack.Tier(name))
}

func TestCompareRules(t *testing.T) {
	wanted := rulesUp().rulesOfTier("web")
	if add, remove := compareRules(wanted, wanted); len(add)+len(remove) > 0 {
		t.Errorf("nothing is different, and yet: add %v, remove %v", add, remove)
	}
	old := rule{protocol: "tcp", from: 22, to: 22, peer: "198.51.100.9/32"}
	other := rule{protocol: "tcp", from: 8000, to: 9000, peer: "0.0.0.0/0"}
	add, remove := compareRules(map[rule]string{old: operatorRule, other: "somebody's"}, wanted)
	if len(add) != 4 || len(remove) != 2 || remove[0] != old || remove[1] != other {
		t.Errorf("add %v, remove %v", add, remove)
	}
}

func TestDatabaseIsOpenToTheWebGroupAlone(t *testing.T) {
	for r := range rulesUp().rulesOfTier("db") {
		p := r.permission("")
		if !r.egress &&
			(len(p.IpRanges)+len(p.Ipv6Ranges) > 0 || len(p.UserIdGroupPairs) != 1 ||
				aws.ToString(p.UserIdGroupPairs[0].GroupId) != "sg-web") {
			t.Errorf("%v lets in more than the web group: %+v", r, p)
		}
	}
}

func TestRulesOfTheStackFile(t *testing.T) {
	rules := rulesUp(stackfile.Rule{
		Protocol:    "tcp",
		Port:        9104,
		CIDR:        netip.MustParsePrefix("10.0.3.0/24"),
		Description: "metrics",
	},
		stackfile.Rule{Protocol: "icmp", Port: -1, FromTier: "db"}).rulesOfTier("db")
	for r, description := range map[rule]string{
		{protocol: "tcp", from: 9104, to: 9104, peer: "10.0.3.0/24"}: "metrics",
		{protocol: "icmp", from: -1, to: -1, peer: "sg-db"}:          "goldsmith",
	} {
		if got, ok := rules[r]; !ok || got != description {
			t.Errorf("%v: got %q, %v; there are %v", r, got, ok, rules)
		}
	}
}

// TestRulesAreReadAsTheyAreWritten has rules of each kind go through EC2's form and back.
func TestRulesAreReadAsTheyAreWritten(t *testing.T) {
	for _, r := range []rule{
		{
			protocol: "tcp",
			from:     22,
			to:       22,
			peer:     "2001:db8::1/128",
		}, {
			protocol: "udp",
			from:     1,
			to:       65535,
			peer:     "10.0.0.0/8",
		}, {protocol: "icmp", from: -1, to: -1, peer: "sg-1"},
		{
			protocol: "-1",
			from:     -1,
			to:       -1,
			peer:     "pl-1",
		}, {egress: true, protocol: "-1", from: -1, to: -1, peer: "0.0.0.0/0"},
	} {
		group := types.SecurityGroup{IpPermissions: []types.IpPermission{r.permission("why")}}
		if r.egress {
			group = types.SecurityGroup{IpPermissionsEgress: group.IpPermissions}
		}
		if got := rulesOf(group); len(got) != 1 || got[r] != "why" {
			t.Errorf("%v: got %v", r, got)
		}
	}
}

func TestCovering(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"10.0.1.0/24", "10.0.1.0/24", "10.0.1.0/24"}, {"10.0.1.0/24", "10.0.2.0/24", "10.0.0.0/22"}, {"10.0.0.0/25",
			"10.0.0.128/25", "10.0.0.0/24"},
		{"10.0.0.0/16", "10.0.9.0/28", "10.0.0.0/16"}, {"10.0.0.0/8", "192.168.0.0/16", "0.0.0.0/0"},
	} {
		a, b := netip.MustParsePrefix(c.a), netip.MustParsePrefix(c.b)
		if got := covering(a, b).String(); got != c.want {
			t.Errorf("%s and %s: got %s, want %s", a, b, got, c.want)
		}
	}
	if b := netip.MustParsePrefix("10.0.1.0/24"); covering(netip.Prefix{}, b) != b {
		t.Error("a range alone is not covered by itself")
	}
}
