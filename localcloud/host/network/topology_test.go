package network

import (
	"bytes"
	"net/netip"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tool"
)

func TestRuleCheck(t *testing.T) {
	everybody := netip.MustParsePrefix("0.0.0.0/0")
	for _, c := range []struct {
		protocol string
		from, to int
		good     bool
	}{
		{"-1", -1, -1, true}, {"-1", 80, 80, true}, {"tcp", 0, 65535, true}, {"tcp", -1, -1, true},
		{"udp", 53, 53, true}, {"6", 22, 22, true}, {"icmp", 8, 0, true}, {"icmp", 8, -1, true},
		{"1", -1, -1, true}, {"icmpv6", -1, -1, true}, {"58", -1, -1, true}, {"0", -1, -1, true},
		{"255", 7, 7, true}, {"tcp", -1, 22, false}, {"tcp", 22, -1, false}, {"tcp", 23, 22, false},
		{"udp", 1, 65536, false}, {"tcp", -2, -2, false}, {"icmp", 256, 0, false}, {"icmp", -2, -2, false},
		{"", -1, -1, false}, {"256", -1, -1, false}, {"06", 22, 22, false}, {"+6", 22, 22, false},
		{"-2", -1, -1, false}, {"TCP", 22, 22, false}, {"tcp ", 22, 22, false}, {"esp", -1, -1, false},
		{"47 accept\n}\n}\ninclude \"/etc/shadow\"\ntable ip x {", -1, -1, false},
	} {
		err := Rule{Protocol: c.protocol, From: c.from, To: c.to, CIDR: everybody}.Check()
		if (err == nil) != c.good {
			t.Errorf("%q %d to %d: %v", c.protocol, c.from, c.to, err)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: the error has lines of the input: %v", c.protocol, err)
		}
	}
	for _, rule := range []Rule{
		{Protocol: "-1"},
		{Protocol: "-1", CIDR: netip.PrefixFrom(netip.MustParseAddr("10.0.0.1"), 33)},
		{Protocol: "-1", Group: "sg-1 accept"},
	} {
		if err := rule.Check(); err == nil {
			t.Errorf("a rule for nobody, or for who knows whom, is taken: %+v", rule)
		}
	}
}

// What is wrong with a network is said with the id of what it is wrong with.
func TestTopologyCheck(t *testing.T) {
	zoned := netip.MustParseAddr("fe80::1%x\nroute flush")
	private := netip.MustParseAddr("10.0.0.4")
	public := func(address netip.Addr, to Target) func(*Topology) {
		return func(t *Topology) { t.Public = map[netip.Addr]Target{address: to} }
	}
	for name, c := range map[string]struct {
		change func(*Topology)
		want   string
	}{
		"vpc":             {func(t *Topology) { t.VPCs[0].ID = "vpc-1; reboot" }, "vpc-1; reboot"},
		"vpc twice":       {func(t *Topology) { t.VPCs = append(t.VPCs, t.VPCs[0]) }, "twice"},
		"subnet":          {func(t *Topology) { t.VPCs[0].Subnets[0].ID = "x" }, "subnet-0"},
		"gateway":         {func(t *Topology) { t.VPCs[0].Subnets[0].Gateway = zoned }, "subnet-public"},
		"no range":        {func(t *Topology) { t.VPCs[0].Subnets[0].CIDR = netip.Prefix{} }, "subnet-public"},
		"interface":       {func(t *Topology) { t.VPCs[0].Interfaces[0].ID = "eni-\"" }, "eni-"},
		"same device":     {func(t *Topology) { t.VPCs[0].Interfaces[0].ID = t.VPCs[0].Interfaces[1].ID }, "differ"},
		"address":         {func(t *Topology) { t.VPCs[0].Interfaces[0].PrivateIPs[0] = zoned }, "eni-web"},
		"interface's":     {func(t *Topology) { t.VPCs[0].Interfaces[0].Groups = []string{"sg"} }, "eni-web"},
		"group":           {func(t *Topology) { t.VPCs[0].Groups[0].ID = "sg-web {" }, "sg-web {"},
		"group twice":     {func(t *Topology) { t.VPCs[0].Groups[1].ID = t.VPCs[0].Groups[0].ID }, "twice"},
		"ingress":         {func(t *Topology) { t.VPCs[0].Groups[0].Ingress[0].Protocol = "x" }, "a rule of sg-web"},
		"egress":          {func(t *Topology) { t.VPCs[0].Groups[0].Egress[0].Group = "x" }, "a rule of sg-web"},
		"public":          {public(zoned, Target{VPC: "vpc-1", Private: private}), "no IPv4"},
		"public's vpc":    {public(private, Target{VPC: "x", Private: private}), "10.0.0.4"},
		"public's target": {public(private, Target{VPC: "vpc-1"}), "10.0.0.4"},
	} {
		topology := Topology{VPCs: []VPC{goldenVPC()}}
		if err := topology.Check(); err != nil {
			t.Fatal(err)
		}
		c.change(&topology)
		err := topology.Check()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// rulesetLines are all that a line of a rule set can be: the words of this package with ids, numbers and addresses
// between them.
var rulesetLines = func() *regexp.Regexp {
	const (
		name    = `[a-z0-9_]+`
		address = `[0-9.]+`
		list    = `\{ ` + address + `(, ` + address + `)* \}`
		spoofed = `(drop|ip saddr != ` + list + ` drop)`
		peer    = `(ip (saddr|daddr) (@sg_[a-z0-9]+|` + address + `/[0-9]+) )?`
		what    = `(meta l4proto ([0-9]+|tcp|udp) |(tcp|udp) dport [0-9]+-[0-9]+ |meta l4proto icmp (icmp type ` +
			`[0-9]+ )?(icmp code [0-9]+ )?)?`
	)
	return regexp.MustCompile(`^(` + strings.Join([]string{
		`flush ruleset`,
		`table ip goldsmith \{`,
		`}`,
		`  }`,
		`  set sg_[a-z0-9]+ \{`,
		`    type ipv4_addr`,
		`    elements = ` + list,
		`  chain ` + name + ` \{`,
		`    ` + spoofed,
		`    ` + peer + what + `(accept|goto ingress)`,
		`    [io]ifname "` + name + `" goto (in|out)_` + name,
		`    iifname "` + name + `" oifname "` + name + `" (accept|goto in_` + name + `)`,
		`    iifname "` + name + `" ` + spoofed,
		`    oifname "inet0" masquerade`,
		`    ct state established,related accept`,
		`    type (filter|nat) hook (forward|input|postrouting) priority (filter|srcnat); policy (drop|accept);`,
		`    type nat hook postrouting priority srcnat;`,
	}, "|") + `)$`)
}()

func TestRulesetLines(t *testing.T) {
	rules, err := ruleset(goldenVPC())
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(rules) {
		if !rulesetLines.MatchString(strings.TrimSuffix(line, "\n")) {
			t.Errorf("a line that is as it should be is not known: %q", line)
		}
	}
	for _, line := range []string{`    include "/etc/shadow"`, `    meta l4proto 47 accept }`, `table ip x {`} {
		if rulesetLines.MatchString(line) {
			t.Errorf("a line that should not be there is taken: %q", line)
		}
	}
}

// nftChecks tells whether nft(8) can be asked to judge a rule set: that needs root, and the kernel's tables.
func nftChecks() bool {
	return nftCheck(
		"flush ruleset\ntable ip probe {\n  chain forward {\n    type filter hook forward priority filter; policy "+
			"drop;\n  }\n}\n",
	) == nil
}

func nftCheck(rules string) error {
	var said bytes.Buffer
	cmd := exec.Command("nft", "--check", "--file", "-")
	cmd.Stdin, cmd.Stderr = strings.NewReader(rules), &said
	if err := cmd.Run(); err != nil {
		return &tool.Error{
			Doing:  "check",
			Err:    err,
			Output: said.String(),
			Input:  rules,
		}
	}
	return nil
}

// FuzzRuleset has any text and number at each place of a VPC. Either it is refused, or the rule set has nothing of it
// outside its place and nft takes it.
func FuzzRuleset(f *testing.F) {
	const injected = "47 accept\n}\n}\ninclude \"/etc/shadow\"\ntable ip x {"
	type seed struct {
		protocol           string
		from, to           int
		cidr, peer         string
		vpc, subnet        string
		eni, address, sg   string
		other, otherMember string
	}
	good := seed{
		"tcp",
		22,
		22,
		"10.0.0.0/8",
		"",
		"vpc-1",
		"subnet-1",
		"eni-0123456789abcdef0",
		"10.0.1.4",
		"sg-1",
		"eni-0123456789abcdef1",
		"10.0.1.5",
	}
	for _, change := range []func(*seed){
		func(*seed) {},
		func(s *seed) { s.protocol = injected },
		func(s *seed) { s.protocol, s.from, s.to = "icmp", 8, 0 },
		func(s *seed) { s.protocol, s.from, s.to = "icmp", -1, 3 },
		func(s *seed) { s.protocol = "0" },
		func(s *seed) { s.protocol = "255" },
		func(s *seed) { s.protocol = "-1" },
		func(s *seed) { s.from, s.to = -1, 22 },
		func(s *seed) { s.from, s.to = 0, 65536 },
		func(s *seed) { s.from, s.to = 0, 0 },
		func(s *seed) { s.cidr = "0.0.0.0/0" },
		func(s *seed) { s.cidr = "::ffff:10.0.0.0/104" },
		func(s *seed) { s.cidr, s.peer = "", "sg-1" },
		func(s *seed) { s.cidr, s.peer = "", "sg-1 accept" },
		func(s *seed) { s.peer = "sg-other" },
		func(s *seed) { s.vpc = injected },
		func(s *seed) { s.subnet = injected },
		func(s *seed) { s.eni = "eni-\" accept" },
		func(s *seed) { s.address = "fe80::1%x } accept" },
		func(s *seed) { s.sg = "sg-1 { }" },
		func(s *seed) { s.other = s.eni },
		func(s *seed) { s.otherMember = s.address },
	} {
		s := good
		change(&s)
		f.Add(s.protocol, s.from, s.to, s.cidr, s.peer, s.vpc, s.subnet, s.eni, s.address, s.sg, s.other, s.otherMember)
	}
	judge := nftChecks()
	if !judge {
		f.Log("nft cannot judge here: only the shape of each line is looked at")
	}
	f.Fuzz(
		func(
			t *testing.T, protocol string, from, to int,
			cidr, peer, vpc, subnet, eni, address, sg, other, otherMember string,
		) {
			rule := Rule{Protocol: protocol, From: from, To: to, Group: peer}
			rule.CIDR, _ = netip.ParsePrefix(cidr)
			addresses := func(text string) []netip.Addr {
				a, _ := netip.ParseAddr(text)
				return []netip.Addr{a, a}
			}
			rules, err := ruleset(VPC{
				ID: vpc,
				Subnets: []Subnet{
					{
						ID:       subnet,
						CIDR:     netip.MustParsePrefix("10.0.1.0/24"),
						Gateway:  netip.MustParseAddr("10.0.1.1"),
						Internet: ViaGateway,
					},
				},
				Interfaces: []NetworkInterface{
					{ID: eni, Subnet: subnet, PrivateIPs: addresses(address), Public: true, Groups: []string{sg}},
					{ID: other, Subnet: subnet, PrivateIPs: addresses(otherMember), Groups: []string{sg, peer}},
				},
				Groups: []SecurityGroup{{ID: sg, Ingress: []Rule{rule}, Egress: []Rule{rule, rule}}},
			})
			if err != nil {
				return
			}
			for line := range strings.Lines(rules) {
				if !rulesetLines.MatchString(strings.TrimSuffix(line, "\n")) {
					t.Errorf("a line that no rule set has: %q", line)
				}
			}
			if judge {
				if err := nftCheck(rules); err != nil {
					t.Error(err)
				}
			}
		},
	)
}
