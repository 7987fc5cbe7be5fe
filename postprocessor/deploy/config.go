//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package deploy

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsaccess"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
)

// Config is the post-processor's configuration.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`
	awsaccess.Access    `mapstructure:",squash"`

	// Deploy. The default is false: the artifact is passed on, and that is all.
	Enabled bool `mapstructure:"enabled"`
	// The stack to deploy: the one of the builds' `prove` blocks.
	Stack string `mapstructure:"stack" required:"true"`
	// The type of the instances. The default is `t3.small`.
	InstanceType string `mapstructure:"instance_type"`
	// How long it may take until all is ready. The default is `10m`.
	Timeout string `mapstructure:"timeout"`
	// How long the page is watched after the traffic moved, before the old instances end. The default is `10s`.
	BakeTime string `mapstructure:"bake_time"`
	// How long the old web instance may finish what it is at. The default is `5s`.
	DrainTime string `mapstructure:"drain_time"`
	// How many snapshots of the data volume are kept. The default is 3.
	KeepSnapshots int `mapstructure:"keep_snapshots"`
	// The size in GiB of a data volume that has to be made. The default is 8.
	VolumeSize int32 `mapstructure:"volume_size"`

	timeout, bakeTime, drainTime time.Duration
	ctx                          interpolate.Context
}

var instanceType = regexp.MustCompile(`^[a-z0-9-]+\.[a-z0-9-]+$`)

// decode reads the configuration, fills in defaults, and reports everything that is wrong.
func (c *Config) decode(raws []any) error {
	if err := config.Decode(c, &config.DecodeOpts{PluginType: "goldsmith-deploy", Interpolate: true, InterpolateContext: &c.ctx}, raws...); err != nil {
		return err
	}
	for value, fallback := range map[*string]string{&c.InstanceType: "t3.small", &c.Timeout: "10m", &c.BakeTime: "10s", &c.DrainTime: "5s"} {
		if *value == "" {
			*value = fallback
		}
	}
	if c.KeepSnapshots == 0 {
		c.KeepSnapshots = 3
	}
	if c.VolumeSize == 0 {
		c.VolumeSize = 8
	}
	return errors.Join(append(c.Access.Prepare(), c.faults()...)...)
}

func (c *Config) faults() []error {
	errs := []error{stack.CheckName(c.Stack)}
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !instanceType.MatchString(c.InstanceType) {
		fault("instance_type: %q should be a type such as t3.small", c.InstanceType)
	}
	for _, d := range []struct {
		name, text string
		least      time.Duration
		value      *time.Duration
	}{{"timeout", c.Timeout, time.Nanosecond, &c.timeout}, {"bake_time", c.BakeTime, 0, &c.bakeTime}, {"drain_time", c.DrainTime, 0, &c.drainTime}} {
		var err error
		if *d.value, err = time.ParseDuration(d.text); err != nil || *d.value < d.least {
			fault("%s: %q should be a duration such as 30s", d.name, d.text)
		}
	}
	if c.KeepSnapshots < 1 {
		fault("keep_snapshots: %d should be at least 1", c.KeepSnapshots)
	}
	if c.VolumeSize < 1 || c.VolumeSize > 65536 {
		fault("volume_size: %d should be within 1 and 65536 GiB", c.VolumeSize)
	}
	return errs
}
