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

// policy is what every answer of the web tier has to say, over TLS and before it.
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
	ask := func(name, method, url string, want int, prepare func(*http.Request)) http.Header {
		t.Helper()
		request, err := http.NewRequest(method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if prepare != nil {
			prepare(request)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return nil
		}
		defer response.Body.Close()
		io.Copy(io.Discard, response.Body)
		if response.StatusCode != want {
			t.Errorf("%s: %s, want %d", name, response.Status, want)
		}
		for header, value := range policy {
			if got := response.Header.Values(header); len(got) != 1 || got[0] != value {
				t.Errorf("%s: %s is %q, want %q once", name, header, got, value)
			}
		}
		if got := response.Header.Values(
			"Content-Security-Policy",
		); len(got) != 1 || !strings.Contains(got[0], "default-src 'none'") ||
			!strings.Contains(got[0], "frame-ancestors 'none'") {
			t.Errorf("%s: Content-Security-Policy is %q", name, got)
		}
		hsts := response.Header.Get("Strict-Transport-Security")
		if secure := strings.HasPrefix(
			url,
			"https:",
		); secure != (hsts == "max-age=63072000; includeSubDomains") ||
			!secure && hsts != "" {
			t.Errorf("%s: Strict-Transport-Security is %q", name, hsts)
		}
		if len(response.Header.Values("X-Powered-By")) > 0 {
			t.Errorf("%s: it says what it is powered by", name)
		}
		return response.Header
	}
	secure := "https://" + address
	ask("page", http.MethodGet, secure+"/", http.StatusOK, nil)
	ask("users", http.MethodGet, secure+"/users", http.StatusOK, nil)
	ask("no such page", http.MethodGet, secure+"/nothing", http.StatusNotFound, nil)
	ask("redirect", http.MethodGet, "http://"+address+"/users", http.StatusMovedPermanently, nil)
	// Over HTTP/2 the server ends such a connection without an answer.
	two, one := client.Transport, client.Transport.(*http.Transport).Clone()
	one.ForceAttemptHTTP2, one.TLSNextProto = false, map[string]func(string, *tls.Conn) http.RoundTripper{}
	one.TLSClientConfig.NextProtos = nil
	client.Transport = one
	ask("large header", http.MethodGet, secure+"/", http.StatusBadRequest, func(r *http.Request) {
		r.Header.Set("X-Large", strings.Repeat("a", 12<<10))
	})
	client.Transport = two
	ask("large body", http.MethodPost, secure+"/users", http.StatusRequestEntityTooLarge, func(r *http.Request) {
		body := bytes.NewReader(make([]byte, 2<<20))
		r.Body, r.ContentLength = io.NopCloser(body), body.Size()
	})
	for _, method := range []string{http.MethodDelete, http.MethodPut, http.MethodTrace, http.MethodOptions} {
		if allow := ask(
			method,
			method,
			secure+"/users",
			http.StatusMethodNotAllowed,
			nil,
		).Get("Allow"); method != http.MethodTrace &&
			allow != "GET, HEAD, POST" {
			t.Errorf("%s: Allow is %q", method, allow)
		}
	}
	ask("plain DELETE", http.MethodDelete, "http://"+address+"/users", http.StatusMethodNotAllowed, nil)

	rig.MustOnInstance(t, "golden-web", "sudo systemctl stop goldsmith-webapp")
	ask("no application", http.MethodGet, secure+"/", http.StatusBadGateway, nil)
	rig.MustOnInstance(t, "golden-web", "sudo systemctl start goldsmith-webapp")
	ask("application again", http.MethodGet, secure+"/livez", http.StatusOK, nil)
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
			conn.SetReadDeadline(time.Now().Add(2 * time.Minute))
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
	for range 100 {
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
