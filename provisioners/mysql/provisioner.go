// Package mysql is the provisioner goldsmith-mysql: a hardened MySQL or MariaDB for a private subnet, with its database
// seeded and no account but root's on the local socket. What belongs to an instance comes at its first boot.
package mysql

import (
	"context"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
)

// Provisioner is goldsmith-mysql.
type Provisioner struct{ config Config }

// ConfigSpec describes the configuration to Packer.
func (p *Provisioner) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Prepare checks the configuration.
func (p *Provisioner) Prepare(raws ...any) error {
	if err := p.config.decode(raws); err != nil {
		return err
	}
	return inputs.Record("mysql", p.config)
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
	options := remote.Options{Check: p.config.Check, Candidates: candidates}
	_, err := remote.Provision(ctx, ui, comm, options, p.config.play)
	return err
}
