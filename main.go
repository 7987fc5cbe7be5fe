// Command packer-plugin-goldsmith is the Packer plugin: it registers the components and nothing else.
package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/packer-plugin-sdk/plugin"
	sdkversion "github.com/hashicorp/packer-plugin-sdk/version"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/builder"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/datasource/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/datasource/release"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/hangup"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/version"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/postprocessor/deploy"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/provisioners/hardening"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/provisioners/mysql"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/provisioners/nginx"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/provisioners/seal"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/provisioners/systemd"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/provisioners/tasks"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/provisioners/webapp"
)

func main() {
	set := plugin.NewSet()
	set.RegisterBuilder("ami", new(builder.Builder))
	set.RegisterProvisioner("hardening", new(hardening.Provisioner))
	set.RegisterProvisioner("mysql", new(mysql.Provisioner))
	set.RegisterProvisioner("nginx", new(nginx.Provisioner))
	set.RegisterProvisioner("webapp", new(webapp.Provisioner))
	set.RegisterProvisioner("systemd", new(systemd.Provisioner))
	set.RegisterProvisioner("tasks", new(tasks.Provisioner))
	set.RegisterProvisioner("seal", new(seal.Provisioner))
	set.RegisterDatasource("network", new(network.Datasource))
	set.RegisterDatasource("release", new(release.Datasource))
	set.RegisterPostProcessor("deploy", new(deploy.PostProcessor))
	set.SetVersion(sdkversion.NewRawVersion(version.Number()))
	err := set.Run()
	// Packer is done, or it is gone, with its terminal say: nothing may stay half done then.
	hangup.Plugin.End()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
