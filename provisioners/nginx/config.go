//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package nginx

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
)

// Config is the provisioner's configuration.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// A template (text/template with sprig's functions) of the site's configuration. It knows this block's attributes,
	// `vars`, `facts`, `certificate` and `certificate_key` (paths of what the instance has at run time), and
	// `http2_directive` (whether this Nginx has `http2 on`). The default is `files/nginx/site.conf.tmpl`.
	Site string `mapstructure:"site"`
	// A template of the server's own configuration, `nginx.conf`. It knows what `site` knows. The default
	// is built in; it is `files/nginx/nginx.conf.tmpl` of this plugin's sources.
	Config string `mapstructure:"config"`
	// The names that the site answers to, as Nginx's `server_name` takes them. The default is `_`, any name.
	ServerName string `mapstructure:"server_name"`
	// Where the application listens: an address of this machine and a port. The default is `127.0.0.1:5000`.
	Upstream string `mapstructure:"upstream"`
	// Mozilla's level of TLS: `intermediate` is TLS 1.2 and 1.3, `modern` is TLS 1.3 alone. The default is
	// `intermediate`.
	TLS string `mapstructure:"tls"`
	// How many connections one address may have at a time. The default is 256.
	ConnectionsPerAddress int `mapstructure:"connections_per_address"`
	// How many requests that change something one address may make in a second; as many more may come at once. The
	// default is 20.
	WritesPerSecond int `mapstructure:"writes_per_second"`
	// Values for the template, there as `.vars.NAME`.
	Vars map[string]string `mapstructure:"vars"`
	// Change nothing, and show what would change. The default is false.
	Check bool `mapstructure:"check"`

	ctx interpolate.Context
}

var serverName = regexp.MustCompile(`^[A-Za-z0-9_.*~^-]+( [A-Za-z0-9_.*~^-]+)*$`)

// decode reads the configuration, fills in defaults, and reports everything that is wrong.
func (c *Config) decode(raws []any) error {
	err := config.Decode(
		c,
		&config.DecodeOpts{PluginType: "goldsmith-nginx", Interpolate: true, InterpolateContext: &c.ctx},
		raws...)
	if err != nil {
		return err
	}
	c.Site = cmp.Or(c.Site, "files/nginx/site.conf.tmpl")
	c.ServerName = cmp.Or(c.ServerName, "_")
	c.Upstream = cmp.Or(c.Upstream, "127.0.0.1:5000")
	c.TLS = cmp.Or(c.TLS, "intermediate")
	c.ConnectionsPerAddress = cmp.Or(c.ConnectionsPerAddress, 256)
	c.WritesPerSecond = cmp.Or(c.WritesPerSecond, 20)
	return errors.Join(c.faults()...)
}

func (c *Config) faults() []error {
	var errs []error
	if !serverName.MatchString(c.ServerName) {
		errs = append(
			errs,
			fmt.Errorf("server_name: %q should be names as Nginx takes them, with one space between", c.ServerName),
		)
	}
	host, port, err := net.SplitHostPort(c.Upstream)
	number, bad := strconv.Atoi(port)
	if err != nil || bad != nil || number < 1 || number > 65535 || host == "" || strings.ContainsAny(host, " ;{}") {
		errs = append(
			errs,
			fmt.Errorf("upstream: %q should be an address and a port, as in 127.0.0.1:5000", c.Upstream),
		)
	}
	if c.TLS != "intermediate" && c.TLS != "modern" {
		errs = append(errs, fmt.Errorf("tls: %q should be one of intermediate, modern", c.TLS))
	}
	for _, limit := range []struct {
		name  string
		value int
	}{
		{"connections_per_address", c.ConnectionsPerAddress},
		{"writes_per_second", c.WritesPerSecond},
	} {
		if limit.value < 1 || limit.value > 65535 {
			errs = append(errs, fmt.Errorf("%s: %d should be within 1 and 65535", limit.name, limit.value))
		}
	}
	if _, err := c.site(render.SampleFacts()); err != nil {
		errs = append(errs, fmt.Errorf("site: %w", err))
	}
	if _, err := c.server(render.SampleFacts()); err != nil {
		errs = append(errs, fmt.Errorf("config: %w", err))
	}
	return errs
}
