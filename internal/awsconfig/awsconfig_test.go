package awsconfig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
)

// callerIdentity is STS's answer to GetCallerIdentity.
const callerIdentity = "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>1</Account>" +
	"</GetCallerIdentityResult></GetCallerIdentityResponse>"

// alone takes everything out of the environment that the SDK would read.
func alone(t *testing.T) {
	t.Helper()
	for _, name := range []string{
		"AWS_ENDPOINT_URL",
		"AWS_PROFILE",
		"AWS_REGION",
		"AWS_DEFAULT_REGION",
		"AWS_ACCESS_KEY_ID",
		"AWS_SECRET_ACCESS_KEY",
		"AWS_SESSION_TOKEN",
	} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{}, ""},
		{Options{AccessKey: "a", SecretKey: "b", Token: "c", Endpoint: "http://127.0.0.1:1"}, ""},
		{Options{AccessKey: "a"}, "secret_key"},
		{Options{SecretKey: "a"}, "access_key"},
		{Options{Token: "a"}, "token"},
		{Options{AccessKey: "a", SecretKey: "b", Profile: "c"}, "profile"},
		{Options{Endpoint: "127.0.0.1:1"}, "custom_endpoint_ec2"},
		{Options{Endpoint: "ftp://x"}, "custom_endpoint_ec2"},
	} {
		err := errors.Join(c.options.Validate()...)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.options, err, c.want)
		}
	}
}

// TestEndpointTakesEveryCall has a service that is not EC2 called, by option and by environment.
func TestEndpointTakesEveryCall(t *testing.T) {
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		fmt.Fprint(w, callerIdentity)
	}))
	defer server.Close()
	for _, way := range []string{"option", "environment"} {
		alone(t)
		options := Options{Region: "us-east-1", AccessKey: "a", SecretKey: "b", Endpoint: server.URL}
		if way == "environment" {
			options.Endpoint = ""
			t.Setenv("AWS_ENDPOINT_URL", server.URL)
		}
		conf, err := Load(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sts.NewFromConfig(conf).GetCallerIdentity(t.Context(), nil); err != nil {
			t.Errorf("%s: %v", way, err)
		}
		if Endpoint(conf) != server.URL {
			t.Errorf("%s: the endpoint is %q", way, Endpoint(conf))
		}
	}
	if calls != 2 {
		t.Errorf("%d calls came to the endpoint, 2 were made", calls)
	}
}

func TestRegionIsNeeded(t *testing.T) {
	alone(t)
	if _, err := Load(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "region") {
		t.Errorf("got %v", err)
	}
}

func TestCallerAddress(t *testing.T) {
	for answer, want := range map[string]string{
		"198.51.100.1\n": "198.51.100.1",
		"2001:db8::1":    "2001:db8::1",
		"hello":          "",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/latest/checkip" {
				t.Errorf("asked for %s", r.URL)
			}
			if !strings.Contains(r.Header.Get("Authorization"), "Credential=a/") {
				t.Errorf("not signed: %v", r.Header)
			}
			fmt.Fprint(w, answer)
		}))
		alone(t)
		conf, err := Load(
			t.Context(),
			Options{Region: "us-east-1", AccessKey: "a", SecretKey: "b", Endpoint: server.URL + "/"},
		)
		if err != nil {
			t.Fatal(err)
		}
		got, err := CallerAddress(t.Context(), conf)
		server.Close()
		if (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: got %v, %v", answer, got, err)
		}
	}
}

func TestExplain(t *testing.T) {
	api := func(row *apierror.Row) error { return &smithy.GenericAPIError{Code: row.Code, Message: "m"} }
	for _, c := range []struct {
		err  error
		want string
	}{
		{api(apierror.RequestExpired), "have expired"},
		{api(apierror.ExpiredToken), "have expired"},
		{api(apierror.AuthFailure), "cloud env"},
		{api(apierror.SignatureDoesNotMatch), "secret key"},
		{api(apierror.InvalidSignatureException), "secret key"},
		{api(apierror.MissingAuthenticationToken), "cloud env"},
		{api(apierror.UnauthorizedOperation), "iam-policy"},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, "cloud up"},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "in time"},
		{errors.New("get credentials: none"), "no credentials were found"},
	} {
		wrapped := fmt.Errorf("launch: %w", c.err)
		got := Explain(wrapped)
		if !strings.Contains(got.Error(), "hint: ") || !strings.Contains(got.Error(), c.want) ||
			!errors.Is(got, c.err) {
			t.Errorf("%v: got %v, want a hint with %q", c.err, got, c.want)
		}
	}
	canceled := &smithy.OperationError{
		ServiceID:     "EC2",
		OperationName: "RunInstances",
		Err:           &smithy.CanceledError{Err: context.Canceled},
	}
	got := Explain(canceled)
	if !errors.Is(got, context.Canceled) || !strings.HasSuffix(got.Error(), ", interrupted") ||
		strings.Contains(got.Error(), "canceled") {
		t.Errorf("%v became %v", canceled, got)
	}
	for _, err := range []error{nil, api(apierror.InvalidAMIIDNotFound)} {
		if got := Explain(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}

type httpClient func(*http.Request) (*http.Response, error)

func (do httpClient) Do(r *http.Request) (*http.Response, error) { return do(r) }

// TestBodyEndsWhereItIsClosed reads a request's body as the HTTP client does, where the SDK was quicker to close it.
func TestBodyEndsWhereItIsClosed(t *testing.T) {
	alone(t)
	conf, err := Load(t.Context(), Options{Region: "us-east-1", AccessKey: "a", SecretKey: "b"})
	if err != nil {
		t.Fatal(err)
	}
	var body string
	conf.HTTPClient = httpClient(func(r *http.Request) (*http.Response, error) {
		start, err := io.ReadAll(io.LimitReader(r.Body, r.ContentLength))
		body = string(start)
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return nil, err
		}
		if n, err := io.Copy(io.Discard, r.Body); n != 0 || err != nil {
			t.Errorf("a closed body gives %d bytes and the error %v", n, err)
		}
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(
			callerIdentity,
		))}, nil
	})
	if _, err := sts.NewFromConfig(conf).
		GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil ||
		!strings.Contains(body, "Action=GetCallerIdentity") {
		t.Errorf("%v, the body was %q", err, body)
	}
}
