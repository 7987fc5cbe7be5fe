//go:build acceptance

package stacks

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// policy are the security headers of every answer of the web tier, over HTTPS and over HTTP.
var policy = map[string]string{
	"X-Content-Type-Options":            "nosniff",
	"X-Frame-Options":                   "DENY",
	"Referrer-Policy":                   "no-referrer",
	"Cross-Origin-Opener-Policy":        "same-origin",
	"Cross-Origin-Embedder-Policy":      "require-corp",
	"Cross-Origin-Resource-Policy":      "same-origin",
	"X-Permitted-Cross-Domain-Policies": "none",
	"Cache-Control":                     "no-store",
	"Server":                            "nginx",
}

// TestEveryAnswerCarriesThePolicy asks for what the application answers, what Nginx answers itself, and what neither
// can.
func TestEveryAnswerCarriesThePolicy(t *testing.T) {
	address := aws.ToString(rig.Tier(t, "web").PublicIpAddress)
	client := browser(t, address)
	plain, secure := "http://"+address, "https://"+address
	// Over HTTP/2 the server ends a connection with a large header without an answer.
	http1 := *client
	one := client.Transport.(*http.Transport).Clone()
	one.ForceAttemptHTTP2, one.TLSNextProto = false, map[string]func(string, *tls.Conn) http.RoundTripper{}
	one.TLSClientConfig.NextProtos = nil
	http1.Transport = one

	assertPolicy(t, client, newRequest(t, http.MethodGet, secure+"/", nil), http.StatusOK)
	assertPolicy(t, client, newRequest(t, http.MethodGet, secure+"/users", nil), http.StatusOK)
	assertPolicy(t, client, newRequest(t, http.MethodGet, secure+"/nothing", nil), http.StatusNotFound)
	assertPolicy(t, client, newRequest(t, http.MethodGet, plain+"/users", nil), http.StatusMovedPermanently)
	large := newRequest(t, http.MethodGet, secure+"/", nil)
	large.Header.Set("X-Large", strings.Repeat("a", 12<<10))
	assertPolicy(t, &http1, large, http.StatusBadRequest)
	body := bytes.NewReader(make([]byte, 2<<20))
	assertPolicy(t, client, newRequest(t, http.MethodPost, secure+"/users", body), http.StatusRequestEntityTooLarge)
	for _, method := range []string{http.MethodDelete, http.MethodPut, http.MethodTrace, http.MethodOptions} {
		header := assertPolicy(t, client, newRequest(t, method, secure+"/users", nil), http.StatusMethodNotAllowed)
		if allow := header.Get("Allow"); method != http.MethodTrace && allow != "GET, HEAD, POST" {
			t.Errorf("%s: Allow is %q", method, allow)
		}
	}
	assertPolicy(t, client, newRequest(t, http.MethodDelete, plain+"/users", nil), http.StatusMethodNotAllowed)

	rig.MustOnInstance(t, "golden-web", "sudo systemctl stop goldsmith-webapp")
	assertPolicy(t, client, newRequest(t, http.MethodGet, secure+"/", nil), http.StatusBadGateway)
	rig.MustOnInstance(t, "golden-web", "sudo systemctl start goldsmith-webapp")
	assertPolicy(t, client, newRequest(t, http.MethodGet, secure+"/livez", nil), http.StatusOK)
}

func newRequest(t *testing.T, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// assertPolicy sends the request, and wants this status and the headers of each answer. It returns those it got.
func assertPolicy(t *testing.T, client *http.Client, r *http.Request, want int) http.Header {
	t.Helper()
	name := r.Method + " " + r.URL.String()
	response, err := client.Do(r)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return nil
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body) // the connection is used again
	if response.StatusCode != want {
		t.Errorf("%s: %s, want %d", name, response.Status, want)
	}
	for header, value := range policy {
		if got := response.Header.Values(header); len(got) != 1 || got[0] != value {
			t.Errorf("%s: %s is %q, want %q once", name, header, got, value)
		}
	}
	content := response.Header.Values("Content-Security-Policy")
	if len(content) != 1 || !strings.Contains(content[0], "default-src 'none'") ||
		!strings.Contains(content[0], "frame-ancestors 'none'") {
		t.Errorf("%s: Content-Security-Policy is %q", name, content)
	}
	hsts, wanted := response.Header.Get("Strict-Transport-Security"), ""
	if r.URL.Scheme == "https" {
		wanted = "max-age=63072000; includeSubDomains"
	}
	if hsts != wanted {
		t.Errorf("%s: Strict-Transport-Security is %q", name, hsts)
	}
	if len(response.Header.Values("X-Powered-By")) > 0 {
		t.Errorf("%s: it says what it is powered by", name)
	}
	return response.Header
}

// TestWritesAreLimited sends more requests that change something than one address may.
func TestWritesAreLimited(t *testing.T) {
	address := aws.ToString(rig.Tier(t, "web").PublicIpAddress)
	client := browser(t, address)
	refused := 0
	for range 200 {
		response, err := client.Post("https://"+address+"/users", "application/json", strings.NewReader("{"))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode == http.StatusTooManyRequests {
			refused++
		} else if response.StatusCode != http.StatusBadRequest {
			t.Fatalf("got %s", response.Status)
		}
	}
	if refused == 0 {
		t.Error("200 writes at once were taken")
	}
	if page := users(t, client, address); page.Total == 0 {
		t.Error("reading is refused too")
	}
}

// TestSlowClientIsCutOff sends a request that never comes to its end; the server must not wait for it for ever.
func TestSlowClientIsCutOff(t *testing.T) {
	address := aws.ToString(rig.Tier(t, "web").PublicIpAddress)
	for name, sent := range map[string]string{
		"header": "GET / HTTP/1.1\r\nHost: " + address + "\r\nX-Slow: ",
		"body": "POST /users HTTP/1.1\r\nHost: " + address +
			"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Not verified: how long the server waits is the same whoever it is, and nothing secret is sent.
			conn, err := tls.Dial(
				"tcp",
				address+":443",
				&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}},
			)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, sent); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the server still waits after two minutes")
			}
		})
	}
}

// TestNginxWithoutRoot looks at the running server: what it is, and that it takes a new configuration as it is.
func TestNginxWithoutRoot(t *testing.T) {
	if owners := rig.MustOnInstance(t, "golden-web", "ps -C nginx -o user= | sort -u"); owners != "www-data" {
		t.Errorf("nginx runs as %q", owners)
	}
	workers := func() string {
		return rig.MustOnInstance(t, "golden-web", "pgrep -P $(systemctl show -P MainPID nginx) | sort | xargs")
	}
	before := workers()
	rig.MustOnInstance(t, "golden-web", "sudo systemctl reload nginx")
	for range 600 {
		if after := workers(); after != "" && after != before {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if after := workers(); after == before {
		t.Errorf("the workers %s were not replaced", after)
	}
	address := aws.ToString(rig.Tier(t, "web").PublicIpAddress)
	users(t, browser(t, address), address)
	// A configuration with a fault is refused, and the server goes on with the one that it has.
	_, err := rig.OnInstance(
		t,
		"golden-web",
		"echo 'no_such_directive on;' | sudo tee /etc/nginx/conf.d/fault.conf >/dev/null; sudo systemctl reload nginx",
	)
	rig.MustOnInstance(t, "golden-web", "sudo rm /etc/nginx/conf.d/fault.conf")
	if err == nil {
		t.Error("a faulty configuration was taken")
	}
	users(t, browser(t, address), address)
}

// TestModernProfile has the server of a build speak TLS 1.3 and nothing else.
func TestModernProfile(t *testing.T) {
	site := fmt.Sprintf(
		"provisioner \"goldsmith-nginx\" {\nsite = %q\ntls = \"modern\"\n}\n",
		rig.Repository+"/files/nginx/site.conf.tmpl",
	)
	shake := "shake() { openssl s_client -connect 127.0.0.1:443 $1 </dev/null >/dev/null 2>&1; }\n" +
		"shake -tls1_3 || { echo TLS 1.3 is refused; exit 1; }\n" +
		"if shake -tls1_2; then echo TLS 1.2 is taken; exit 1; fi"
	if out, err := (rig.Bake{Source: "skip_create_ami = true", Provisioners: site + rig.Command(shake)}).Run(
		t,
	); err != nil {
		t.Errorf("%v\n%s", err, rig.End(t, out))
	}
}

// TestSpoofedOrigin says on the way that a request comes from elsewhere; the server knows better.
func TestSpoofedOrigin(t *testing.T) {
	address := aws.ToString(rig.Tier(t, "web").PublicIpAddress)
	client := browser(t, address)
	mark := fmt.Sprintf("spoofed-%d", time.Now().UnixNano())
	request, err := http.NewRequest(http.MethodGet, "https://"+address+"/users?limit=1&"+mark, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Forwarded-For", "192.0.2.66")
	request.Header.Set("X-Real-IP", "192.0.2.66")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	line := rig.MustOnInstance(
		t,
		"golden-web",
		"for i in $(seq 50); do sudo grep -h "+mark+
			" /var/log/nginx/application.access.log && exit; sleep 0.1; done; exit 1",
	)
	if first, _, _ := strings.Cut(line, " "); net.ParseIP(first) == nil || strings.Contains(line, "192.0.2.66") {
		t.Errorf("logged as %q", line)
	}
}
