// Package webapp is the provisioner goldsmith-webapp: the application's program, its user, and its sandboxed systemd
// unit. The application is started by an instance, whose first boot brings its settings and its password.
package webapp

import (
	"context"
	"fmt"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// Provisioner is goldsmith-webapp.
type Provisioner struct{ config Config }

// ConfigSpec describes the configuration to Packer.
func (p *Provisioner) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Prepare checks the configuration.
func (p *Provisioner) Prepare(raws ...any) error {
	if err := p.config.decode(raws); err != nil {
		return err
	}
	return inputs.Record("webapp", p.config)
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

const (
	program = "/usr/local/lib/goldsmith/webapp"
	unit    = "goldsmith-webapp.service"
)

func (c *Config) render(facts task.Facts) ([]byte, error) {
	return render.File(c.Unit, map[string]any{
		"program": program, "user": c.User, "address": c.Address, "database": c.Database, "username": c.Username,
		"vars": c.Vars, "facts": render.Facts(facts),
	})
}

func (c *Config) play(facts task.Facts, agent task.Blob) (task.Play, error) {
	if facts.Arch != c.arch {
		return task.Play{}, fmt.Errorf("binary: %s is for %s, and the image is %s", c.Binary, c.arch, facts.Arch)
	}
	content, err := c.render(facts)
	if err != nil {
		return task.Play{}, err
	}
	binary, err := task.FileBlob(c.Binary)
	if err != nil {
		return task.Play{}, fmt.Errorf("binary: %w", err)
	}
	first, err := instance.FirstBootTasks(agent)
	if err != nil {
		return task.Play{}, err
	}
	describe, err := c.describe()
	if err != nil {
		return task.Play{}, err
	}
	yes := true
	return task.Play{Name: "webapp", Tasks: append(
		first,
		describe,
		task.Task{Name: "group " + c.User, Spec: task.Group{Group: c.User, System: true}},
		task.Task{
			Name: "user " + c.User,
			Spec: task.User{
				User:   c.User,
				Group:  c.User,
				System: true,
				Home:   "/nonexistent",
				Shell:  "/usr/sbin/nologin",
			},
		},
		task.Task{Name: "program", Spec: task.File{Path: program, Content: binary, Mode: "0755"}},
		task.Task{
			Name:   "unit",
			Notify: []string{"verify the unit"},
			Spec:   task.Unit{Unit: unit, Content: task.Bytes(content)},
		},
		instance.WaitForFirstBoot(unit),
		task.Task{Name: "the application starts at boot", Spec: task.Service{Unit: unit, Enabled: &yes}},
	), Handlers: []task.Task{
		{
			Name: "verify the unit",
			Spec: task.Command{Argv: []string{"systemd-analyze", "verify", "/etc/systemd/system/" + unit}},
		},
	}}, nil
}
