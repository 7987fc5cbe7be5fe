package instance

import (
	"bytes"
	"embed"
	"path"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

//go:embed units/*.service units/*.timer
var units embed.FS

// Units of the first boot.
const (
	FirstBootUnit = "goldsmith-firstboot.service"
	DataUnit      = "goldsmith-data.service"
	DatabaseUnit  = "goldsmith-database.service"
	// AddressUnit is started and stopped with DataUnit.
	AddressUnit = "goldsmith-address.service"
	ReadyUnit   = "goldsmith-ready.service"
	// ConsoleUnit is started by ReadyUnit, and by ConsoleTimer from then on.
	ConsoleUnit  = "goldsmith-console.service"
	ConsoleTimer = "goldsmith-console.timer"
)

// hostKeys has cloud-init make the one host key that is wanted. An RSA key takes longer than all else that it does.
const hostKeys = "ssh_genkeytypes: [ed25519]\n"

// FirstBootTasks put the agent and the units of the first boot into an image. Each tier's provisioner has them first;
// a second time they change nothing.
func FirstBootTasks(agent task.Blob) ([]task.Task, error) {
	tasks := []task.Task{
		{Name: "directory of the agent", Spec: task.Directory{Path: path.Dir(AgentPath)}},
		{Name: "agent", Spec: task.File{Path: AgentPath, Content: agent, Mode: "0755"}},
		{Name: "directory of descriptions", Spec: task.Directory{Path: path.Dir(DescriptionDir)}},
		{Name: "directory of the image's descriptions", Spec: task.Directory{Path: DescriptionDir}},
		{Name: "directory of the instance's state", Spec: task.Directory{Path: StateDir, Mode: "0700"}},
		{Name: "directory of cloud-init's settings", Spec: task.Directory{Path: "/etc/cloud/cloud.cfg.d"}},
		{
			Name: "kind of host key",
			Spec: task.File{Path: "/etc/cloud/cloud.cfg.d/95_goldsmith.cfg", Content: task.Bytes([]byte(hostKeys))},
		},
	}
	return addUnits(tasks, FirstBootUnit, ConsoleUnit, ConsoleTimer, ReadyUnit)
}

// DataTasks put the units into an image that a data tier has besides: they take its volume and its service address, and
// set up its server.
func DataTasks() ([]task.Task, error) { return addUnits(nil, AddressUnit, DataUnit, DatabaseUnit) }

func addUnits(tasks []task.Task, names ...string) ([]task.Task, error) {
	yes := true
	for _, unit := range names {
		content, err := units.ReadFile("units/" + unit)
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, task.Task{Name: unit, Spec: task.Unit{Unit: unit, Content: task.Bytes(content)}})
		if bytes.Contains(content, []byte("[Install]")) {
			tasks = append(tasks,
				task.Task{Name: "enable " + unit, Spec: task.Service{Unit: unit, Enabled: &yes}})
		}
	}
	return tasks, nil
}

// WaitForFirstBoot is the task that has a service start only after a first boot that went well, and before the
// instance verifies itself.
func WaitForFirstBoot(unit string) task.Task { return waitFor(unit, FirstBootUnit, ReadyUnit) }

// WaitForData is the task that has a data tier's server start only when its data is there, and stop before that goes.
func WaitForData(unit string) task.Task {
	return waitFor(unit, FirstBootUnit+" "+DataUnit, DatabaseUnit+" "+ReadyUnit)
}

func waitFor(unit, earlier, later string) task.Task {
	return task.Task{Name: unit + " waits for the first boot", Spec: task.Unit{Unit: unit, DropIn: "10-goldsmith.conf",
		Content: task.Bytes([]byte("[Unit]\nRequires=" + earlier + "\nAfter=" + earlier + "\nBefore=" + later + "\n"))}}
}
