package firstboot

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
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
	if report := wait(t.Context(), Instance{}, []check{fine, late}); !report.Ready || calls != 2 {
		t.Errorf("after %d calls: %+v", calls, report)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if report := wait(ctx, Instance{}, []check{failed, never}); report.Ready || ctx.Err() != nil {
		t.Errorf("a first boot that failed was waited for: %+v", report)
	}

	ended, end := context.WithCancel(t.Context())
	end()
	if report := wait(ended, Instance{}, []check{fine, never}); report.Ready {
		t.Errorf("got %+v", report)
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
	if detail, err := answers(
		t.Context(),
		address,
		"http://192.0.2.7/",
		"",
		http.StatusMovedPermanently,
	); err != nil ||
		detail != "301 Moved Permanently" {
		t.Errorf("got %q, %v", detail, err)
	}
	if _, err := answers(
		t.Context(),
		address,
		"http://192.0.2.7/health",
		"",
		http.StatusOK,
	); err == nil || !strings.Contains(err.Error(), "503") ||
		!strings.Contains(err.Error(), "no database") {
		t.Errorf("got %v, want the status and what was said", err)
	}
}
