package endpoint

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

const (
	adas  = "arn:aws:iam::123456789012:user/ada"
	allow = `{"Effect": "Allow", "Action": "*", "Resource": "*"}`
)

// policy is a document of these statements.
func policy(statements ...string) string {
	return `{"Version": "2012-10-17", "Statement": [` + strings.Join(statements, ", ") + `]}`
}

// rights are the policies that moto has for the user ada, her group, and the role goldsmith-shop-web.
type rights struct{ own, attached, group, boundary, role, trust string }

// answers are those of moto: these rights, and an instance with a tag and one without.
func (r *rights) answers() map[string]func(url.Values) string {
	said := func(action, format string, values ...func() string) func(url.Values) string {
		return func(url.Values) string {
			var texts []any
			for _, value := range values {
				texts = append(texts, url.PathEscape(value()))
			}
			return "<" + action + "Result>" + fmt.Sprintf(format, texts...) + "</" + action + "Result>"
		}
	}
	named := func(element, name string, there func() string) func() string {
		return func() string {
			if there() == "" {
				return ""
			}
			return "<" + element + ">" + name + "</" + element + ">"
		}
	}
	list := func(action, set string, item func() string) func(url.Values) string {
		return func(url.Values) string {
			return "<" + action + "Result><" + set + ">" + item() + "</" + set + "></" + action + "Result>"
		}
	}
	own, group, role := func() string { return r.own }, func() string { return r.group },
		func() string { return r.role }
	attached, boundary := func() string { return r.attached }, func() string { return r.boundary }
	return map[string]func(url.Values) string{
		"GetUser": list("GetUser", "User", func() string {
			return "<Arn>" + adas + "</Arn>" + named("PermissionsBoundary",
				"<PermissionsBoundaryArn>arn:aws:iam::123456789012:policy/limit</PermissionsBoundaryArn>", boundary)()
		}),
		"ListGroupsForUser": list("ListGroupsForUser", "Groups", named("member",
			"<GroupName>staff</GroupName>", group)),
		"ListUserPolicies":          list("ListUserPolicies", "PolicyNames", named("member", "own", own)),
		"ListGroupPolicies":         list("ListGroupPolicies", "PolicyNames", named("member", "staff", group)),
		"ListRolePolicies":          list("ListRolePolicies", "PolicyNames", named("member", "goldsmith", role)),
		"GetUserPolicy":             said("GetUserPolicy", "<PolicyDocument>%s</PolicyDocument>", own),
		"GetGroupPolicy":            said("GetGroupPolicy", "<PolicyDocument>%s</PolicyDocument>", group),
		"GetRolePolicy":             said("GetRolePolicy", "<PolicyDocument>%s</PolicyDocument>", role),
		"ListAttachedGroupPolicies": list("ListAttachedGroupPolicies", "AttachedPolicies", func() string { return "" }),
		"ListAttachedRolePolicies":  list("ListAttachedRolePolicies", "AttachedPolicies", func() string { return "" }),
		"ListAttachedUserPolicies": list("ListAttachedUserPolicies", "AttachedPolicies", named("member",
			"<PolicyArn>arn:aws:iam::123456789012:policy/managed</PolicyArn>", attached)),
		"GetPolicy": mototest.Canned(
			"<GetPolicyResult><Policy><DefaultVersionId>v1</DefaultVersionId></Policy></GetPolicyResult>"),
		"GetPolicyVersion": func(form url.Values) string {
			text := r.attached
			if strings.HasSuffix(form.Get("PolicyArn"), "/limit") {
				text = r.boundary
			}
			return "<GetPolicyVersionResult><PolicyVersion><Document>" + url.PathEscape(text) +
				"</Document></PolicyVersion></GetPolicyVersionResult>"
		},
		"GetRole": func(url.Values) string {
			return "<GetRoleResult><Role><Arn>arn:aws:iam::123456789012:role/goldsmith-shop-web</Arn>" +
				"<AssumeRolePolicyDocument>" +
				url.PathEscape(r.trust) + "</AssumeRolePolicyDocument></Role></GetRoleResult>"
		},
		"GetInstanceProfile": mototest.Canned("<GetInstanceProfileResult><InstanceProfile><Roles><member><Arn>" +
			"arn:aws:iam::123456789012:role/goldsmith-shop-web</Arn></member></Roles>" +
			"</InstanceProfile></GetInstanceProfileResult>"),
		"DescribeTags": func(form url.Values) string {
			for _, values := range form {
				if values[0] == "i-00000000000000001" {
					return "<tagSet><item><resourceId>i-00000000000000001</resourceId><key>goldsmith:stack</key>" +
						"<value>shop</value></item></tagSet>"
				}
			}
			return "<tagSet/>"
		},
		"DescribeKeyPairs":    mototest.Canned("<keySet/>"),
		"TerminateInstances":  nil, // moto must not be asked
		"RunInstances":        nil,
		"PutParameter":        nil,
		"ListTagsForResource": mototest.Canned(`{"TagList": []}`),
		"DescribeParameters":  mototest.Canned(`{"Parameters": []}`),
		"GetParameter":        mototest.Canned(`{"Parameter": {"Name": "p", "Value": "v"}}`),
	}
}

// withRights is a server whose user ada has a key.
func withRights(t *testing.T, r *rights) (*Server, *mototest.Moto, aws.Credentials) {
	b := mototest.New(t, r.answers())
	s := newServer(t, b, newMachinery(t))
	change(t, s, func(o *records.State) { o.AccessKeys["AKIAADA"] = &records.AccessKey{Secret: "x", User: "ada"} })
	return s, b, aws.Credentials{AccessKeyID: "AKIAADA", SecretAccessKey: "x"}
}

// call sends a call that is signed with a key.
func call(s *Server, key aws.Credentials, service, action string, parameters ...string) (int, string) {
	body := awsquery.NewCall(service, action, parameters...).Form.Encode()
	r := newRequest(http.MethodPost, "/", body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := sendSigned(s, Operators, apiAddress, r, service, awsquery.Region, key, body)
	return w.Code, w.Body.String()
}

// TestUsersAreHeldToTheirPolicies has calls that must not reach what carries them out, by kind of policy and condition.
// A dry run tells what is allowed.
func TestUsersAreHeldToTheirPolicies(t *testing.T) {
	const deny = `{"Effect": "Deny", "Action": "ec2:Terminate*", "Resource": "*"}`
	const tagged = `{"Effect": "Allow", "Action": "ec2:*", "Resource": "*", "Condition": {"StringEquals":
		{"aws:ResourceTag/goldsmith:stack": "shop"}}}`
	const launches = `{"Effect": "Allow", "Action": ["ec2:RunInstances", "ec2:Describe*"], "Resource": "*"}`
	const passes = `{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::*:role/goldsmith-shop-*",
		"Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}}`
	const tokens = `{"Effect": "Deny", "Action": "ec2:RunInstances", "Resource": "arn:aws:ec2:*:*:instance/*",
		"Condition": {"StringNotEquals": {"ec2:MetadataHttpTokens": "required"}}}`
	terminate := []string{"TerminateInstances", "InstanceId.1", "i-00000000000000001"}
	other := []string{"TerminateInstances", "InstanceId.1", "i-00000000000000001", "InstanceId.2",
		"i-00000000000000002"}
	run := []string{"RunInstances", "ImageId", "ami-00000000000000001", "MinCount", "1", "MaxCount", "1",
		"IamInstanceProfile.Name", "goldsmith-shop-web"}
	for _, c := range []struct {
		name   string
		rights rights
		call   []string
		want   string // of the message; empty is allowed
	}{
		{"no policy", rights{}, terminate,
			"User: " + adas +
				" is not authorized to perform: ec2:TerminateInstances on resource: arn:aws:ec2:us-east-1:" +
				"123456789012:instance/i-00000000000000001 because no identity-based policy allows the " +
				"ec2:TerminateInstances action"},
		{"one of her own", rights{own: policy(allow)}, terminate, ""},
		{"one that is attached", rights{attached: policy(allow)}, terminate, ""},
		{"one of her group's", rights{group: policy(allow)}, terminate, ""},
		{"a deny", rights{own: policy(allow), group: policy(deny)}, terminate,
			"with an explicit deny in an identity-based policy"},
		{"a boundary", rights{own: policy(allow), boundary: policy(launches)}, terminate,
			"because no permissions boundary allows the ec2:TerminateInstances action"},
		{"a boundary's deny", rights{own: policy(allow), boundary: policy(allow, deny)}, terminate,
			"with an explicit deny in a permissions boundary"},
		{"a tag", rights{own: policy(tagged)}, terminate, ""},
		{"a tag that one of two has", rights{own: policy(tagged)}, other, "instance/i-00000000000000002 because"},
		{"a launch without PassRole", rights{own: policy(launches)}, run,
			"is not authorized to perform: iam:PassRole on " +
				"resource: arn:aws:iam::123456789012:role/goldsmith-shop-web"},
		{"a launch without the tokens that a policy wants", rights{own: policy(launches, passes, tokens)}, run,
			"with an explicit deny in an identity-based policy"},
		{"a launch with tags and no right to tag", rights{own: policy(launches, passes)}, append(run,
			"TagSpecification.1.ResourceType", "instance", "TagSpecification.1.Tag.1.Key", "a"), "ec2:CreateTags"},
		{"another partition",
			rights{own: policy(`{"Effect": "Allow", "Action": "*", "Resource": "arn:aws-cn:ec2:*:*:*"}`)},
			terminate, "because no identity-based policy"},
	} {
		s, b, key := withRights(t, &c.rights)
		for _, dry := range []string{"true", "false"} {
			if dry == "false" && c.want == "" {
				continue // carrying it out is not this test's
			}
			status, body := call(s, key, "ec2", c.call[0], append(c.call[1:], "DryRun", dry)...)
			refused := status == http.StatusForbidden && strings.Contains(body, "<Code>UnauthorizedOperation</Code>") &&
				strings.Contains(body, c.want)
			if c.want != "" && !refused || c.want == "" && strings.Contains(body, "UnauthorizedOperation") {
				t.Errorf("%s: status %d: %s", c.name, status, body)
			}
		}
		if changes := b.Changes(); len(changes) > 0 {
			t.Errorf("%s: moto was told %v", c.name, changes)
		}
	}
}

// TestRightsAreThoseOfTheMoment: a policy counts as soon as it is changed.
func TestRightsAreThoseOfTheMoment(t *testing.T) {
	r := &rights{}
	s, b, key := withRights(t, r)
	b.Set("DeleteUserPolicy", "")
	b.Set("PutUserPolicy", "")
	allowed := func() bool {
		status, body := call(s, key, "ec2", "DescribeVpcs")
		if status != http.StatusOK && !strings.Contains(body, "perform: ec2:DescribeVpcs because no identity-based") {
			t.Errorf("status %d: %s", status, body)
		}
		return status == http.StatusOK
	}
	change := func(action, to string) {
		t.Helper()
		w := send(s, "iam", "test", awsquery.NewCall("iam", action, "UserName", "ada", "PolicyName", "own",
			"PolicyDocument",
			policy(allow)).Form)
		if w.Code != http.StatusOK {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		r.own = to
	}
	for range 2 {
		if allowed() {
			t.Error("allowed without a policy")
		}
		change("PutUserPolicy", policy(allow))
		if !allowed() {
			t.Error("not allowed with a policy")
		}
		change("DeleteUserPolicy", "")
	}
}

// TestMalformedPolicies has policies that nobody could evaluate be refused where they are made.
func TestMalformedPolicies(t *testing.T) {
	s := newServer(t, mototest.New(t, nil), newMachinery(t))
	for _, c := range [][]string{
		{"PutRolePolicy", "RoleName", "r", "PolicyName", "p", "PolicyDocument", `{"Statement": []}`},
		{"CreatePolicy", "PolicyName", "p", "PolicyDocument", policy(`{"Effect": "Allow", "Action": "*"}`)},
		{"CreateRole", "RoleName", "r", "AssumeRolePolicyDocument", policy(allow)},
		{"UpdateAssumeRolePolicy", "RoleName", "r", "PolicyDocument", policy(allow)},
	} {
		w := send(s, "iam", "test", awsquery.NewCall("iam", c[0], c[1:]...).Form)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "MalformedPolicyDocument") {
			t.Errorf("%s: status %d: %s", c[0], w.Code, w.Body)
		}
	}
}

// ssm sends a call of Parameter Store's.
func ssm(s *Server, key aws.Credentials, action, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://"+machinesAddress.Addr().String()+"/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonSSM."+action)
	return sendSigned(s, Machines, machinesAddress, r, "ssm", awsquery.Region, key, body)
}

// TestInstancesReadTheirOwnParameters: who has an instance's key reads what its role may, and changes nothing.
func TestInstancesReadTheirOwnParameters(t *testing.T) {
	s, b, _ := withRights(t, &rights{role: policy(`{"Effect": "Allow", "Action": ["ssm:GetParameter"], "Resource":
		"arn:aws:ssm:us-east-1:123456789012:parameter/goldsmith/shop/web/password"}`)})
	issued, err := s.keys.ForInstance(awsquery.Element("member", awsquery.Text("RoleName", "goldsmith-shop-web"),
		awsquery.Text("RoleId", "AROAEXAMPLE")), "i-00000000000000001")(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key := sdkCredentials(issued)
	if w := ssm(s, key, "GetParameter", `{"Name": "/goldsmith/shop/web/password", "WithDecryption": true}`); w.Code !=
		http.StatusOK {
		t.Errorf("its own: status %d: %s", w.Code, w.Body)
	}
	for _, c := range [][2]string{
		{"GetParameter", `{"Name": "/goldsmith/shop/db/ca_key", "WithDecryption": true}`},
		{"GetParameters", `{"Names": ["/goldsmith/shop/web/password"]}`},
		{"GetParametersByPath", `{"Path": "/goldsmith/shop/web"}`},
		{"PutParameter", `{"Name": "/goldsmith/shop/web/password", "Value": "x", "Overwrite": true}`},
	} {
		w := ssm(s, key, c[0], c[1])
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"__type":"AccessDeniedException"`) ||
			!strings.Contains(w.Body.String(),
				"assumed-role/goldsmith-shop-web/i-00000000000000001 is not authorized") {
			t.Errorf("%s %s: status %d: %s", c[0], c[1], w.Code, w.Body)
		}
	}
	for _, c := range [][]string{
		{"CreateTags", "ResourceId.1", "i-00000000000000001", "Tag.1.Key", "goldsmith:proved", "Tag.1.Value", "yes"},
		{"AssignPrivateIpAddresses", "NetworkInterfaceId", "eni-00000000000000001", "PrivateIpAddress.1", "10.0.0.9"},
	} {
		if status, body := call(s, key, "ec2", c[0], c[1:]...); status != http.StatusForbidden {
			t.Errorf("%s: status %d: %s", c[0], status, body)
		}
	}
	if changes := b.Changes(); len(changes) > 0 {
		t.Errorf("moto was told %v", changes)
	}
}

// TestAssumeRole has what the role's trust policy says decide together with the caller's policies, for the operator
// too, and a session's policy limit the session.
func TestAssumeRole(t *testing.T) {
	const role = "arn:aws:iam::123456789012:role/goldsmith-shop-web"
	const account = `{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "123456789012"}}`
	const service = `{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}`
	for _, c := range []struct {
		own, trust string
		operator   bool
		want       int
	}{
		{policy(allow), policy(account), false, http.StatusOK},
		{"", policy(account), false, http.StatusForbidden},
		{policy(allow), policy(service), false, http.StatusForbidden},
		{"", policy(account), true, http.StatusOK},
		{"", policy(service), true, http.StatusForbidden},
	} {
		r := &rights{own: c.own, trust: c.trust, role: policy(allow)}
		s, b, key := withRights(t, r)
		b.Set("AssumeRole", assumed(time.Now().Add(time.Hour)))
		if c.operator {
			key = operatorCredentials()
		}
		status, body := call(s, key, "sts", "AssumeRole", "RoleArn", role, "RoleSessionName", "me", "Policy",
			policy(`{"Effect": "Allow", "Action": "ec2:DescribeVpcs", "Resource": "*"}`))
		if status != c.want {
			t.Errorf("%+v: status %d: %s", c, status, body)
		}
		if status != http.StatusOK {
			continue
		}
		root, err := awsquery.ParseXML([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		made := root.At("AssumeRoleResult", "Credentials")
		session := aws.Credentials{
			AccessKeyID:     made.Get("AccessKeyId"),
			SecretAccessKey: made.Get("SecretAccessKey"),
			SessionToken:    made.Get("SessionToken"),
		}
		if status, body := call(s, session, "ec2", "DescribeVpcs"); status != http.StatusOK {
			t.Errorf("%+v: status %d: %s", c, status, body)
		}
		if status, body := call(s, session, "ec2", "DescribeSubnets"); status != http.StatusForbidden ||
			!strings.Contains(body, "because no session policy allows the ec2:DescribeSubnets action") {
			t.Errorf("%+v: status %d: %s", c, status, body)
		}
	}
}
