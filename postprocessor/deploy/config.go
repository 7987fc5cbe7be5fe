//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package deploy

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsaccess"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// Config is the post-processor's configuration.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`
	awsaccess.Access    `mapstructure:",squash"`

	// Deploy. The default is false: the artifact is passed on, and that is all.
	Enabled bool `mapstructure:"enabled"`
	// The stack to deploy: the one of the builds' `prove` blocks.
	Stack string `mapstructure:"stack" required:"true"`
	// The stack file, which says how it is deployed. It must be of this stack. The default is none, which is the
	// default stack under this name.
	StackFile string `mapstructure:"stack_file"`

	file *stackfile.File
	ctx  interpolate.Context
}

// decode reads the configuration, fills in defaults, and reports everything that is wrong.
func (c *Config) decode(raws []any) error {
	if err := config.Decode(
		c,
		&config.DecodeOpts{PluginType: "goldsmith-deploy", Interpolate: true, InterpolateContext: &c.ctx},
		raws...); err != nil {
		return err
	}
	return errors.Join(append(c.Prepare(), c.readFile())...)
}

func (c *Config) readFile() (err error) {
	if c.StackFile == "" {
		c.file, err = stackfile.Named(c.Stack)
		return err
	}
	if c.file, err = stackfile.Read(c.StackFile); err != nil {
		return errors.Join(stackfile.CheckName(c.Stack), fmt.Errorf("stack_file: %w", err))
	}
	if c.file.Name != c.Stack {
		return fmt.Errorf("stack_file: %s is of stack %s, and stack is %q", c.StackFile, c.file.Name, c.Stack)
	}
	if c.Region != "" && c.file.Region != "" && c.Region != c.file.Region {
		return fmt.Errorf("stack_file: %s is of a stack in %s, and region is %s", c.StackFile, c.file.Region, c.Region)
	}
	c.Region = cmp.Or(c.Region, c.file.Region)
	return nil
}
