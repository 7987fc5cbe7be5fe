//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package tasks

import "github.com/hashicorp/packer-plugin-sdk/common"

// Config is the provisioner's configuration.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// What the play is called in the output. The default is `tasks`.
	Name string `mapstructure:"name"`
	// The tasks, in their order. The first that fails ends the play.
	Tasks []Task `mapstructure:"task"`
	// Tasks that run once each, after all others, if a task that changed something notifies them.
	Handlers []Task `mapstructure:"handler"`
	// Values for templates, there as `.vars.NAME`.
	Vars map[string]string `mapstructure:"vars"`
	// Change nothing, and show what would change. The default is false.
	Check bool `mapstructure:"check"`
}

// Task is one thing that should be so: exactly one of its blocks says what.
type Task struct {
	// What the output, and a `notify`, call it.
	Name string `mapstructure:"name" required:"true"`
	// Handlers to run when this task changed something.
	Notify []string `mapstructure:"notify"`
	// Keep content, difference, command and output out of the log. The default is false.
	Sensitive bool `mapstructure:"sensitive"`

	// Blocks has the block of the task's kind, by its name, as Packer hands it over; any other is a mistake.
	Blocks map[string]any `mapstructure:",remain"`
}

// Assert is a command that each instance of the image runs, as root, when it verifies itself at boot. Its outcome is
// part of the report by which an image is proved and a deploy sees that an instance is ready. It is repeated until it
// succeeds, for two minutes at most.
type Assert struct {
	// The program and its arguments. Either this or `shell`.
	Argv []string `mapstructure:"argv"`
	// A script for `/bin/sh -eu`. Either this or `argv`.
	Shell string `mapstructure:"shell"`
	// A regular expression that the standard output has to match.
	Output string `mapstructure:"output"`
	// How long it may take, a minute at most. The default is `10s`.
	Timeout string `mapstructure:"timeout"`
}
