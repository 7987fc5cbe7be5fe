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
	if err := errors.Join(err, handlerErr); err != nil {
		return task.Play{}, err
	}
	if slices.ContainsFunc(c.Tasks, func(t Task) bool { return t.Assert != nil }) {
		first, err := instance.FirstBootTasks(agent)
		if err != nil {
			return task.Play{}, err
		}
		tasks = append(append(first, task.Task{Name: "directory of assertions", Spec: task.Directory{Path: instance.AssertDir}}), tasks...)
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
	var found []task.Spec
	var errs []error
	add := func(spec task.Spec, err error) {
		found, errs = append(found, spec), append(errs, err)
	}
	if t.Package != nil {
		add(task.Package{Names: t.Package.Names, State: t.Package.State, Recommends: t.Package.Recommends}, nil)
	}
	if t.File != nil {
		add(t.File.spec())
	}
	if t.Template != nil {
		add(t.Template.spec(data))
	}
	if t.Directory != nil {
		add(task.Directory(*t.Directory), nil)
	}
	if t.Link != nil {
		add(task.Link(*t.Link), nil)
	}
	if t.Group != nil {
		add(task.Group(*t.Group), nil)
	}
	if t.User != nil {
		add(task.User(*t.User), nil)
	}
	if t.Unit != nil {
		add(t.Unit.spec(data))
	}
	if t.Service != nil {
		add(task.Service(*t.Service), nil)
	}
	if t.Command != nil {
		add(task.Command(*t.Command), nil)
	}
	if t.Sysctl != nil {
		add(task.Sysctl(*t.Sysctl), nil)
	}
	if t.SQL != nil {
		add(task.SQL(*t.SQL), nil)
	}
	if t.AptHold != nil {
		add(task.AptHold(*t.AptHold), nil)
	}
	if t.Line != nil {
		add(task.Line(*t.Line), nil)
	}
	if t.Assert != nil {
		add(t.Assert.spec(t.Name))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("there are %d blocks that say what should be so, such as package or file; one is needed", len(found))
	}
	return found[0], nil
}

func (a Assert) spec(name string) (task.Spec, error) {
	t, err := instance.Assertion{Name: name, Argv: a.Argv, Shell: a.Shell, Output: a.Output, Timeout: a.Timeout}.Task()
	if err != nil {
		return nil, fmt.Errorf("assert.%w", err)
	}
	return t.Spec, nil
}

func (f File) spec() (task.Spec, error) {
	spec := task.File{Path: f.Path, Mode: f.Mode, Owner: f.Owner, Group: f.Group, Test: f.Validate, State: f.State}
	if f.State == task.Absent {
		return spec, nil
	}
	if f.Content != "" && f.Source != "" {
		return nil, errors.New("file.content: it cannot go with source; take one out")
	}
	spec.Content = task.Bytes([]byte(f.Content))
	if f.Source != "" {
		blob, err := task.FileBlob(f.Source)
		if err != nil {
			return nil, fmt.Errorf("file.source: %w", err)
		}
		spec.Content = blob
	}
	return spec, nil
}

func (f Template) spec(data map[string]any) (task.Spec, error) {
	content, err := render.File(f.Source, data)
	if err != nil {
		return nil, fmt.Errorf("template.source: %w", err)
	}
	spec := task.File{Path: f.Path, Content: task.Bytes(content), Mode: f.Mode, Owner: f.Owner, Group: f.Group, Test: f.Validate}
	if err := spec.Validate(); err != nil { // here, where it is still known to be a template
		return nil, fmt.Errorf("template.%w", err)
	}
	return spec, nil
}

func (u Unit) spec(data map[string]any) (task.Spec, error) {
	spec := task.Unit{Unit: u.Unit, DropIn: u.DropIn, State: u.State}
	if u.State == task.Absent {
		return spec, nil
	}
	if (u.Content == "") == (u.Source == "") {
		return nil, errors.New("unit.content: either content or source is needed")
	}
	content := []byte(u.Content)
	if u.Source != "" {
		var err error
		if content, err = render.File(u.Source, data); err != nil {
			return nil, fmt.Errorf("unit.source: %w", err)
		}
	}
	spec.Content = task.Bytes(content)
	return spec, nil
}
