package endpoint

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tool"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// withGroup is a server whose network has one group, with a rule. Moto takes any rule.
func withGroup(t *testing.T) (*Server, *mototest.Moto, *machinery) {
	b := mototest.New(t, map[string]func(url.Values) string{
		"DescribeVpcs": mototest.Canned(
			`<vpcSet><item><vpcId>vpc-00000000000000001</vpcId><cidrBlock>10.0.0.0/16</cidrBlock></item></vpcSet>`,
		),
		"DescribeSecurityGroups": mototest.Canned(
			`<securityGroupInfo><item><groupId>sg-00000000000000001</groupId><vpcId>vpc-00000000000000001</vpcId>
			<ipPermissions>
			<item><ipProtocol>tcp</ipProtocol><fromPort>80</fromPort><toPort>80</toPort><ipRanges><item>
			<cidrIp>10.0.0.0/8</cidrIp><description>why</description></item></ipRanges></item>
			<item><ipProtocol>tcp</ipProtocol><fromPort>70000</fromPort><toPort>70000</toPort><ipRanges><item>
			<cidrIp>10.0.0.0/8</cidrIp></item></ipRanges></item>
			<item><ipProtocol>47 accept } include</ipProtocol><ipRanges><item>
			<cidrIp>10.0.0.0/8</cidrIp></item></ipRanges></item>
			</ipPermissions></item></securityGroupInfo>`,
		),
		"AuthorizeSecurityGroupIngress": mototest.Canned("<return>true</return>"),
		"AuthorizeSecurityGroupEgress":  mototest.Canned("<return>true</return>"),
	})
	m := newMachinery(t)
	return newServer(t, b, m), b, m
}

// permission is a rule as a request has it: protocol, ports and a range.
func permission(protocol, from, to, cidr string) []string {
	parameters := []string{"GroupId", "sg-00000000000000001"}
	for name, value := range map[string]string{
		"IpProtocol":        protocol,
		"FromPort":          from,
		"ToPort":            to,
		"IpRanges.1.CidrIp": cidr,
	} {
		if value != "" {
			parameters = append(parameters, "IpPermissions.1."+name, value)
		}
	}
	return parameters
}

func TestRulesThatNoFirewallHas(t *testing.T) {
	s, b, _ := withGroup(t)
	for _, c := range []struct {
		name, code string
		rule       []string
	}{
		{"a port that is too large", "InvalidParameterValue", permission("tcp", "70000", "70000", "10.0.0.0/8")},
		{"one more than the last port", "InvalidParameterValue", permission("udp", "1", "65536", "10.0.0.0/8")},
		{"a port below none", "InvalidParameterValue", permission("tcp", "-5", "80", "10.0.0.0/8")},
		{"all ports, by the number for ICMP", "InvalidParameterValue", permission("tcp", "-1", "-1", "10.0.0.0/8")},
		{"ports the wrong way round", "InvalidParameterValue", permission("tcp", "81", "80", "10.0.0.0/8")},
		{"no ports", "InvalidParameterValue", permission("tcp", "", "", "10.0.0.0/8")},
		{"one port", "InvalidParameterValue", permission("tcp", "80", "", "10.0.0.0/8")},
		{"a port that is no number", "InvalidParameterValue", permission("tcp", "http", "80", "10.0.0.0/8")},
		{"an ICMP type that is too large", "InvalidParameterValue", permission("icmp", "300", "0", "10.0.0.0/8")},
		{"an ICMP code that is too large", "InvalidParameterValue", permission("icmp", "3", "256", "10.0.0.0/8")},
		{"an ICMP code of all types", "InvalidParameterValue", permission("icmp", "-1", "3", "10.0.0.0/8")},
		{"an unknown protocol", "InvalidParameterValue", permission("foo", "80", "80", "10.0.0.0/8")},
		{"a protocol's number that is too large", "InvalidParameterValue", permission("256", "", "", "10.0.0.0/8")},
		{"a protocol that is a rule set", "InvalidParameterValue",
			permission("47 accept\n}\n}\ninclude \"/etc/shadow\"", "", "", "10.0.0.0/8")},
		{"a protocol with a space", "InvalidParameterValue", permission("tcp ", "80", "80", "10.0.0.0/8")},
		{"no protocol", "MissingParameter", permission("", "80", "80", "10.0.0.0/8")},
		{"no peer", "MissingParameter", permission("tcp", "80", "80", "")},
		{"no rule", "MissingParameter", []string{"GroupId", "sg-00000000000000001"}},
		{"a prefix that is too long", "InvalidParameterValue", permission("tcp", "80", "80", "10.0.0.0/33")},
		{"an address without prefix", "InvalidParameterValue", permission("tcp", "80", "80", "10.0.0.1")},
		{"a range that is none", "InvalidParameterValue", permission("tcp", "80", "80", "10.0.0.0/8 accept")},
		{"an IPv6 range as IPv4", "InvalidParameterValue", permission("tcp", "80", "80", "::/0")},
		{"an IPv6 range with a zone", "InvalidParameterValue",
			append(permission("tcp", "80", "80", ""), "IpPermissions.1.Ipv6Ranges.1.CidrIpv6", "fe80::1%eth0/64")},
		{"a group that is none", "InvalidGroupId.Malformed",
			append(permission("tcp", "80", "80", ""), "IpPermissions.1.Groups.1.GroupId", "sg-1; drop")},
		{"the older form", "InvalidParameterValue",
			[]string{"GroupId", "sg-00000000000000001", "IpProtocol", "tcp", "FromPort", "70000", "ToPort", "70000",
				"CidrIp", "10.0.0.0/8"}},
		{"behind a gap in the list", "InvalidParameterValue", []string{"GroupId", "sg-00000000000000001",
			"IpPermissions.7.IpProtocol", "foo", "IpPermissions.7.IpRanges.1.CidrIp", "10.0.0.0/8"}},
		{"at the list's zeroth place", "InvalidParameterValue", []string{"GroupId", "sg-00000000000000001",
			"IpPermissions.0.IpProtocol", "foo", "IpPermissions.0.IpRanges.1.CidrIp", "10.0.0.0/8"}},
		{"a list that is none", "UnknownParameter",
			[]string{"GroupId", "sg-00000000000000001", "IpPermissions.x.IpProtocol", "tcp"}},
		{"an unknown member", "UnknownParameter",
			append(permission("tcp", "80", "80", "10.9.0.0/16"), "IpPermissions.1.Else", "x")},
		{"a rule that is there", "InvalidPermission.Duplicate", permission("tcp", "80", "80", "10.0.0.0/8")},
		{"the same by number", "InvalidPermission.Duplicate", permission("6", "80", "80", "10.0.0.0/8")},
		{"the same with host bits", "InvalidPermission.Duplicate", permission("tcp", "80", "80", "10.1.2.3/8")},
		{"the same with another description", "InvalidPermission.Duplicate",
			append(permission("tcp", "80", "80", "10.0.0.0/8"), "IpPermissions.1.IpRanges.1.Description", "other")},
		{"twice in one request", "InvalidParameterValue",
			append(permission("tcp", "81", "81", "10.0.0.0/8"), "IpPermissions.1.IpRanges.2.CidrIp", "10.0.0.0/8")},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused(t, s, c.code, "AuthorizeSecurityGroupIngress", c.rule...)
		})
	}
	if changes := b.Changes(); len(changes) > 0 {
		t.Errorf("moto got %v", changes)
	}
}

func TestRulesThatAFirewallHas(t *testing.T) {
	s, b, _ := withGroup(t)
	for _, rule := range [][]string{
		permission("tcp", "0", "65535", "0.0.0.0/0"), permission("udp", "53", "53", "10.0.0.0/8"),
		permission("icmp", "-1", "-1", "10.0.0.0/8"),
		permission("icmp", "3", "4", "10.0.0.0/8"), permission("-1", "", "", "10.0.0.0/8"),
		permission("-1", "0", "0", "10.0.0.0/8"), permission("47", "", "", "10.0.0.0/8"),
		append(permission("tcp", "80", "80", ""), "IpPermissions.1.Groups.1.GroupId", "sg-00000000000000002"),
		append(permission("tcp", "80", "80", ""), "IpPermissions.1.Ipv6Ranges.1.CidrIpv6", "::/0"),
	} {
		mustRequest(t, s, "AuthorizeSecurityGroupIngress", rule...)
		mustRequest(t, s, "AuthorizeSecurityGroupEgress", rule...)
	}
	// One that is the same for egress only is none that is there.
	mustRequest(t, s, "AuthorizeSecurityGroupEgress", permission("tcp", "80", "80", "10.0.0.0/8")...)
	mustRequest(t, s, "AuthorizeSecurityGroupIngress", "GroupId", "sg-00000000000000001", "IpProtocol", "6",
		"FromPort", "81", "ToPort", "81", "CidrIp", "10.1.2.3/8")
	form := b.Form("AuthorizeSecurityGroupIngress")
	if form.Get("IpPermissions.1.IpProtocol") != "tcp" ||
		form.Get("IpPermissions.1.IpRanges.1.CidrIp") != "10.0.0.0/8" || form.Has("CidrIp") {
		t.Errorf("moto got %v", form)
	}
}

// TestRulesOfBefore: a rule that no firewall can have, of a version that took any, costs nothing but itself.
func TestRulesOfBefore(t *testing.T) {
	s, _, m := withGroup(t)
	if err := s.network.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.topology.Check(); err != nil {
		t.Error(err)
	}
	got := m.topology.VPCs[0].Groups[0].Ingress
	if len(got) != 1 || got[0].From != 80 {
		t.Errorf("the rules are %+v", got)
	}
}

// TestWhatCannotBeMadeRealIsTakenBack: the call fails, and the records are as before, also in the journal.
func TestWhatCannotBeMadeRealIsTakenBack(t *testing.T) {
	s, b, m := withGroup(t)
	b.Answers["CreateSubnet"] = mototest.Canned("<subnet><subnetId>subnet-00000000000000001</subnetId></subnet>")
	b.Answers["DeleteVolume"] = mototest.Canned("<return>true</return>")
	b.Answers["CreateTags"] = mototest.Canned("<return>true</return>")
	b.Answers["StopInstances"] = mototest.Canned("<instancesSet/>")
	change(t, s, func(o *records.State) { o.Instances["i-00000000000000001"] = &records.Instance{State: "stopped"} })
	mustRequest(t, s, "CreateTags", "ResourceId.1", "vpc-00000000000000001", "Tag.1.Key", "k")
	failure := &tool.Error{Doing: "set the firewall", Err: errors.New("exit status 1"), Output: "root:x:0:0"}
	m.allowed["Apply"], m.allowed["DeleteVolume"] = failure, failure
	for action, parameters := range map[string][]string{
		"AuthorizeSecurityGroupIngress": permission("tcp", "81", "81", "10.0.0.0/8"),
		"CreateSubnet":                  {"VpcId", "vpc-00000000000000001", "CidrBlock", "10.0.9.0/24"},
		"DeleteVolume":                  {"VolumeId", "vol-00000000000000001"},
	} {
		before, _ := journalText(s)
		b.Forget()
		status, root := request(t, s, action, parameters...)
		if status == http.StatusOK || strings.Contains(string(root.Bytes()), "root:x") {
			t.Errorf("%s: status %d: %s", action, status, root.Bytes())
		}
		if after, calls := journalText(s); after != before || calls != 1 {
			t.Errorf("%s: the journal is\n%s", action, after)
		}
		if !slices.Equal(b.Changes(), []string{action, "reset", "CreateTags", "StopInstances"}) {
			t.Errorf("%s: moto got %v", action, b.Changes())
		}
	}
}

// TestOthersChangesStay: what somebody else noted meanwhile is not taken back, and what a fresh moto refuses is
// not lost.
func TestOthersChangesStay(t *testing.T) {
	s, b, m := withGroup(t)
	b.Answers["CreateTags"] = mototest.Canned("<return>true</return>")
	b.Answers["CreateVpcEndpoint"] = mototest.Canned("<vpcEndpoint/>")
	mustRequest(t, s, "CreateTags", "ResourceId.1", "vpc-00000000000000001", "Tag.1.Key", "before")
	if _, err := s.moto.Forward(t.Context(), awsquery.NewCall("ec2", "CreateVpcEndpoint",
		"VpcId", "vpc-00000000000000009")); err != nil {
		t.Fatal(err)
	}
	b.Set("CreateVpcEndpoint", "<Errors><Error><Code>InvalidVpcID.NotFound</Code></Error></Errors>")
	m.allowed["Apply"] = errors.New("no")
	m.whileApplying = sync.OnceFunc(func() { // by work in the background
		tags := awsquery.NewCall("ec2", "CreateTags", "ResourceId.1", "vpc-00000000000000001")
		if _, err := s.moto.Forward(t.Context(), tags); err != nil {
			t.Error(err)
		}
	})
	if status, root := request(t, s, "AuthorizeSecurityGroupIngress",
		permission("tcp", "81", "81", "10.0.0.0/8")...); status == http.StatusOK {
		t.Fatalf("it is done: %s", root.Bytes())
	}
	var kept []string
	for _, c := range s.moto.Journaled() {
		kept = append(kept, c.String())
	}
	if want := []string{"CreateTags", "CreateVpcEndpoint", "CreateTags"}; !slices.Equal(kept, want) {
		t.Errorf("the journal has %v, want %v", kept, want)
	}
}

// journalText is the journal as text, and how many calls it has.
func journalText(s *Server) (string, int) {
	var text strings.Builder
	calls := s.moto.Journaled()
	for _, c := range calls {
		text.WriteString(c.String() + " " + c.Form.Encode() + "\n")
	}
	return text.String(), len(calls)
}

// TestGroupThatIsGone: work on a group goes on for a moment after it was deleted.
func TestGroupThatIsGone(t *testing.T) {
	s := newServer(t, mototest.New(t, nil), newMachinery(t))
	if err := s.records.Update(func(o *records.State) {
		o.Instances["i-00000000000000001"] = &records.Instance{State: "terminated", Group: "gone"}
	}); err != nil {
		t.Fatal(err)
	}
	groupRequest(t, s, "autoscaling", "TerminateInstanceInAutoScalingGroup", "InstanceId", "i-00000000000000001",
		"ShouldDecrementDesiredCapacity", "true")
	if names := s.records.GroupNames(); len(names) > 0 {
		t.Errorf("it is back: %v", names)
	}
}
