package stack

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

func TestCompareRules(t *testing.T) {
	operator := netip.MustParsePrefix("192.0.2.1/32")
	wanted := webRules(operator)
	all := map[rule]string{}
	for _, r := range wanted {
		all[r] = "goldsmith"
	}
	if add, remove, foreign := compareRules(all, wanted); len(add)+len(remove)+len(foreign) > 0 {
		t.Errorf("nothing is different, and yet: add %v, remove %v, foreign %v", add, remove, foreign)
	}
	old := rule{"tcp", 22, "198.51.100.9/32"}
	other := rule{"tcp", 8080, "0.0.0.0/0"}
	add, remove, foreign := compareRules(map[rule]string{old: operatorRule, other: "somebody's"}, wanted)
	if len(add) != 3 || len(remove) != 1 || remove[0] != old || len(foreign) != 1 || foreign[0] != other {
		t.Errorf("add %v, remove %v, foreign %v", add, remove, foreign)
	}
}

func TestDatabaseIsOpenToTheWebGroupAlone(t *testing.T) {
	for _, r := range databaseRules("sg-web") {
		p := r.permission()
		if len(p.IpRanges)+len(p.Ipv6Ranges) > 0 || len(p.UserIdGroupPairs) != 1 || aws.ToString(p.UserIdGroupPairs[0].GroupId) != "sg-web" {
			t.Errorf("%+v lets in more than the web group: %+v", r, p)
		}
	}
}

func TestOperatorRuleIsMarked(t *testing.T) {
	p := rule{"tcp", 22, "2001:db8::1/128"}.permission()
	if len(p.Ipv6Ranges) != 1 || aws.ToString(p.Ipv6Ranges[0].Description) != operatorRule {
		t.Errorf("got %+v", p)
	}
}

func TestAuthorityAndPassword(t *testing.T) {
	certificate, key, err := newAuthority("golden")
	if err != nil || expiresSoon(certificate) || !strings.Contains(key, "PRIVATE KEY") {
		t.Errorf("%v; expires soon: %v", err, expiresSoon(certificate))
	}
	if !expiresSoon("no certificate") {
		t.Error("what is no certificate need not be made anew")
	}
	first, second := randomPassword(), randomPassword()
	if first == second || len(first) < 40 {
		t.Errorf("%q and %q", first, second)
	}
	for _, kind := range []string{"ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789", "-"} {
		if !strings.ContainsAny(first, kind) {
			t.Errorf("%q has none of %s, and servers ask for one", first, kind)
		}
	}
	block, _ := pem.Decode([]byte(certificate))
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil || time.Now().Add(-24*time.Hour).Before(authority.NotBefore) {
		t.Errorf("%v: an instance whose clock is a day behind would not take the authority", err)
	}
}

// TestPoliciesNameNoMoreThanNeeded holds the tiers apart: the web tier must not read the authority's key.
func TestPoliciesNameNoMoreThanNeeded(t *testing.T) {
	s := &Stack{name: "golden", conf: aws.Config{Region: "eu-central-1"}}
	web, err := s.tierPolicy("web")
	if err != nil || !json.Valid([]byte(web)) || strings.Contains(web, "ca_key") || !strings.Contains(web, "parameter/goldsmith/golden/db/app_password") {
		t.Errorf("%v: %s", err, web)
	}
	if db, err := s.tierPolicy("db"); err != nil || !strings.Contains(db, "ca_key") || strings.Contains(db, "web/tls_key") {
		t.Errorf("%v: %s", err, db)
	}
	operator, err := OperatorPolicy()
	if err != nil || strings.Contains(string(operator), `"*:*"`) || strings.Contains(string(operator), `"ec2:*"`) || !json.Valid(operator) {
		t.Errorf("%v: %s", err, operator)
	}
}
