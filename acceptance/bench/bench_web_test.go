//go:build acceptance

package bench

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// served is an application behind the web instance's Nginx, and what was measured of it.
type served struct {
	name string
	port int    // on the instance's loopback
	mark string // what its /health says and no other's does
	runs map[string][]load
}

// load is wrk's result: requests per second, and the 99th percentile of the latency in milliseconds.
type load struct{ rate, p99 float64 }

func (s *served) medians(path string) (rate, p99 float64) {
	var rates, p99s []float64
	for _, r := range s.runs[path] {
		rates, p99s = append(rates, r.rate), append(p99s, r.p99)
	}
	return median(rates), median(p99s)
}

// BenchmarkWebApp measures the web tier against the same as a Flask application under gunicorn: one instance of the web
// image, its Nginx with its configuration, its way to the stack's database; only the port that Nginx passes to changes
// in between. wrk keeps 32 connections busy over TLS from outside. Each round measures each application, and a ratio is
// one of medians over the rounds.
//
// The application that opens a connection for each request is the one to beat by the wanted ratios. What keeps one for
// each worker is shown beside it, to tell how much of the ratio is the pool's.
func BenchmarkWebApp(b *testing.B) {
	const seconds = 8
	web := rig.Tier(b, "web")
	userData, err := instance.Settings{
		Stack:      rig.StackName,
		Tier:       "web",
		Kind:       instance.KindService,
		Parameters: "/goldsmith/" + rig.StackName,
		Needs:      []instance.TierAddress{{Tier: "db", Address: rig.DatabaseAddress}},
	}.UserData("")
	if err != nil {
		b.Fatal(err)
	}
	// An instance of its own, which nobody else needs: it gets packages, and a configuration that changes.
	id, address := launched{like: web, image: *web.ImageId, userData: userData}.launch(b, "bench-web")
	rig.TerminateAtEnd(b, id)
	rig.WaitHealthy(b, address, time.Minute)
	rig.WaitForSSH(b, "bench-web")
	applications := []*served{
		{name: "go", port: 5000, mark: "milliseconds"},
		{name: "flask", port: 5001, mark: "flask"},
		{name: "flask-kept", port: 5002, mark: "flask kept"},
	}
	startFlask(b, applications[1].port, applications[1].mark, false)
	startFlask(b, applications[2].port, applications[2].mark, true)
	for _, a := range applications {
		a.runs = map[string][]load{}
	}
	paths := []string{"/health", "/users"}
	for b.Loop() {
		for _, a := range applications {
			passTo(b, address, a)
			for _, path := range paths {
				measure(b, address+path, 1) // connections of all sides are open then
				a.runs[path] = append(a.runs[path], measure(b, address+path, seconds))
			}
		}
	}
	report(b, applications, paths)
}

// report prints the table and holds the ratios to what is wanted.
func report(b *testing.B, applications []*served, paths []string) {
	wanted := map[string]float64{"/health": 10, "/users": 6}
	var table strings.Builder
	fmt.Fprintf(&table, "%d cores, %d rounds, medians\n%-10s %-8s %12s %9s %9s\n", runtime.NumCPU(),
		len(applications[0].runs[paths[0]]), "", "", "requests/s", "p99 ms", "ratio")
	for _, path := range paths {
		rate, p99 := applications[0].medians(path)
		for i, a := range applications {
			r, p := a.medians(path)
			fmt.Fprintf(&table, "%-10s %-8s %12.0f %9.1f %9.1f\n", a.name, path, r, p, rate/r)
			b.ReportMetric(r, a.name+path+"-req/s")
			b.ReportMetric(p, a.name+path+"-p99-ms")
			if i == 1 && rate/r < wanted[path] {
				b.Errorf("%s: %.1f times the requests per second of %s, %.0f times are wanted", path, rate/r, a.name,
					wanted[path])
			}
			if i == 1 && p99 > p {
				b.Errorf("%s: the 99th percentile is %.1f ms, that of %s %.1f ms", path, p99, a.name, p)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	b.Log("\n" + table.String())
}

// startFlask installs Debian's Flask, gunicorn and PyMySQL unless they are there, and runs the application with what
// systemd gives the Go one: its user, its environment and its credentials.
func startFlask(b *testing.B, port int, mark string, keep bool) {
	b.Helper()
	// python3-nacl is for PyMySQL: MariaDB's accounts are ed25519 ones.
	rig.MustOnInstance(b, "bench-web", `command -v gunicorn >/dev/null || sudo sh -c '
		export DEBIAN_FRONTEND=noninteractive
		apt-get -q=2 update && apt-get -q=2 install --no-install-recommends -y \
			python3-flask gunicorn python3-pymysql python3-nacl >/dev/null'`)
	text, err := os.ReadFile(filepath.Join("testdata", "flask", "app.py"))
	if err != nil {
		b.Fatal(err)
	}
	rig.MustOnInstance(
		b,
		"bench-web",
		fmt.Sprintf(
			"sudo install -d -m 0755 /opt/flask && echo %s | base64 -d | sudo install -m 0644 /dev/stdin "+
				"/opt/flask/app.py",
			base64.StdEncoding.EncodeToString(text),
		),
	)
	kept := ""
	if keep {
		kept = "1"
	}
	rig.MustOnInstance(b, "bench-web", fmt.Sprintf(
		`sudo systemd-run --quiet --unit=flask-%[1]d --property=User=$(systemctl show -P User goldsmith-webapp) \
		--property=EnvironmentFile=/run/goldsmith/web.env \
		--property=LoadCredential=db_password:/run/goldsmith/credentials/db_password \
		--property=LoadCredential=db_ca:/run/goldsmith/credentials/db_ca \
		--property=WorkingDirectory=/opt/flask --property=PrivateTmp=yes \
		--setenv=PYTHONDONTWRITEBYTECODE=1 --setenv=KEEP_CONNECTION=%[2]s --setenv=MARK=%[3]s \
		gunicorn --workers 4 --bind 127.0.0.1:%[1]d app:app
		for i in $(seq 100); do
			python3 -c 'import urllib.request as u; u.urlopen("http://127.0.0.1:%[1]d/health")' 2>/dev/null && exit
			sleep 0.1
		done
		sudo journalctl -u flask-%[1]d -n 20 --no-pager >&2; exit 1`,
		port, kept, rig.Quote(mark)))
}

// passTo has Nginx pass to an application, with all else as it is, and waits until that application answers. Limits on
// requests and connections of one client would be measured instead: they are off for all.
func passTo(b *testing.B, address string, a *served) {
	b.Helper()
	// Not reload: workers of before would end connections later.
	rig.MustOnInstance(b, "bench-web", fmt.Sprintf(`cd /etc/nginx/sites-enabled &&
		sudo sed -i --follow-symlinks -E \
			's/(server 127\.0\.0\.1):[0-9]+;/\1:%d;/; /^ *limit_(req|conn) /d' * &&
		sudo nginx -t -q && sudo systemctl restart nginx`, a.port))
	for range 100 {
		if answer := rig.WaitHealthy(b, address, time.Minute); strings.Contains(answer, `"`+a.mark+`"`) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.Fatalf("Nginx does not pass to %s", a.name)
}

var (
	rateLine    = regexp.MustCompile(`Requests/sec: +([0-9.]+)`)
	latencyLine = regexp.MustCompile(` 99% +([0-9.]+[a-z]+)`)
	faultLine   = regexp.MustCompile(`(?m)^ *(Non-2xx.*|Socket errors.*)$`)
)

// measure runs wrk; an answer that is not 2xx, or none, ends the benchmark.
func measure(b *testing.B, target string, seconds int) load {
	b.Helper()
	out := rig.Must(b, "wrk", "--threads", "1", "--connections", "32", "--duration", strconv.Itoa(seconds)+"s",
		"--latency", "https://"+target)
	if fault := faultLine.FindString(out); fault != "" {
		b.Fatalf("wrk against %s: %s\n%s", target, strings.TrimSpace(fault), rig.End(b, out))
	}
	rate, latency := rateLine.FindStringSubmatch(out), latencyLine.FindStringSubmatch(out)
	if rate == nil || latency == nil {
		b.Fatalf("wrk against %s: there is no rate or no 99th percentile:\n%s", target, rig.End(b, out))
	}
	perSecond, err1 := strconv.ParseFloat(rate[1], 64)
	p99, err2 := time.ParseDuration(latency[1])
	if err1 != nil || err2 != nil {
		b.Fatalf("wrk against %s: %v, %v:\n%s", target, err1, err2, rig.End(b, out))
	}
	return load{perSecond, float64(p99.Microseconds()) / 1000}
}
