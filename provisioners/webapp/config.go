//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package webapp

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"net/netip"
	"regexp"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
)

// Config is the provisioner's configuration.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// The application's program: a static Linux executable of the image's architecture.
	Binary string `mapstructure:"binary" required:"true"`
	// A template (text/template with sprig's functions) of the application's systemd unit. It knows this block's
	// attributes, `program` (the path that the binary gets), `vars` and `facts`. The default is
	// `files/systemd/goldsmith-webapp.service.tmpl`.
	Unit string `mapstructure:"unit"`
	// The system user that the application runs as, which is made. The default is `goldsmith-webapp`.
	User string `mapstructure:"user"`
	// Where the application listens: a loopback address and a port. The default is `127.0.0.1:5000`.
	Address string `mapstructure:"address"`
	// The database that the application uses. The default is `app`.
	Database string `mapstructure:"database"`
	// The account that the application has there. The default is `app`.
	Username string `mapstructure:"username"`
	// Values for the template, there as `.vars.NAME`.
	Vars map[string]string `mapstructure:"vars"`
	// Change nothing, and show what would change. The default is false.
	Check bool `mapstructure:"check"`

	arch string // of the binary
	ctx  interpolate.Context
}

var userName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)

// decode reads the configuration, fills in defaults, and reports everything that is wrong.
func (c *Config) decode(raws []any) error {
	err := config.Decode(
		c,
		&config.DecodeOpts{PluginType: "goldsmith-webapp", Interpolate: true, InterpolateContext: &c.ctx},
		raws...)
	if err != nil {
		return err
	}
	c.Unit = cmp.Or(c.Unit, "files/systemd/goldsmith-webapp.service.tmpl")
	c.User = cmp.Or(c.User, "goldsmith-webapp")
	c.Address = cmp.Or(c.Address, "127.0.0.1:5000")
	c.Database = cmp.Or(c.Database, "app")
	c.Username = cmp.Or(c.Username, "app")
	return errors.Join(c.faults()...)
}

func (c *Config) faults() []error {
	var errs []error
	var err error
	if c.arch, err = architecture(c.Binary); err != nil {
		errs = append(errs, fmt.Errorf("binary: %w", err))
	}
	if !userName.MatchString(c.User) || c.User == "root" {
		errs = append(errs, fmt.Errorf("user: %q should be the name of a system user that is not root", c.User))
	}
	if address, err := netip.ParseAddrPort(c.Address); err != nil || !address.Addr().IsLoopback() ||
		address.Port() == 0 {
		errs = append(
			errs,
			fmt.Errorf("address: %q should be a loopback address and a port, as in 127.0.0.1:5000", c.Address),
		)
	}
	if _, err := c.render(render.SampleFacts()); err != nil {
		errs = append(errs, fmt.Errorf("unit: %w", err))
	}
	return errs
}

// architecture is a program's architecture, by Go's name for it. A program that needs a dynamic loader is refused: the
// image may have other versions of its libraries.
func architecture(path string) (string, error) {
	if path == "" {
		return "", fmt.Errorf("it is missing; name the application's program")
	}
	program, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s is no Linux executable that can be read: %w", path, err)
	}
	defer program.Close()
	arch := map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}[program.Machine]
	if arch == "" {
		return "", fmt.Errorf("%s is a program for %s; amd64 or arm64 is needed", path, program.Machine)
	}
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP {
			return "", fmt.Errorf("%s is linked dynamically; build it with CGO_ENABLED=0", path)
		}
	}
	return arch, nil
}
