package authorization

import (
	"net/url"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/policyeval"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
)

// patience has changed rights be late for an hour, and calls miss them in turns.
type patience struct{ missed bool }

func (p *patience) PolicyTakes(string) time.Duration { return time.Hour }

func (p *patience) PolicyMissed(string) bool {
	p.missed = !p.missed
	return p.missed
}

// TestChangedRightsAreLate: with EC2's manners a call may see the policies of before, and only those of that user.
func TestChangedRightsAreLate(t *testing.T) {
	names := ""
	b := mototest.New(t, map[string]func(url.Values) string{
		"GetUser": mototest.Canned("<GetUserResult><User><Arn>arn:aws:iam::123456789012:user/ada</Arn></User>" +
			"</GetUserResult>"),
		"ListUserPolicies": func(url.Values) string {
			return "<ListUserPoliciesResult><PolicyNames>" + names + "</PolicyNames></ListUserPoliciesResult>"
		},
		"GetUserPolicy": mototest.Canned(`<GetUserPolicyResult><PolicyDocument>{"Statement": {"Effect": "Allow",
			"Action": "*", "Resource": "*"}}</PolicyDocument></GetUserPolicyResult>`),
		"ListAttachedUserPolicies": mototest.Canned("<ListAttachedUserPoliciesResult/>"),
		"ListGroupsForUser":        mototest.Canned("<ListGroupsForUserResult/>"),
	})
	client, store := newClient(t, b)
	a, m := New(client, &patience{}), NewMapper(client, store)
	allowed := func(user string) bool {
		c := awsquery.NewCall("ec2", "DescribeVpcs")
		c.Caller.ARN = "arn:aws:iam::123456789012:user/" + user
		return a.Authorize(t.Context(), c, func() ([]policyeval.Request, error) {
			return m.Requests(t.Context(), c)
		}) == nil
	}
	if allowed("ada") {
		t.Error("allowed without a policy")
	}
	changed, err := a.Changing(t.Context(), awsquery.NewCall("iam", "PutUserPolicy", "UserName", "ada"))
	if err != nil {
		t.Fatal(err)
	}
	names = "<member>p</member>"
	changed()
	for i := range 4 {
		if want := i%2 == 1; allowed("ada") != want {
			t.Errorf("call %d: %t, want %t", i, !want, want)
		}
		if !allowed("bob") {
			t.Errorf("call %d: another user's rights are late", i)
		}
	}
}
