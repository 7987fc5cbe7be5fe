package firstboot

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// programs makes PATH hold these shell scripts and nothing else.
func programs(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestWait(t *testing.T) {
	fine := check{
		name: "unit " + instance.FirstBootUnit,
		run:  func(context.Context) (string, error) { return "active", nil },
	}
	failed := check{
		name: "unit " + instance.FirstBootUnit,
		run:  func(context.Context) (string, error) { return "", errors.New("failed: no parameter") },
	}
	never := check{name: "never", run: func(context.Context) (string, error) { return "", errors.New("not yet") }}

	calls := 0
	late := check{name: "late", run: func(context.Context) (string, error) {
		if calls++; calls < 2 {
			return "", errors.New("not yet")
		}
		return "", nil
	}}
	if report := wait(t.Context(), Instance{}, []check{fine, late}, silent); !report.Ready || calls != 2 {
		t.Errorf("after %d calls: %+v", calls, report)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if report := wait(ctx, Instance{}, []check{failed, never}, silent); report.Ready || ctx.Err() != nil {
		t.Errorf("a first boot that failed was waited for: %+v", report)
	}

	ended, end := context.WithCancel(t.Context())
	end()
	if report := wait(ended, Instance{}, []check{fine, never}, silent); report.Ready {
		t.Errorf("got %+v", report)
	}
}

func silent(string) error { return nil }

// TestWaitingIsSaid has an instance wait for one thing and then for another: each is said soon, and again each minute.
func TestWaitingIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, said := time.Now(), []string{}
		late := check{name: "unit x", run: func(context.Context) (string, error) {
			if time.Since(began) < 2*time.Minute {
				return "", errors.New("activating")
			}
			return "", errors.New("no answer")
		}}
		i := Instance{Settings: instance.Settings{Deadline: 200}}
		wait(t.Context(), i, []check{late}, func(line string) error {
			said = append(said, line)
			return nil
		})
		want := []string{
			"GOLDSMITH-WAITING unit x (activating), for 5s", "GOLDSMITH-WAITING unit x (activating), for 1m5s",
			"GOLDSMITH-WAITING unit x (no answer), for 2m0s", "GOLDSMITH-WAITING unit x (no answer), for 3m0s",
		}
		if !slices.Equal(said, want) {
			t.Errorf("got %q", said)
		}
	})
}

// TestDeadlineOfTheSettings has an instance wait as long as it is waited for.
func TestDeadlineOfTheSettings(t *testing.T) {
	for _, c := range []struct {
		seconds int
		want    time.Duration
	}{{0, verifyDeadline}, {30, 30 * time.Second}, {600, 10 * time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			never := check{name: "the database", run: func(context.Context) (string, error) {
				return "", errors.New("it does not answer yet")
			}}
			began := time.Now()
			i := Instance{Settings: instance.Settings{Deadline: c.seconds}}
			report := wait(t.Context(), i, []check{never}, silent)
			if took := time.Since(began); report.Ready || took < c.want || took > c.want+time.Second {
				t.Errorf("with %d seconds it gives up after %s", c.seconds, took)
			}
		})
	}
}

func TestUnitActive(t *testing.T) {
	for _, c := range []struct{ name, systemctl, want, fault string }{
		{"active", "echo active", "active", ""},
		{"starting", "echo activating; exit 3", "activating", "activating"},
		{"failed", "echo failed; exit 3", "failed: no parameter /s/a", "failed: no parameter /s/a"},
		{"silent", "exit 4", "exit status 4", "exit status 4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			programs(
				t,
				map[string]string{
					"systemctl":  `[ "$*" = "is-active x.service" ] || exit 99` + "\n" + c.systemctl,
					"journalctl": "echo 'no parameter /s/a'",
				},
			)
			got, err := unitActive(t.Context(), "x.service")
			if got != c.want || (err == nil) != (c.fault == "") || err != nil && err.Error() != c.fault {
				t.Errorf("got %q, %v, want %q, %q", got, err, c.want, c.fault)
			}
		})
	}
}

func TestListensOnlyOn(t *testing.T) {
	wanted, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer wanted.Close()
	port := wanted.Addr().(*net.TCPAddr).Port
	detail, err := listensOnlyOn(port, "127.0.0.1")
	if err != nil || detail != wanted.Addr().String() {
		t.Errorf("got %q, %v", detail, err)
	}
	if _, err = listensOnlyOn(port, "10.0.2.10"); err == nil || !strings.Contains(err.Error(), "10.0.2.10") {
		t.Errorf("another address: %v", err)
	}
	second, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", strconv.Itoa(port)))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, err := listensOnlyOn(port, "127.0.0.1"); err == nil || !strings.Contains(err.Error(), "127.0.0.2") {
		t.Errorf("a second address: %v", err)
	}
}

func TestAnswers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Host != "192.0.2.7":
			t.Errorf("it was asked as %s", r.Host)
		case r.URL.Path == "/":
			http.Redirect(w, r, "https://192.0.2.7/", http.StatusMovedPermanently)
		default:
			http.Error(w, "no database", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	address := server.Listener.Addr().String()
	if detail, err := answers(t.Context(), address, "http://192.0.2.7/", "",
		http.StatusMovedPermanently); err != nil ||
		detail != "301 Moved Permanently" {
		t.Errorf("got %q, %v", detail, err)
	}
	if _, err := answers(t.Context(), address, "http://192.0.2.7/health", "",
		http.StatusOK); err == nil || !strings.Contains(err.Error(), "503") ||
		!strings.Contains(err.Error(), "no database") {
		t.Errorf("got %v, want the status and what was said", err)
	}
}

func TestFailedUnitsAreNamed(t *testing.T) {
	programs(t, map[string]string{"systemctl": "exit 0"})
	if detail, err := noFailedUnit(t.Context()); err != nil || detail != "none" {
		t.Errorf("nothing failed: %q, %v", detail, err)
	}
	programs(t, map[string]string{
		"systemctl":  `[ "$1" = list-units ] && echo 'a.service loaded failed' && echo 'b.mount loaded failed'`,
		"journalctl": "echo 'no such file'",
	})
	_, err := noFailedUnit(t.Context())
	if err == nil || !strings.Contains(err.Error(), "a.service, b.mount") {
		t.Errorf("got %v, want both units", err)
	}
	programs(t, map[string]string{"systemctl": "exit 1"})
	if _, err = noFailedUnit(t.Context()); err == nil {
		t.Error("systemd that does not answer is taken for good")
	}
}

func TestCertificateCovers(t *testing.T) {
	dir := t.TempDir()
	certificate, _, err := ownPair(filepath.Join(dir, "tls"), Identity{Private: "10.0.1.5"})
	if err != nil {
		t.Fatal(err)
	}
	old, _ := authority(t, time.Now().Add(-time.Minute))
	path := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := path("good", string(certificate))
	for _, c := range []struct {
		name  string
		path  string
		host  string
		own   bool
		fault string
	}{
		{"own", good, "10.0.1.5", true, ""},
		{"own, for another address", good, "10.0.1.6", true, "10.0.1.6"},
		{"the user's, for another name", good, "www.example.com", false, ""},
		{"expired", path("old", old), "10.0.1.5", false, "valid from"},
		{"none", path("empty", ""), "10.0.1.5", true, "holds no certificate"},
		{"not there", filepath.Join(dir, "nothing"), "10.0.1.5", true, "no such file"},
	} {
		detail, err := certificateCovers(c.path, c.host, c.own)
		if c.fault == "" && (err != nil || !strings.HasPrefix(detail, "sha256:")) ||
			c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: got %q, %v, want %q", c.name, detail, err, c.fault)
		}
	}
}

// TestNotAnInstance: this machine has not been through first boot, and none of its data is touched.
func TestNotAnInstance(t *testing.T) {
	if err := TakeData(t.Context(), nil); err != nil {
		t.Errorf("take the data: %v", err)
	}
	if err := ReleaseData(t.Context(), nil); err != nil {
		t.Errorf("release the data: %v", err)
	}
	if err := StartSetup(t.Context(), nil); err != nil {
		t.Errorf("start the setup: %v", err)
	}
	if err := HandOver(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no data volume") {
		t.Errorf("hand over: %v", err)
	}
	if err := Resume(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "no data tier") {
		t.Errorf("resume: %v", err)
	}
}
