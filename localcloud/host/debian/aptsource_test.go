package debian

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestSources(t *testing.T) {
	const deb822 = `Types: deb deb-src
# The mirror: of the house
URIs: http://mirror.example/debian
 http://other.example/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
`
	want := []source{{"http://mirror.example/debian", true}, {"http://other.example/debian", true}}
	if got := deb822Sources(deb822); !slices.Equal(got, want) {
		t.Errorf("deb822: %v, want %v", got, want)
	}
	const lines = `# deb http://off.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main # ours
deb-src http://mirror.example/debian bookworm main
deb http://tool.example/linux/debian bookworm stable
`
	want = []source{{"http://mirror.example/debian", true}, {"http://tool.example/linux/debian", false}}
	if got := oneLineSources(lines); !slices.Equal(got, want) {
		t.Errorf("one-line: %v, want %v", got, want)
	}
}

func TestPickMirrors(t *testing.T) {
	for _, c := range []struct {
		name             string
		uris             []string
		mirror, security string
	}{
		{
			"both",
			[]string{"http://m.example/debian/", "http://m.example/debian-security"},
			"http://m.example/debian",
			"http://m.example/debian-security",
		},
		{
			"a mirror deep down",
			[]string{"https://m.example/pub/linux/debian"},
			"https://m.example/pub/linux/debian",
			"",
		},
		{
			"another project's archive first",
			[]string{"https://db.example/repo/11.8/debian", "http://m.example/debian"},
			"http://m.example/debian",
			"",
		},
		{"no Debian", []string{"http://m.example/ubuntu", "file:/srv/debian", "cdrom:[x]/debian"}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var sources []source
			for _, uri := range c.uris {
				sources = append(sources, source{uri, true})
			}
			got, err := pickMirrors(sources)
			if got.Mirror != c.mirror || got.Security != c.security {
				t.Errorf("got %+v", got)
			}
			if (err != nil) != (c.mirror == "") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestAptOptions(t *testing.T) {
	proxy, options := aptOptions(`APT::Architecture "amd64";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::Check-Valid-Until "false";
Acquire::Check-Date "";
Acquire::Languages "none";
`)
	if proxy != "http://proxy.example:3128" {
		t.Errorf("proxy is %q", proxy)
	}
	if want := []string{`Acquire::Check-Valid-Until "false";`}; !slices.Equal(options, want) {
		t.Errorf("options are %q, want %q", options, want)
	}
}

func TestCacheSettings(t *testing.T) {
	apt := Apt{Mirror: "https://m.example/debian", Proxy: "http://proxy.example:3128"}
	got := cacheSettings(apt, "/cache", "/run", netip.MustParseAddrPort("127.66.0.1:4569"))
	for _, want := range []string{
		"Remap-main: http://m.example/debian ; https://m.example/debian\n", "ForceManaged: 1\n",
		"BindAddress: 127.66.0.1\n", "Port: 4569\n", "Proxy: http://proxy.example:3128\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "security") {
		t.Error("there is a security archive though the host has none")
	}
}
