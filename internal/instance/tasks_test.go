package instance

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// writeDescription does what the task of Describe does.
func writeDescription(t *testing.T, dir, name string, description any) {
	t.Helper()
	described, err := Describe(name, description)
	if err != nil {
		t.Fatal(err)
	}
	file := described.Spec.(task.File)
	if want := filepath.Join(DescriptionDir, name+".json"); file.Path != want {
		t.Errorf("described in %s, want %s", file.Path, want)
	}
	content, err := file.Content.Open()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFirstBootTasksAreValid(t *testing.T) {
	tasks, err := FirstBootTasks(task.Bytes([]byte("agent")))
	if err != nil {
		t.Fatal(err)
	}
	play := task.Play{Name: "first boot", Tasks: append(tasks, WaitForFirstBoot("nginx.service"))}
	if err := play.Validate(); err != nil {
		t.Error(err)
	}
	units := 0
	for _, each := range tasks {
		if unit, ok := each.Spec.(task.Unit); ok {
			units++
			content, err := unit.Content.Open()
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(content)
			if !strings.Contains(string(text), "ExecStart="+AgentPath+" ") || !strings.Contains(string(text), "WantedBy=") {
				t.Errorf("%s does not start the agent at boot:\n%s", unit.Unit, text)
			}
		}
	}
	if units != 4 {
		t.Errorf("%d units, want 4", units)
	}
}
