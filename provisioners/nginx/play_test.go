package nginx

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

var trixie = task.Facts{
	Arch:       "amd64",
	OS:         task.OSFacts{ID: "debian", Version: "13", Codename: "trixie"},
	Candidates: map[string]string{"nginx": "1.26.3-3+deb13u1"},
}

// prepared is a provisioner with the project's own site and these attributes.
func prepared(t *testing.T, attributes map[string]any) *Provisioner {
	t.Helper()
	config := map[string]any{"site": siteFile}
	for name, value := range attributes {
		config[name] = value
	}
	p := &Provisioner{}
	if err := p.Prepare(config); err != nil {
		t.Fatal(err)
	}
	return p
}

// playOf is its play for this machine.
func playOf(t *testing.T, p *Provisioner, facts task.Facts) task.Play {
	t.Helper()
	play, err := p.config.play(facts, task.Bytes([]byte("agent")))
	if err != nil {
		t.Fatal(err)
	}
	if err := play.Validate(); err != nil {
		t.Fatal(err)
	}
	return play
}

// index is the place of a task in a play.
func index(t *testing.T, play task.Play, name string) int {
	t.Helper()
	i := slices.IndexFunc(play.Tasks, func(each task.Task) bool { return each.Name == name })
	if i < 0 {
		t.Fatalf("there is no task %q", name)
	}
	return i
}

func read(t *testing.T, blob task.Blob) string {
	t.Helper()
	r, err := blob.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDefaults(t *testing.T) {
	p := prepared(t, nil)
	if p.config.ServerName != "_" || p.config.Upstream != "127.0.0.1:5000" || p.config.TLS != "intermediate" {
		t.Errorf("got %+v", p.config)
	}
}

func TestEveryFaultAtOnce(t *testing.T) {
	err := new(Provisioner).Prepare(map[string]any{
		"site":        "/no/such/site",
		"upstream":    "127.0.0.1:65536",
		"server_name": "a;b",
		"tls":         "ancient",
	})
	if err == nil {
		t.Fatal("all of it is taken")
	}
	for _, want := range []string{"site: ", "upstream: ", "server_name: ", "tls: ", "/no/such/site"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

func TestUpstreams(t *testing.T) {
	for upstream, good := range map[string]bool{
		"127.0.0.1:5000": true, "[::1]:5000": true, "localhost:1": true, "10.0.0.1:65535": true,
		"127.0.0.1":                false,
		":5000":                    false,
		"127.0.0.1:0":              false,
		"127.0.0.1:http":           false,
		"127.0.0.1; include /x:80": false,
		"a{b}:80":                  false,
	} {
		if err := new(
			Provisioner,
		).Prepare(map[string]any{"site": siteFile, "upstream": upstream}); (err == nil) != good {
			t.Errorf("%s: got %v", upstream, err)
		}
	}
}

// servers are a site's server blocks.
func servers(site string) []string {
	return regexp.MustCompile(`(?ms)^server \{.*?^\}`).FindAllString(site, -1)
}

func TestSite(t *testing.T) {
	text, err := prepared(
		t,
		map[string]any{"upstream": "127.0.0.1:5001", "server_name": "example.com www.example.com"},
	).config.site(trixie)
	if err != nil {
		t.Fatal(err)
	}
	blocks := servers(string(text))
	if len(blocks) != 2 {
		t.Fatalf("there are %d servers, want one for each port:\n%s", len(blocks), text)
	}
	for i, wants := range [][]string{
		{"listen 80 ", "return 301 https://$host$request_uri;", "server_name example.com www.example.com;"},
		{"listen 443 ssl ", "server_name example.com www.example.com;", "ssl_session_tickets off;",
			"ssl_certificate /run/goldsmith/tls/web.crt;",
			"ssl_certificate_key /run/goldsmith/tls/web.key;",
			"Strict-Transport-Security",
			"proxy_set_header Host $host;",
			"proxy_set_header X-Real-IP $remote_addr;",
			"proxy_set_header X-Forwarded-For $remote_addr;",
			"proxy_set_header X-Forwarded-Proto $scheme;",
			"proxy_connect_timeout ",
			"proxy_read_timeout ",
			"location = /health {",
			"access_log /var/log/nginx/",
			"error_log /var/log/nginx/"},
	} {
		for _, want := range wants {
			if !strings.Contains(blocks[i], want) {
				t.Errorf("server %d has no %q:\n%s", i, want, blocks[i])
			}
		}
	}
	if !strings.Contains(string(text), "server 127.0.0.1:5001;") {
		t.Errorf("the upstream is another:\n%s", text)
	}
	if strings.Contains(blocks[0], "proxy_pass") {
		t.Error("plain HTTP reaches the application")
	}
	// An add_header in a location would take all those of the server away there.
	for _, location := range regexp.MustCompile(`(?ms)^ +location .*?^    \}`).FindAllString(blocks[1], -1) {
		if strings.Contains(location, "add_header") {
			t.Errorf("a location loses the server's headers:\n%s", location)
		}
	}
}

// TestHTTP2InOneForm has each Nginx told of HTTP/2 in the form that it knows, and in no other.
func TestHTTP2InOneForm(t *testing.T) {
	for _, c := range []struct {
		os        task.OSFacts
		candidate string
	}{
		{task.OSFacts{ID: "debian", Version: "12"}, "1.22.1-9"},
		{task.OSFacts{ID: "debian", Version: "13"}, "1.26.3-3"},
		{task.OSFacts{ID: "ubuntu", Version: "22.04"}, "1.18.0-6ubuntu14"},
		{task.OSFacts{ID: "ubuntu", Version: "24.04"}, "1.24.0-2ubuntu7"},
	} {
		os := c.os
		site, err := prepared(
			t,
			nil,
		).config.site(task.Facts{OS: os, Candidates: map[string]string{"nginx": c.candidate}})
		if err != nil {
			t.Fatal(err)
		}
		old, directive := strings.Contains(string(site), "listen 443 ssl http2 "), strings.Contains(
			string(site),
			"http2 on;",
		)
		if old == directive || directive != (os.Version == "13") {
			t.Errorf("%s %s: listen … http2: %v, http2 on: %v", os.ID, os.Version, old, directive)
		}
	}
}

func TestTemplateOfTheUsersOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "own.conf.tmpl")
	if err := os.WriteFile(
		path,
		[]byte("# {{ .vars.who }} {{ .facts.arch }} {{ .http2_directive }} {{ .certificate }}\n"),
		0o644,
	); err != nil {
		t.Fatal(err)
	}
	p := prepared(t, map[string]any{"site": path, "vars": map[string]string{"who": "me"}})
	if site, err := p.config.site(trixie); err != nil ||
		string(site) != "# me amd64 true /run/goldsmith/tls/web.crt\n" {
		t.Errorf("got %q, %v", site, err)
	}
	err := new(Provisioner).Prepare(map[string]any{"site": path, "vars": map[string]string{"whom": "me"}})
	if err == nil || !strings.Contains(err.Error(), "own.conf.tmpl:1") || !strings.Contains(err.Error(), "vars.whom") {
		t.Errorf("a misspelt variable: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if play, err := p.config.play(trixie, task.Bytes(nil)); err == nil || len(play.Tasks) != 0 {
		t.Errorf("without its template there is a play all the same: %+v", play)
	}
}

// TestOrder holds the play to what makes it safe: the agent before what needs it, a pair before the test that reads it,
// the site tested before it is on.
func TestOrder(t *testing.T) {
	play := playOf(t, prepared(t, nil), trixie)
	last := -1
	for _, name := range []string{
		"agent", instance.FirstBootUnit, "install nginx", "a pair to test with, in memory", "site", "site is on",
	} {
		i := index(t, play, name)
		if i <= last {
			t.Errorf("%q comes too early", name)
		}
		last = i
	}
	for _, name := range []string{"site", "site is on", "default site is off"} {
		if got := play.Tasks[index(t, play, name)].Notify; !slices.Equal(
			got,
			[]string{"test all of the configuration", "restart nginx"},
		) {
			t.Errorf("%q notifies %v", name, got)
		}
	}
	if play.Handlers[0].Name != "test all of the configuration" {
		t.Error("Nginx is restarted before its configuration is tested")
	}
	if file := play.Tasks[index(t, play, "site")].Spec.(task.File); len(file.Test) == 0 || file.Path != available {
		t.Errorf("the site is not tested, or elsewhere: %+v", file)
	}
	if link := play.Tasks[index(t, play, "site is on")].Spec.(task.Link); link.Path != enabled ||
		link.Target != available {
		t.Errorf("got %+v", link)
	}
	if link := play.Tasks[index(t, play, "default site is off")].Spec.(task.Link); link.State != task.Absent {
		t.Errorf("the default site stays: %+v", link)
	}
}

// TestNoKeyInTheImage has the throwaway pair made in memory, which no image holds, and nothing else write below it.
func TestNoKeyInTheImage(t *testing.T) {
	play := playOf(t, prepared(t, nil), trixie)
	pair := play.Tasks[index(t, play, "a pair to test with, in memory")].Spec.(task.Command)
	want := []string{instance.AgentPath, "certificate", "--throwaway", "/run/goldsmith/tls/web"}
	if !slices.Equal(pair.Argv, want) || pair.Creates != "/run/goldsmith/tls/web.key" {
		t.Errorf("got %+v", pair)
	}
	for _, each := range play.Tasks {
		if file, ok := each.Spec.(task.File); ok && strings.Contains(read(t, file.Content), "PRIVATE KEY") {
			t.Errorf("%q writes a private key", each.Name)
		}
	}
}

func TestDescription(t *testing.T) {
	play := playOf(t, prepared(t, nil), trixie)
	dir := t.TempDir()
	text := read(t, play.Tasks[index(t, play, "describe nginx")].Spec.(task.File).Content)
	if err := os.WriteFile(filepath.Join(dir, "nginx.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := imagespec.Read(dir, instance.KindService)
	if err != nil || !reflect.DeepEqual(d.Units, []imagespec.Unit{{Name: "nginx.service"}}) || len(d.Ports) != 2 ||
		d.Ports[0].Port != 80 ||
		d.Ports[1].Port != 443 {
		t.Errorf("got %+v, %v", d, err)
	}
	if c := d.Certificate; c == nil || c.Path != "/run/goldsmith/tls/web.crt" ||
		c.KeyPath != "/run/goldsmith/tls/web.key" {
		t.Errorf("got the certificate %+v", c)
	}
}

// TestTestOfASite runs the site's test with an Nginx that shows what it was given, and wants nothing left behind,
// whether the site is good or not.
func TestTestOfASite(t *testing.T) {
	for _, c := range []struct {
		name, end string
		good      bool
	}{{"good", "exit 0", true}, {"bad", "echo emerg >&2; exit 1", false}} {
		t.Run(c.name, func(t *testing.T) {
			bin, tmp := t.TempDir(), t.TempDir()
			shown := filepath.Join(bin, "shown")
			fake := "#!/bin/sh\nfor last; do :; done\ncat \"$last\" >" + shown + "\necho \"$*\" >>" + shown + "\n" +
				c.end + "\n"
			if err := os.WriteFile(filepath.Join(bin, "nginx"), []byte(fake), 0o755); err != nil {
				t.Fatal(err)
			}
			server, err := prepared(t, nil).config.server(trixie)
			if err != nil {
				t.Fatal(err)
			}
			argv := testSite(server, "%s")
			for i := range argv { // as the engine does
				argv[i] = strings.ReplaceAll(argv[i], "%s", "/etc/nginx/.new-site")
			}
			command := exec.Command(argv[0], argv[1:]...)
			command.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "TMPDIR=" + tmp}
			out, err := command.CombinedOutput()
			if (err == nil) != c.good {
				t.Errorf("got %v: %s", err, out)
			}
			text, err := os.ReadFile(shown)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{
				"\ninclude /etc/nginx/.new-site; }\n", "-t ", "limit_req_zone", "pid /run/nginx-test.pid;",
			} {
				if !strings.Contains(string(text), want) {
					t.Errorf("Nginx was not given %q:\n%s", want, text)
				}
			}
			if strings.Contains(string(text), "sites-enabled") {
				t.Errorf("other sites are tested too:\n%s", text)
			}
			if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
