package iampolicy

import (
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/policyeval"
)

// callOf matches the input of a call of the SDK's: the name of the package, as the code imports it, and of the call.
var callOf = regexp.MustCompile(`&(\w+)\.([A-Z]\w+)Input\{`)

// services are the packages of the SDK by the names that the code gives them, and what IAM calls their services.
var services = map[string]string{
	"ec2":           "ec2",
	"iam":           "iam",
	"ssm":           "ssm",
	"autoscaling":   "autoscaling",
	"elb":           "elasticloadbalancing",
	"servicequotas": "servicequotas",
	"imds":          "", // asks for no right
}

// calls are the actions that the code of some directories calls, with where.
func calls(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, dir := range dirs {
		err := filepath.WalkDir(
			filepath.Join("..", "..", "..", dir),
			func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() && (d.Name() == "ec2fake" || d.Name() == "firstboot") { // the instances' own
					return cmpErr(err)
				}
				if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
					return nil
				}
				text, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				for _, match := range callOf.FindAllStringSubmatch(string(text), -1) {
					service, known := services[match[1]]
					if !known {
						t.Errorf("%s calls %s of %s, a service that this test does not know", path, match[2], match[1])
					}
					if service != "" {
						found[service+":"+match[2]] = path
					}
				}
				return nil
			},
		)
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func cmpErr(err error) error {
	if err != nil {
		return err
	}
	return filepath.SkipDir
}

// parsed is a policy as IAM reads it.
type parsed struct {
	Statement []struct {
		Effect    string
		Action    []string
		Resource  any
		Condition map[string]map[string]any
	}
}

func policyOf(t *testing.T, r Request) (p parsed, text string) {
	t.Helper()
	out, err := r.Policy()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	return p, string(out)
}

func (p parsed) actions() map[string]bool {
	all := map[string]bool{}
	for _, s := range p.Statement {
		for _, action := range s.Action {
			all[action] = true
		}
	}
	return all
}

func everything(p Purpose) Request { return Request{Purpose: p, Groups: true, Networks: true} }

// TestPolicyIsWhatTheCodeCalls compares both ways: nothing that is called is missing, and nothing is granted that
// neither a call shows nor a documented reason.
func TestPolicyIsWhatTheCodeCalls(t *testing.T) {
	p, _ := policyOf(t, everything(All))
	called, granted := calls(
		t,
		"builder",
		"internal",
		"cmd",
		"datasource",
		"postprocessor",
		"provisioners",
	), p.actions()
	if len(called) < 100 {
		t.Errorf("only %d calls were found", len(called))
	}
	for _, action := range slices.Sorted(maps.Keys(called)) {
		if !granted[action] {
			t.Errorf("%s calls %s, which the policy lacks", called[action], action)
		}
	}
	for _, action := range slices.Sorted(maps.Keys(granted)) {
		if called[action] == "" && implied[action] == "" {
			t.Errorf("%s is granted, and nothing calls it; if it is implied by a call, say why", action)
		}
	}
	for action := range implied {
		if called[action] != "" || !granted[action] {
			t.Errorf("%s is called or not granted: it needs no reason", action)
		}
	}
}

// TestEachPurposeHasItsCalls holds each policy to the code that is for its purpose alone.
func TestEachPurposeHasItsCalls(t *testing.T) {
	for _, c := range []struct {
		purposes []Purpose
		dirs     []string
		but      []string // what only somebody else's policy has
	}{
		{[]Purpose{Bake, CI, Bootstrap}, []string{"builder", "internal/images", "internal/stack/release",
			"internal/stack/roles", "internal/stack/parameters"}, nil},
		{[]Purpose{Deploy, CI, Bootstrap}, []string{"internal/stack/deploy", "internal/stack/launch",
			"internal/stack/record", "internal/stack/deployreport", "internal/stack/parameters"}, nil},
		{[]Purpose{Bootstrap}, []string{"internal/stack", "internal/images", "builder"}, nil},
		{[]Purpose{Read}, []string{"internal/stack/status", "internal/console"}, nil},
	} {
		called := calls(t, c.dirs...)
		for _, purpose := range c.purposes {
			p, _ := policyOf(t, everything(purpose))
			granted := p.actions()
			for _, action := range slices.Sorted(maps.Keys(called)) {
				if !granted[action] {
					t.Errorf("%s: %s calls %s, which the policy lacks", purpose, called[action], action)
				}
			}
		}
	}
}

// TestEndsOnlyWhatIsTagged has nothing be ended or changed that does not carry Goldsmith's tags, or its name.
func TestEndsOnlyWhatIsTagged(t *testing.T) {
	ends := regexp.MustCompile(
		`:(Delete|Terminate|Deregister|Detach|Stop|Start|Revoke|Release|Modify|Disable|Remove|Put)`,
	)
	for _, purpose := range Purposes {
		p, _ := policyOf(t, everything(purpose))
		for _, s := range p.Statement {
			conditions, _ := json.Marshal(s.Condition)
			if resources, _ := json.Marshal(s.Resource); strings.Contains(string(resources), `""`) {
				t.Errorf("%s: %v is for %s", purpose, s.Action, resources)
			}
			held := s.Resource != "*" || strings.Contains(string(conditions), "aws:ResourceTag/goldsmith:")
			for _, action := range s.Action {
				// Of which IAM knows no resource.
				if ends.MatchString(action) && !held && action != "ec2:DeleteSubnetCidrReservation" {
					t.Errorf("%s: %v lets %s be done with anything", purpose, s.Action, action)
				}
			}
		}
	}
}

func TestPoliciesSayOneStack(t *testing.T) {
	for _, c := range []struct {
		request      Request
		has, hasNot  []string
		hasNotAction []string
	}{
		{Request{Purpose: Deploy, Region: "eu-central-1", Stack: "shop"},
			[]string{`"aws:ResourceTag/goldsmith:stack": "shop"`,
				"arn:aws:ssm:eu-central-1:*:parameter/goldsmith/shop/*",
				"arn:aws:iam::*:role/goldsmith-shop-*", `"iam:PassedToService": "ec2.amazonaws.com"`},
			[]string{"goldsmith-build-", "autoscaling:", "elasticloadbalancing:"},
			[]string{"iam:CreateRole", "iam:PutRolePolicy", "ec2:CreateVpc", "ec2:DeleteVpc", "ec2:DeregisterImage"}},
		{Request{Purpose: Bake, Region: "cn-north-1", Stack: "shop"},
			[]string{"arn:aws-cn:ssm:cn-north-1:", `"iam:PassedToService": "ec2.amazonaws.com.cn"`,
				"arn:aws-cn:iam::*:role/goldsmith-build-*", "ec2.cn-north-1.amazonaws.com.cn"},
			[]string{"arn:aws:"}, []string{"ec2:CreateVolume", "ec2:AttachVolume", "ec2:CreateVpc"}},
		{Request{Purpose: Bootstrap, Region: "us-gov-west-1", Groups: true}, // in a VPC that is there
			[]string{"arn:aws-us-gov:iam::*:role/goldsmith-*", "autoscaling:CreateAutoScalingGroup"},
			[]string{"arn:aws:"}, []string{"ec2:CreateVpc", "ec2:DeleteVpc", "ec2:CreateNatGateway"}},
		{Request{Purpose: Read, Stack: "shop"}, []string{"parameter/goldsmith/shop/*"}, []string{"iam:PassRole"},
			[]string{"ssm:PutParameter", "ec2:RunInstances", "ec2:CreateTags"}},
		{Request{Purpose: Bootstrap, PermissionsBoundary: "arn:aws:iam::123456789012:policy/limit"},
			[]string{`"iam:PermissionsBoundary": "arn:aws:iam::123456789012:policy/limit"`}, nil, nil},
		{Request{Purpose: Boundary, Region: "eu-central-1"},
			[]string{"arn:aws:ssm:eu-central-1:*:parameter/goldsmith/*", "ssm.eu-central-1.amazonaws.com"}, nil,
			[]string{"iam:PassRole", "ssm:PutParameter"}},
	} {
		p, text := policyOf(t, c.request)
		for _, want := range c.has {
			if !strings.Contains(text, want) {
				t.Errorf("%+v: %s is missing in\n%s", c.request, want, text)
			}
		}
		for _, wrong := range c.hasNot {
			if strings.Contains(text, wrong) {
				t.Errorf("%+v: %s is in\n%s", c.request, wrong, text)
			}
		}
		for _, action := range c.hasNotAction {
			if p.actions()[action] {
				t.Errorf("%+v: it lets %s be done", c.request, action)
			}
		}
	}
}

// TestRolesAreMadeWithinTheBoundary has no way around it: a role that is made has it, and keeps it.
func TestRolesAreMadeWithinTheBoundary(t *testing.T) {
	p, _ := policyOf(t, Request{Purpose: All, PermissionsBoundary: "arn:aws:iam::123456789012:policy/limit"})
	for _, s := range p.Statement {
		bounded := s.Condition["StringEquals"]["iam:PermissionsBoundary"] != nil
		for _, action := range s.Action {
			gives := slices.Contains([]string{"iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"}, action)
			if gives && !bounded || strings.HasSuffix(action, "RolePermissionsBoundary") {
				t.Errorf("%v lets %s be done without it", s.Action, action)
			}
		}
	}
}

// TestOnlyWhoSetsAStackUpMakesItsRoles has a bake make a build's roles, and no others.
func TestOnlyWhoSetsAStackUpMakesItsRoles(t *testing.T) {
	for _, purpose := range Purposes {
		p, _ := policyOf(t, Request{Purpose: purpose, Stack: "shop"})
		for _, s := range p.Statement {
			resources, _ := json.Marshal(s.Resource)
			makes := slices.Contains(s.Action, "iam:CreateRole") || slices.Contains(s.Action, "iam:DeleteRole")
			if others := strings.Contains(string(resources), "/goldsmith-shop-"); makes && others &&
				purpose != All && purpose != Bootstrap {
				t.Errorf("%s: %v makes %s", purpose, s.Action, resources)
			}
		}
	}
}

// TestPoliciesFit: a managed policy has at most 6,144 characters without white space (IAM and AWS STS quotas).
func TestPoliciesFit(t *testing.T) {
	for _, purpose := range Purposes {
		r := everything(purpose)
		r.Region, r.Stack = "ap-southeast-2", strings.Repeat("n", 32)
		r.PermissionsBoundary = "arn:aws:iam::123456789012:policy/" + strings.Repeat("n", 60)
		_, text := policyOf(t, r)
		if size := len(strings.Join(strings.Fields(text), "")); size > 6144 {
			t.Errorf("%s has %d characters", purpose, size)
		}
	}
}

// TestWhoEndsAStackLooksForGroups: destroy of a stack of single instances was refused.
func TestWhoEndsAStackLooksForGroups(t *testing.T) {
	const group = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:1:" +
		"autoScalingGroupName/goldsmith-shop-web"
	for _, purpose := range []Purpose{All, Bootstrap} {
		r := Request{Purpose: purpose, Region: "us-east-1", Stack: "shop"}
		if !decide(t, r, "autoscaling:DescribeAutoScalingGroups", "*") ||
			!decide(t, r, "elasticloadbalancing:DescribeLoadBalancers", "*") ||
			!decide(t, r, "autoscaling:DeleteAutoScalingGroup", group) {
			t.Errorf("%s does not let a group be ended", purpose)
		}
	}
	if decide(t, Request{Purpose: Deploy, Stack: "shop"}, "autoscaling:DescribeAutoScalingGroups", "*") {
		t.Error("who deploys single instances looks at groups")
	}
}

// decide evaluates a policy as IAM does.
func decide(t *testing.T, r Request, action, resource string, keys ...string) bool {
	t.Helper()
	_, text := policyOf(t, r)
	d, err := policyeval.ParseIdentity([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", r.Purpose, err)
	}
	p := policyeval.Policies{Identity: []*policyeval.Document{d}}
	return p.Decide(policyeval.Request{Action: action, Resource: resource, Context: policyeval.Of(keys...)}).Allowed
}

// TestNobodyGetsMoreThanTheBoundary has the ways from these policies to an administrator's rights, each of which must
// be closed where there is a boundary, and what is needed instead.
func TestNobodyGetsMoreThanTheBoundary(t *testing.T) {
	const limit = "arn:aws:iam::123456789012:policy/limit"
	const role, other = "arn:aws:iam::123456789012:role/goldsmith-build-x", "arn:aws:iam::123456789012:role/admin"
	for _, c := range []struct {
		action, resource string
		keys             []string
		want             bool
	}{
		{"iam:CreateRole", role, nil, false},
		{"iam:CreateRole", role,
			[]string{"iam:PermissionsBoundary", "arn:aws:iam::aws:policy/AdministratorAccess"}, false},
		{"iam:CreateRole", role, []string{"iam:PermissionsBoundary", limit}, true},
		{"iam:PutRolePolicy", role, nil, false},
		{"iam:PutRolePolicy", role, []string{"iam:PermissionsBoundary", limit}, true},
		{"iam:PutRolePolicy", other, []string{"iam:PermissionsBoundary", limit}, false},
		{"iam:AttachRolePolicy", role, []string{"iam:PermissionsBoundary", limit}, false},
		{"iam:DeleteRolePermissionsBoundary", role, []string{"iam:PermissionsBoundary", limit}, false},
		{"iam:PutRolePermissionsBoundary", role, []string{"iam:PermissionsBoundary", limit}, false},
		{"iam:UpdateAssumeRolePolicy", role, []string{"iam:PermissionsBoundary", limit}, false},
		{"iam:CreatePolicyVersion", limit, nil, false},
		{"iam:CreateUser", "arn:aws:iam::123456789012:user/goldsmith-x", nil, false},
		{"iam:CreateAccessKey", "arn:aws:iam::123456789012:user/root", nil, false},
		{"iam:PassRole", role, []string{"iam:PassedToService", "ec2.amazonaws.com"}, true},
		{"iam:PassRole", role, []string{"iam:PassedToService", "lambda.amazonaws.com"}, false},
		{"iam:PassRole", other, []string{"iam:PassedToService", "ec2.amazonaws.com"}, false},
		{"sts:AssumeRole", role, nil, false},
	} {
		for _, purpose := range []Purpose{All, Bootstrap, CI} {
			r := everything(purpose)
			r.PermissionsBoundary = limit
			if got := decide(t, r, c.action, c.resource, c.keys...); got != c.want {
				t.Errorf("%s: %s on %s with %q: %t", purpose, c.action, c.resource, c.keys, got)
			}
		}
	}
}

// TestOnlyWhatIsGoldsmithsIsEnded evaluates the conditions on tags.
func TestOnlyWhatIsGoldsmithsIsEnded(t *testing.T) {
	const instance, tag = "arn:aws:ec2:us-east-1:123456789012:instance/i-1", "aws:ResourceTag/goldsmith:stack"
	for _, c := range []struct {
		action, resource string
		keys             []string
		want             bool
	}{
		{"ec2:TerminateInstances", instance, nil, false},
		{"ec2:TerminateInstances", instance, []string{tag, "other"}, false},
		{"ec2:TerminateInstances", instance, []string{tag, "shop"}, true},
		{"ec2:CreateTags", instance, nil, false}, // it would be its own then
		{"ec2:CreateTags", instance, []string{"ec2:CreateAction", "RunInstances"}, true},
		{"ec2:RunInstances", "arn:aws:ec2:us-east-1:123456789012:instance/*", nil, false},
		{"ec2:RunInstances", "arn:aws:ec2:us-east-1:123456789012:instance/*",
			[]string{"ec2:MetadataHttpTokens", "optional"}, false},
		{"ec2:RunInstances", "arn:aws:ec2:us-east-1:123456789012:instance/*",
			[]string{"ec2:MetadataHttpTokens", "required"}, true},
		{"ec2:RunInstances", "arn:aws:ec2:us-east-1:123456789012:volume/*", nil, true},
	} {
		r := Request{Purpose: Deploy, Stack: "shop"}
		if got := decide(t, r, c.action, c.resource, c.keys...); got != c.want {
			t.Errorf("%s on %s with %q: %t", c.action, c.resource, c.keys, got)
		}
	}
}

func TestUnknownPurpose(t *testing.T) {
	if _, err := (Request{Purpose: "fun"}).Policy(); err == nil {
		t.Error("it has a policy")
	}
}
