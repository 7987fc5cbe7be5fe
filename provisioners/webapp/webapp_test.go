package webapp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

const unitFile = "../../files/systemd/goldsmith-webapp.service.tmpl"

// static is the smallest header of an ELF program of this machine number, without segments.
func static(t *testing.T, machine byte) string {
	t.Helper()
	header := make([]byte, 64)
	copy(header, "\x7fELF\x02\x01\x01")
	header[16], header[18], header[20], header[52], header[54], header[58] = 2, machine, 1, 64, 56, 64
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, header, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrepareNamesTheAttribute(t *testing.T) {
	program := static(t, 62)
	for want, config := range map[string]map[string]any{
		"binary":           {"binary": "/no/such/program"},
		"no Linux":         {"binary": "webapp_test.go"},
		"amd64 or arm64":   {"binary": static(t, 243)},
		"user":             {"binary": program, "user": "root"},
		"address":          {"binary": program, "address": "0.0.0.0:5000"},
		"unit":             {"binary": program, "unit": "/no/such/unit"},
		"it is missing":    {},
		"unknown_argument": {"binary": program, "unknown_argument": 1},
	} {
		if config["unit"] == nil {
			config["unit"] = unitFile
		}
		if err := new(Provisioner).Prepare(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got %v, want an error with %q", config, err, want)
		}
	}
}

func TestPlay(t *testing.T) {
	p := &Provisioner{}
	if err := p.Prepare(map[string]any{"binary": static(t, 62), "unit": unitFile}); err != nil {
		t.Fatal(err)
	}
	facts := render.SampleFacts()
	play, err := p.config.play(facts, task.Bytes([]byte("agent")))
	if err != nil {
		t.Fatal(err)
	}
	if err := play.Validate(); err != nil {
		t.Error(err)
	}
	for _, each := range play.Tasks {
		if service, ok := each.Spec.(task.Service); ok && service.State != "" {
			t.Errorf("%q starts something while the image is baked, where its credentials are not", each.Name)
		}
	}
	facts.Arch = "arm64"
	if _, err := p.config.play(facts, task.Bytes(nil)); err == nil || !strings.Contains(err.Error(), "binary") {
		t.Errorf("a program for another machine: %v", err)
	}
}
