package engine

import (
	"context"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// made is a difference that the transaction of an earlier task has made good.
type made string

func (d made) String() string { return string(d) }

func (made) Apply(context.Context, task.Machine) error { return nil }

// checkPackages looks at a whole row of neighbouring package tasks when the first of them is due: one transaction of
// apt does for all what many would do more slowly. Each task keeps an outcome of its own.
func (e *engine) checkPackages(ctx context.Context, index int) (task.Difference, error) {
	if diff, ok := e.packages[index]; ok {
		if diff == "" {
			return nil, nil
		}
		return made(diff), nil
	}
	plan, err := task.CheckPackages(ctx, e.machine, e.packageRow(index))
	if err != nil {
		return nil, err
	}
	for i, diff := range plan.Shown {
		e.packages[index+i] = diff
	}
	switch {
	case plan.Empty():
		return nil, nil
	case plan.Shown[0] != "":
		return plan, nil
	case e.dry:
		return nil, nil
	}
	// The first task has nothing to do, a later one has: the work is done now all the same.
	return nil, plan.Apply(ctx, e.machine)
}

// packageRow are the package tasks from index on, without a gap; handlers stand alone.
func (e *engine) packageRow(index int) []task.Package {
	if index >= len(e.play.Tasks) {
		return []task.Package{e.play.Handlers[index-len(e.play.Tasks)].Spec.(task.Package)}
	}
	var row []task.Package
	for _, t := range e.play.Tasks[index:] {
		spec, ok := t.Spec.(task.Package)
		if !ok {
			break
		}
		row = append(row, spec)
	}
	return row
}
