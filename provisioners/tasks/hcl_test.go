package tasks

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/hcl/v2/hclparse"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// parse is a block's body as Packer hands it over.
func parse(t *testing.T, p *Provisioner, text string) any {
	t.Helper()
	file, bad := hclparse.NewParser().ParseHCL([]byte(text), "build.pkr.hcl")
	if bad.HasErrors() {
		t.Fatal(bad)
	}
	value, bad := hcldec.Decode(file.Body, p.ConfigSpec(), nil)
	if bad.HasErrors() {
		t.Fatal(bad)
	}
	return value
}

// read is a blob's content.
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

const several = `
name = "mine"
vars = { who = "world" }
task {
  name = "last in the alphabet"
  service {
    unit    = "z.service"
    enabled = false
    masked  = true
  }
}
task {
  name      = "second"
  notify    = ["tell"]
  sensitive = true
  file {
    path     = "/srv/a"
    content  = "hello {{ .Names }} $${x}"
    mode     = "0600"
    owner    = "www-data"
    group    = "adm"
    validate = ["true", "%s"]
  }
}
task {
  name = "third"
  command {
    shell   = "docker ps --format '{{ json . }}'"
    creates = "/srv/b"
    timeout = "90s"
    env     = { A = "b" }
  }
}
handler {
  name = "tell"
  service {
    unit  = "z.service"
    state = "stopped"
  }
}
`

// TestBlocksOfHCL holds a play to what was written: the order, what is false and not merely left out, and braces that
// are the content's own.
func TestBlocksOfHCL(t *testing.T) {
	p := &Provisioner{}
	value := parse(t, p, several)
	for range 2 { // Packer prepares a provisioner again when the machine is there
		if err := p.Prepare(value); err != nil {
			t.Fatal(err)
		}
	}
	play, err := p.config.play(render.SampleFacts(), task.Blob{})
	if err != nil {
		t.Fatal(err)
	}
	if play.Name != "mine" || len(play.Tasks) != 3 || len(play.Handlers) != 1 {
		t.Fatalf("got %+v", play)
	}
	no, yes := false, true
	file, ok := play.Tasks[1].Spec.(task.File)
	if !ok {
		t.Fatalf("the second task is %+v", play.Tasks[1])
	}
	if got, want := read(t, file.Content), "hello {{ .Names }} ${x}"; got != want {
		t.Errorf("the content is %q, want %q", got, want)
	}
	file.Content = task.Blob{}
	play.Tasks[1].Spec = file
	want := []task.Task{
		{Name: "last in the alphabet", Spec: task.Service{Unit: "z.service", Enabled: &no, Masked: &yes}},
		{
			Name:      "second",
			Notify:    []string{"tell"},
			Sensitive: true,
			Spec: task.File{
				Path:  "/srv/a",
				Mode:  "0600",
				Owner: "www-data",
				Group: "adm",
				Test:  []string{"true", "%s"},
			},
		},
		{
			Name: "third",
			Spec: task.Command{
				Shell:   "docker ps --format '{{ json . }}'",
				Creates: "/srv/b",
				Timeout: "90s",
				Env:     map[string]string{"A": "b"},
			},
		},
	}
	for i := range want {
		if !reflect.DeepEqual(play.Tasks[i], want[i]) {
			t.Errorf("task %d is\n%+v, want\n%+v", i, play.Tasks[i], want[i])
		}
	}
	if handler := (task.Task{
		Name: "tell",
		Spec: task.Service{Unit: "z.service", State: task.Stopped},
	}); !reflect.DeepEqual(play.Handlers[0], handler) {
		t.Errorf("the handler is %+v, want %+v", play.Handlers[0], handler)
	}
}

// TestFaultsInTheirPlace wants each fault named by the block that the user wrote, and all of them at once.
func TestFaultsInTheirPlace(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"a template's mode", `task {
  name = "it"
  template {
    path   = "/a"
    source = "testdata-is-made-below"
    mode   = "rw"
  }
}`, []string{`task[0] "it": template.mode`}},
		{"two tasks", `task {
  name = "one"
  file {
    path    = "a"
    content = "x"
  }
}
task {
  name = "two"
  package {
    names = ["Nginx"]
  }
}`, []string{`task[0] "one": file.path`, `task[1] "two": package.names[0]`}},
		{"a handler", `task {
  name = "one"
  sql {
    statements = "SELECT 1"
  }
}
handler {
  name = "h"
  command {
    argv    = ["true"]
    timeout = "soon"
  }
}`, []string{`handler[0] "h": command.timeout`}},
		{"a handler that is there twice", `task {
  name = "one"
  sql {
    statements = "SELECT 1"
  }
}
handler {
  name = "h"
  command {
    argv = ["true"]
  }
}
handler {
  name = "h"
  command {
    argv = ["false"]
  }
}`, []string{`handler[1].name`, `"h"`}},
		{"no name", `task {
  name = ""
  sql {
    statements = "SELECT 1"
  }
}`, []string{"task[0].name"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			source := filepath.Join(t.TempDir(), "t")
			if err := os.WriteFile(source, []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			p := &Provisioner{}
			err := p.Prepare(parse(t, p, strings.ReplaceAll(c.text, "testdata-is-made-below", source)))
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want an error with %q", err, want)
				}
			}
		})
	}
}

// TestWhatIsToGoNeedsNoContent lets a file and a unit be absent without saying what would be in them.
func TestWhatIsToGoNeedsNoContent(t *testing.T) {
	for kind, block := range map[string]map[string]any{
		"file": {"path": "/a", "state": "absent"}, "unit": {"unit": "a.service", "state": "absent"},
		"directory": {"path": "/srv/a", "state": "absent"}, "link": {"path": "/a", "state": "absent"},
	} {
		if err := new(Provisioner).Prepare(one(map[string]any{kind: block})); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestTemplatesKnowTheMachine renders for the facts of the machine and not for the sample's.
func TestTemplatesKnowTheMachine(t *testing.T) {
	source := filepath.Join(t.TempDir(), "t")
	if err := os.WriteFile(
		source,
		[]byte("{{ .vars.x }} on {{ .facts.arch }}, {{ .facts.os_codename }}\n"),
		0o644,
	); err != nil {
		t.Fatal(err)
	}
	p := &Provisioner{}
	err := p.Prepare(map[string]any{"vars": map[string]string{"x": "it"}, "task": []any{
		map[string]any{"name": "file", "template": map[string]any{"path": "/a", "source": source, "mode": "0640"}},
		map[string]any{
			"name": "unit",
			"unit": map[string]any{"unit": "a.service", "drop_in": "50-a.conf", "source": source},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	play, err := p.config.play(
		task.Facts{Arch: "arm64", OS: task.OSFacts{ID: "ubuntu", Version: "22.04", Codename: "jammy"}},
		task.Blob{},
	)
	if err != nil {
		t.Fatal(err)
	}
	const want = "it on arm64, jammy\n"
	if file, ok := play.Tasks[0].Spec.(task.File); !ok || read(t, file.Content) != want || file.Mode != "0640" {
		t.Errorf("the file is %+v", play.Tasks[0].Spec)
	}
	if unit, ok := play.Tasks[1].Spec.(task.Unit); !ok || read(t, unit.Content) != want || unit.DropIn != "50-a.conf" {
		t.Errorf("the drop-in is %+v", play.Tasks[1].Spec)
	}
}
