package endpoint

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/imds"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/identity"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

func operatorCredentials() aws.Credentials {
	return aws.Credentials{AccessKeyID: operatorKey.AccessKeyID, SecretAccessKey: operatorKey.SecretAccessKey}
}

func sdkCredentials(c imds.Credentials) aws.Credentials {
	return aws.Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.Token}
}

// question is a request for a service that is not signed yet.
func question(at netip.AddrPort, action string) (*http.Request, string) {
	body := url.Values{"Action": {action}, "Version": {"2016-11-15"}}.Encode()
	r := httptest.NewRequest(http.MethodPost, "http://"+at.String()+"/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r, body
}

// TestPagesAreRefused has a backend that fails the test if anything reaches it. Each request is signed well: a page in
// a browser, or a server that a name was rebound to, could have got hold of a presigned URL.
func TestPagesAreRefused(t *testing.T) {
	s := newServer(t, mototest.New(t, map[string]func(url.Values) string{"DescribeVpcs": nil}), newMachinery(t))
	for name, alter := range map[string]func(*http.Request){
		"another origin":            func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"no origin that is told":    func(r *http.Request) { r.Header.Set("Origin", "null") },
		"an empty origin":           func(r *http.Request) { r.Header["Origin"] = []string{""} },
		"this server as the origin": func(r *http.Request) { r.Header.Set("Origin", "http://127.66.9.1:4566") },
		"a page of another site":    func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"a page of the same site":   func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"a rebound name":            func(r *http.Request) { r.Host = "rebind.evil.example:4566" },
		"a name of this computer":   func(r *http.Request) { r.Host = "localhost:4566" },
		"another port":              func(r *http.Request) { r.Host = "127.66.9.1:80" },
		"the machines' address":     func(r *http.Request) { r.Host = "198.51.100.20" },
		"no host":                   func(r *http.Request) { r.Host = "" },
		"a question before":         func(r *http.Request) { r.Method = http.MethodOptions },
	} {
		t.Run(name, func(t *testing.T) {
			r, body := question(apiAddress, "DescribeVpcs")
			alter(r)
			w := sendSigned(s, Operators, apiAddress, r, "ec2", awsquery.Region, operatorCredentials(), body)
			if w.Code != http.StatusForbidden {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
			for header := range w.Header() {
				if strings.HasPrefix(header, "Access-Control-") {
					t.Errorf("the answer has %s", header)
				}
			}
		})
	}
}

// TestStrangersAreRefused has a backend that fails the test if anything reaches it.
func TestStrangersAreRefused(t *testing.T) {
	s := newServer(t, mototest.New(t, map[string]func(url.Values) string{"DescribeVpcs": nil}), newMachinery(t))
	for _, c := range []struct {
		service, code string
		key           aws.Credentials
	}{
		{"ec2", "AuthFailure", aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "x"}},
		{"ec2", "AuthFailure", aws.Credentials{AccessKeyID: operatorKey.AccessKeyID, SecretAccessKey: "x"}},
		{"ec2", "AuthFailure", aws.Credentials{AccessKeyID: "local", SecretAccessKey: "x"}},
		{"iam", "InvalidClientTokenId", aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "x"}},
		{"sts", "SignatureDoesNotMatch", aws.Credentials{AccessKeyID: operatorKey.AccessKeyID, SecretAccessKey: "x"}},
		{"ssm", "UnrecognizedClientException", aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "x"}},
		{"ssm", "InvalidSignatureException", aws.Credentials{
			AccessKeyID:     operatorKey.AccessKeyID,
			SecretAccessKey: "x",
		}},
	} {
		r, body := question(apiAddress, "DescribeVpcs")
		w := sendSigned(s, Operators, apiAddress, r, c.service, awsquery.Region, c.key, body)
		if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), c.code) {
			t.Errorf("%s by %s: status %d, want %s: %s", c.service, c.key.AccessKeyID, w.Code, c.code, w.Body)
		}
	}
	for _, path := range []string{"/", "/moto-api/data.json", "/moto-api/reset", "/latest/checkip",
		"/?Action=DescribeVpcs"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			w := httptest.NewRecorder()
			s.Handler(Operators, apiAddress).ServeHTTP(w,
				httptest.NewRequest(method, "http://"+apiAddress.String()+path, nil))
			if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "MissingAuthenticationToken") {
				t.Errorf("unsigned %s %s: status %d: %s", method, path, w.Code, w.Body)
			}
		}
	}
}

// TestOnlyKnownServices signs as the operator; nothing may reach the backend, which would fail the test.
func TestOnlyKnownServices(t *testing.T) {
	s := newServer(t, mototest.New(t, map[string]func(url.Values) string{"": nil}), newMachinery(t))
	for _, c := range []struct{ service, method, path string }{
		{"ec2", "GET", "/moto-api/data.json"}, {"ec2", "POST", "/moto-api/reset"},
		{"moto-api", "GET", "/moto-api/data.json"},
		{"s3", "GET", "/"}, {"s3", "PUT", "/bucket"}, {"lambda", "POST", "/2015-03-31/functions"}, {"", "GET", "/"},
		{"ebs", "GET", "/moto-api/data.json"}, {"ebs", "GET", "/snapshots/../moto-api/data.json"},
		{"ebs", "GET", "/snapshots/snap-1"},
		{"ssm", "POST", "/x"}, {"checkip", "GET", "/"}, {"checkip", "GET", "/moto-api/"}, {"ec2", "GET", "//"},
	} {
		r := httptest.NewRequest(c.method, "http://"+apiAddress.String()+c.path, nil)
		w := sendSigned(s, Operators, apiAddress, r, c.service, awsquery.Region, operatorCredentials(), "")
		if w.Code < 400 {
			t.Errorf("%s %s %s: status %d: %s", c.service, c.method, c.path, w.Code, w.Body)
		}
	}
}

// TestMachinesKeys: a machine is known by what its metadata service gave it, and by nothing else.
func TestMachinesKeys(t *testing.T) {
	s := newServer(t, mototest.New(t, trusting(time.Now().Add(time.Hour))), newMachinery(t))
	role := awsquery.Element("member", awsquery.Text("RoleName", "goldsmith-x-web"),
		awsquery.Text("RoleId", "AROAEXAMPLE"))
	give := s.keys.ForInstance(role, "i-0123456789abcdef0")
	issued, err := give(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := give(t.Context()); again != issued {
		t.Errorf("other credentials at the second time: %v, %v", issued, again)
	}
	ask := func(side Side, at netip.AddrPort, key aws.Credentials) *httptest.ResponseRecorder {
		r, body := question(at, "GetCallerIdentity")
		r.Host = strings.TrimSuffix(r.Host, ":80") // as clients write it
		return sendSigned(s, side, at, r, "sts", awsquery.Region, key, body)
	}
	const arn = "arn:aws:sts::123456789012:assumed-role/goldsmith-x-web/i-0123456789abcdef0"
	for side, at := range map[Side]netip.AddrPort{Machines: machinesAddress, Operators: apiAddress} {
		if w := ask(side, at, sdkCredentials(issued)); w.Code != http.StatusOK ||
			!strings.Contains(w.Body.String(), arn) {
			t.Errorf("at %s: status %d: %s", at, w.Code, w.Body)
		}
	}
	for name, key := range map[string]aws.Credentials{
		"the operator's key": operatorCredentials(),
		"no token":           {AccessKeyID: issued.AccessKeyID, SecretAccessKey: issued.SecretAccessKey},
		"another token": {
			AccessKeyID:     issued.AccessKeyID,
			SecretAccessKey: issued.SecretAccessKey,
			SessionToken:    "x",
		},
		"a made-up key":        {AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: "x", SessionToken: "x"},
		"what moto would take": {AccessKeyID: "local", SecretAccessKey: "0"},
	} {
		if w := ask(Machines, machinesAddress, key); w.Code != http.StatusForbidden {
			t.Errorf("%s: status %d: %s", name, w.Code, w.Body)
		}
	}

	// What a role's session assumes is a machine's too; what the operator assumes is not.
	for _, c := range []struct {
		key  aws.Credentials
		want int
	}{{sdkCredentials(issued), http.StatusOK}, {operatorCredentials(), http.StatusForbidden}} {
		session := assume(t, s, c.key)
		if w := ask(Machines, machinesAddress, session); w.Code != c.want {
			t.Errorf("assumed by %s: status %d, want %d: %s", c.key.AccessKeyID, w.Code, c.want, w.Body)
		}
		if w := ask(Operators, apiAddress, session); w.Code != http.StatusOK ||
			!strings.Contains(w.Body.String(), "assumed-role/other/me") {
			t.Errorf("assumed by %s: status %d: %s", c.key.AccessKeyID, w.Code, w.Body)
		}
	}
}

// trusting are answers for a role without policies that everybody may assume, with when the session ends.
func trusting(ends time.Time) map[string]func(url.Values) string {
	return map[string]func(url.Values) string{
		"GetRole": mototest.Canned(`<GetRoleResult><Role><AssumeRolePolicyDocument>{"Statement": {"Effect": "Allow",
			"Action": "sts:AssumeRole", "Principal": "*"}}</AssumeRolePolicyDocument></Role></GetRoleResult>`),
		"ListRolePolicies":         mototest.Canned("<ListRolePoliciesResult/>"),
		"ListAttachedRolePolicies": mototest.Canned("<ListAttachedRolePoliciesResult/>"),
		"AssumeRole":               mototest.Canned(assumed(ends)),
	}
}

// assumed is moto's answer to AssumeRole, with credentials that could be guessed.
func assumed(ends time.Time) string {
	return fmt.Sprintf(`<AssumeRoleResult><Credentials><AccessKeyId>ASIAGUESSED</AccessKeyId>
		<SecretAccessKey>guessed</SecretAccessKey>`+
		`<SessionToken>guessed</SessionToken><Expiration>%s</Expiration></Credentials>`+
		`<AssumedRoleUser><AssumedRoleId>AROAOTHER:me</AssumedRoleId></AssumedRoleUser></AssumeRoleResult>`,
		ends.UTC().Format(time.RFC3339))
}

// assume assumes a role with these credentials.
func assume(t *testing.T, s *Server, key aws.Credentials) aws.Credentials {
	t.Helper()
	body := url.Values{
		"Action":          {"AssumeRole"},
		"RoleArn":         {"arn:aws:iam::123456789012:role/other"},
		"RoleSessionName": {"me"},
	}.Encode()
	r := httptest.NewRequest(http.MethodPost, "http://"+apiAddress.String()+"/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := sendSigned(s, Operators, apiAddress, r, "sts", awsquery.Region, key, body)
	root, err := awsquery.ParseXML(w.Body.Bytes())
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d: %v: %s", w.Code, err, w.Body)
	}
	made := root.At("AssumeRoleResult", "Credentials")
	if strings.Contains(w.Body.String(), "guessed") || strings.Contains(w.Body.String(), "GUESSED") {
		t.Errorf("the credentials can be guessed: %s", w.Body)
	}
	return aws.Credentials{
		AccessKeyID:     made.Get("AccessKeyId"),
		SecretAccessKey: made.Get("SecretAccessKey"),
		SessionToken:    made.Get("SessionToken"),
	}
}

func TestSessionsEnd(t *testing.T) {
	s := newServer(t, mototest.New(t, trusting(time.Now().Add(-time.Second))), newMachinery(t))
	r, body := question(apiAddress, "GetCallerIdentity")
	w := sendSigned(s, Operators, apiAddress, r, "sts", awsquery.Region, assume(t, s, operatorCredentials()), body)
	if w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "ExpiredToken") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// TestUsersKeys: an access key that IAM made is good until it is taken off or deleted, also after a restart.
func TestUsersKeys(t *testing.T) {
	b := mototest.New(t, map[string]func(url.Values) string{
		"CreateAccessKey": mototest.Canned(
			`<CreateAccessKeyResult><AccessKey><UserName>ada</UserName><AccessKeyId>AKIAADA</AccessKeyId>` +
				`<SecretAccessKey>guessed</SecretAccessKey></AccessKey></CreateAccessKeyResult>`),
		"UpdateAccessKey": mototest.Canned(""),
		"DeleteAccessKey": mototest.Canned(""),
	})
	s := newServer(t, b, newMachinery(t))
	iam := func(action string, parameters ...string) *awsquery.Node {
		t.Helper()
		w := send(s, "iam", "test", awsquery.NewCall("iam", action, append(parameters, "UserName", "ada")...).Form)
		root, err := awsquery.ParseXML(w.Body.Bytes())
		if err != nil || w.Code != http.StatusOK {
			t.Fatalf("%s: status %d: %v: %s", action, w.Code, err, w.Body)
		}
		return root
	}
	key := aws.Credentials{
		AccessKeyID:     "AKIAADA",
		SecretAccessKey: iam("CreateAccessKey").Get("CreateAccessKeyResult", "AccessKey", "SecretAccessKey"),
	}
	if key.SecretAccessKey == "guessed" {
		t.Error("the secret can be guessed")
	}
	status := func() int {
		r, body := question(apiAddress, "GetCallerIdentity")
		return sendSigned(s, Operators, apiAddress, r, "sts", awsquery.Region, key, body).Code
	}
	if err := s.open(); err != nil { // as a restart does
		t.Fatal(err)
	}
	for _, step := range []struct {
		do   func()
		want int
	}{
		{func() {}, http.StatusOK},
		{func() { iam("UpdateAccessKey", "AccessKeyId", "AKIAADA", "Status", "Inactive") }, http.StatusForbidden},
		{func() { iam("UpdateAccessKey", "AccessKeyId", "AKIAADA", "Status", "Active") }, http.StatusOK},
		{func() { iam("DeleteAccessKey", "AccessKeyId", "AKIAADA") }, http.StatusForbidden},
	} {
		step.do()
		if got := status(); got != step.want {
			t.Errorf("status %d, want %d", got, step.want)
		}
	}
}

// TestUserWithKeys: the keys of a user who is gone would go on to be good.
func TestUserWithKeys(t *testing.T) {
	b := mototest.New(t, map[string]func(url.Values) string{"DeleteUser": mototest.Canned("")})
	s := newServer(t, b, newMachinery(t))
	change(t, s, func(o *records.State) { o.AccessKeys["AKIAADA"] = &records.AccessKey{Secret: "x", User: "ada"} })
	if w := send(s, "iam", "test", awsquery.NewCall("iam", "DeleteUser",
		"UserName", "ada").Form); w.Code != http.StatusConflict ||
		!strings.Contains(w.Body.String(), "DeleteConflict") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if w := send(s, "iam", "test", awsquery.NewCall("iam", "DeleteUser",
		"UserName", "bob").Form); w.Code != http.StatusOK {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// TestParameterStoreTarget: moto would take an action of the query or of a form for the target.
func TestParameterStoreTarget(t *testing.T) {
	b := mototest.New(t, nil)
	s := newServer(t, b, newMachinery(t))
	for _, c := range []struct{ method, path, kind, target, body string }{
		{http.MethodPost, "/?Action=DeleteParameter", "application/x-amz-json-1.1", "AmazonSSM.GetParameter",
			`{"Name":"/p"}`},
		{http.MethodPost, "/", "application/x-www-form-urlencoded; charset=utf-8", "AmazonSSM.GetParameter",
			"Action=DeleteParameter&Name=/p"},
		{http.MethodPost, "/", "application/x-www-form-urlencoded; charset=utf-8", "",
			"Action=DeleteParameter&Name=/p"},
		{http.MethodGet, "/?Action=PutParameter&Name=/p", "", "", ""},
		{http.MethodPost, "/", "application/x-amz-json-1.1", "AmazonSSM.delete_parameter", `{"Name":"/p"}`},
		{http.MethodPost, "/", "application/x-amz-json-1.1", "AmazonEC2.DeleteParameter", `{"Name":"/p"}`},
	} {
		r := newRequest(c.method, c.path, c.body)
		for name, value := range map[string]string{"Content-Type": c.kind, "X-Amz-Target": c.target} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := sendSigned(s, Operators, apiAddress, r, "ssm", awsquery.Region, operatorCredentials(), c.body)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "UnknownOperationException") {
			t.Errorf("%+v: status %d: %s", c, w.Code, w.Body)
		}
	}
	if len(b.Forms) > 0 {
		t.Errorf("moto got %v", b.Forms)
	}
}

// TestCharactersOfNoAnswer: what XML cannot carry would make every answer with it unreadable, for good.
func TestCharactersOfNoAnswer(t *testing.T) {
	s := newServer(t, mototest.New(t, nil), newMachinery(t))
	for _, value := range []string{"a\x1bb", "\x00", "\x08", "\ufffe", "\xff"} {
		refused(t, s, "InvalidCharacter", "CreateSecurityGroup", "GroupName", "g", "Description", value)
		refused(t, s, "InvalidCharacter", "CreateTags", "ResourceId.1", "vpc-00000000000000001", "Tag.1.Key", value,
			"Tag.1.Value", "v")
	}
	// A journal of before may have one, of which moto tells.
	s = newServer(t, mototest.New(t, map[string]func(url.Values) string{
		"DescribeDhcpOptions": mototest.Canned("<b>x\x1by</b>"),
		"DescribeTags":        mototest.Canned("<b>K\u00f8ge \u2603</b>"),
	}), newMachinery(t))
	for action, want := range map[string]string{"DescribeDhcpOptions": "x\ufffdy", "DescribeTags": "K\u00f8ge \u2603"} {
		if w := send(s, "ec2", "test", awsquery.NewCall("ec2", action).Form); !strings.Contains(w.Body.String(),
			"<b>"+want+"</b>") {
			t.Errorf("%s: %s", action, w.Body)
		}
	}
}

// TestHeaders: what moto says of itself stays inside.
func TestHeaders(t *testing.T) {
	s := newServer(t, mototest.New(t,
		map[string]func(url.Values) string{"DescribeDhcpOptions": mototest.Canned("<dhcpOptionsSet/>")}),
		newMachinery(t))
	w := send(s, "ec2", "test", awsquery.NewCall("ec2", "DescribeDhcpOptions").Form)
	for header := range w.Header() {
		switch header {
		case "Content-Type", "Content-Length", "X-Content-Type-Options":
		default:
			t.Errorf("the answer has %s: %s", header, w.Header().Get(header))
		}
	}
	if w.Code != http.StatusOK {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

func TestNewOperatorKey(t *testing.T) {
	a, b := identity.NewOperatorKey(), identity.NewOperatorKey()
	if a.AccessKeyID == b.AccessKeyID || a.SecretAccessKey == b.SecretAccessKey || len(a.AccessKeyID) != 20 ||
		len(a.SecretAccessKey) != 40 {
		t.Errorf("got %v and %v", a, b)
	}
}
