package manifest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	spdxjson "github.com/spdx/tools-golang/json"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/version"
)

func sample() *Manifest {
	return &Manifest{
		Name:    "golden-db",
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		OS:      OS{ID: "debian", Version: "13", Name: "Debian GNU/Linux 13", Arch: "amd64"},
		Packages: []Package{
			{Name: "libstdc++6", Version: "1:14.2.0-19+b1", Arch: "amd64"},
			{Name: "mariadb-server", Version: "1:11.8.3-0+deb13u1", Arch: "amd64", Source: "mariadb"},
		},
		Programs: []Program{
			{
				Path:    "/usr/local/bin/app",
				Go:      "go1.26.3",
				Modules: []Module{{"example.org/app", "(devel)"}, {"example.org/dep", "v1.2.3"}},
			},
		},
	}
}

func TestDocuments(t *testing.T) {
	documents, digest, err := sample().Documents()
	if err != nil {
		t.Fatal(err)
	}
	if _, again, _ := sample().Documents(); again != digest || !strings.HasPrefix(digest, "sha256:") {
		t.Errorf("the digest of the same manifest: %s and %s", digest, again)
	}
	var bom cyclonedx.BOM
	if err = cyclonedx.NewBOMDecoder(bytes.NewReader(documents["sbom.cdx.json"]), cyclonedx.BOMFileFormatJSON).
		Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if tool := (*bom.Metadata.Tools.Components)[0]; tool.Name != "goldsmith" || tool.Version != version.Number() {
		t.Errorf("CycloneDX is by %s %s, want goldsmith %s", tool.Name, tool.Version, version.Number())
	}
	purls := map[string]bool{}
	for _, c := range *bom.Components {
		purls[c.PackageURL] = true
	}
	for _, want := range []string{
		"pkg:deb/debian/mariadb-server@1:11.8.3-0%2Bdeb13u1?arch=amd64&distro=debian-13",
		"pkg:deb/debian/libstdc%2B%2B6@1:14.2.0-19%2Bb1?arch=amd64&distro=debian-13",
		"pkg:golang/example.org/dep@v1.2.3", "pkg:golang/stdlib@1.26.3",
	} {
		if !purls[want] {
			t.Errorf("CycloneDX has no %s: %v", want, purls)
		}
	}
	document, err := spdxjson.Read(bytes.NewReader(documents["sbom.spdx.json"]))
	if err != nil {
		t.Fatal(err)
	}
	if document.SPDXVersion != "SPDX-2.3" || len(document.Packages) != 1+len(purls) {
		t.Errorf("SPDX: %s with %d packages", document.SPDXVersion, len(document.Packages))
	}
}

func TestReadPackages(t *testing.T) {
	root := t.TempDir()
	if got, err := ReadPackages(root); err != nil || got != nil {
		t.Errorf("without dpkg: %v, %v", got, err)
	}
	path := filepath.Join(root, "/var/lib/dpkg/status")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	const status = `Package: nginx
Status: install ok installed
Architecture: all
Version: 1.26.3-3
Conffiles:
 /etc/nginx/nginx.conf 0123456789abcdef0123456789abcdef
 /etc/nginx/old.conf newconffile
Description: server
 Conffiles: no field

Package: removed
Status: deinstall ok config-files
Version: 1
`
	if err := os.WriteFile(path, []byte(status), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ReadPackages(root)
	if err != nil || len(got) != 1 || got[0].Name != "nginx" || got[0].Version != "1.26.3-3" ||
		len(got[0].Conffiles) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestDiff(t *testing.T) {
	a, b := sample(), sample()
	if d := Diff(a, b); !d.Empty() {
		t.Errorf("of an image with itself: %+v", d)
	}
	a.Units, b.Units = map[string]string{
		"cron.service": "enabled",
		"old.timer":    "enabled",
	}, map[string]string{
		"cron.service": "masked",
	}
	a.Sockets, b.Sockets = []string{"tcp 0.0.0.0:22"}, []string{"tcp 0.0.0.0:22", "tcp 0.0.0.0:111"}
	b.Packages[1].Version = "1:11.8.4"
	b.Packages = append(b.Packages, Package{Name: "rpcbind", Version: "1.2", Arch: "amd64"})
	a.Files = []File{
		{Path: "/etc/app.conf", Mode: "0644", Digest: "sha256:1"},
		{Path: "/opt/x", Mode: "0755", Digest: "sha256:2"},
	}
	b.Files = []File{{Path: "/etc/app.conf", Mode: "0600", Digest: "sha256:1"}}
	d := Diff(a, b)
	for what, lines := range map[string][]string{
		"~ mariadb-server:amd64 1:11.8.3-0+deb13u1 -> 1:11.8.4": d.Packages, "+ rpcbind:amd64 1.2": d.Packages,
		"~ cron.service enabled -> masked": d.Units, "- old.timer enabled": d.Units,
		"+ tcp 0.0.0.0:111": d.Sockets, "~ /etc/app.conf": d.Configuration, "- /opt/x": d.Files,
	} {
		if !slices.Contains(lines, what) {
			t.Errorf("%q is not in %q", what, lines)
		}
	}
	if n := len(d.Packages) + len(d.Units) + len(d.Sockets) + len(d.Configuration) + len(d.Files); n != 7 {
		t.Errorf("%d differences, want 7: %+v", n, d)
	}
}

func TestKept(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	m := sample()
	_, digest, err := m.Documents()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Kept(digest); !errors.Is(err, ErrNotKept) {
		t.Errorf("before it is kept: %v", err)
	}
	if err := m.Keep(); err != nil {
		t.Fatal(err)
	}
	if got, err := Kept(digest); err != nil || !Diff(m, got).Empty() {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Kept("sha256:../../etc/passwd"); err == nil {
		t.Error("a digest that is none is taken for a path")
	}
}
