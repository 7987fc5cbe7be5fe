package api

import (
	"net/url"
	"slices"
	"testing"
)

// TestRevokedRules has a group with two peers for the same port, which the server behind mixes up.
func TestRevokedRules(t *testing.T) {
	b := twoTiers(t)
	b.answers["DescribeSecurityGroups"] = canned(`<securityGroupInfo><item><groupId>sg-db</groupId><vpcId>vpc-1</vpcId><ipPermissions>
		<item><ipProtocol>tcp</ipProtocol><fromPort>3306</fromPort><toPort>3306</toPort><groups><item><groupId>sg-web</groupId><description>why</description></item></groups>
			<ipRanges><item><cidrIp>10.0.1.0/24</cidrIp><description>by hand</description></item></ipRanges></item>
		<item><ipProtocol>tcp</ipProtocol><fromPort>22</fromPort><toPort>22</toPort><groups><item><groupId>sg-web</groupId></item></groups></item></ipPermissions></item></securityGroupInfo>`)
	b.answers["DescribeSecurityGroupRules"] = canned(`<securityGroupRuleSet>
		<item><securityGroupRuleId>sgr-1</securityGroupRuleId><isEgress>false</isEgress><ipProtocol>tcp</ipProtocol><fromPort>3306</fromPort><toPort>3306</toPort></item>
		<item><securityGroupRuleId>sgr-2</securityGroupRuleId><isEgress>false</isEgress><ipProtocol>tcp</ipProtocol><fromPort>3306</fromPort><toPort>3306</toPort></item>
		<item><securityGroupRuleId>sgr-3</securityGroupRuleId><isEgress>false</isEgress><ipProtocol>tcp</ipProtocol><fromPort>22</fromPort><toPort>22</toPort></item>
		<item><securityGroupRuleId>sgr-4</securityGroupRuleId><isEgress>true</isEgress><ipProtocol>tcp</ipProtocol><fromPort>3306</fromPort><toPort>3306</toPort></item></securityGroupRuleSet>`)
	var got []string
	b.answers["RevokeSecurityGroupIngress"] = func(form url.Values) string {
		got = append(got, "revoke "+form.Get("SecurityGroupRuleId.1")+" "+form.Get("SecurityGroupRuleId.2")+" "+form.Get("SecurityGroupRuleId.3")+form.Get("IpPermissions.1.IpProtocol"))
		return "<return>true</return>"
	}
	b.answers["AuthorizeSecurityGroupIngress"] = func(form url.Values) string {
		got = append(got, "authorize "+form.Get("IpPermissions.1.FromPort")+" "+form.Get("IpPermissions.1.Groups.1.GroupId")+" "+form.Get("IpPermissions.1.Groups.1.Description")+form.Get("IpPermissions.1.IpRanges.1.CidrIp"))
		return "<return>true</return>"
	}
	s := newServer(t, b, newMachinery(t))
	refused(t, s, "InvalidPermission.NotFound", "RevokeSecurityGroupIngress", "GroupId", "sg-db",
		"IpPermissions.1.IpProtocol", "tcp", "IpPermissions.1.FromPort", "3306", "IpPermissions.1.ToPort", "3306", "IpPermissions.1.IpRanges.1.CidrIp", "10.0.9.0/24")
	if len(got) > 0 {
		t.Errorf("for a rule that is not there, the server behind got %q", got)
	}
	mustRequest(t, s, "RevokeSecurityGroupIngress", "GroupId", "sg-db",
		"IpPermissions.1.IpProtocol", "tcp", "IpPermissions.1.FromPort", "3306", "IpPermissions.1.ToPort", "3306", "IpPermissions.1.IpRanges.1.CidrIp", "10.0.1.0/24")
	if want := []string{"revoke sgr-1 sgr-2 ", "authorize 3306 sg-web why"}; !slices.Equal(got, want) {
		t.Errorf("the server behind got %q, want %q", got, want)
	}
}
