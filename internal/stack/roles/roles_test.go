package roles

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
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
}

// TestRolesHaveTheirBoundary has roles be made with the permissions boundary of the stack file, and without one where
// it names none.
func TestRolesHaveTheirBoundary(t *testing.T) {
	for _, want := range []string{"", "arn:aws:iam::123456789012:policy/limit"} {
		a := ec2fake.New(t)
		file := stackfile.Default()
		file.PermissionsBoundary = want
		s := defaultstack.New(a.Config(), file, t.Logf)
		if err := Ensure(t.Context(), s, plan.NewActor(false)); err != nil {
			t.Fatal(err)
		}
		made := a.Calls("CreateRole")
		if len(made) != 2 {
			t.Fatalf("%d roles are made", len(made))
		}
		for _, call := range made {
			in := call.Input.(*iam.CreateRoleInput)
			if aws.ToString(in.PermissionsBoundary) != want || want == "" && in.PermissionsBoundary != nil {
				t.Errorf("%s is made within %q, want %q", *in.RoleName, aws.ToString(in.PermissionsBoundary), want)
			}
		}
	}
}
