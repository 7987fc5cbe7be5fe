package endpoint

import (
	"net/url"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/manners"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/trail"
)

// TestTrail: each call is in it, whoever refused it, and with the parameters that the caller gave.
func TestTrail(t *testing.T) {
	b := mototest.New(t, map[string]func(url.Values) string{
		"CreateInstanceProfile": mototest.Canned(""),
		"DescribeTags":          mototest.Canned("<tagSet/>"),
		"DescribeImages":        mototest.Canned("<imagesSet/>"),
		"GetInstanceProfile":    mototest.Canned(""),
	})
	s := newServer(t, b, newMachinery(t))
	dir := t.TempDir()
	var err error
	if s.config.Trail, err = trail.Open(dir, s.config.Log); err != nil {
		t.Fatal(err)
	}
	defer s.config.Trail.Close()
	s.config.Manners = &manners.Manners{}
	s.config.Manners.Set(manners.Setting{EC2: true, Time: 1, Seed: 1})

	send(s, "iam", "test", awsquery.NewCall("iam", "CreateInstanceProfile", "InstanceProfileName", "mine").Form)
	// The manners refuse this one, and take the filter out of the next.
	request(t, s, "RunInstances", "ImageId", "ami-0123456789abcdef0", "IamInstanceProfile.Name", "mine")
	request(t, s, "DescribeVpcs", "Filter.1.Name", "vpc-id", "Filter.1.Value.1", "vpc-1")
	request(t, s, "DescribeVpcs", "DryRun", "true")
	request(t, s, "BuyTheMoon")
	send(s, "ec2", "stranger", awsquery.NewCall("ec2", "DescribeVpcs").Form)

	type call struct{ action, arn, code string }
	const operator = "arn:aws:iam::123456789012:user/operator"
	want := []call{
		{"iam:CreateInstanceProfile", operator, ""},
		{"ec2:RunInstances", operator, "InvalidParameterValue"},
		{"ec2:DescribeVpcs", operator, ""},
		{"ec2:DescribeVpcs", operator, "DryRunOperation"},
		{"ec2:BuyTheMoon", operator, "InvalidAction"},
		{"ec2:POST /", "", "AuthFailure"},
	}
	var got []trail.Event
	for e, err := range trail.Read(dir, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	if len(got) != len(want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for i, e := range got {
		if is := (call{e.Action(), e.Identity.ARN, e.ErrorCode}); is != want[i] {
			t.Errorf("call %d: got %+v, want %+v", i, is, want[i])
		}
	}
	asked := got[0].Authorization
	if len(asked) != 1 || asked[0].Action != "iam:CreateInstanceProfile" ||
		asked[0].Resource != "arn:aws:iam::123456789012:instance-profile/mine" {
		t.Errorf("%s asks for %+v", got[0].Action(), asked)
	}
	if p := got[2].Parameters; p["Filter.1.Name"] != "vpc-id" || p["Filter.1.Value.1"] != "vpc-1" {
		t.Errorf("a call with a filter has the parameters %v", p)
	}
}

// TestWhatACallAsksForIsLookedUpOnce: the trail and the decision took a lookup each. The caller's own keys are in the
// decision, and not in the trail.
func TestWhatACallAsksForIsLookedUpOnce(t *testing.T) {
	s, b, ada := withRights(t, &rights{})
	lookups, tags := 0, b.Answers["DescribeTags"]
	b.Answers["DescribeTags"] = func(form url.Values) string {
		lookups++
		return tags(form)
	}
	dir := t.TempDir()
	var err error
	if s.config.Trail, err = trail.Open(dir, s.config.Log); err != nil {
		t.Fatal(err)
	}
	defer s.config.Trail.Close()
	if code, text := call(s, ada, "ec2", "TerminateInstances", "InstanceId.1", "i-00000000000000001"); code != 403 {
		t.Errorf("%d %s", code, text)
	}
	if lookups != 1 {
		t.Errorf("tags were looked up %d times", lookups)
	}
	for e, err := range trail.Read(dir, time.Time{}) {
		if err != nil || len(e.Authorization) != 1 {
			t.Fatalf("%v: %+v", err, e)
		}
		if context := e.Authorization[0].Context; context["aws:resourcetag/goldsmith:stack"] == nil ||
			context["aws:principalarn"] != nil {
			t.Errorf("the context is %v", context)
		}
	}
}
