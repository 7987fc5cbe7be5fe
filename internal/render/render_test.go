package render

import (
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	data := map[string]any{"port": 3306, "vars": map[string]any{"name": "x"}, "facts": Facts(SampleFacts())}
	for _, c := range []struct{ name, text, want, fault string }{
		{"plain", "port = {{ .port }}", "port = 3306", ""},
		{"sprig", "{{ .vars.name | upper }}", "X", ""},
		{"facts", "{{ if ge .facts.memory_mb 1024 }}big{{ end }}", "big", ""},
		{"unknown", "a\nb = {{ .bind }}", "", `t.tmpl:2`},
		{"unknown, with what there is", "{{ .vars.nmae }}", "", "vars.name"},
		{"syntax", "\n\n{{ if }}", "", "t.tmpl:3"},
		{"environment", "{{ env \"HOME\" }}", "", `"env" not defined`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Text("dir/t.tmpl", c.text, data)
			switch {
			case c.fault == "" && (err != nil || string(got) != c.want):
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
				t.Errorf("got %v, want an error with %q", err, c.fault)
			}
		})
	}
}
