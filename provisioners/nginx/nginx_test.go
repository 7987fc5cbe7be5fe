package nginx

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

const siteFile = "../../files/nginx/site.conf.tmpl"

func TestPrepareNamesTheAttribute(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "site")
	if err := os.WriteFile(bad, []byte("listen {{ .port }};\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, config := range map[string]map[string]any{
		"upstream":    {"upstream": "nowhere"},
		"server_name": {"server_name": "a; include /etc/passwd"},
		"tls":         {"tls": "old"},
		"site":        {"site": "/no/such/file"},
		"port":        {"site": bad},
		"ports":       {"ports": []int{80}},
	} {
		if config["site"] == nil {
			config["site"] = siteFile
		}
		if err := new(Provisioner).Prepare(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want an error that names %s", config, err, want)
		}
	}
}

// TestSiteByVersion reads the version that the machine has, or that apt would install, whatever the distribution's own
// is.
func TestSiteByVersion(t *testing.T) {
	bookworm, trixie := task.OSFacts{ID: "debian", Version: "12"}, task.OSFacts{ID: "debian", Version: "13"}
	jammy, resolute := task.OSFacts{ID: "ubuntu", Version: "22.04"}, task.OSFacts{ID: "ubuntu", Version: "26.04"}
	for _, c := range []struct {
		os                   task.OSFacts
		installed, candidate string
		directive            bool
	}{
		{bookworm, "", "1.22.1-9+deb12u3", false},
		{trixie, "", "1.26.3-3+deb13u1", true},
		{task.OSFacts{ID: "debian"}, "", "1.28.0-6", true},
		{jammy, "", "1.18.0-6ubuntu14.7", false},
		{resolute, "", "1.28.0-1ubuntu1", true},
		// Another source of packages than the distribution's.
		{bookworm, "", "1.29.4-1~bookworm", true},
		{jammy, "", "1:1.25.1-1", true},
		{trixie, "", "1.25.0-1", false},
		{task.OSFacts{ID: "linuxmint", Version: "22"}, "", "1.100.0-1", true},
		// What is installed stays.
		{bookworm, "1.22.1-9", "1.29.4-1~bookworm", false},
		{trixie, "1.26.3-3", "", true},
	} {
		p := &Provisioner{}
		if err := p.Prepare(map[string]any{"site": siteFile}); err != nil {
			t.Fatal(err)
		}
		facts := task.Facts{OS: c.os, Candidates: map[string]string{"nginx": c.candidate}}
		if c.installed != "" {
			facts.Installed = map[string]string{"nginx": c.installed}
		}
		site, err := p.config.site(facts)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(site), "http2 on;"); got != c.directive {
			t.Errorf("%+v: has the http2 directive: %v", c, got)
		}
	}
}

func TestModernIsTLS13Alone(t *testing.T) {
	for level, want := range map[string]string{
		"modern":       "ssl_protocols TLSv1.3;",
		"intermediate": "ssl_protocols TLSv1.2 TLSv1.3;",
	} {
		p := &Provisioner{}
		if err := p.Prepare(map[string]any{"site": siteFile, "tls": level}); err != nil {
			t.Fatal(err)
		}
		play, err := p.config.play(
			task.Facts{OS: task.OSFacts{ID: "debian", Version: "13"}},
			task.Bytes([]byte("agent")),
		)
		if err != nil {
			t.Fatal(err)
		}
		if err = play.Validate(); err != nil {
			t.Error(err)
		}
		site, err := p.config.site(task.Facts{})
		if err != nil || !strings.Contains(string(site), want) {
			t.Errorf("%s: %v\n%s", level, err, site)
		}
	}
}
