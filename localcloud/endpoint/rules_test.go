package endpoint

import (
	"net/url"
	"slices"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
)

// TestRevokedRules has a group with two peers for the same port, which moto mixes up.
func TestRevokedRules(t *testing.T) {
	b := twoTiers(t)
	b.Answers["DescribeSecurityGroups"] = mototest.Canned(
		`<securityGroupInfo><item><groupId>sg-db</groupId><vpcId>vpc-1</vpcId><ipPermissions>
		<item><ipProtocol>tcp</ipProtocol><fromPort>3306</fromPort><toPort>3306</toPort><groups><item>
		<groupId>sg-web</groupId><description>why</description></item></groups>
			<ipRanges><item><cidrIp>10.0.1.0/24</cidrIp><description>by hand</description></item></ipRanges></item>
		<item><ipProtocol>tcp</ipProtocol><fromPort>22</fromPort><toPort>22</toPort><groups><item>
		<groupId>sg-web</groupId></item></groups></item></ipPermissions></item></securityGroupInfo>`,
	)
	b.Answers["DescribeSecurityGroupRules"] = mototest.Canned(`<securityGroupRuleSet>
		<item><securityGroupRuleId>sgr-1</securityGroupRuleId><isEgress>false</isEgress><ipProtocol>tcp</ipProtocol>
		<fromPort>3306</fromPort><toPort>3306</toPort></item>
		<item><securityGroupRuleId>sgr-2</securityGroupRuleId><isEgress>false</isEgress><ipProtocol>tcp</ipProtocol>
		<fromPort>3306</fromPort><toPort>3306</toPort></item>
		<item><securityGroupRuleId>sgr-3</securityGroupRuleId><isEgress>false</isEgress><ipProtocol>tcp</ipProtocol>
		<fromPort>22</fromPort><toPort>22</toPort></item>
		<item><securityGroupRuleId>sgr-4</securityGroupRuleId><isEgress>true</isEgress><ipProtocol>tcp</ipProtocol>
		<fromPort>3306</fromPort><toPort>3306</toPort></item></securityGroupRuleSet>`)
	var got []string
	b.Answers["RevokeSecurityGroupIngress"] = func(form url.Values) string {
		got = append(got,
			"revoke "+form.Get("SecurityGroupRuleId.1")+" "+form.Get("SecurityGroupRuleId.2")+" "+
				form.Get("SecurityGroupRuleId.3")+form.Get("IpPermissions.1.IpProtocol"))
		return "<return>true</return>"
	}
	b.Answers["AuthorizeSecurityGroupIngress"] = func(form url.Values) string {
		got = append(got,
			"authorize "+form.Get("IpPermissions.1.FromPort")+" "+form.Get("IpPermissions.1.Groups.1.GroupId")+" "+
				form.Get("IpPermissions.1.Groups.1.Description")+form.Get("IpPermissions.1.IpRanges.1.CidrIp"))
		return "<return>true</return>"
	}
	s := newServer(t, b, newMachinery(t))
	refused(t, s, "InvalidPermission.NotFound", "RevokeSecurityGroupIngress", "GroupId", "sg-db",
		"IpPermissions.1.IpProtocol", "tcp", "IpPermissions.1.FromPort", "3306", "IpPermissions.1.ToPort", "3306",
		"IpPermissions.1.IpRanges.1.CidrIp", "10.0.9.0/24")
	if len(got) > 0 {
		t.Errorf("for a rule that is not there, moto got %q", got)
	}
	mustRequest(t, s, "RevokeSecurityGroupIngress", "GroupId", "sg-db",
		"IpPermissions.1.IpProtocol", "tcp", "IpPermissions.1.FromPort", "3306", "IpPermissions.1.ToPort", "3306",
		"IpPermissions.1.IpRanges.1.CidrIp", "10.0.1.0/24")
	if want := []string{"revoke sgr-1 sgr-2 ", "authorize 3306 sg-web why"}; !slices.Equal(got, want) {
		t.Errorf("moto got %q, want %q", got, want)
	}
}

// TestRevokedAsDescribed: a rule is the same in all ways of writing it.
func TestRevokedAsDescribed(t *testing.T) {
	const group = "sg-00000000000000001"
	b := mototest.New(t, map[string]func(url.Values) string{
		"DescribeVpcs": mototest.Canned(
			"<vpcSet><item><vpcId>vpc-00000000000000001</vpcId><cidrBlock>10.0.0.0/16</cidrBlock></item></vpcSet>",
		),
		"DescribeSecurityGroups": mototest.Canned(
			`<securityGroupInfo><item><groupId>` + group + `</groupId><vpcId>vpc-00000000000000001</vpcId>
			<ipPermissions><item><ipProtocol>tcp</ipProtocol><fromPort>81</fromPort><toPort>81</toPort><ipRanges>
			<item><cidrIp>10.0.0.0/8</cidrIp></item></ipRanges></item></ipPermissions>
			<ipPermissionsEgress><item><ipProtocol>-1</ipProtocol><ipRanges><item>
			<cidrIp>0.0.0.0/0</cidrIp></item></ipRanges></item></ipPermissionsEgress></item></securityGroupInfo>`,
		),
		"DescribeSecurityGroupRules": mototest.Canned(`<securityGroupRuleSet>
			<item><securityGroupRuleId>sgr-1</securityGroupRuleId><isEgress>false</isEgress>
			<ipProtocol>tcp</ipProtocol><fromPort>81</fromPort><toPort>81</toPort></item>
			<item><securityGroupRuleId>sgr-2</securityGroupRuleId><isEgress>true</isEgress>
			<ipProtocol>-1</ipProtocol></item></securityGroupRuleSet>`),
		"RevokeSecurityGroupIngress": mototest.Canned("<return>true</return>"),
		"RevokeSecurityGroupEgress":  mototest.Canned("<return>true</return>"),
	})
	s := newServer(t, b, newMachinery(t))
	rule := func(protocol, from, to, cidr string) []string {
		return []string{"IpPermissions.1.IpProtocol", protocol, "IpPermissions.1.FromPort", from,
			"IpPermissions.1.ToPort", to, "IpPermissions.1.IpRanges.1.CidrIp", cidr}
	}
	for _, c := range []struct {
		action, by, id string
		rule           []string
	}{
		{"RevokeSecurityGroupEgress", "GroupId", "sgr-2", rule("-1", "0", "0", "0.0.0.0/0")},
		{"RevokeSecurityGroupIngress", "GroupId", "sgr-1", rule("6", "0081", "81", "10.1.2.3/8")},
		{"RevokeSecurityGroupIngress", "GroupName", "sgr-1", rule("tcp", "81", "81", "10.0.0.0/8")},
	} {
		value := map[string]string{"GroupId": group, "GroupName": "default"}[c.by]
		mustRequest(t, s, c.action, append([]string{c.by, value}, c.rule...)...)
		if form := b.Form(c.action); form.Get("SecurityGroupRuleId.1") != c.id || form.Get("GroupId") != group {
			t.Errorf("%s %v: moto got %v", c.action, c.rule, form)
		}
	}
}
