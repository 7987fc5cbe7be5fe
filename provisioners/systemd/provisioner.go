// Package systemd is the provisioner goldsmith-systemd: a user's own units and drop-ins, of templates, verified by
// systemd itself before an image is made of them.
package systemd

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// Provisioner is goldsmith-systemd.
type Provisioner struct{ config Config }

// ConfigSpec describes the configuration to Packer.
func (p *Provisioner) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Prepare checks the configuration, with templates rendered for a machine that stands for the one to come.
func (p *Provisioner) Prepare(raws ...any) error {
	// No interpolation: Packer would take the braces in content and scripts for its own, and leave "<no value>" there.
	err := config.Decode(&p.config, &config.DecodeOpts{PluginType: "goldsmith-systemd"}, raws...)
	if err != nil {
		return err
	}
	if len(p.config.Units) == 0 {
		return errors.New("unit: there is none; at least one is needed")
	}
	play, err := p.config.play(render.SampleFacts(), task.Bytes(nil))
	if err != nil {
		return err
	}
	if err := play.Validate(); err != nil {
		return err
	}
	return inputs.Record("systemd", p.config)
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

func (c *Config) play(facts task.Facts, agent task.Blob) (task.Play, error) {
	play := task.Play{Name: "systemd"}
	var errs []error
	needsFirstBoot := false
	for i, u := range c.Units {
		content, err := u.content(c.Vars, facts)
		if err != nil {
			errs = append(errs, fmt.Errorf("unit[%d] %q: %w", i, u.Name, err))
			continue
		}
		spec := task.Unit{Unit: u.Name, DropIn: u.DropIn, Content: task.Bytes(content)}
		if err := spec.Validate(); err != nil { // here, where it is still known which block it is
			errs = append(errs, fmt.Errorf("unit[%d] %q: %w", i, u.Name, err))
			continue
		}
		name := u.Name
		if u.DropIn != "" {
			name += " " + u.DropIn
		}
		verify := "verify " + name
		play.Tasks = append(play.Tasks, task.Task{Name: name, Notify: []string{verify}, Spec: spec})
		play.Handlers = append(
			play.Handlers,
			task.Task{Name: verify, Spec: task.Command{Argv: []string{"systemd-analyze", "verify", u.Name}}},
		)
		if u.AfterFirstBoot {
			needsFirstBoot = true
			play.Tasks = append(play.Tasks, instance.WaitForFirstBoot(u.Name))
		}
		if u.Enabled != nil {
			play.Tasks = append(
				play.Tasks,
				task.Task{Name: name + " at boot", Spec: task.Service{Unit: u.Name, Enabled: u.Enabled}},
			)
		}
	}
	if needsFirstBoot {
		first, err := instance.FirstBootTasks(agent)
		errs = append(errs, err)
		play.Tasks = append(first, play.Tasks...)
	}
	return play, errors.Join(errs...)
}

func (u Unit) content(vars map[string]string, facts task.Facts) ([]byte, error) {
	if (u.Content == "") == (u.Template == "") {
		return nil, errors.New("content: either content or template is needed")
	}
	if u.Content != "" {
		return []byte(u.Content), nil
	}
	content, err := render.File(u.Template, map[string]any{"vars": vars, "facts": render.Facts(facts)})
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	return content, nil
}
