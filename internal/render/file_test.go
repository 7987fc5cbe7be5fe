package render

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tmpl")
	if err := os.WriteFile(path, []byte("one\ntwo {{ .vars.x }}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := File(path, map[string]any{"vars": map[string]string{"x": "2"}}); err != nil ||
		string(got) != "one\ntwo 2\n" {
		t.Errorf("got %q, %v", got, err)
	}
	_, err := File(path, map[string]any{"vars": map[string]string(nil)})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "a.tmpl:2") {
		t.Errorf("got %v, want an error with the path and the line", err)
	}
	missing := filepath.Join(t.TempDir(), "b.tmpl")
	if _, err := File(missing, nil); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("got %v, want one that %s is not there", err, missing)
	}
}

// TestErrorsNameWhatThereIs lists names, in order, and never a value, which may be secret.
func TestErrorsNameWhatThereIs(t *testing.T) {
	data := map[string]any{
		"b":     "hidden",
		"a":     1,
		"vars":  map[string]string{"y": "hidden", "x": "hidden"},
		"facts": map[string]any{"arch": "hidden"},
	}
	out, err := Text("t", "begin {{ .c }}", data)
	if err == nil || out != nil {
		t.Fatalf("got %q, %v", out, err)
	}
	if !strings.HasSuffix(err.Error(), "; there are: a, b, facts.arch, vars.x, vars.y") ||
		strings.Contains(err.Error(), "hidden") {
		t.Errorf("got %v", err)
	}
	if !strings.HasPrefix(err.Error(), "render template t: t:1:") {
		t.Errorf("%v does not begin with the place", err)
	}
}

// TestNothingOfThisMachine keeps the operator's environment and network out of an image.
func TestNothingOfThisMachine(t *testing.T) {
	t.Setenv("HOME", "/home/operator")
	for _, text := range []string{`{{ env "HOME" }}`, `{{ expandenv "$HOME" }}`, `{{ getHostByName "localhost" }}`} {
		if out, err := Text("t", text, nil); err == nil || !strings.Contains(err.Error(), "not defined") {
			t.Errorf("%s: got %q, %v", text, out, err)
		}
	}
}

func TestFacts(t *testing.T) {
	got := Facts(
		task.Facts{
			OS:       task.OSFacts{ID: "ubuntu", Version: "22.04", Codename: "jammy"},
			Arch:     "arm64",
			MemoryMB: 512,
			CPUs:     3,
			Hostname: "h",
		},
	)
	want := map[string]any{
		"os_id":       "ubuntu",
		"os_version":  "22.04",
		"os_codename": "jammy",
		"arch":        "arm64",
		"memory_mb":   512,
		"cpus":        3,
		"hostname":    "h",
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, value := range Facts(SampleFacts()) {
		if value == "" || value == 0 {
			t.Errorf(
				"the sample has no %s: a template that divides by it, or compares it, would fail for nothing",
				name,
			)
		}
	}
}
