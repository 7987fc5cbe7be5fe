// Package nginx is the provisioner goldsmith-nginx: Nginx with TLS in front of an application on the same machine. The
// key and the certificate come at an instance's first boot.
package nginx

import (
	"context"

	"github.com/hashicorp/hcl/v2/hcldec"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

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
func (p *Provisioner) Provision(ctx context.Context, ui packersdk.Ui, comm packersdk.Communicator, generated map[string]any) error {
	if err := inputs.Ran(generated); err != nil {
		return err
	}
	options := remote.Options{Check: p.config.Check, Candidates: []string{"nginx"}}
	_, err := remote.Provision(ctx, ui, comm, options, p.config.play)
	return err
}

const (
	certificate = instance.RunDir + "/tls/web" // with .crt and .key
	available   = "/etc/nginx/sites-available/goldsmith.conf"
	enabled     = "/etc/nginx/sites-enabled/goldsmith.conf"
)

func (c *Config) render(facts task.Facts) ([]byte, error) {
	return render.File(c.Site, map[string]any{
		"server_name": c.ServerName, "upstream": c.Upstream, "tls": c.TLS, "certificate": certificate + ".crt", "certificate_key": certificate + ".key",
		"http2_directive": hasHTTP2Directive(facts), "vars": c.Vars, "facts": render.Facts(facts),
	})
}

// hasHTTP2Directive tells whether the distribution's Nginx is 1.25.1 or later, which has `http2 on` and warns of the
// old form: https://nginx.org/en/docs/http/ngx_http_v2_module.html
func hasHTTP2Directive(facts task.Facts) bool {
	switch {
	case facts.OS.ID == "debian":
		return facts.OS.Version == "" || facts.OS.Version >= "13"
	case facts.OS.ID == "ubuntu":
		return facts.OS.Version >= "25"
	}
	return false
}

func (c *Config) play(facts task.Facts, agent task.Blob) (task.Play, error) {
	site, err := c.render(facts)
	if err != nil {
		return task.Play{}, err
	}
	first, err := instance.FirstBootTasks(agent)
	if err != nil {
		return task.Play{}, err
	}
	describe, err := instance.Describe("nginx", instance.NginxImage{Unit: "nginx.service", HTTPPort: 80, HTTPSPort: 443})
	if err != nil {
		return task.Play{}, err
	}
	yes := true
	reload := []string{"test all of the configuration", "reload nginx"}
	return task.Play{
		Name: "nginx",
		Tasks: append(first, describe,
			task.Task{Name: "install nginx", Spec: task.Package{Names: []string{"nginx"}}},
			instance.WaitForFirstBoot("nginx.service"),
			task.Task{Name: "a pair to test with, in memory", Spec: task.Command{
				Argv: []string{instance.AgentPath, "certificate", "--throwaway", certificate}, Creates: certificate + ".key"}},
			task.Task{Name: "site", Notify: reload, Spec: task.File{Path: available, Content: task.Bytes(site), Test: testSite("%s")}},
			task.Task{Name: "default site is off", Notify: reload, Spec: task.Link{Path: "/etc/nginx/sites-enabled/default", State: task.Absent}},
			task.Task{Name: "site is on", Notify: reload, Spec: task.Link{Path: enabled, Target: available}},
			task.Task{Name: "nginx starts at boot", Spec: task.Service{Unit: "nginx.service", Enabled: &yes}},
		),
		Handlers: []task.Task{
			{Name: "test all of the configuration", Spec: task.Command{Argv: []string{"nginx", "-t"}}},
			{Name: "reload nginx", Spec: task.Service{Unit: "nginx.service", State: task.Reloaded}},
		},
	}, nil
}

// testSite has Nginx test a site before it takes its place: a configuration of its own includes nothing but it.
func testSite(path string) []string {
	return []string{"/bin/sh", "-euc", `conf=$(mktemp); trap 'rm -f "$conf"' EXIT
echo "pid /run/nginx-test.pid; events {} http { include $1; }" >"$conf"
nginx -q -t -c "$conf"`, "sh", path}
}
