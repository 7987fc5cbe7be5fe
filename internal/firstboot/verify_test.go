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

func TestChecksAreThoseOfTheTier(t *testing.T) {
	database := instance.Image{MySQL: &instance.MySQLImage{Unit: "mariadb.service"}}
	seeded := instance.Image{MySQL: &instance.MySQLImage{Unit: "mysql.service", Seeded: true}}
	web := instance.Image{Nginx: &instance.NginxImage{Unit: "nginx.service"}, Webapp: &instance.WebappImage{Unit: "goldsmith-webapp.service"}}
	both := instance.Image{MySQL: database.MySQL, Nginx: web.Nginx, Webapp: web.Webapp}
	const first, data, account = "unit " + instance.FirstBootUnit, "unit " + instance.DataUnit, "unit " + instance.DatabaseUnit
	ofDatabase := []string{first, data, "unit mariadb.service", account, "listens", "sql", "bind-address", "tls", "account"}
	ofWeb := []string{first, "unit goldsmith-webapp.service", "unit nginx.service", "certificate", "http", "livez", "health"}
	for _, c := range []struct {
		name, tier string
		image      instance.Image
		want       []string
	}{
		{"db", "db", database, ofDatabase},
		{"db with a seed", "db", seeded, []string{first, data, "unit mysql.service", account, "listens", "sql", "bind-address", "tls", "account", "seed"}},
		{"web", "web", web, ofWeb},
		{"both images, db", "db", both, ofDatabase},
		{"both images, web", "web", both, ofWeb},
		{"empty image", "web", instance.Image{}, []string{first}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, each := range checksOf(c.image, situation{Settings: instance.Settings{Tier: c.tier}}, nil) {
				got = append(got, each.name)
			}
			if want := append(slices.Clone(c.want), "failed units", "reachable"); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestWait(t *testing.T) {
	fine := check{name: "unit " + instance.FirstBootUnit, run: func(context.Context) (string, error) { return "active", nil }}
	failed := check{name: "unit " + instance.FirstBootUnit, run: func(context.Context) (string, error) { return "", errors.New("failed: no parameter") }}
	never := check{name: "never", run: func(context.Context) (string, error) { return "", errors.New("not yet") }}

	calls := 0
	late := check{name: "late", run: func(context.Context) (string, error) {
		if calls++; calls < 2 {
			return "", errors.New("not yet")
		}
		return "", nil
	}}
	if report := wait(t.Context(), situation{}, []check{fine, late}); !report.Ready || calls != 2 {
		t.Errorf("after %d calls: %+v", calls, report)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if report := wait(ctx, situation{}, []check{failed, never}); report.Ready || ctx.Err() != nil {
		t.Errorf("a first boot that failed was waited for: %+v", report)
	}

	ended, end := context.WithCancel(t.Context())
	end()
	if report := wait(ended, situation{}, []check{fine, never}); report.Ready {
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
			programs(t, map[string]string{"systemctl": `[ "$*" = "is-active x.service" ] || exit 99` + "\n" + c.systemctl, "journalctl": "echo 'no parameter /s/a'"})
			got, err := unitActive(t.Context(), "x.service")
			if got != c.want || (err == nil) != (c.fault == "") || err != nil && err.Error() != c.fault {
				t.Errorf("got %q, %v, want %q, %q", got, err, c.want, c.fault)
			}
		})
	}
}

// TestStatementsAreNoArgument: an argument could be read by every process, and statements hold a password.
func TestStatementsAreNoArgument(t *testing.T) {
	const client = `[ "$*" = "--no-defaults --protocol=socket --user=root --batch --skip-column-names" ] || { echo "arguments $*" >&2; exit 1; }
/bin/cat`
	for _, name := range []string{"mariadb", "mysql"} {
		programs(t, map[string]string{name: client})
		if got, err := sql(t.Context(), "SELECT 'secret'"); err != nil || got != "SELECT 'secret'" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	programs(t, map[string]string{"mariadb": "/bin/cat >/dev/null; echo 'ERROR 1045' >&2; exit 1"})
	if _, err := sql(t.Context(), "SELECT 'secret'"); err == nil || !strings.Contains(err.Error(), "ERROR 1045") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want the server's error and no statement", err)
	}
}

func TestDatabaseChecksCompareAnswers(t *testing.T) {
	image := instance.MySQLImage{Port: 3306, Username: "app", Database: "app", BindAddress: "instance", Seeded: true}
	checks := databaseChecks(image, situation{Identity: identity{Private: "10.0.2.10"}})
	good := map[string]string{"sql": "1", "bind-address": "10.0.2.10", "tls": "/run/goldsmith/tls/db.crt", "account": "1", "seed": "1"}
	for _, each := range checks {
		want, ok := good[each.name]
		if !ok {
			continue
		}
		delete(good, each.name)
		programs(t, map[string]string{"mariadb": "/bin/cat >/dev/null; echo " + want})
		if detail, err := each.run(t.Context()); err != nil || detail != want {
			t.Errorf("%s: got %q, %v", each.name, detail, err)
		}
		programs(t, map[string]string{"mariadb": "/bin/cat >/dev/null; echo 0"})
		if _, err := each.run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: another answer gave %v", each.name, err)
		}
	}
	if len(good) > 0 {
		t.Errorf("there are no checks %v", good)
	}
}

func TestListensOnlyOn(t *testing.T) {
	wanted, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer wanted.Close()
	port := wanted.Addr().(*net.TCPAddr).Port
	if detail, err := listensOnlyOn(port, "127.0.0.1"); err != nil || detail != wanted.Addr().String() {
		t.Errorf("got %q, %v", detail, err)
	}
	if _, err := listensOnlyOn(port, "10.0.2.10"); err == nil || !strings.Contains(err.Error(), "10.0.2.10") {
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
	port := server.Listener.Addr().(*net.TCPAddr).Port
	if detail, err := answers(t.Context(), port, "http://192.0.2.7/", http.StatusMovedPermanently); err != nil || detail != "301 Moved Permanently" {
		t.Errorf("got %q, %v", detail, err)
	}
	if _, err := answers(t.Context(), port, "http://192.0.2.7/health", http.StatusOK); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "no database") {
		t.Errorf("got %v, want the status and what was said", err)
	}
}
