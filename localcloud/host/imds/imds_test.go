package imds

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const (
	tokenHeader = "X-aws-ec2-metadata-token"
	ttlHeader   = "X-aws-ec2-metadata-token-ttl-seconds"
)

func sampleMetadata() Metadata {
	return Metadata{
		InstanceID:     "i-1",
		ImageID:        "ami-1",
		InstanceType:   "t4g.micro",
		Architecture:   "arm64",
		Region:         "us-east-1",
		Zone:           "us-east-1a",
		LocalIPv4:      "10.0.1.10",
		MAC:            "02:00:00:00:00:01",
		KeyName:        "mine",
		PublicKey:      "ssh-ed25519 AAAA mine",
		SecurityGroups: []string{"web-sg", "more"},
		UserData:       []byte("#cloud-config\n"),
		ProfileARN:     "arn:aws:iam::1:instance-profile/web",
		ProfileID:      "AIPA1",
		RoleName:       "web",
		Tags:           map[string]string{"Name": "golden-web"},
		TokensRequired: true,
		Credentials: func(context.Context) (Credentials, error) {
			return Credentials{
				AccessKeyID:     "ASIA1",
				SecretAccessKey: "secret",
				Token:           "session",
				Expiration:      time.Unix(1e9, 0),
			}, nil
		},
	}
}

// request asks a service and returns status and body.
func request(t *testing.T, service http.Handler, method, path string, header map[string]string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for key, value := range header {
		r.Header.Set(key, value)
	}
	w := httptest.NewRecorder()
	service.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestMetadataTokens(t *testing.T) {
	s := &Server{metadata: sampleMetadata()}
	const token, id = "/latest/api/token", "/latest/meta-data/instance-id"
	for _, c := range []struct {
		name, method, path string
		header             map[string]string
		want               int
	}{
		{"no token", "GET", id, nil, 401},
		{"nonsense for a token", "GET", id, map[string]string{tokenHeader: "nonsense"}, 401},
		{
			"a token of another machine",
			"GET",
			id,
			map[string]string{tokenHeader: (&Server{key: [32]byte{1}}).token(time.Now().Add(time.Hour))},
			401,
		},
		{"an expired token", "GET", id, map[string]string{tokenHeader: s.token(time.Now().Add(-time.Second))}, 401},
		{"a token", "GET", id, map[string]string{tokenHeader: s.token(time.Now().Add(time.Hour))}, 200},
		{"token without time to live", "PUT", token, nil, 400},
		{"token for too long", "PUT", token, map[string]string{ttlHeader: "21601"}, 400},
		{"token by GET", "GET", token, map[string]string{ttlHeader: "60"}, 405},
		{"token through a proxy", "PUT", token, map[string]string{ttlHeader: "60", "X-Forwarded-For": "10.0.0.1"}, 403},
		{"token for an hour", "PUT", token, map[string]string{ttlHeader: "3600"}, 200},
		{"a change", "POST", id, nil, 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			if code, body := request(t, s, c.method, c.path, c.header); code != c.want {
				t.Errorf("got %d %s, want %d", code, body, c.want)
			}
		})
	}
	s.metadata.TokensRequired = false
	if code, _ := request(t, s, "GET", id, nil); code != 200 {
		t.Errorf("version 1 where it is allowed: %d", code)
	}
	s.metadata.Disabled = true
	if code, _ := request(t, s, "GET", id, nil); code != 403 {
		t.Errorf("disabled: %d", code)
	}
}

func TestMetadataData(t *testing.T) {
	s := &Server{metadata: sampleMetadata()}
	get := func(path string) (int, string) {
		return request(t, s, "GET", "/latest/"+path, map[string]string{tokenHeader: s.token(time.Now().Add(time.Hour))})
	}
	for path, want := range map[string]string{
		"meta-data/instance-id":                                           "i-1",
		"meta-data/security-groups":                                       "web-sg\nmore",
		"meta-data/placement":                                             "availability-zone\nregion",
		"meta-data/placement/":                                            "availability-zone\nregion",
		"meta-data/public-keys/":                                          "0=mine",
		"meta-data/public-keys/0/":                                        "openssh-key",
		"meta-data/public-keys/0/openssh-key":                             "ssh-ed25519 AAAA mine",
		"meta-data/iam/security-credentials/":                             "web",
		"meta-data/tags/instance/Name":                                    "golden-web",
		"meta-data/network/interfaces/macs/":                              "02:00:00:00:00:01/",
		"meta-data/network/interfaces/macs/02:00:00:00:00:01/local-ipv4s": "10.0.1.10",
		"user-data": "#cloud-config\n",
	} {
		if code, got := get(path); code != 200 || got != want {
			t.Errorf("%s: %d %q, want %q", path, code, got, want)
		}
	}
	for _, path := range []string{
		"meta-data/public-ipv4",
		"meta-data/iam/security-credentials/other",
		"meta-data/none",
		"none",
	} {
		if code, got := get(path); code != 404 {
			t.Errorf("%s: %d %q, want 404", path, code, got)
		}
	}
	_, text := get("meta-data/iam/security-credentials/web")
	var credentials map[string]string
	if err := json.Unmarshal(
		[]byte(text),
		&credentials,
	); err != nil || credentials["Code"] != "Success" || credentials["Token"] != "session" ||
		credentials["Expiration"] != "2001-09-09T01:46:40Z" {
		t.Errorf("credentials are %s, %v", text, err)
	}
	_, text = get("dynamic/instance-identity/document")
	if !strings.Contains(text, `"region": "us-east-1"`) || !strings.Contains(text, `"architecture": "arm64"`) {
		t.Errorf("the identity document is %s", text)
	}
	s.metadata.UserData, s.metadata.Credentials = nil, nil
	for _, path := range []string{
		"user-data",
		"meta-data/iam/security-credentials/",
		"meta-data/iam/security-credentials/web",
	} {
		if code, got := get(path); code != 404 {
			t.Errorf("%s of a machine that has none: %d %q, want 404", path, code, got)
		}
	}
}

// The service tells machines apart by their addresses.
func TestRouter(t *testing.T) {
	web, db := &Server{metadata: Metadata{InstanceID: "i-web"}}, &Server{metadata: Metadata{InstanceID: "i-db"}}
	router := &Router{servers: map[netip.Addr]*Server{}}
	address := netip.MustParseAddr
	router.Bind(web, []netip.Addr{address("10.0.1.10"), address("10.0.1.11")})
	router.Bind(db, []netip.Addr{address("10.0.2.10")})
	router.Bind(web, []netip.Addr{address("10.0.1.11")})
	for from, want := range map[string]string{
		"10.0.1.11:4000": "i-web",
		"10.0.2.10:4000": "i-db",
		"10.0.1.10:4000": "",
		"10.0.9.9:4000":  "",
		"nonsense":       "",
	} {
		r := httptest.NewRequest("GET", "/latest/meta-data/instance-id", nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		if want == "" && w.Code == 404 {
			continue
		}
		if got := w.Body.String(); w.Code != 200 || got != want {
			t.Errorf("from %s: %d %q, want %q", from, w.Code, got, want)
		}
	}
}
