package tasks

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// one is a configuration with one task, which has these blocks beside its name.
func one(blocks map[string]any) map[string]any {
	blocks["name"] = "it"
	return map[string]any{"task": []any{blocks}}
}

func TestPrepareNamesTheAttribute(t *testing.T) {
	template := filepath.Join(t.TempDir(), "t")
	if err := os.WriteFile(template, []byte("a\n{{ .vars.colour }}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config map[string]any
		want   []string
	}{
		{map[string]any{}, []string{"task"}},
		{one(map[string]any{}), []string{`task[0] "it"`, "one is needed"}},
		{one(
			map[string]any{
				"sql":  map[string]any{"statements": "x"},
				"link": map[string]any{"path": "/a", "target": "b"},
			},
		),
			[]string{"2 blocks"}},
		{one(map[string]any{"file": map[string]any{"path": "/a", "content": "x", "mode": "rw"}}),
			[]string{`task[0] "it"`, "mode"}},
		{one(map[string]any{"file": map[string]any{"path": "/a", "content": "x", "source": "y"}}),
			[]string{"file.content"}},
		{one(map[string]any{"file": map[string]any{"path": "/a", "source": "/no/such"}}),
			[]string{"file.source", "/no/such"}},
		{one(map[string]any{"template": map[string]any{"path": "/a", "source": template}}),
			[]string{"template.source", "t:2", "colour"}},
		{one(map[string]any{"unit": map[string]any{"unit": "a.service"}}), []string{"unit.content"}},
		{one(map[string]any{"notify": []string{"nobody"}, "sql": map[string]any{"statements": "x"}}),
			[]string{"notify", "nobody"}},
		{one(map[string]any{"command": map[string]any{}}), []string{"command.argv"}},
	} {
		err := new(Provisioner).Prepare(c.config)
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: got %v, want an error with %q", c.config, err, want)
			}
		}
	}
}

func TestEveryBlockBecomesItsTask(t *testing.T) {
	source := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(source, []byte("x = {{ .vars.x }}"), 0o644); err != nil {
		t.Fatal(err)
	}
	blocks := map[string]map[string]any{
		"package": {
			"names": []string{"nginx"},
		},
		"file":     {"path": "/a", "content": "x"},
		"template": {"path": "/a", "source": source},
		"directory": {
			"path": "/srv/a",
		},
		"link":  {"path": "/a", "target": "b"},
		"group": {"group": "a"},
		"user":  {"user": "a"},
		"unit": {
			"unit":    "a.service",
			"content": "[Unit]",
		},
		"service": {"unit": "a.service", "enabled": false},
		"command": {"shell": "true"},
		"sysctl": {
			"key":   "a.b",
			"value": "1",
		},
		"sql":      {"statements": "x"},
		"apt_hold": {"names": []string{"nginx"}},
		"line":     {"path": "/a", "line": "x"},
	}
	for kind, block := range blocks {
		config := one(map[string]any{kind: block})
		config["vars"] = map[string]string{"x": "1"}
		p := &Provisioner{}
		if err := p.Prepare(config); err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		play, err := p.config.play(render.SampleFacts(), task.Blob{})
		want := map[bool]string{true: "file", false: kind}[kind == "template"]
		if err != nil || len(play.Tasks) != 1 || play.Tasks[0].Spec.Kind() != want {
			t.Errorf("%s: got %+v, %v", kind, play, err)
		}
		if service, ok := play.Tasks[0].Spec.(task.Service); ok && (service.Enabled == nil || *service.Enabled) {
			t.Errorf("enabled = false came out as %v", service.Enabled)
		}
	}
}
