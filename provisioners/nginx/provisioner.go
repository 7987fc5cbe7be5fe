// Package nginx is the provisioner goldsmith-nginx: Nginx with TLS in front of an application on the same machine. The
// key and the certificate come at an instance's first boot.
package nginx

import (
	"cmp"
	"context"
	_ "embed"
	"regexp"
	"slices"
	"strconv"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	templates "github.com/goldsmith-ami/packer-plugin-goldsmith/files/nginx"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/render"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// Provisioner is goldsmith-nginx.
type Provisioner struct{ config Config }

// ConfigSpec describes the configuration to Packer.
func (p *Provisioner) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Prepare checks the configuration.
func (p *Provisioner) Prepare(raws ...any) error {
	if err := p.config.decode(raws); err != nil {
		return err
	}
	return inputs.Record("nginx", p.config)
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
	options := remote.Options{Check: p.config.Check, Candidates: []string{packageName}}
	_, err := remote.Provision(ctx, ui, comm, options, p.config.play)
	return err
}

const (
	packageName = "nginx"
	certificate = instance.RunDir + "/tls/web" // with .crt and .key
	available   = "/etc/nginx/sites-available/goldsmith.conf"
	enabled     = "/etc/nginx/sites-enabled/goldsmith.conf"
)

// hardening is the drop-in for the distribution's unit.
//
//go:embed hardening.conf
var hardening []byte

// site is the site's configuration.
func (c *Config) site(facts task.Facts) ([]byte, error) { return render.File(c.Site, c.data(facts)) }

// server is nginx.conf.
func (c *Config) server(facts task.Facts) ([]byte, error) {
	if c.Config == "" {
		return render.Text("nginx.conf.tmpl", string(templates.Config), c.data(facts))
	}
	return render.File(c.Config, c.data(facts))
}

// data are the variables of the templates.
func (c *Config) data(facts task.Facts) map[string]any {
	return map[string]any{
		"server_name":             c.ServerName,
		"upstream":                c.Upstream,
		"tls":                     c.TLS,
		"certificate":             certificate + ".crt",
		"certificate_key":         certificate + ".key",
		"connections_per_address": c.ConnectionsPerAddress,
		"writes_per_second":       c.WritesPerSecond,
		"curves":                  curves(facts),
		"http2_directive":         hasHTTP2Directive(facts),
		"vars":                    c.Vars,
		"facts":                   render.Facts(facts),
	}
}

// curves are Mozilla's, of 2026. The one that also stands against quantum computers is known to OpenSSL from 3.5 on; an
// older one would refuse all of the configuration.
func curves(facts task.Facts) string {
	const classic = "X25519:prime256v1:secp384r1"
	if facts.OS.ID == "debian" && facts.OS.Version != "12" && facts.OS.Version != "11" ||
		facts.OS.ID == "ubuntu" && facts.OS.Version >= "25.10" {
		return "X25519MLKEM768:" + classic
	}
	return classic
}

// upstreamVersion matches the upstream part of a Debian version such as 1.26.3-3+deb13u1, behind the epoch.
var upstreamVersion = regexp.MustCompile(`^(?:\d+:)?(\d+)\.(\d+)\.(\d+)`)

// hasHTTP2Directive tells whether the machine's Nginx is 1.25.1 or later, which has `http2 on` and warns of the old
// form: https://nginx.org/en/docs/http/ngx_http_v2_module.html. An installed Nginx stays; otherwise apt installs its
// candidate.
func hasHTTP2Directive(facts task.Facts) bool {
	version := cmp.Or(facts.Installed[packageName], facts.Candidates[packageName])
	match := upstreamVersion.FindStringSubmatch(version)
	if match == nil {
		return false
	}
	var parts []int
	for _, text := range match[1:] {
		number, err := strconv.Atoi(text)
		if err != nil {
			return false
		}
		parts = append(parts, number)
	}
	return slices.Compare(parts, []int{1, 25, 1}) >= 0
}

func (c *Config) play(facts task.Facts, agent task.Blob) (task.Play, error) {
	site, err := c.site(facts)
	if err != nil {
		return task.Play{}, err
	}
	server, err := c.server(facts)
	if err != nil {
		return task.Play{}, err
	}
	first, err := instance.FirstBootTasks(agent)
	if err != nil {
		return task.Play{}, err
	}
	describe, err := imagespec.Task("nginx", description)
	if err != nil {
		return task.Play{}, err
	}
	return task.Play{
		Name: "nginx",
		Tasks: slices.Concat(first, []task.Task{
			describe,
			{Name: "install nginx", Spec: task.Package{Names: []string{packageName}}},
			instance.WaitForFirstBoot("nginx.service"),
		}, tasks(site, server)),
		Handlers: []task.Task{
			{Name: "test all of the configuration", Spec: task.Command{Argv: []string{"nginx", "-t"}}},
			{Name: "restart nginx", Spec: task.Service{Unit: "nginx.service", State: task.Restarted}},
		},
	}, nil
}

// tasks configure an installed Nginx.
func tasks(site, server []byte) []task.Task {
	yes := true
	restart := []string{"test all of the configuration", "restart nginx"}
	return []task.Task{
		{Name: "a pair to test with, in memory", Spec: task.Command{
			Argv:    []string{instance.AgentPath, "certificate", "--throwaway", certificate},
			Creates: certificate + ".key",
		}},
		{
			Name:   "drop-in of the unit",
			Notify: restart,
			Spec:   task.Unit{Unit: "nginx.service", DropIn: "20-hardening.conf", Content: task.Bytes(hardening)},
		},
		// The server makes its logs anew at the first boot; by this mode they are of the group of those who may
		// read logs.
		{Name: "logs are the server's own", Spec: task.Directory{
			Path:  "/var/log/nginx",
			Mode:  "2750",
			Owner: "www-data",
			Group: "adm",
		}},
		{
			Name: "place of the process id",
			Spec: task.Directory{Path: "/run/nginx", Mode: "0750", Owner: "www-data", Group: "www-data"},
		},
		{
			Name:   "server",
			Notify: restart,
			Spec:   task.File{Path: "/etc/nginx/nginx.conf", Content: task.Bytes(server)},
		},
		{
			Name:   "site",
			Notify: restart,
			Spec:   task.File{Path: available, Content: task.Bytes(site), Test: testSite(server, "%s")},
		},
		{
			Name:   "default site is off",
			Notify: restart,
			Spec:   task.Link{Path: "/etc/nginx/sites-enabled/default", State: task.Absent},
		},
		{Name: "site is on", Notify: restart, Spec: task.Link{Path: enabled, Target: available}},
		// The tests above are root's, and opened the logs.
		{
			Name: "logs are for the server to write",
			Spec: task.Command{Argv: []string{"chown", "-R", "www-data:adm", "/var/log/nginx"},
				OnlyIf: []string{"/bin/sh", "-c", "find /var/log/nginx ! -user www-data | grep -q ."}},
		},
		{Name: "nginx starts at boot", Spec: task.Service{Unit: "nginx.service", Enabled: &yes}},
	}
}

// testSite has Nginx test a site before it takes its place: in the server's own configuration, and without other sites.
func testSite(server []byte, path string) []string {
	return []string{"/bin/sh", "-euc", `conf=$(mktemp); trap 'rm -f "$conf"' EXIT
{
  sed '/include .*\/sites-enabled\//,$d; s,^pid .*,pid /run/nginx-test.pid;,' <<'END-OF-CONFIGURATION'
` + string(server) + `
END-OF-CONFIGURATION
  echo "include $1; }"
} >"$conf"
nginx -q -t -c "$conf"`, "sh", path}
}
