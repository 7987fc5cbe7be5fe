//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package mysql

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"regexp"

	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/hashicorp/packer-plugin-sdk/common"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
)

// Config is the provisioner's configuration.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// The server: `mariadb`, `mysql`, or `auto` for the one that is installed and else the one that the image's
	// distribution has, MySQL before MariaDB. The default is `auto`.
	Flavor string `mapstructure:"flavor"`
	// The one address that the server listens on: an IPv4 address of the instance, or `instance` for the instance's
	// private address, which it learns at its first boot. The default is `instance`.
	BindAddress string `mapstructure:"bind_address"`
	// The port that the server listens on. The default is 3306.
	Port int `mapstructure:"port"`
	// The application's database, which is created. The default is `app`.
	Database string `mapstructure:"database"`
	// The application's account. It is made at the first boot of an instance, with a password that is not in the image,
	// and may connect over TLS from the web tier's subnet to read and write the rows of its database. The default is
	// `app`.
	Username string `mapstructure:"username"`
	// A template (text/template with sprig's functions) of the server's configuration. It knows this block's
	// attributes, `vars` and `facts`, and `files` and `log`, where the server may keep files of its users' and its
	// error log. It must set `bind-address` to `{{ .bind_address }}`. The default is `files/mysql/goldsmith.cnf.tmpl`.
	ConfigFile string `mapstructure:"config"`
	// A template of a drop-in for the server's systemd unit, which knows the same. Its first boot adds the web tier's
	// addresses to those that it lets in. The default is `files/mysql/hardening.conf.tmpl`.
	DropIn string `mapstructure:"drop_in"`
	// A file of SQL that is run once, in the application's database, while that has no table yet. A seed that fails is
	// run again, from the start, by the next run. It may make no account that comes over the network: passwords are no
	// part of an image. The default is none.
	Seed string `mapstructure:"seed"`
	// Values for the template, there as `.vars.NAME`.
	Vars map[string]string `mapstructure:"vars"`
	// Change nothing, and show what would change. The default is false.
	Check bool `mapstructure:"check"`

	ctx interpolate.Context
}

var identifier = regexp.MustCompile(`^[A-Za-z0-9_]{1,32}$`)

// decode reads the configuration, fills in defaults, and reports everything that is wrong.
func (c *Config) decode(raws []any) error {
	err := config.Decode(
		c,
		&config.DecodeOpts{PluginType: "goldsmith-mysql", Interpolate: true, InterpolateContext: &c.ctx},
		raws...)
	if err != nil {
		return err
	}
	c.Flavor = cmp.Or(c.Flavor, "auto")
	c.BindAddress = cmp.Or(c.BindAddress, "instance")
	c.Database = cmp.Or(c.Database, "app")
	c.Username = cmp.Or(c.Username, "app")
	c.ConfigFile = cmp.Or(c.ConfigFile, "files/mysql/goldsmith.cnf.tmpl")
	c.DropIn = cmp.Or(c.DropIn, "files/mysql/hardening.conf.tmpl")
	if c.Port == 0 {
		c.Port = 3306
	}
	return errors.Join(c.faults()...)
}

func (c *Config) faults() []error {
	var errs []error
	if c.Flavor != "auto" && c.Flavor != "mysql" && c.Flavor != "mariadb" {
		errs = append(errs, fmt.Errorf("flavor: %q should be one of auto, mariadb, mysql", c.Flavor))
	}
	if err := c.bindAddressFault(); err != nil {
		errs = append(errs, err)
	}
	if c.Port < 1 || c.Port > 65535 {
		errs = append(errs, fmt.Errorf("port: %d should be within 1 and 65535", c.Port))
	}
	for _, named := range []struct{ name, value string }{{"database", c.Database}, {"username", c.Username}} {
		if !identifier.MatchString(named.value) {
			errs = append(
				errs,
				fmt.Errorf("%s: %q should be 1 to 32 letters, digits and underscores", named.name, named.value),
			)
		}
	}
	if c.Username == "root" || c.Username == "mysql" {
		errs = append(
			errs,
			fmt.Errorf("username: %s is the server's own account; the application needs another", c.Username),
		)
	}
	switch c.Database {
	case "mysql", "sys", "test", "information_schema", "performance_schema":
		errs = append(
			errs,
			fmt.Errorf("database: %s belongs to the server or is removed; the application needs another", c.Database),
		)
	}
	if err := c.templateFault(); err != nil {
		errs = append(errs, err)
	}
	if c.Seed != "" {
		if _, err := os.ReadFile(c.Seed); err != nil {
			errs = append(errs, fmt.Errorf("seed: %w", err))
		}
	}
	return errs
}

func (c *Config) bindAddressFault() error {
	if c.BindAddress == "instance" {
		return nil
	}
	address, err := netip.ParseAddr(c.BindAddress)
	if err != nil || !address.Is4() {
		return fmt.Errorf("bind_address: %q should be an IPv4 address, or instance for the instance's private one",
			c.BindAddress)
	}
	if address.IsUnspecified() {
		return errors.New("bind_address: 0.0.0.0 listens on every address; name one, or instance for the " +
			"instance's private one")
	}
	return nil
}

// templateFault renders the templates for each flavor that may be met.
func (c *Config) templateFault() error {
	for _, flavor := range []string{"mysql", "mariadb"} {
		if c.Flavor != "auto" && c.Flavor != flavor {
			continue
		}
		if _, err := c.render(flavor, render.SampleFacts()); err != nil {
			return fmt.Errorf("config: %w", err)
		}
		if _, err := render.File(c.DropIn, c.values(flavor, render.SampleFacts())); err != nil {
			return fmt.Errorf("drop_in: %w", err)
		}
	}
	return nil
}
