package instance

import (
	"slices"
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
			text := string(contentOf(t, unit.Content))
			if !strings.Contains(text, "ExecStart="+AgentPath+" ") && !strings.HasSuffix(unit.Unit, ".timer") {
				t.Errorf("%s does not start the agent:\n%s", unit.Unit, text)
			}
			if !slices.ContainsFunc(tasks, startsAtBoot(unit.Unit)) {
				t.Errorf("%s is not started at boot", unit.Unit)
			}
		}
	}
	if units != 7 {
		t.Errorf("%d units, want 7", units)
	}
}

// startsAtBoot matches the task that enables a unit, or the unit that wants it.
func startsAtBoot(unit string) func(task.Task) bool {
	return func(each task.Task) bool {
		service, ok := each.Spec.(task.Service)
		wanting, isUnit := each.Spec.(task.Unit)
		return ok && service.Unit == unit && *service.Enabled ||
			isUnit && wanting.Unit == ReadyUnit && unit == ConsoleUnit ||
			isUnit && wanting.Unit == DataUnit && unit == AddressUnit
	}
}
