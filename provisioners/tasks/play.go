package tasks

import (
	"errors"
	"fmt"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// play is the configuration as the engine takes it, with templates rendered for these facts.
func (c *Config) play(facts task.Facts, agent task.Blob) (task.Play, error) {
	data := map[string]any{"vars": c.Vars, "facts": render.Facts(facts)}
	tasks, err := convert("task", c.Tasks, data)
	handlers, handlerErr := convert("handler", c.Handlers, data)
	if err = errors.Join(err, handlerErr); err != nil {
		return task.Play{}, err
	}
	if slices.ContainsFunc(c.Tasks, func(t Task) bool { return t.Blocks[assertKind] != nil }) {
		first, err := instance.FirstBootTasks(agent)
		if err != nil {
			return task.Play{}, err
		}
		tasks = append(
			append(first, task.Task{Name: "directory of assertions", Spec: task.Directory{Path: instance.AssertDir}}),
			tasks...)
	}
	return task.Play{Name: c.Name, Tasks: tasks, Handlers: handlers}, nil
}

func convert(block string, from []Task, data map[string]any) ([]task.Task, error) {
	var all []task.Task
	var errs []error
	for i, t := range from {
		spec, err := t.spec(data)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s[%d] %q: %w", block, i, t.Name, err))
			continue
		}
		all = append(all, task.Task{Name: t.Name, Notify: t.Notify, Sensitive: t.Sensitive, Spec: spec})
	}
	return all, errors.Join(errs...)
}

// spec is the one thing that the task is about.
func (t Task) spec(data map[string]any) (task.Spec, error) {
	kind, decoded, err := t.block()
	if err != nil {
		return nil, err
	}
	var spec task.Spec
	switch block := decoded.(type) {
	case task.Spec:
		return block, nil
	case Assert:
		spec, err = block.spec(t.Name)
	case task.Block:
		spec, err = block.Spec(func(path string) ([]byte, error) { return render.File(path, data) })
	}
	if err == nil && spec.Kind() != kind {
		err = spec.Validate() // here, where it is still known what the user wrote
	}
	if err != nil {
		return nil, fmt.Errorf("%s.%w", kind, err)
	}
	return spec, nil
}

func (a Assert) spec(name string) (task.Spec, error) {
	assertion := instance.Assertion{Name: name, Argv: a.Argv, Shell: a.Shell, Output: a.Output, Timeout: a.Timeout}
	t, err := assertion.Task()
	return t.Spec, err
}
