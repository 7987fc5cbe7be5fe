package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html"
	"slices"
	"strings"
)

//go:embed page/style.css
var style string

// policy lets the page's own style be, and nothing else: no script, no picture, no other address.
var policy = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-" +
		base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

// markup is HTML under way. A template engine would do the same, but reaches methods by name: with one in a program the
// linker keeps every method of every type, which is the whole client of EC2.
type markup struct{ strings.Builder }

// addf adds HTML. The format is the markup; what its verbs print is text, in an element or in a quoted attribute.
func (m *markup) addf(format string, texts ...any) {
	escaped := make([]any, len(texts))
	for i, text := range texts {
		escaped[i] = html.EscapeString(fmt.Sprint(text))
	}
	fmt.Fprintf(m, format, escaped...)
}

// page is a view as a whole page.
func page(v view) string {
	var m markup
	m.addf(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="%s">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s: %s %s, %s</title>
<style>`, policy, v.Stack, v.Kind, v.ID, v.Result)
	m.WriteString(style)
	m.addf(`</style>
</head>
<body>
<main>
`)
	m.headline(v)
	m.steps(v)
	m.network(v)
	m.health(v)
	m.addf(`</main>
</body>
</html>
`)
	return m.String()
}

// fromTo is a change from one to another.
const fromTo = `<span class="id">%s</span> <span aria-hidden="true">→</span><span class="unseen">to</span> ` +
	`<span class="id">%s</span>`

func (m *markup) headline(v view) {
	m.addf(`<header>
  <h1>%s</h1>
  <p>%s: `+fromTo+`</p>
</header>
`, cmp.Or(v.Stack, "Stack"), cmp.Or(v.Kind, "deploy"), v.From.Title("nothing"), v.To.Title("not known"))
	m.addf(`<section class="result %s" aria-labelledby="result">
  <h2 id="result"><span class="mark" aria-hidden="true">%s</span> %s</h2>
`, v.Tone, v.Mark, cmp.Or(v.Result, "result not known"))
	if v.Reason != "" {
		m.addf("  <p class=\"reason\">%s</p>\n", v.Reason)
	}
	m.addf("  <dl>\n")
	for _, fact := range [][2]string{
		{"Who", cmp.Or(v.Who, "not known")},
		{"Began", clock(v.Started)},
		{"Took", v.Took},
		{"Id", cmp.Or(v.ID, "none")},
	} {
		m.addf("    <div><dt>%s</dt><dd>%s</dd></div>\n", fact[0], fact[1])
	}
	told := map[string]bool{}
	for _, image := range slices.Concat(v.To.Images, v.From.Images) {
		if told[image.Tier] {
			continue
		}
		told[image.Tier] = true
		m.addf("    <div><dt>Image of %s</dt><dd>"+fromTo+"</dd></div>\n",
			image.Tier, v.From.image(image.Tier), v.To.image(image.Tier))
	}
	m.addf("  </dl>\n</section>\n")
}

func (m *markup) steps(v view) {
	m.addf("<section aria-labelledby=\"steps\">\n  <h2 id=\"steps\">Steps</h2>\n")
	for _, pause := range v.Pauses {
		m.addf("  <p>%s</p>\n", pause)
	}
	if len(v.Rows) == 0 {
		m.addf("  <p>No step was recorded.</p>\n</section>\n")
		return
	}
	m.addf("  <figure>")
	m.drawings(v.Timelines)
	m.addf("</figure>\n")
	m.table("Table of the steps", []string{"Step", "Result", "Tier", "After", "Seconds", "Detail"}, func() {
		for _, r := range v.Rows {
			m.addf(`    <tr><th scope="row">%s</th>`, cmp.Or(r.Name, "without a name"))
			if r.Word == "failed" {
				m.addf(`<td class="bad">%s</td>`, r.Word)
			} else {
				m.addf(`<td>%s</td>`, r.Word)
			}
			m.addf(`<td>%s</td><td class="n">%s</td><td class="n">%s</td><td class="long">%s</td></tr>`+"\n",
				r.Tier, r.Offset, r.Seconds, r.Detail)
		}
	})
	m.addf("</section>\n")
}

// table writes a table's frame; rows writes what is in it.
func (m *markup) table(label string, columns []string, rows func()) {
	m.addf(`  <div class="scroll" tabindex="0" role="region" aria-label="%s">
  <table>
    <thead><tr>`, label)
	for _, column := range columns {
		m.addf(`<th scope="col">%s</th>`, column)
	}
	m.addf(`</tr></thead>
    <tbody>
`)
	rows()
	m.addf(`    </tbody>
  </table>
  </div>
`)
}

func (m *markup) network(v view) {
	m.addf("<section aria-labelledby=\"network\">\n  <h2 id=\"network\">Network</h2>\n")
	t := v.Topology
	if t.Incomplete != "" {
		m.addf("  <p>Some of the network is not known: %s</p>\n", t.Incomplete)
	}
	if t.Empty() {
		m.addf("  <p>Nothing is known of the network.</p>\n</section>\n")
		return
	}
	m.addf("  <figure>")
	m.drawings(v.Networks)
	m.addf(`
  <figcaption>A line leads from whom a rule lets in to the security group that has the rule. ` +
		`What this deploy launched is new and has a full border; what was there before is old and has a dashed one. ` +
		`What serves has a bar at its left.</figcaption></figure>
`)
	if len(t.Instances) > 0 {
		columns := []string{"Instance", "Name", "State", "Image", "Addresses", "Subnet", "Groups"}
		m.table("Table of the instances", columns, func() { m.instances(t) })
	}
	if len(t.Groups) > 0 {
		columns := []string{"Security group", "Lets in", "From", "Description"}
		m.table("Table of the security groups' rules", columns, func() { m.rules(t) })
	}
	m.addf("</section>\n")
}

func (m *markup) instances(t Topology) {
	for _, i := range t.Instances {
		m.addf(`    <tr><th scope="row"><span class="id">%s</span></th><td>%s</td><td>%s</td><td>%s</td><td>%s`,
			cmp.Or(i.ID, "without an id"), cmp.Or(i.Name, i.Tier), i.Now(), i.Image, i.Private)
		if i.Public != "" {
			m.addf("<br>%s", i.Public)
		}
		m.addf("</td><td>%s</td><td>%s</td></tr>\n", t.SubnetName(i.Subnet), t.GroupNames(i))
	}
}

func (m *markup) rules(t Topology) {
	const row = `    <tr><th scope="row">%s</th><td>%s</td><td>%s</td><td>%s</td></tr>` + "\n"
	for _, g := range t.Groups {
		for _, r := range g.Rules {
			m.addf(row, g.Title(), traffic([]Rule{r}), t.Source(r), r.Description)
		}
		if len(g.Rules) == 0 {
			m.addf(row, g.Title(), "nothing", "", "")
		}
	}
}

func (m *markup) health(v view) {
	m.addf("<section aria-labelledby=\"health\">\n  <h2 id=\"health\">Health</h2>\n  <p>%s</p>\n", v.Answered)
	if len(v.Health) > 0 {
		m.addf("  <figure>")
		m.drawings(v.Healths)
		m.addf("\n  <figcaption>Each dot is an answer, as high as it took; each cross a sample that failed. ")
		if len(v.Jumps) > 0 {
			m.addf("Numbered lines are moves. ")
		}
		if len(v.Pauses) > 0 {
			m.addf("A shaded band is when there were no writes.")
		}
		m.addf("</figcaption></figure>\n")
	}
	if len(v.Jumps) > 0 {
		m.addf("  <h3>Moves</h3>\n  <ol>")
		for _, j := range v.Jumps {
			m.addf(`<li><span class="n">%s</span> %s</li>`, j.At, j.What)
		}
		m.addf("</ol>\n")
	}
	if len(v.Failures) > 0 {
		m.table("Table of failed samples", []string{"Failed after", "Until", "Samples", "Detail"}, func() {
			for _, f := range v.Failures {
				m.addf(`    <tr><td class="n">%s</td><td class="n">%s</td><td class="n">%s</td>`+
					`<td class="long">%s</td></tr>`+"\n", f.At, f.Until, f.Count, f.Detail)
			}
		})
	}
	if v.More != "" {
		m.addf("  <p>%s</p>\n", v.More)
	}
	m.addf("</section>\n")
}

func (m *markup) drawings(all []drawing) {
	for _, d := range all {
		m.addf(`<svg class="w%s" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-title %s-text">`,
			d.Width, d.Width, d.Height, d.ID, d.ID)
		m.addf(`<title id="%s-title">%s</title><desc id="%s-text">%s</desc>`, d.ID, d.Title, d.ID, d.Text)
		for _, s := range d.Shapes {
			m.addf("\n")
			m.shape(s)
		}
		m.addf("\n</svg>")
	}
}

func (m *markup) shape(s shape) {
	switch s.Kind {
	case "rect":
		m.addf(`<rect class="%s" x="%s" y="%s" width="%s" height="%s"/>`, s.Class, s.X, s.Y, s.Width, s.Height)
	case "path":
		m.addf(`<path class="%s" d="%s"/>`, s.Class, s.Path)
	default:
		m.addf(`<text class="%s" x="%s" y="%s">%s`, s.Class, s.X, s.Y, s.Text)
		if s.Tail != "" {
			m.addf(` <tspan class="soft" dx="2">%s</tspan>`, s.Tail)
		}
		m.addf("</text>")
	}
}
