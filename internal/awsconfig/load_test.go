package awsconfig

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/version"
)

// TestRoleIsAssumed has the role's credentials asked for at the endpoint with the user's own, and used from then on.
func TestRoleIsAssumed(t *testing.T) {
	alone(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.Form.Get("Action") != "AssumeRole" ||
			!strings.Contains(r.Header.Get("Authorization"), "Credential=mine/") {
			t.Errorf("%v: asked for %v as %q", err, r.Form, r.Header.Get("Authorization"))
		}
		for name, want := range map[string]string{
			"RoleArn":         "arn:aws:iam::1:role/bake",
			"RoleSessionName": "me",
			"ExternalId":      "secret",
			"DurationSeconds": "1800",
		} {
			if got := r.Form.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		fmt.Fprint(w, `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>roles</AccessKeyId>`+
			`<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>`+
			`<Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
	}))
	defer server.Close()
	conf, err := Load(t.Context(), Options{
		Region:    "us-east-1",
		AccessKey: "mine",
		SecretKey: "b",
		Endpoint:  server.URL,
		Role: Role{
			ARN:         "arn:aws:iam::1:role/bake",
			SessionName: "me",
			ExternalID:  "secret",
			Duration:    30 * time.Minute,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := conf.Credentials.Retrieve(t.Context())
	if err != nil || got.AccessKeyID != "roles" || got.SessionToken != "t" {
		t.Errorf("got %q, %v", got.AccessKeyID, err)
	}
}

func TestSharedFiles(t *testing.T) {
	alone(t)
	file := t.TempDir() + "/config"
	if err := os.WriteFile(
		file,
		[]byte("[profile other]\nregion = eu-west-1\naws_access_key_id = a\naws_secret_access_key = b\n"),
		0o600,
	); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", file)
	conf, err := Load(t.Context(), Options{Profile: "other"})
	if err != nil || conf.Region != "eu-west-1" {
		t.Errorf("got region %q, %v", conf.Region, err)
	}
	if _, err := Load(
		t.Context(),
		Options{Region: "us-east-1", Profile: "none"},
	); err == nil ||
		!strings.Contains(err.Error(), "none") {
		t.Errorf("a profile that is not there: got %v", err)
	}
}

// TestRetriesEnd holds Load to an end of trying: so many calls, and so long for each to find the endpoint.
func TestRetriesEnd(t *testing.T) {
	alone(t)
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	conf, err := Load(
		t.Context(),
		Options{Region: "us-east-1", AccessKey: "a", SecretKey: "b", Endpoint: server.URL, MaxRetries: 1},
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sts.NewFromConfig(conf).GetCallerIdentity(t.Context(), nil); err == nil || calls != 2 {
		t.Errorf("got %v after %d calls, want an error after 2", err, calls)
	}
	client, ok := conf.HTTPClient.(*awshttp.BuildableClient)
	if !ok || client.GetDialer().Timeout != dialTimeout {
		t.Errorf("the client %T does not give up connecting after %s", conf.HTTPClient, dialTimeout)
	}
}

// TestUserAgent: a call says which Goldsmith it is of, and what it is for.
func TestUserAgent(t *testing.T) {
	alone(t)
	said := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said = r.UserAgent()
		fmt.Fprint(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Account>1</Account>`+
			`</GetCallerIdentityResult></GetCallerIdentityResponse>`)
	}))
	defer server.Close()
	conf, err := Load(t.Context(), Options{
		Region:    "us-east-1",
		AccessKey: "a",
		SecretKey: "b",
		Endpoint:  server.URL,
		Command:   "network up\r\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	Account(t.Context(), conf)
	for _, want := range []string{"aws-sdk-go-v2/", " goldsmith/" + version.Number(), " md/command#network-up"} {
		if !strings.Contains(said, want) {
			t.Errorf("the user agent is %q, without %q", said, want)
		}
	}
}
