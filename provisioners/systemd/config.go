//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config,Unit

package systemd

import "github.com/hashicorp/packer-plugin-sdk/common"

// Config is the provisioner's configuration.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// Units and drop-ins, in their order.
	Units []Unit `mapstructure:"unit"`
	// Values for templates, there as `.vars.NAME`.
	Vars map[string]string `mapstructure:"vars"`
	// Change nothing, and show what would change. The default is false.
	Check bool `mapstructure:"check"`
}

// Unit is a unit file, or a drop-in for one, in /etc/systemd/system.
type Unit struct {
	// The unit's name, for example `app.service`.
	Name string `mapstructure:"name" required:"true"`
	// The name of a drop-in, for example `50-limits.conf`; without it, the unit itself is meant.
	DropIn string `mapstructure:"drop_in"`
	// The content. Either this or `template`.
	Content string `mapstructure:"content"`
	// A template on this machine with the content (text/template with sprig's functions), which knows `.vars` and
	// `.facts`. Either this or `content`.
	Template string `mapstructure:"template"`
	// Whether the unit starts at boot. The default leaves it as it is.
	Enabled *bool `mapstructure:"enabled"`
	// Start the unit only after a first boot that went well. The default is false.
	AfterFirstBoot bool `mapstructure:"after_first_boot"`
}
