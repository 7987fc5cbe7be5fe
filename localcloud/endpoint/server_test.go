package endpoint

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
)

func TestErrors(t *testing.T) {
	b := mototest.New(t, map[string]func(url.Values) string{
		"DescribeHosts": mototest.Canned("<html>500 Internal Server Error"),
		"ListRoles":     mototest.Canned("<html>500 Internal Server Error"),
	})
	s := newServer(t, b, newMachinery(t))
	for _, c := range []struct {
		name, service, key, action string
		want                       []string
	}{
		{"what moto cannot do, in EC2's format", "ec2", "test", "DescribeHosts",
			[]string{"<Response><Errors><Error><Code>UnsupportedOperation</Code>", "DescribeHosts"}},
		{"and in IAM's", "iam", "test", "ListRoles",
			[]string{"<ErrorResponse><Error><Type>Sender</Type><Code>UnsupportedOperation</Code>"}},
		{"expired credentials for EC2", "ec2", "ASIAEXPIREDEXAMPLE00", "DescribeVpcs",
			[]string{"<Code>RequestExpired</Code>"}},
		{"expired credentials for STS", "sts", "ASIAEXPIREDEXAMPLE00", "GetCallerIdentity",
			[]string{"<Code>ExpiredToken</Code>"}},
		{"expired credentials for SSM", "ssm", "ASIAEXPIREDEXAMPLE00", "GetParameter",
			[]string{`"__type":"ExpiredTokenException"`, `"message":"The security token`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := send(s, c.service, c.key, awsquery.NewCall("ec2", c.action).Form)
			// Anything from 500 on would make SDKs try again for minutes.
			if w.Code < 400 || w.Code >= 500 {
				t.Errorf("status %d", w.Code)
			}
			for _, want := range c.want {
				if !strings.Contains(w.Body.String(), want) {
					t.Errorf("%s lacks %q", w.Body, want)
				}
			}
			if awsquery.JSONServices[c.service] && !json.Valid(w.Body.Bytes()) {
				t.Errorf("not JSON: %s", w.Body)
			}
		})
	}
}

func TestRegion(t *testing.T) {
	s := newServer(t, mototest.New(t, nil), newMachinery(t))
	body := "Action=DescribeVpcs"
	r := httptest.NewRequest(http.MethodPost, "http://127.66.9.1:4566/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	key := aws.Credentials{AccessKeyID: operatorKey.AccessKeyID, SecretAccessKey: operatorKey.SecretAccessKey}
	w := sendSigned(s, Operators, apiAddress, r, "ec2", "eu-west-1", key, body)
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "eu-west-1") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

func TestCheckIP(t *testing.T) {
	s := newServer(t, mototest.New(t, nil), newMachinery(t))
	key := aws.Credentials{AccessKeyID: operatorKey.AccessKeyID, SecretAccessKey: operatorKey.SecretAccessKey}
	for from, want := range map[string]string{
		"127.0.0.1:40000":   "198.51.100.1\n",
		"203.0.113.1:40000": "203.0.113.1\n",
	} {
		r := httptest.NewRequest(http.MethodGet, "http://127.66.9.1:4566/latest/checkip", nil)
		r.RemoteAddr = from
		w := sendSigned(s, Operators, apiAddress, r, "checkip", awsquery.Region, key, "")
		if w.Body.String() != want || w.Header().Get("Content-Type") != "text/plain" {
			t.Errorf("from %s: %q as %s", from, w.Body, w.Header().Get("Content-Type"))
		}
	}
}

func TestNumberBlocks(t *testing.T) {
	a := numberBlocks(&awsquery.Answer{
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   []byte(`{"Blocks":[{"BlockIndex": "12","BlockToken":"x"}]}`),
	})
	if want := `{"Blocks":[{"BlockIndex": 12,"BlockToken":"x"}]}`; string(a.Body) != want {
		t.Errorf("got %s", a.Body)
	}
}

func TestTagsOfSeveral(t *testing.T) {
	b := mototest.New(t, map[string]func(url.Values) string{"CreateTags": mototest.Canned("<return>true</return>")})
	s := newServer(t, b, newMachinery(t))
	mustRequest(t, s, "CreateTags", "ResourceId.1", "vol-00000000000000001", "ResourceId.2", "vol-00000000000000002",
		"Tag.1.Key", "k", "Tag.1.Value", "v")
	calls := s.moto.Journaled()
	if len(calls) != 2 {
		t.Fatalf("%d lines in the journal, want one for each resource", len(calls))
	}
	for i, c := range calls {
		if got := c.List("ResourceId"); len(got) != 1 || c.Get("Tag.1.Value") != "v" {
			t.Errorf("line %d: %v", i, c.Form)
		}
	}
}

// TestAnswersThatLackWhatIsLookedFor: moto may answer anything, which is an error and no panic.
func TestAnswersThatLackWhatIsLookedFor(t *testing.T) {
	empty := map[string]func(url.Values) string{}
	for _, action := range []string{"RunInstances", "CreateImage", "DescribeImages", "CreateVpc", "CreateVolume",
		"CreateSnapshot", "CreateKeyPair", "ImportKeyPair",
		"AllocateAddress", "DescribeSnapshots", "CreateLaunchTemplate", "CreateSubnet"} {
		empty[action] = mototest.Canned("")
	}
	for _, action := range []string{"CreateLoadBalancer", "CreateTargetGroup", "CreateListener",
		"CreateAutoScalingGroup", "CreateAccessKey"} {
		empty[action] = mototest.Canned("")
	}
	empty["DescribeInstances"] = mototest.Canned(
		"<reservationSet><item><instancesSet><item/></instancesSet></item></reservationSet>")
	empty["DescribeImages"] = mototest.Canned("<imagesSet><item><imageId>" + moto.BaseImages["trixie"].ID +
		"</imageId><imageState>available</imageState></item></imagesSet>")
	empty["DescribeSubnets"] = mototest.Canned(
		"<subnetSet><item><subnetId>subnet-00000000000000001</subnetId><cidrBlock>10.0.1.0/24</cidrBlock></item>" +
			"</subnetSet>",
	)
	m := newMachinery(t, "CreateVolume", "CreateSnapshot", "DeleteVolume", "DeleteSnapshot")
	s := newServer(t, mototest.New(t, empty), m)
	for action, parameters := range map[string][]string{
		"RunInstances":    {"ImageId", moto.BaseImages["trixie"].ID, "MinCount", "1", "MaxCount", "1"},
		"DescribeImages":  nil,
		"AllocateAddress": nil,
	} {
		request(t, s, action, parameters...) // must not panic, which would fail this test
	}
	for _, action := range []string{"CreateLoadBalancer", "CreateTargetGroup", "CreateListener"} {
		w := send(s, "elasticloadbalancing", "test", awsquery.NewCall("elasticloadbalancing", action,
			"Port", "443").Form)
		if w.Code == http.StatusOK {
			t.Errorf("%s: %s", action, w.Body)
		}
	}
}
