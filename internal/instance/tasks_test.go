package instance

import (
	"io"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

func TestFirstBootTasksAreValid(t *testing.T) {
	tasks, err := FirstBootTasks(task.Bytes([]byte("agent")))
	if err != nil {
		t.Fatal(err)
	}
	data, err := DataTasks()
	if err != nil {
		t.Fatal(err)
	}
	tasks = append(tasks, data...)
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
			if !strings.Contains(string(text), "ExecStart="+AgentPath+" ") ||
				!strings.Contains(string(text), "WantedBy=") {
				t.Errorf("%s does not start the agent at boot:\n%s", unit.Unit, text)
			}
		}
	}
	if units != 4 {
		t.Errorf("%d units, want 4", units)
	}
}
