package trail

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

func open(t *testing.T, dir string) *Trail {
	t.Helper()
	trail, err := Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { trail.Close() })
	return trail
}

// read are the names of the calls in a directory's trail.
func read(t *testing.T, dir string, since time.Time) []string {
	t.Helper()
	var names []string
	for e, err := range Read(dir, since) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, e.Name)
	}
	return names
}

// event is a call as a client sends it.
func event(t *testing.T, service, target, body string) *Event {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if target != "" {
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", target)
	}
	r.Header.Set("User-Agent", "aws-sdk-go-v2/1.0 goldsmith/1.2.3 md/command#deploy")
	r.Header.Set("Amz-Sdk-Request", "attempt=2; max=5")
	c, err := awsquery.ReadCall(r, service, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	c.Caller = awsquery.Caller{ARN: "arn:aws:iam::123456789012:user/ada"}
	return EventOf(r, c)
}

func ok(body string) *awsquery.Answer {
	return &awsquery.Answer{Status: http.StatusOK, Body: []byte(body)}
}

func TestEvent(t *testing.T) {
	form := url.Values{
		"Action": {"RunInstances"}, "Version": {"2016-11-15"}, "ImageId": {"ami-0123456789abcdef0"}, "MinCount": {"1"},
		"SecurityGroupId.1": {"sg-0123456789abcdef0"}, "TagSpecification.1.Tag.1.Key": {"Name"},
	}
	e := event(t, "ec2", "", form.Encode())
	e.End(ok("<r><instanceId>i-0123456789abcdef0</instanceId></r>"), nil)
	if e.Action() != "ec2:RunInstances" || e.Attempt != 2 || e.ErrorCode != "" || e.Address != "192.0.2.1" ||
		e.Identity.ARN != "arn:aws:iam::123456789012:user/ada" || !strings.Contains(e.UserAgent, "goldsmith/1.2.3") ||
		e.Parameters["ImageId"] != "ami-0123456789abcdef0" || e.Parameters["MinCount"] != "1" ||
		e.Parameters["TagSpecification.1.Tag.1.Key"] != "Name" || len(e.Parameters) != 4 {
		t.Errorf("got %+v", e)
	}
	want := []string{"ami-0123456789abcdef0", "i-0123456789abcdef0", "sg-0123456789abcdef0"}
	if !slices.Equal(e.Resources, want) {
		t.Errorf("got %v, want %v", e.Resources, want)
	}
}

// TestSecretsAreNotKept has calls with something that must not be in a file.
func TestSecretsAreNotKept(t *testing.T) {
	const secret = "hunter2"
	form := func(action, name string) string {
		return url.Values{"Action": {action}, "Version": {"1"}, name: {secret}}.Encode()
	}
	for _, c := range []struct{ service, target, body, parameter string }{
		{"ec2", "", form("RunInstances", "UserData"), "UserData"},
		{"ec2", "", form("CreateLaunchTemplate", "LaunchTemplateData.UserData"), "LaunchTemplateData.UserData"},
		{"ec2", "", form("CreateTags", "Tag.1.Value"), "Tag.1.Value"},
		{"ec2", "", form("ImportKeyPair", "PublicKeyMaterial"), "PublicKeyMaterial"},
		{"iam", "", form("PutRolePolicy", "PolicyDocument"), "PolicyDocument"},
		{"iam", "", form("CreateRole", "AssumeRolePolicyDocument"), "AssumeRolePolicyDocument"},
		{"iam", "", form("CreateLoginProfile", "Password"), "Password"},
		{"sts", "", form("AssumeRole", "Policy"), "Policy"},
		{"sts", "", form("AssumeRole", "ExternalId"), ""},
		{"sts", "", form("GetSessionToken", "TokenCode"), "TokenCode"},
		{"ssm", "AmazonSSM.PutParameter", `{"Name":"/a","Value":"hunter2","Type":"SecureString"}`, "Value"},
		{"ssm", "AmazonSSM.PutParameter", `{"Name":"/a","Tags":[{"Key":"k","Value":"hunter2"}]}`, "Tags.1.Value"},
		{"ssm", "AmazonSSM.PutParameter", `{"Name":"/a","Value":{"Id":["hunter2"]}}`, ""},
		{"ssm", "AmazonSSM.PutParameter", `{"Name":"/a","Description":"hunter2"}`, "Description"},
	} {
		dir := t.TempDir()
		trail := open(t, dir)
		e := event(t, c.service, c.target, c.body)
		e.End(ok("<r><SecretAccessKey>"+secret+"</SecretAccessKey></r>"), errors.New("what is "+secret))
		trail.Record(e)
		text, err := os.ReadFile(filepath.Join(dir, "trail.jsonl"))
		if err != nil || len(text) == 0 || strings.Contains(string(text), secret) {
			t.Errorf("%s: %v: %s", c.body, err, text)
		}
		if c.parameter != "" && e.Parameters[c.parameter] != Hidden {
			t.Errorf("%s: it has %v", c.body, e.Parameters)
		}
	}
}

func TestErrorCodes(t *testing.T) {
	for _, c := range []struct {
		answer *awsquery.Answer
		err    error
		want   string
	}{
		{ok(""), nil, ""},
		{nil, nil, ""},
		{nil, fmt.Errorf("launch: %w", awsquery.Fault(apierror.RequestLimitExceeded)), "RequestLimitExceeded"},
		{nil, errors.New("no space"), "UnsupportedOperation"},
		{&awsquery.Answer{
			Status: 400,
			Body:   []byte("<R><Errors><Error><Code>InvalidID</Code></Error></Errors></R>"),
		}, nil, "InvalidID"},
		{&awsquery.Answer{Status: 400, Body: []byte(`{"__type": "com.amazonaws#ParameterNotFound"}`)}, nil,
			"ParameterNotFound"},
		{&awsquery.Answer{Status: 404, Body: []byte("?")}, nil, "status 404"},
	} {
		e := event(t, "ec2", "", "Action=DescribeVpcs")
		if e.End(c.answer, c.err); e.ErrorCode != c.want {
			t.Errorf("%+v, %v: got %q, want %q", c.answer, c.err, e.ErrorCode, c.want)
		}
	}
}

// TestMuchIsBounded has a call with a million parameters' worth of text.
func TestMuchIsBounded(t *testing.T) {
	form := url.Values{"Action": {"DescribeInstances"}}
	for i := range 5000 {
		form.Set(fmt.Sprintf("InstanceId.%d", i+1), strings.Repeat("x", 1000))
	}
	e := event(t, "ec2", "", form.Encode())
	e.End(ok(""), nil)
	trail := open(t, t.TempDir())
	trail.Record(e)
	if trail.written == 0 || trail.written > 100_000 {
		t.Errorf("the line has %d bytes", trail.written)
	}
}

// TestRotation: of much the newest is there, in order, and the files have the size that they may have.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	trail := open(t, dir)
	trail.size = 4000
	for i := range 200 {
		trail.Record(&Event{Name: fmt.Sprint(i), Time: time.Unix(int64(i), 0)})
	}
	got := read(t, dir, time.Time{})
	if len(got) < 50 || got[len(got)-1] != "199" {
		t.Fatalf("got %v", got)
	}
	for i, name := range got {
		if want := fmt.Sprint(200 - len(got) + i); name != want {
			t.Fatalf("call %d is %s, want %s", i, name, want)
		}
	}
	kept, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(kept) != files {
		t.Errorf("%v: there are %v", err, kept)
	}
	for _, path := range kept {
		info, err := os.Stat(path)
		if err != nil || info.Size() > trail.size || info.Mode().Perm() != 0o600 {
			t.Errorf("%v: %s has %d bytes, mode %s", err, path, info.Size(), info.Mode())
		}
	}
	if got := read(t, dir, time.Unix(198, 0)); !slices.Equal(got, []string{"198", "199"}) {
		t.Errorf("since a time: got %v", got)
	}
}

// TestTornLine: what a crash left half written is skipped, and what comes after it is read.
func TestTornLine(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "trail.jsonl")
	torn := []byte("{\"eventName\":\"a\"}\n{\"eventNa\n{\"eventName\":\"b\"}\n{\"eve")
	if err := os.WriteFile(path, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := read(t, dir, time.Time{}); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("got %v", got)
	}
	trail := open(t, dir)
	trail.Record(&Event{Name: "c"})
	trail.Record(&Event{Name: "d"})
	if got := read(t, dir, time.Time{}); got[len(got)-1] != "d" {
		t.Errorf("after it was opened again: got %v", got)
	}
}

// TestLostLines: a caller never learns of a trail that cannot be written, and the log says it once.
func TestLostLines(t *testing.T) {
	var said bytes.Buffer
	trail, err := Open(t.TempDir(), slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	trail.file.Close()
	trail.Record(&Event{Name: "a"})
	trail.Record(&Event{Name: "b"})
	if strings.Count(said.String(), "missing") != 1 {
		t.Errorf("the log has %s", said.String())
	}
	(*Trail)(nil).Record(&Event{})
}
