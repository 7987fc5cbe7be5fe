// Package hardening is the provisioner goldsmith-hardening: the operating system and the SSH server of an image, closed
// to what an instance has no use for. It goes before the provisioners that install services.
package hardening

import (
	"context"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
)

// Provisioner is goldsmith-hardening.
type Provisioner struct{ config Config }

// ConfigSpec describes the configuration to Packer.
func (p *Provisioner) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Prepare checks the configuration.
func (p *Provisioner) Prepare(raws ...any) error {
	if err := p.config.decode(raws); err != nil {
		return err
	}
	return inputs.Record("hardening", p.config)
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
