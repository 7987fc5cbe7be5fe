//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config,DatasourceOutput

package release

import (
	"errors"

	"github.com/hashicorp/packer-plugin-sdk/template/config"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsaccess"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// Config is the data source's configuration.
type Config struct {
	awsaccess.Access `mapstructure:",squash"`

	// The stack whose current release is wanted.
	Stack string `mapstructure:"stack" required:"true"`
}

// DatasourceOutput is the output of the data source.
type DatasourceOutput struct {
	// The name of the release.
	Name string `mapstructure:"name"`
	// The db image, by its id.
	DbAmi string `mapstructure:"db_ami"`
	// The web image, by its id.
	WebAmi string `mapstructure:"web_ami"`
	// When the release was made, for example `2026-11-23T10:11:12Z`.
	Created string `mapstructure:"created"`
	// The git revision that the images were built from; empty where there was none.
	Revision string `mapstructure:"revision"`
}

// decode reads the configuration, and reports everything that is wrong.
func (c *Config) decode(raws []any) error {
	if err := config.Decode(c, &config.DecodeOpts{PluginType: "goldsmith-release"}, raws...); err != nil {
		return err
	}
	return errors.Join(append(c.Prepare(), stackfile.CheckName(c.Stack))...)
}
