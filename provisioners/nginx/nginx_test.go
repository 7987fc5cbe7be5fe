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

func TestSiteByDistribution(t *testing.T) {
	for _, c := range []struct {
		os        task.OSFacts
		directive bool
	}{
		{task.OSFacts{ID: "debian", Version: "12"}, false}, {task.OSFacts{ID: "debian", Version: "13"}, true}, {task.OSFacts{ID: "debian"}, true},
		{task.OSFacts{ID: "ubuntu", Version: "22.04"}, false}, {task.OSFacts{ID: "ubuntu", Version: "26.04"}, true},
	} {
		p := &Provisioner{}
		if err := p.Prepare(map[string]any{"site": siteFile}); err != nil {
			t.Fatal(err)
		}
		site, err := p.config.site(task.Facts{OS: c.os})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(site), "http2 on;"); got != c.directive {
			t.Errorf("%+v: has the http2 directive: %v", c.os, got)
		}
	}
}

func TestModernIsTLS13Alone(t *testing.T) {
	for level, want := range map[string]string{"modern": "ssl_protocols TLSv1.3;", "intermediate": "ssl_protocols TLSv1.2 TLSv1.3;"} {
		p := &Provisioner{}
		if err := p.Prepare(map[string]any{"site": siteFile, "tls": level}); err != nil {
			t.Fatal(err)
		}
		play, err := p.config.play(task.Facts{OS: task.OSFacts{ID: "debian", Version: "13"}}, task.Bytes([]byte("agent")))
		if err != nil {
			t.Fatal(err)
		}
		if err := play.Validate(); err != nil {
			t.Error(err)
		}
		site, err := p.config.site(task.Facts{})
		if err != nil || !strings.Contains(string(site), want) {
			t.Errorf("%s: %v\n%s", level, err, site)
		}
	}
}
