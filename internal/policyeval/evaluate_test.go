package policyeval

import (
	"strings"
	"testing"
)

const account = "123456789012"

func identity(t *testing.T, text string) *Document {
	t.Helper()
	d, err := ParseIdentity([]byte(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return d
}

// statements makes a policy of its statements.
func policy(t *testing.T, statements string) *Document {
	t.Helper()
	return identity(t, `{"Version": "2012-10-17", "Statement": [`+statements+`]}`)
}

const allowAll = `{"Effect": "Allow", "Action": "*", "Resource": "*"}`

// TestDecide has the order in which kinds of policy decide: IAM User Guide, Policy evaluation logic.
func TestDecide(t *testing.T) {
	all := policy(t, allowAll)
	reads := policy(t, `{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "*"}`)
	denies := policy(t, `{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}`)
	for _, c := range []struct {
		name    string
		p       Policies
		granted bool
		want    Decision
	}{
		{"no policy", Policies{}, false, Decision{By: byIdentity}},
		{"one allows it", Policies{Identity: []*Document{reads, all}}, false, Decision{Allowed: true}},
		{"none allows it", Policies{Identity: []*Document{reads}}, false, Decision{By: byIdentity}},
		{"one denies it", Policies{Identity: []*Document{all, denies}}, false, Decision{Deny: true, By: byIdentity}},
		{"outside the boundary", Policies{Identity: []*Document{all}, Boundary: reads}, false,
			Decision{By: byBoundary}},
		{"within the boundary", Policies{Identity: []*Document{all}, Boundary: all}, false, Decision{Allowed: true}},
		{"a boundary gives nothing", Policies{Boundary: all}, false, Decision{By: byIdentity}},
		{"the boundary denies it", Policies{Identity: []*Document{all}, Boundary: denies}, false,
			Decision{Deny: true, By: byBoundary}},
		{"outside the session's policy", Policies{Identity: []*Document{all}, Session: []*Document{reads}}, false,
			Decision{By: bySession}},
		{"one of the session's policies", Policies{Identity: []*Document{all}, Session: []*Document{reads, all}}, false,
			Decision{Allowed: true}},
		{"the session's policy gives nothing", Policies{Session: []*Document{all}}, false, Decision{By: byIdentity}},
		{"a deny of the session's counts before what the identity lacks", Policies{Session: []*Document{denies}}, false,
			Decision{Deny: true, By: bySession}},
		{"the resource's policy allows it", Policies{}, true, Decision{Allowed: true}},
		{"the resource's policy allows it, and a deny", Policies{Identity: []*Document{denies}}, true,
			Decision{Deny: true, By: byIdentity}},
	} {
		r := Request{Action: "s3:PutObject", Resource: "arn:aws:s3:::a/b", Granted: c.granted}
		if got := c.p.Decide(r); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestElements has actions, resources and variables: IAM User Guide, IAM JSON policy elements.
func TestElements(t *testing.T) {
	const table, group = "arn:aws:dynamodb:us-east-1:123456789012:table/books",
		"arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:1-2:autoScalingGroupName/goldsmith-web"
	john := Of("aws:username", "john", "aws:PrincipalTag/team", "yellow")
	for _, c := range []struct {
		elements, action, resource string
		context                    Context
		want                       bool
	}{
		{`"Action": "ec2:Run*", "Resource": "*"`, "ec2:RunInstances", "*", nil, true},
		{`"Action": "EC2:runinstances", "Resource": "*"`, "ec2:RunInstances", "*", nil, true},
		{`"Action": "ec2:Run?nstances", "Resource": "*"`, "ec2:RunInstances", "*", nil, true},
		{`"Action": ["s3:*", "ec2:Describe*"], "Resource": "*"`, "ec2:RunInstances", "*", nil, false},
		{`"NotAction": "iam:*", "Resource": "*"`, "ec2:RunInstances", "*", nil, true},
		{`"NotAction": "iam:*", "Resource": "*"`, "iam:CreateUser", "*", nil, false},
		{`"Action": "*", "Resource": "arn:aws:dynamodb:*:*:table/b*"`, "dynamodb:Query", table, nil, true},
		{`"Action": "*", "Resource": "arn:aws:dynamodb:us-east-1:*"`, "dynamodb:Query", table, nil, true},
		{`"Action": "*", "Resource": "arn:aws:dynamodb:us-*t-1:123456789012:table/books"`, "dynamodb:Query", table, nil,
			true},
		{`"Action": "*", "Resource": "arn:aws:dynamodb:us*2:table/books"`, "dynamodb:Query", table, nil, false},
		{`"Action": "*", "Resource": "arn:aws-cn:dynamodb:*:*:table/b*"`, "dynamodb:Query", table, nil, false},
		{`"Action": "*", "Resource": "arn:aws:dynamodb:*:*:table/Books"`, "dynamodb:Query", table, nil, false},
		{`"Action": "*", "NotResource": "arn:aws:dynamodb:*:*:table/b*"`, "dynamodb:Query", table, nil, false},
		{`"Action": "*", "NotResource": "arn:aws:dynamodb:*:*:table/c*"`, "dynamodb:Query", table, nil, true},
		{`"Action": "*", "Resource": "arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/goldsmith-*"`,
			"autoscaling:DeleteAutoScalingGroup", group, nil, true},
		{`"Action": "*", "Resource": "arn:aws:autoscaling:*:*:autoScalingGroup:*:autoScalingGroupName/other-*"`,
			"autoscaling:DeleteAutoScalingGroup", group, nil, false},
		{`"Action": "*", "Resource": "arn:aws:s3:::b/${aws:username}/*"`, "s3:GetObject", "arn:aws:s3:::b/john/x",
			john, true},
		{`"Action": "*", "Resource": "arn:aws:s3:::b/${aws:username}/*"`, "s3:GetObject", "arn:aws:s3:::b/jane/x",
			john, false},
		{`"Action": "*", "Resource": "arn:aws:s3:::b/${aws:username}/*"`, "s3:GetObject", "arn:aws:s3:::b/j/x", nil,
			false},
		{`"Action": "*", "Resource": "arn:aws:s3:::b/${aws:username}/*"`, "s3:GetObject", "arn:aws:s3:::b/j/x",
			Of("aws:username", "*"), false}, // a value's star is none of the pattern's
		{`"Action": "*", "Resource": "arn:aws:s3:::b/${aws:PrincipalTag/Team, 'all'}/*"`, "s3:GetObject",
			"arn:aws:s3:::b/yellow/x", john, true},
		{`"Action": "*", "Resource": "arn:aws:s3:::b/${aws:PrincipalTag/Team, 'all'}/*"`, "s3:GetObject",
			"arn:aws:s3:::b/all/x", nil, true},
		{`"Action": "*", "Resource": "arn:aws:s3:::b/a${*}c"`, "s3:GetObject", "arn:aws:s3:::b/abc", nil, false},
		{`"Action": "*", "Resource": "arn:aws:s3:::b/a${*}c"`, "s3:GetObject", "arn:aws:s3:::b/a*c", nil, true},
	} {
		p := Policies{Identity: []*Document{policy(t, `{"Effect": "Allow", `+c.elements+`}`)}}
		if got := p.Decide(Request{c.action, c.resource, c.context, false}); got.Allowed != c.want {
			t.Errorf("%s: %s on %s with %v: %t", c.elements, c.action, c.resource, c.context, got.Allowed)
		}
	}
}

// TestOlderVersion has no variables.
func TestOlderVersion(t *testing.T) {
	d := identity(t, `{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::b/${aws:username}"}}`)
	p := Policies{Identity: []*Document{d}}
	for resource, want := range map[string]bool{
		"arn:aws:s3:::b/john":            false,
		"arn:aws:s3:::b/${aws:username}": true,
	} {
		if got := p.Decide(Request{"s3:GetObject", resource, Of("aws:username", "john"), false}); got.Allowed != want {
			t.Errorf("%s: %t", resource, got.Allowed)
		}
	}
}

// TestConditions has operators with a value that meets them, and those that do not: IAM User Guide, IAM JSON policy
// elements: Condition operators, and Single-valued vs. multivalued context keys.
func TestConditions(t *testing.T) {
	none := []string(nil)
	for _, c := range []struct {
		condition string
		values    []string // nil is none
		want      bool
	}{
		{`"StringEquals": {"k": "queen"}`, []string{"queen"}, true},
		{`"StringEquals": {"k": ["king", "queen"]}`, []string{"queen"}, true},
		{`"StringEquals": {"k": "Queen"}`, []string{"queen"}, false},
		{`"StringEquals": {"k": "que*"}`, []string{"queen"}, false},
		{`"StringEquals": {"k": "que*"}`, []string{"que*"}, true},
		{`"StringEquals": {"k": "queen"}`, none, false},
		{`"StringEqualsIfExists": {"k": "queen"}`, none, true},
		{`"StringEqualsIfExists": {"k": "queen"}`, []string{"king"}, false},
		{`"StringNotEquals": {"k": ["king", "queen"]}`, []string{"queen"}, false},
		{`"StringNotEquals": {"k": ["king", "queen"]}`, []string{"jack"}, true},
		{`"StringNotEquals": {"k": "queen"}`, none, true},
		{`"StringEqualsIgnoreCase": {"k": "QUEEN"}`, []string{"queen"}, true},
		{`"StringNotEqualsIgnoreCase": {"k": "QUEEN"}`, []string{"queen"}, false},
		{`"StringLike": {"k": "q*e?n"}`, []string{"queen"}, true},
		{`"StringLike": {"k": "q*e?"}`, []string{"queens"}, false},
		{`"StringNotLike": {"k": "q*"}`, []string{"queen"}, false},
		{`"StringLike": {"k": "${aws:username}*"}`, []string{"john-1"}, true},
		{`"StringLike": {"k": "${aws:userid}*"}`, []string{"john-1"}, false},
		{`"NumericEquals": {"k": "10"}`, []string{"10.0"}, true},
		{`"NumericNotEquals": {"k": 10}`, []string{"10"}, false},
		{`"NumericLessThan": {"k": 10}`, []string{"9"}, true},
		{`"NumericLessThanEquals": {"k": 10}`, []string{"10"}, true},
		{`"NumericGreaterThan": {"k": 10}`, []string{"10"}, false},
		{`"NumericGreaterThanEquals": {"k": 10}`, []string{"9"}, false},
		{`"NumericLessThan": {"k": 10}`, []string{"few"}, false},
		{`"DateEquals": {"k": "2026-01-02"}`, []string{"2026-01-02T00:00:00Z"}, true},
		{`"DateNotEquals": {"k": "2026-01-02"}`, []string{"2026-01-02T00:00:00Z"}, false},
		{`"DateLessThan": {"k": "2026-01-02T00:00:00Z"}`, []string{"2026-01-01T23:59:59Z"}, true},
		{`"DateLessThanEquals": {"k": "1767312000"}`, []string{"2026-01-02T00:00:00Z"}, true},
		{`"DateGreaterThan": {"k": "2026-01-02T00:00:00Z"}`, []string{"2026-01-01T23:59:59Z"}, false},
		{`"DateGreaterThanEquals": {"k": "2026-01-02"}`, []string{"2026-01-02T00:00:00Z"}, true},
		{`"Bool": {"k": true}`, []string{"true"}, true},
		{`"Bool": {"k": "false"}`, []string{"true"}, false},
		{`"Bool": {"k": "false"}`, none, false},
		{`"BoolIfExists": {"k": "false"}`, none, true},
		{`"BinaryEquals": {"k": "QmluYXJ5"}`, []string{"QmluYXJ5"}, true},
		{`"BinaryEquals": {"k": "QmluYXJ5"}`, []string{"QmluYXJ6"}, false},
		{`"IpAddress": {"k": "203.0.113.0/24"}`, []string{"203.0.113.9"}, true},
		{`"IpAddress": {"k": ["198.51.100.1", "2001:db8::/32"]}`, []string{"2001:db8::1"}, true},
		{`"IpAddress": {"k": "203.0.113.0/24"}`, []string{"203.0.114.9"}, false},
		{`"NotIpAddress": {"k": "203.0.113.0/24"}`, []string{"203.0.113.9"}, false},
		{`"NotIpAddress": {"k": "203.0.113.0/24"}`, none, true},
		{`"ArnEquals": {"k": "arn:aws:sns:*:123456789012:t*"}`, []string{"arn:aws:sns:eu-west-1:123456789012:topic"},
			true},
		{`"ArnLike": {"k": "arn:aws:sns:*:topic"}`, []string{"arn:aws:sns:eu-west-1:123456789012:topic"}, false},
		{`"ArnNotLike": {"k": "arn:aws:sns:*:*:t*"}`, []string{"arn:aws:sns:eu-west-1:123456789012:topic"}, false},
		{`"ArnNotEquals": {"k": "arn:aws:sns:*:*:u*"}`, []string{"arn:aws:sns:eu-west-1:123456789012:topic"}, true},
		{`"Null": {"k": "true"}`, none, true},
		{`"Null": {"k": true}`, []string{"x"}, false},
		{`"Null": {"k": "false"}`, []string{"x"}, true},
		{`"Null": {"k": "false"}`, none, false},
		{`"ForAllValues:StringEquals": {"k": ["a", "b"]}`, []string{"a", "b"}, true},
		{`"ForAllValues:StringEquals": {"k": ["a", "b"]}`, []string{"a", "c"}, false},
		{`"ForAllValues:StringEquals": {"k": ["a", "b"]}`, none, true},
		{`"ForAnyValue:StringEquals": {"k": ["a", "b"]}`, []string{"c", "b"}, true},
		{`"ForAnyValue:StringEquals": {"k": ["a", "b"]}`, []string{"c"}, false},
		{`"ForAnyValue:StringEquals": {"k": ["a", "b"]}`, none, false},
		{`"ForAllValues:StringNotEquals": {"k": "a"}`, []string{"b", "a"}, false},
		{`"ForAnyValue:StringNotLike": {"k": "a*"}`, []string{"b", "a"}, true},
		{`"ForAllValues:StringLikeIfExists": {"k": "a*"}`, []string{"a", "ab"}, true},
		{`"StringEquals": {"K": "queen"}`, []string{"queen"}, true}, // keys have no case
		{`"StringEquals": {"k": "queen"}, "Null": {"other": "false"}`, []string{"queen"}, false},
		{`"StringEquals": {"k": "queen", "aws:username": "john"}`, []string{"queen"}, true},
		{`"StringEquals": {"k": "queen", "aws:username": "jane"}`, []string{"queen"}, false},
	} {
		p := Policies{Identity: []*Document{policy(t,
			`{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {`+c.condition+`}}`)}}
		context := Of("aws:username", "john")
		if c.values != nil {
			context.Set("k", c.values...)
		}
		if got := p.Decide(Request{"a:b", "*", context, false}); got.Allowed != c.want {
			t.Errorf("%s with %q: %t", c.condition, c.values, got.Allowed)
		}
	}
}

// TestMalformed has documents that IAM refuses, each with a word of what is wrong.
func TestMalformed(t *testing.T) {
	within := func(elements string) string {
		return `{"Version": "2012-10-17", "Statement": [{` + elements + `}]}`
	}
	const action, resource = `"Effect": "Allow", "Action": "ec2:*"`, `"Resource": "*"`
	for _, c := range []struct{ text, want string }{
		{``, "EOF"},
		{`{`, "EOF"},
		{`[]`, "no JSON object"},
		{`null`, "no JSON object"},
		{`{"Version": "2012-10-17"}`, "has a statement"},
		{`{"Version": "2012-10-17", "Statement": []}`, "has a statement"},
		{`{"Version": "2013-10-17", "Statement": [` + allowAll + `]}`, "2012-10-17"},
		{`{"Statement": [` + allowAll + `], "statement": []}`, `no element "statement"`},
		{`{"Statement": [` + allowAll + `], "Statement": []}`, "twice"},
		{`{"Statement": [` + allowAll + `]} {}`, "after its end"},
		{strings.Repeat("[", 100) + strings.Repeat("]", 100), "too deeply"},
		{within(`"Action": "*", "Resource": "*"`), "Effect"},
		{within(`"Effect": "allow", "Action": "*", "Resource": "*"`), "Effect"},
		{within(action), "either Resource or NotResource"},
		{within(`"Effect": "Allow", "Resource": "*"`), "either Action or NotAction"},
		{within(action + `, "NotAction": "s3:*", ` + resource), "either Action or NotAction"},
		{within(`"Effect": "Allow", "Action": "RunInstances", "Resource": "*"`), "SERVICE:ACTION"},
		{within(`"Effect": "Allow", "Action": [], "Resource": "*"`), "empty"},
		{within(`"Effect": "Allow", "Action": [null], "Resource": "*"`), "list of strings"},
		{within(`"Effect": "Allow", "Action": 7, "Resource": "*"`), "list of strings"},
		{within(action + `, "Resource": "instance/*"`), "an ARN"},
		{within(action + `, "Resource": "*", "Principal": "*"`), "no Principal"},
		{within(action + `, "Resource": "*", "Condition": {"StringSame": {"k": "v"}}`), "no condition operator"},
		{within(action + `, "Resource": "*", "Condition": {"NullIfExists": {"k": "true"}}`), "no condition operator"},
		{within(action + `, "Resource": "*", "Condition": {"ForSome:StringLike": {"k": "v"}}`),
			"no condition operator"},
		{within(action + `, "Resource": "*", "Condition": {"StringLike": {"k": {}}}`), "as its values"},
		{within(action + `, "Resource": "*", "Condition": {"Bool": {"k": "yes"}}`), "no value"},
		{within(action + `, "Resource": "*", "Condition": {"NumericEquals": {"k": "1e999999999"}}`), "no value"},
		{within(action + `, "Resource": "*", "Condition": {"IpAddress": {"k": "10.0.0.0/33"}}`), "no value"},
		{within(action + `, "Resource": "*", "Condition": "k"`), "no JSON object"},
		{within(`"Sid": "A", ` + action + `, "Resource": "*"}, {"Sid": "A", ` + action + `, "Resource": "*"`),
			"another's"},
	} {
		_, err := ParseIdentity([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

func TestTrusts(t *testing.T) {
	const role, user = "arn:aws:iam::123456789012:role/r", "arn:aws:iam::123456789012:user/john"
	john := Caller{ARN: user, Account: account}
	session := Caller{ARN: "arn:aws:sts::123456789012:assumed-role/web/i-1", Role: "arn:aws:iam::123456789012:role/web",
		Account: account}
	may := policy(t, `{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "`+role+`"}`)
	never := policy(t, `{"Effect": "Deny", "Action": "sts:*", "Resource": "*"}`)
	reads := policy(t, `{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}`)
	for _, c := range []struct {
		name, elements string
		caller         Caller
		p              Policies
		want           Decision
	}{
		{"nobody else", `"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}`, john,
			Policies{Identity: []*Document{may}}, Decision{By: byTrust}},
		{"the account, and the identity's policy", `"Effect": "Allow", "Principal": {"AWS": "` + account + `"}`, john,
			Policies{Identity: []*Document{may}}, Decision{Allowed: true}},
		{"the account alone", `"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}`, john,
			Policies{}, Decision{By: byIdentity}},
		{"another account", `"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}`, john,
			Policies{Identity: []*Document{may}}, Decision{By: byTrust}},
		{"the user", `"Effect": "Allow", "Principal": {"AWS": ["` + user + `"]}`, john, Policies{Boundary: reads},
			Decision{Allowed: true}},
		{"the user, who is denied it", `"Effect": "Allow", "Principal": {"AWS": "` + user + `"}`, john,
			Policies{Identity: []*Document{never}}, Decision{Deny: true, By: byIdentity}},
		{"everybody", `"Effect": "Allow", "Principal": "*"`, john, Policies{}, Decision{Allowed: true}},
		{"all but the user", `"Effect": "Allow", "NotPrincipal": {"AWS": "` + user + `"}`, john,
			Policies{Identity: []*Document{may}}, Decision{By: byTrust}},
		{"the session's role", `"Effect": "Allow", "Principal": {"AWS": "` + session.Role + `"}`, session, Policies{},
			Decision{Allowed: true}},
		{"the session's role, within its boundary", `"Effect": "Allow", "Principal": {"AWS": "` + session.Role + `"}`,
			session, Policies{Boundary: reads}, Decision{By: byBoundary}},
		{"the session", `"Effect": "Allow", "Principal": {"AWS": "` + session.ARN + `"}`, session,
			Policies{Boundary: reads}, Decision{Allowed: true}},
		{"a condition that holds", `"Effect": "Allow", "Principal": "*",
			"Condition": {"StringEquals": {"sts:ExternalId": "7"}}`, john, Policies{}, Decision{Allowed: true}},
		{"a condition that does not", `"Effect": "Allow", "Principal": "*",
			"Condition": {"StringEquals": {"sts:ExternalId": "8"}}`, john, Policies{}, Decision{By: byTrust}},
		{"a deny", `"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}, {
			"Effect": "Deny", "Principal": {"AWS": "` + user + `"}`, john, Policies{},
			Decision{Deny: true, By: byTrust}},
	} {
		d, err := ParseTrust([]byte(`{"Version": "2012-10-17", "Statement": [{` + c.elements +
			`, "Action": "sts:AssumeRole"}]}`))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		got := d.Trusts(c.caller, c.p, Request{"sts:AssumeRole", role, Of("sts:ExternalId", "7"), false})
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	for _, text := range []string{
		`{"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole"}}`,
		`{"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "me"}}`,
		`{"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"User": "me"}}}`,
		`{"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": "*", "Resource": "*"}}`,
	} {
		if _, err := ParseTrust([]byte(text)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// FuzzParse has no text bring the reader down, and none that it takes bring an evaluation down. What it takes also JSON
// readers take.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"Version": "2012-10-17", "Statement": [`+allowAll+`]}`), "ec2:RunInstances", "arn:aws:ec2:::x", "v")
	f.Add([]byte(`{"Statement": {"Sid": "a", "Effect": "Deny", "NotAction": ["s3:*"], "NotResource": "arn:*:${k}",
		"Condition": {"ForAnyValue:StringNotLikeIfExists": {"k": ["*${k, 'd'}?"]}, "NumericLessThan": {"k": 1.5}}}}`),
		"s3:GetObject", "*", "*")
	f.Add([]byte(`{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*",
		"Condition": {"DateLessThan": {"k": "2026-01-01"}, "BinaryEquals": {"k": "QQ=="}, "IpAddress": {"k": "::/0"},
		"ArnLike": {"k": "arn:*:*:*:*:*"}, "Null": {"k": false}, "Bool": {"k": true}}}}`), "a:b",
		"arn:a:b:c:d:e", "::1")
	f.Fuzz(func(t *testing.T, text []byte, action, resource, value string) {
		d, err := ParseIdentity(text)
		if err != nil {
			if d != nil {
				t.Errorf("%q: a document, and %v", text, err)
			}
			return
		}
		p := Policies{Identity: []*Document{d}}
		r := Request{action, resource, Of("k", value), false}
		got := p.Decide(r)
		if bounded := (Policies{Identity: []*Document{everything},
			Boundary: d}).Decide(r); bounded.Allowed != got.Allowed {
			t.Errorf("%q: as a policy %+v, as a boundary %+v", text, got, bounded)
		}
	})
}
