package sigv4

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

var (
	now  = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	keys = map[string]Key{
		"AKIDEXAMPLE": {Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"},
		"ASIAEXAMPLE": {Secret: "temporary/secret+key", SessionToken: "token/+=", Expires: now.Add(time.Hour)},
		"ASIAENDED":   {Secret: "temporary/secret+key", SessionToken: "token/+=", Expires: now.Add(-time.Second)},
	}
)

func find(id string) (Key, bool) {
	key, ok := keys[id]
	return key, ok
}

// signed is a request that the AWS SDK has signed, as a server reads it.
func signed(t *testing.T, method, target, body string, at time.Time, id, secret, token string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, "http://127.66.9.1:4566"+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	}
	r.Header.Set("X-Amz-Target", "AmazonSSM.GetParameter")
	credentials := aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, r, digest(body), "ssm", "us-east-1", at); err != nil {
		t.Fatal(err)
	}
	return received(t, r)
}

// received sends a request to a server and returns what that read.
func received(t *testing.T, r *http.Request) *http.Request {
	t.Helper()
	var got *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = r
		body, _ := io.ReadAll(r.Body)
		got.Body = io.NopCloser(bytes.NewReader(body))
	}))
	defer server.Close()
	r.URL.Host, r.Host = server.Listener.Addr().String(), r.URL.Host
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return got
}

func digest(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

func bodyOf(r *http.Request) []byte {
	body, _ := io.ReadAll(r.Body)
	return body
}

const secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

func TestVerify(t *testing.T) {
	for _, c := range []struct {
		name           string
		method, target string
		body           string
		at             time.Time
		id, secret     string
		token          string
		change         func(*http.Request)
		want           error
	}{
		{name: "a form", method: "POST", target: "/", body: "Action=DescribeVpcs&A=%20+b"},
		{name: "an empty body", method: "POST", target: "/"},
		{name: "a query", method: "GET", target: "/?b=2&a=x%20y&a=%2F~&Action=DescribeVpcs&empty="},
		{name: "a path", method: "PUT", target: "/snapshots/snap-1/blocks/3%20x", body: "x"},
		{
			name:   "a session",
			method: "POST",
			target: "/",
			body:   "x",
			id:     "ASIAEXAMPLE",
			secret: "temporary/secret+key",
			token:  "token/+=",
		},
		{name: "a clock that is a little late", method: "POST", target: "/", at: now.Add(-4 * time.Minute)},

		{name: "an unknown key", method: "POST", target: "/", id: "AKIDOTHER", want: ErrUnknownKey},
		{name: "another secret", method: "POST", target: "/", secret: "x", want: ErrMismatch},
		{name: "an empty secret", method: "POST", target: "/", secret: " ", want: ErrMismatch},
		{
			name:   "no token",
			method: "POST",
			target: "/",
			id:     "ASIAEXAMPLE",
			secret: "temporary/secret+key",
			want:   ErrUnknownKey,
		},
		{
			name:   "another token",
			method: "POST",
			target: "/",
			id:     "ASIAEXAMPLE",
			secret: "temporary/secret+key",
			token:  "x",
			want:   ErrUnknownKey,
		},
		{name: "a token where there is none", method: "POST", target: "/", token: "x", want: ErrUnknownKey},
		{
			name:   "a session that ended",
			method: "POST",
			target: "/",
			id:     "ASIAENDED",
			secret: "temporary/secret+key",
			token:  "token/+=",
			want:   ErrExpired,
		},
		{name: "an old signature", method: "POST", target: "/", at: now.Add(-6 * time.Minute), want: ErrExpired},
		{
			name:   "a signature of the future",
			method: "POST",
			target: "/",
			at:     now.Add(6 * time.Minute),
			want:   ErrExpired,
		},

		{name: "another body", method: "POST", target: "/", body: "a", change: func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader("b"))
		}, want: ErrMismatch},
		{
			name:   "another path",
			method: "POST",
			target: "/",
			change: func(r *http.Request) { r.URL.Path = "/moto-api/reset" },
			want:   ErrMismatch,
		},
		{
			name:   "another query",
			method: "GET",
			target: "/?a=1",
			change: func(r *http.Request) { r.URL.RawQuery = "a=2" },
			want:   ErrMismatch,
		},
		{
			name:   "another method",
			method: "POST",
			target: "/",
			change: func(r *http.Request) { r.Method = "PUT" },
			want:   ErrMismatch,
		},
		{
			name:   "another host",
			method: "POST",
			target: "/",
			change: func(r *http.Request) { r.Host = "evil.example" },
			want:   ErrMismatch,
		},
		{name: "another header", method: "POST", target: "/", change: func(r *http.Request) {
			r.Header.Set("X-Amz-Target", "AmazonSSM.DeleteParameter")
		}, want: ErrMismatch},
		{name: "another service", method: "POST", target: "/", change: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/ssm/", "/iam/", 1))
		}, want: ErrMismatch},
		{name: "a body said not to be signed", method: "POST", target: "/", change: func(r *http.Request) {
			r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
		}, want: ErrMismatch},

		{
			name:   "nothing",
			method: "POST",
			target: "/",
			change: func(r *http.Request) { r.Header.Del("Authorization") },
			want:   ErrMissing,
		},
		{name: "another algorithm", method: "POST", target: "/", change: func(r *http.Request) {
			r.Header.Set("Authorization", "Basic dGVzdDp0ZXN0")
		}, want: ErrIncomplete},
		{name: "words without values", method: "POST", target: "/", change: func(r *http.Request) {
			r.Header.Set("Authorization", algorithm+" Credential, SignedHeaders, =,,")
		}, want: ErrIncomplete},
		{
			name:   "no date",
			method: "POST",
			target: "/",
			change: func(r *http.Request) { r.Header.Del("X-Amz-Date") },
			want:   ErrIncomplete,
		},
		{name: "a host that is not signed", method: "POST", target: "/", change: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "host;", "", 1))
		}, want: ErrIncomplete},
		{
			name:   "two signatures",
			method: "POST",
			target: "/",
			change: func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=x" },
			want:   ErrIncomplete,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.id == "" {
				c.id = "AKIDEXAMPLE"
			}
			if c.secret == "" {
				c.secret = secret
			}
			if c.at.IsZero() {
				c.at = now
			}
			r := signed(t, c.method, c.target, c.body, c.at, c.id, c.secret, c.token)
			if c.change != nil {
				c.change(r)
			}
			scope, err := Verify(r, bodyOf(r), now, false, find)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if want := (Scope{c.id, "20260102", "us-east-1", "ssm"}); c.want == nil && scope != want {
				t.Errorf("got %+v, want %+v", scope, want)
			}
		})
	}
}

// presigned is a URL that the AWS SDK has signed.
func presigned(t *testing.T, change func(string) string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(
		"GET",
		"http://127.66.9.1:4566/?Action=DescribeVpcs&Version=2016-11-15&X-Amz-Expires=600",
		nil,
	)
	if err != nil {
		t.Fatal(err)
	}
	credentials := aws.Credentials{
		AccessKeyID:     "ASIAEXAMPLE",
		SecretAccessKey: "temporary/secret+key",
		SessionToken:    "token/+=",
	}
	address, _, err := v4.NewSigner().PresignHTTP(t.Context(), credentials, r, digest(""), "ec2", "us-east-1", now)
	if err != nil {
		t.Fatal(err)
	}
	r, err = http.NewRequest("GET", change(address), nil)
	if err != nil {
		t.Fatal(err)
	}
	return received(t, r)
}

func TestPresigned(t *testing.T) {
	same := func(address string) string { return address }
	for _, c := range []struct {
		name   string
		at     time.Time
		change func(string) string
		want   error
	}{
		{"as it is", now, same, nil},
		{"near its end", now.Add(9 * time.Minute), same, nil},
		{"after its end", now.Add(11 * time.Minute), same, ErrExpired},
		{"before its time", now.Add(-6 * time.Minute), same, ErrExpired},
		{
			"with another action",
			now,
			func(a string) string { return strings.Replace(a, "DescribeVpcs", "DeleteVpc", 1) },
			ErrMismatch,
		},
		{
			"made valid for longer",
			now,
			func(a string) string { return strings.Replace(a, "Expires=600", "Expires=6000", 1) },
			ErrMismatch,
		},
		{
			"for longer than is allowed",
			now,
			func(a string) string { return strings.Replace(a, "Expires=600", "Expires=604801", 1) },
			ErrIncomplete,
		},
		{
			"with a parameter twice",
			now,
			func(a string) string { return a + "&X-Amz-Date=20260102T030405Z" },
			ErrIncomplete,
		},
		{
			"with another token",
			now,
			func(a string) string { return strings.Replace(a, "X-Amz-Security-Token=", "X-Amz-Security-Token=x", 1) },
			ErrUnknownKey,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Verify(presigned(t, c.change), nil, c.at, false, find)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// TestUnsignedBody is EBS direct's PutSnapshotBlock, whose body SDKs do not sign.
func TestUnsignedBody(t *testing.T) {
	r, err := http.NewRequest("PUT", "http://127.66.9.1:4566/snapshots/snap-1/blocks/3", strings.NewReader("data"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Content-Sha256", unsigned)
	credentials := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: secret}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, r, unsigned, "ebs", "us-east-1", now); err != nil {
		t.Fatal(err)
	}
	r = received(t, r)
	for unsignedBody, want := range map[bool]error{true: nil, false: ErrMismatch} {
		if _, err := Verify(r, []byte("data"), now, unsignedBody, find); !errors.Is(err, want) {
			t.Errorf("where an unsigned body is %v: got %v, want %v", unsignedBody, err, want)
		}
	}
}

// TestOtherSigners are headers that other clients sign than the SDK does: curl few of them, others also those that the
// SDK leaves out. The signature is the one that such a client would make.
func TestOtherSigners(t *testing.T) {
	for _, headers := range []string{"host;x-amz-date", "content-length;content-type;host;user-agent;x-amz-date"} {
		r := signed(t, "POST", "/", "Action=DescribeVpcs", now, "AKIDEXAMPLE", secret, "")
		r.Header.Set("User-Agent", "a  client\t1.0 ")
		s, err := read(r)
		if err != nil {
			t.Fatal(err)
		}
		s.headers = strings.Split(headers, ";")
		value := s.expected(r, digest("Action=DescribeVpcs"), secret)
		r.Header.Set(
			"Authorization",
			algorithm+" Credential=AKIDEXAMPLE/20260102/us-east-1/ssm/aws4_request,SignedHeaders="+headers+
				",Signature="+value,
		)
		if _, err := Verify(r, bodyOf(r), now, false, find); err != nil {
			t.Errorf("%s: %v", headers, err)
		}
		r.Header.Set("Content-Type", "text/plain")
		if _, err := Verify(
			r,
			[]byte("Action=DescribeVpcs"),
			now,
			false,
			find,
		); strings.Contains(headers, "content-type") &&
			!errors.Is(err, ErrMismatch) {
			t.Errorf("%s: another content type: got %v", headers, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(
		"POST",
		"/",
		"Action=DescribeVpcs",
		algorithm+" Credential=AKIDEXAMPLE/20260102/us-east-1/ssm/aws4_request,SignedHeaders=host,Signature=0",
		"20260102T030405Z",
	)
	f.Add("GET", "/?X-Amz-Signature=0&X-Amz-Credential=AKIDEXAMPLE/20260102/us-east-1/ssm/aws4_request", "", "", "")
	f.Fuzz(func(t *testing.T, method, target, body, authorization, date string) {
		r, err := http.NewRequest(method, "http://127.66.9.1:4566"+target, strings.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("Authorization", authorization)
		if authorization == "" {
			r.Header.Del("Authorization")
		}
		r.Header.Set("X-Amz-Date", date)
		if _, err := Verify(r, []byte(body), now, true, find); err == nil {
			t.Error("a request that nobody signed was accepted")
		}
	})
}
