//go:build acceptance

package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/test/chromium"
)

// axePath is the file of axe that `make` installs.
const axePath = "../../.tools/axe/node_modules/axe-core/axe.min.js"

// TestPage looks at each report as a reader would, in a browser, on a phone and on a screen, light and dark, and on
// paper.
func TestPage(t *testing.T) {
	axe, err := os.ReadFile(axePath)
	if err != nil {
		t.Fatalf("%v\nhint: make .tools/axe/installed", err)
	}
	b := chromium.Start(t)
	for name, r := range cases() {
		file := filepath.Join(t.TempDir(), name+".html")
		if err := os.WriteFile(file, []byte(written(t, r)), 0o600); err != nil {
			t.Fatal(err)
		}
		for scheme, widths := range map[string][]int{"light": {360, 800, 1600}, "dark": {360, 1600}, "print": {700}} {
			for _, width := range widths {
				t.Run(fmt.Sprintf("%s-%d-%s", name, width, scheme), func(t *testing.T) {
					b.T = t
					count(t, b.Judge(file, width, scheme, string(axe)), r)
					// For people to look at.
					if dir := os.Getenv("SCREENSHOTS"); dir != "" {
						b.Screenshot(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)))
					}
				})
			}
		}
	}
	b.T = t
}

// count compares how much of the report the page shows with how much there is.
func count(t *testing.T, l chromium.Looked, r Report) {
	t.Helper()
	pictures := 0
	for _, there := range []bool{len(r.Steps) > 0, !r.Topology.Empty(), len(r.Health) > 0} {
		if there {
			pictures++
		}
	}
	all, _ := talks(r.Topology.Groups)
	if l.Pictures != pictures || l.Arrows != len(all) || l.Labels < 3*pictures {
		t.Errorf(
			"%d pictures, want %d; %d arrows, want %d; %d labels",
			l.Pictures,
			pictures,
			l.Arrows,
			len(all),
			l.Labels,
		)
	}
}

// TestJudges has each fault that the test above looks for be found where it is.
func TestJudges(t *testing.T) {
	axe, err := os.ReadFile(axePath)
	if err != nil {
		t.Fatalf("%v\nhint: make .tools/axe/installed", err)
	}
	b := chromium.Start(t)
	svg := func(inside string) string {
		return `<svg width="300" height="100" viewBox="0 0 300 100" role="img" aria-label="x">` +
			`<rect width="300" height="100" fill="#fff"/>` + inside + `</svg>`
	}
	for name, c := range map[string]struct {
		body  string
		found func(l chromium.Looked, violations []string) bool
	}{
		"wide": {
			`<div style="width:500px">x</div>`,
			func(l chromium.Looked, _ []string) bool { return l.Wide > 0 },
		},
		"overlap": {
			svg(`<text x="10" y="50">one</text><text x="20" y="52">two</text>`),
			func(l chromium.Looked, _ []string) bool { return len(l.Overlaps) == 1 && l.Labels == 2 },
		},
		"cut off": {
			svg(`<text x="290" y="50">one more</text>`),
			func(l chromium.Looked, _ []string) bool { return len(l.Outside) == 1 },
		},
		"faint": {
			svg(`<text x="10" y="50" fill="#999">one</text>`),
			func(l chromium.Looked, _ []string) bool { return len(l.Faint) == 1 },
		},
		"on colour": {
			svg(`<rect x="5" y="30" width="90" height="30" fill="#333"/><text x="10" y="50" fill="#000">one</text>`),
			func(l chromium.Looked, _ []string) bool { return len(l.Faint) == 1 },
		},
		"small": {
			svg(`<text x="10" y="50" font-size="7">one</text>`),
			func(l chromium.Looked, _ []string) bool { return len(l.Small) == 1 },
		},
		"good": {
			svg(`<text x="10" y="30">one</text><text x="10" y="70">two</text>`),
			func(l chromium.Looked, _ []string) bool {
				return len(l.Overlaps)+len(l.Outside)+len(l.Faint)+len(l.Small)+l.Wide == 0
			},
		},
		"contrast": {
			`<p style="color:#999;background:#fff">one</p>`,
			func(_ chromium.Looked, v []string) bool { return strings.Contains(fmt.Sprint(v), "color-contrast") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			b.T = t
			file := filepath.Join(t.TempDir(), "page.html")
			if err := os.WriteFile(
				file,
				[]byte("<!doctype html><html lang=en><title>x</title><body>"+c.body),
				0o600,
			); err != nil {
				t.Fatal(err)
			}
			b.Open(file, 360, "light")
			l, violations := b.Look(), b.Axe(string(axe))
			if !c.found(l, violations) {
				t.Errorf("found %+v, %q", l, violations)
			}
		})
	}
	t.Run("forbidden", func(t *testing.T) {
		b.T = t
		file := filepath.Join(t.TempDir(), "page.html")
		page := strings.Replace(
			written(t, sample(1, 5)),
			"</main>",
			`</main><p style="color:red">x</p><script>alert(1)</script><img alt="" src="https://example.com/x.png">`,
			1,
		)
		if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
		b.Open(file, 360, "light")
		said := strings.Join(b.Complaints, "\n")
		for _, directive := range []string{"style-src", "script-src", "img-src"} {
			if !strings.Contains(said, directive) {
				t.Errorf("the policy's %s does not stop what it should: %s", directive, said)
			}
		}
	})
	b.T = t
}
