//go:build acceptance

package report

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// axePath is where `make` installs axe.
const axePath = "../../.tools/axe/node_modules/axe-core/axe.min.js"

//go:embed testdata/look.js
var look string

// looked is what look.js finds in a page.
type looked struct {
	// Wide is how much wider than the window the page is.
	Wide int
	// Pictures, Labels and Arrows are how many are shown.
	Pictures, Labels, Arrows int
	// Overlaps are pairs of labels, Outside labels that are cut off, Faint those that can hardly be read, Small those too small.
	Overlaps, Outside, Faint, Small []string
}

// TestPage looks at each report as a reader would, in a browser, on a phone and on a screen, light and dark, and on paper.
func TestPage(t *testing.T) {
	axe, err := os.ReadFile(axePath)
	if err != nil {
		t.Fatalf("%v\nhint: make .tools/axe/installed", err)
	}
	b := startBrowser(t)
	for name, r := range cases() {
		file := filepath.Join(t.TempDir(), name+".html")
		if err := os.WriteFile(file, []byte(written(t, r)), 0o600); err != nil {
			t.Fatal(err)
		}
		for scheme, widths := range map[string][]int{"light": {360, 800, 1600}, "dark": {360, 1600}, "print": {700}} {
			for _, width := range widths {
				t.Run(fmt.Sprintf("%s-%d-%s", name, width, scheme), func(t *testing.T) {
					b.t = t
					b.open(file, width, scheme)
					b.judge(r)
					b.axe(string(axe))
					if len(b.complaints) > 0 {
						t.Errorf("the browser complains: %s", strings.Join(b.complaints, "\n"))
					}
					if len(b.requests) != 1 || b.requests[0] != "file://"+file {
						t.Errorf("the page asks for %q", b.requests)
					}
					// For people to look at.
					if dir := os.Getenv("SCREENSHOTS"); dir != "" {
						b.screenshot(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", name, width, scheme)))
					}
				})
			}
		}
	}
	b.t = t
}

// judge looks at the page's pictures and labels.
func (b *browser) judge(r Report) {
	b.t.Helper()
	var l looked
	b.evaluate(look, &l)
	if l.Wide > 0 {
		b.t.Errorf("the page is %d pixels wider than the window", l.Wide)
	}
	// Without a background of its own the page would be on the browser's, which may be dark where the text is too.
	var ground string
	b.evaluate("getComputedStyle(document.body).backgroundColor", &ground)
	if !strings.HasPrefix(ground, "rgb(") {
		b.t.Errorf("the page's background is %s", ground)
	}
	pictures := 0
	for _, there := range []bool{len(r.Steps) > 0, !r.Topology.Empty(), len(r.Health) > 0} {
		if there {
			pictures++
		}
	}
	all, _ := talks(r.Topology.Groups)
	if l.Pictures != pictures || l.Arrows != len(all) || l.Labels < 3*pictures {
		b.t.Errorf("%d pictures, want %d; %d arrows, want %d; %d labels", l.Pictures, pictures, l.Arrows, len(all), l.Labels)
	}
	for what, found := range map[string][]string{"over each other": l.Overlaps, "cut off": l.Outside, "hardly to be read": l.Faint, "too small": l.Small} {
		if len(found) > 0 {
			b.t.Errorf("%d labels are %s: %q", len(found), what, found[:min(5, len(found))])
		}
	}
}

// axe has axe judge the page.
func (b *browser) axe(source string) {
	b.t.Helper()
	b.evaluate(source+";0", nil)
	var found []string
	b.evaluate(`axe.run(document, {preload: false, resultTypes: ["violations"]}).then(r => r.violations.map(v => v.id + ": " + v.nodes.map(n => n.html + " " + n.failureSummary).join("\n")))`, &found)
	for _, violation := range found {
		b.t.Errorf("axe: %s", violation)
	}
}

// TestJudges has each fault that the test above looks for be found where it is.
func TestJudges(t *testing.T) {
	axe, err := os.ReadFile(axePath)
	if err != nil {
		t.Fatalf("%v\nhint: make .tools/axe/installed", err)
	}
	b := startBrowser(t)
	svg := func(inside string) string {
		return `<svg width="300" height="100" viewBox="0 0 300 100" role="img" aria-label="x"><rect width="300" height="100" fill="#fff"/>` + inside + `</svg>`
	}
	for name, c := range map[string]struct {
		body  string
		found func(l looked, violations []string) bool
	}{
		"wide":      {`<div style="width:500px">x</div>`, func(l looked, _ []string) bool { return l.Wide > 0 }},
		"overlap":   {svg(`<text x="10" y="50">one</text><text x="20" y="52">two</text>`), func(l looked, _ []string) bool { return len(l.Overlaps) == 1 && l.Labels == 2 }},
		"cut off":   {svg(`<text x="290" y="50">one more</text>`), func(l looked, _ []string) bool { return len(l.Outside) == 1 }},
		"faint":     {svg(`<text x="10" y="50" fill="#999">one</text>`), func(l looked, _ []string) bool { return len(l.Faint) == 1 }},
		"on colour": {svg(`<rect x="5" y="30" width="90" height="30" fill="#333"/><text x="10" y="50" fill="#000">one</text>`), func(l looked, _ []string) bool { return len(l.Faint) == 1 }},
		"small":     {svg(`<text x="10" y="50" font-size="7">one</text>`), func(l looked, _ []string) bool { return len(l.Small) == 1 }},
		"good": {svg(`<text x="10" y="30">one</text><text x="10" y="70">two</text>`), func(l looked, _ []string) bool {
			return len(l.Overlaps)+len(l.Outside)+len(l.Faint)+len(l.Small)+l.Wide == 0
		}},
		"contrast": {`<p style="color:#999;background:#fff">one</p>`, func(_ looked, v []string) bool { return strings.Contains(fmt.Sprint(v), "color-contrast") }},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			file := filepath.Join(t.TempDir(), "page.html")
			if err := os.WriteFile(file, []byte("<!doctype html><html lang=en><title>x</title><body>"+c.body), 0o600); err != nil {
				t.Fatal(err)
			}
			b.open(file, 360, "light")
			var l looked
			b.evaluate(look, &l)
			b.evaluate(string(axe)+";0", nil)
			var violations []string
			b.evaluate(`axe.run().then(r => r.violations.map(v => v.id))`, &violations)
			if !c.found(l, violations) {
				t.Errorf("found %+v, %q", l, violations)
			}
		})
	}
	t.Run("forbidden", func(t *testing.T) {
		b.t = t
		file := filepath.Join(t.TempDir(), "page.html")
		page := strings.Replace(written(t, sample(1, 5)), "</main>", `</main><p style="color:red">x</p><script>alert(1)</script><img alt="" src="https://example.com/x.png">`, 1)
		if err := os.WriteFile(file, []byte(page), 0o600); err != nil {
			t.Fatal(err)
		}
		b.open(file, 360, "light")
		said := strings.Join(b.complaints, "\n")
		for _, directive := range []string{"style-src", "script-src", "img-src"} {
			if !strings.Contains(said, directive) {
				t.Errorf("the policy's %s does not stop what it should: %s", directive, said)
			}
		}
	})
	b.t = t
}
