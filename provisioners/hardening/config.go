//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package hardening

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
)

// Config is the provisioner's configuration.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// A template (text/template with sprig's functions) of the SSH server's configuration. It knows this block's
	// attributes, `vars` and `facts`. The default is `files/ssh/sshd.conf.tmpl`.
	SSHD string `mapstructure:"sshd"`
	// A template of the kernel's parameters, as sysctl.d has them. It knows the same. The default is
	// `files/linux/sysctl.conf.tmpl`.
	Sysctl string `mapstructure:"sysctl"`
	// Let SSH clients open connections from the instance to others, as a jump host (`ssh -J`) needs it. The default is
	// false.
	AllowTCPForwarding bool `mapstructure:"allow_tcp_forwarding"`
	// The instance has IPv6 addresses: SSH listens on them, and routers may give them. The default is false.
	IPv6 bool `mapstructure:"ipv6"`
	// Have instances install security updates by themselves, daily, without a restart of the machine. The default is
	// false: instances stay as their image is, and a new image brings updates.
	UnattendedUpgrades bool `mapstructure:"unattended_upgrades"`
	// Values for the templates, there as `.vars.NAME`.
	Vars map[string]string `mapstructure:"vars"`
	// Change nothing, and show what would change. The default is false.
	Check bool `mapstructure:"check"`

	ctx interpolate.Context
}

// decode reads the configuration, fills in defaults, and reports everything that is wrong.
func (c *Config) decode(raws []any) error {
	err := config.Decode(
		c,
		&config.DecodeOpts{PluginType: "goldsmith-hardening", Interpolate: true, InterpolateContext: &c.ctx},
		raws...)
	if err != nil {
		return err
	}
	c.SSHD = cmp.Or(c.SSHD, "files/ssh/sshd.conf.tmpl")
	c.Sysctl = cmp.Or(c.Sysctl, "files/linux/sysctl.conf.tmpl")
	var errs []error
	for _, template := range []struct{ attribute, path string }{{"sshd", c.SSHD}, {"sysctl", c.Sysctl}} {
		if _, err := c.render(template.path, render.SampleFacts()); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", template.attribute, err))
		}
	}
	return errors.Join(errs...)
}
