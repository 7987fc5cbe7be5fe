// Package tasks is the provisioner goldsmith-tasks: the task engine itself, in HCL blocks.
package tasks

import (
	"context"
	"errors"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// Provisioner is goldsmith-tasks.
type Provisioner struct{ config Config }

// ConfigSpec describes the configuration to Packer.
func (p *Provisioner) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Prepare checks the configuration, with templates rendered for a machine that stands for the one to come.
func (p *Provisioner) Prepare(raws ...any) error {
	if err := p.config.decode(raws); err != nil {
		return err
	}
	if p.config.Name == "" {
		p.config.Name = "tasks"
	}
	if len(p.config.Tasks) == 0 {
		return errors.New("task: there is none; a play needs at least one")
	}
	play, err := p.config.play(render.SampleFacts(), task.Bytes(nil))
	if err != nil {
		return err
	}
	if err := play.Validate(); err != nil {
		return err
	}
	return inputs.Record("tasks", p.config)
}

// Provision makes the machine what the configuration says.
func (p *Provisioner) Provision(
	ctx context.Context,
	ui packersdk.Ui,
	comm packersdk.Communicator,
	generated map[string]any,
) error {
	if err := inputs.Ran(generated); err != nil {
		return err
	}
	_, err := remote.Provision(ctx, ui, comm, remote.Options{Check: p.config.Check}, p.config.play)
	return err
}
