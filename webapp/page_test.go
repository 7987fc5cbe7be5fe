package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"
)

const (
	formType = "application/x-www-form-urlencoded"
	browser  = "text/html,application/xhtml+xml,*/*;q=0.8"
)

// TestPageKeepsItsPolicy has nothing in the page that its own content security policy would stop.
func TestPageKeepsItsPolicy(t *testing.T) {
	h, _ := application(t)
	w := request(h, "GET", "/", "")
	for _, want := range []string{"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(w.Header().Get("Content-Security-Policy"), want) {
			t.Errorf("the policy has no %s: %s", want, w.Header().Get("Content-Security-Policy"))
		}
	}
	if strings.Contains(w.Header().Get("Content-Security-Policy"), "unsafe") {
		t.Error("the policy lets unsafe things be")
	}
	if found := regexp.MustCompile(`(?i)<script|<style|\sstyle=|\son[a-z]+=|https?://`).
		FindString(w.Body.String()); found != "" {
		t.Errorf("the page has %q, which its policy stops", found)
	}
	for _, match := range regexp.MustCompile(`<link rel="stylesheet" href="([^"]+)"`).
		FindAllStringSubmatch(w.Body.String(), -1) {
		style := request(h, "GET", match[1], "")
		if style.Code != 200 || !strings.HasPrefix(style.Header().Get("Content-Type"), "text/css") {
			t.Errorf("%s is %d, %s", match[1], style.Code, style.Header().Get("Content-Type"))
		}
	}
}

func TestPagesOfUsers(t *testing.T) {
	for _, c := range []struct {
		target          string
		earlier, later  string
		shown, notShown string
	}{
		{"/users?limit=1", "", "/users?limit=1&amp;offset=1", "admin@example.com", "test@example.com"},
		{"/users?limit=1&offset=1", "/users?limit=1&amp;offset=0", "", "test@example.com", "admin@example.com"},
		{"/users?limit=50", "", "", "admin@example.com", "Nobody here"},
		{"/users?offset=7", "/users?limit=50&amp;offset=0", "", "Nobody here", "admin@example.com"},
	} {
		h, _ := application(t)
		body := request(h, "GET", c.target, "", "Accept", browser).Body.String()
		for word, link := range map[string]string{"Earlier": c.earlier, "Later": c.later} {
			if want := `<a href="` + link + `">` + word; (link != "") != strings.Contains(body, want) ||
				link == "" && strings.Contains(body, word) {
				t.Errorf("%s: the link %s should be %q:\n%s", c.target, word, link, body)
			}
		}
		if !strings.Contains(body, c.shown) || strings.Contains(body, c.notShown) {
			t.Errorf("%s: %q should be there and %q should not:\n%s", c.target, c.shown, c.notShown, body)
		}
	}
}

func TestAccept(t *testing.T) {
	for accept, html := range map[string]bool{
		"": false, "*/*": false, "application/json": false, browser: true, "text/html": true, "text/html;q=0.9": true,
		"application/json, text/html": false, "text/html, application/json": true, "text/plain": false, ";;": false,
	} {
		h, _ := application(t)
		w := request(h, "GET", "/users", "", "Accept", accept)
		if got := strings.HasPrefix(w.Header().Get("Content-Type"), "text/html"); got != html {
			t.Errorf("Accept: %s gets %s", accept, w.Header().Get("Content-Type"))
		}
		if w.Header().Get("Vary") != "Accept" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("a cache may mix them up: %v", w.Header())
		}
	}
}

// TestFormSaysWhatIsWrong shows what was written again, as text, and adds nobody.
func TestFormSaysWhatIsWrong(t *testing.T) {
	h, fake := application(t)
	form := url.Values{"username": {`"><b>x`}, "email": {"nowhere"}}.Encode()
	w := request(h, "POST", "/users", form, "Content-Type", formType, "Accept", browser)
	if w.Code != 400 || !strings.Contains(w.Body.String(), `role="alert"`) ||
		!strings.Contains(w.Body.String(), "admin@example.com") {
		t.Errorf("got %d:\n%s", w.Code, w.Body)
	}
	if strings.Contains(w.Body.String(), "<b>") || !strings.Contains(w.Body.String(), "&lt;b&gt;x") ||
		!strings.Contains(w.Body.String(), `value="nowhere"`) {
		t.Errorf("what was written is not shown as text:\n%s", w.Body)
	}
	if len(fake.users) != 2 {
		t.Errorf("somebody was added: %+v", fake.users)
	}
}

func TestAddedUserIsAnswered(t *testing.T) {
	h, fake := application(t)
	w := request(
		h,
		"POST",
		"/users",
		`{"username":" ada ","email":" ada@example.com"}`,
		"Content-Type",
		"application/json; charset=utf-8",
	)
	var got user
	if err := json.Unmarshal(
		w.Body.Bytes(),
		&got,
	); err != nil || w.Code != 201 || got.ID != 3 || got.Username != "ada" ||
		got.Email != "ada@example.com" {
		t.Errorf("got %d: %s, %v", w.Code, w.Body, err)
	}
	if added := fake.users[2]; added.Username != "ada" || added.Email != "ada@example.com" {
		t.Errorf("the database was given %+v", added)
	}
	w = request(h, "POST", "/users", "username=eve&email=eve@example.com", "Content-Type", formType, "Accept", browser)
	if w.Code != 303 || w.Header().Get("Location") != "/" {
		t.Errorf("a form gets %d to %q", w.Code, w.Header().Get("Location"))
	}
}

func TestValidUser(t *testing.T) {
	const good = "a@example.com"
	for _, c := range []struct {
		name, username, email, fault string
	}{
		{"fifty letters", strings.Repeat("ü", 50), good, ""},
		{"fifty-one", strings.Repeat("ü", 51), good, "username"},
		{"nobody", "", good, "username"},
		{"a line's end", "a\nb", good, "username"},
		{"delete", "a\x7f", good, "username"},
		{"no text", "a\xff", good, "username"},
		{"a hundred", "a", strings.Repeat("x", 88) + "@example.com", ""},
		{"a hundred and one", "a", strings.Repeat("x", 89) + "@example.com", "email"},
		{"no address", "a", "example.com", "email"},
		{"none", "a", "", "email"},
		{"with a name", "a", "Ada <a@example.com>", "email"},
		{"two", "a", "a@example.com, b@example.com", "email"},
		{"with a line's end", "a", "a@example.com\r\nBcc: b@example.com", "email"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := validUser(c.username, c.email)
			if (err == nil) != (c.fault == "") || err != nil && !strings.HasPrefix(err.Error(), c.fault+":") {
				t.Errorf("got %v, want a fault of %q", err, c.fault)
			}
		})
	}
}

// TestOtherSites tells a request that another site had a browser make from the page's own and from a program's.
func TestOtherSites(t *testing.T) {
	for _, c := range []struct {
		name   string
		header []string
		want   int
	}{
		{"a program", nil, 201},
		{"the page", []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://example.com"}, 201},
		{"an old browser's page", []string{"Origin", "https://example.com"}, 201},
		{"another site", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"another site of the same domain", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"another site, old browser", []string{"Origin", "https://evil.example"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, fake := application(t)
			w := request(
				h,
				"POST",
				"https://example.com/users",
				"username=a&email=a@example.com",
				append(c.header, "Content-Type", formType)...)
			if w.Code != c.want || len(fake.users) != map[int]int{201: 3, 403: 2}[c.want] {
				t.Errorf("got %d and %d users, want %d", w.Code, len(fake.users), c.want)
			}
		})
	}
}

// TestNothingOfTheErrorIsTold has every answer name the reason alone, with the database away in each way.
func TestNothingOfTheErrorIsTold(t *testing.T) {
	for want, down := range map[string]error{
		"access denied":         &mysql.MySQLError{Number: 1045, Message: "hunter2"},
		"host not allowed":      &mysql.MySQLError{Number: 1130, Message: "hunter2"},
		"unknown database":      &mysql.MySQLError{Number: 1049, Message: "hunter2"},
		"too many connections":  &mysql.MySQLError{Number: 1040, Message: "hunter2"},
		"TLS required":          &mysql.MySQLError{Number: 3159, Message: "hunter2"},
		"refused by the server": &mysql.MySQLError{Number: 9999, Message: "hunter2"},
		"TLS not offered":       mysql.ErrNoTLS,
		"not reachable":         errors.New("app:hunter2@tcp(10.0.2.10)"),
	} {
		var log bytes.Buffer
		db := sql.OpenDB(&fakeDatabase{down: down})
		h := newHandler(slog.New(slog.NewJSONHandler(&log, nil)), &store{db})
		for _, w := range []*httptest.ResponseRecorder{
			request(h, "GET", "/health", ""),
			request(h, "GET", "/users", ""),
			request(h, "GET", "/", ""),
			request(
				h, "POST", "/users", `{"username":"a","email":"a@example.com"}`, "Content-Type", "application/json",
			),
		} {
			if !strings.Contains(w.Body.String(), want) || strings.Contains(w.Body.String()+log.String(), "hunter2") {
				t.Errorf("want %q alone, got %d: %s\nlog: %s", want, w.Code, w.Body, &log)
			}
			if isPage := strings.HasPrefix(w.Header().Get("Content-Type"), "text/html"); !isPage && w.Code != 503 {
				t.Errorf("%s: got %d", want, w.Code)
			}
		}
		db.Close()
	}
}

// silent is a database that takes connections and never answers.
type silent struct{}

func (silent) Connect(ctx context.Context) (driver.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (silent) Driver() driver.Driver { return nil }

// TestDatabaseThatNeverAnswers holds each answer to its deadline.
func TestDatabaseThatNeverAnswers(t *testing.T) {
	for target, limit := range map[string]time.Duration{
		"/health": dialTimeout,
		"/users":  queryTimeout,
		"/":       queryTimeout,
	} {
		synctest.Test(t, func(t *testing.T) {
			db := sql.OpenDB(silent{})
			defer db.Close()
			started := time.Now()
			w := request(newHandler(slog.New(slog.DiscardHandler), &store{db}), "GET", target, "")
			if took := time.Since(started); took != limit || !strings.Contains(w.Body.String(), "timed out") {
				t.Errorf("%s took %s, want %s: %d: %s", target, took, limit, w.Code, w.Body)
			}
		})
	}
}

// TestLog has a line for what somebody asked and none for a probe that went well; no line has the query.
func TestLog(t *testing.T) {
	var log bytes.Buffer
	fake := &fakeDatabase{}
	db := sql.OpenDB(fake)
	defer db.Close()
	h := newHandler(slog.New(slog.NewJSONHandler(&log, nil)), &store{db})
	for _, probe := range []string{"/health", "/livez"} {
		if request(h, "GET", probe, ""); log.Len() != 0 {
			t.Errorf("%s is logged: %s", probe, &log)
		}
	}
	request(h, "GET", "/users?limit=x", "", "X-Real-IP", "198.51.100.7")
	var line map[string]any
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("%s: %v", &log, err)
	}
	for name, want := range map[string]any{
		"method": "GET",
		"path":   "/users",
		"status": 400.0,
		"client": "198.51.100.7",
	} {
		if line[name] != want {
			t.Errorf("%s is %v, want %v", name, line[name], want)
		}
	}
	log.Reset()
	fake.mu.Lock()
	fake.down = driver.ErrBadConn
	fake.mu.Unlock()
	if request(h, "GET", "/health", ""); !strings.Contains(log.String(), `"status":503`) {
		t.Errorf("a probe that failed is not logged: %s", &log)
	}
}

func TestSecuredConnection(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		IsCA:                  true,
		BasicConstraintsValid: true,
		NotAfter:              time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for _, c := range []struct {
		mode  string
		right func(*tls.Config) bool
	}{
		{"", func(c *tls.Config) bool { return c == nil }},
		{"off", func(c *tls.Config) bool { return c == nil }},
		{"required", func(c *tls.Config) bool { return c.InsecureSkipVerify && c.MinVersion == tls.VersionTLS12 }},
		{"verify", func(c *tls.Config) bool {
			return !c.InsecureSkipVerify && c.RootCAs != nil && c.ServerName == "10.0.2.10" &&
				c.MinVersion == tls.VersionTLS12
		}},
	} {
		env := map[string]string{"DB_TLS": c.mode, "DB_HOST": "10.0.2.10", "CREDENTIALS_DIRECTORY": "/creds"}
		s, err := readSettings(func(name string) string { return env[name] }, func(path string) ([]byte, error) {
			if path == "/creds/db_ca" {
				return ca, nil
			}
			return nil, fs.ErrNotExist
		})
		if err != nil || !c.right(s.database.TLS) {
			t.Errorf("DB_TLS=%s: got %+v, %v", c.mode, s.database, err)
		}
	}
}

// TestUnreadableCredential ends the program rather than have it go on without a password.
func TestUnreadableCredential(t *testing.T) {
	for _, name := range []string{"db_password", "db_ca"} {
		env := map[string]string{"CREDENTIALS_DIRECTORY": "/creds"}
		_, err := readSettings(func(n string) string { return env[n] }, func(path string) ([]byte, error) {
			if path == "/creds/"+name {
				return nil, fs.ErrPermission
			}
			return []byte("x"), nil
		})
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestHeadAndMethods says which methods there are where one is not taken.
func TestHeadAndMethods(t *testing.T) {
	h, _ := application(t)
	if w := request(h, "HEAD", "/livez", ""); w.Code != 200 {
		t.Errorf("HEAD is %d", w.Code)
	}
	w := request(h, "PUT", "/users", "", "Sec-Fetch-Site", "same-origin")
	if allow := w.Header().
		Get("Allow"); w.Code != http.StatusMethodNotAllowed || !strings.Contains(allow, "GET") ||
		!strings.Contains(allow, "POST") {
		t.Errorf("got %d, Allow: %s", w.Code, allow)
	}
}
