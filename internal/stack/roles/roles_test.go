package roles

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// TestPoliciesNameNoMoreThanNeeded holds the tiers apart: the web tier must not read the authority's key.
func TestPoliciesNameNoMoreThanNeeded(t *testing.T) {
	s := defaultstack.New(aws.Config{Region: "eu-central-1"}, stackfile.Default(), t.Logf)
	web, err := tierPolicy(s, s.Tier("web"))
	if err != nil || !json.Valid([]byte(web)) || strings.Contains(web, "ca_key") || !strings.Contains(web,
		"parameter/goldsmith/golden/db/app_password") {
		t.Errorf("%v: %s", err, web)
	}
	db, err := tierPolicy(s, s.Tier("db"))
	if err != nil || !strings.Contains(db, "ca_key") || strings.Contains(db,
		"web/tls_key") {
		t.Errorf("%v: %s", err, db)
	}
	china := defaultstack.New(aws.Config{Region: "cn-north-1"}, stackfile.Default(), t.Logf)
	text, err := tierPolicy(china, china.Tier("web"))
	if err != nil || !strings.Contains(text, "arn:aws-cn:ssm:cn-north-1:") || strings.Contains(text, "arn:aws:") {
		t.Errorf("%v: in China %s", err, text)
	}
	operator, err := stack.OperatorPolicy()
	if err != nil || strings.Contains(string(operator), `"*:*"`) || strings.Contains(string(operator), `"ec2:*"`) ||
		!json.Valid(operator) {
		t.Errorf("%v: %s", err, operator)
	}
}
