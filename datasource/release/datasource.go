// Package release is the data source goldsmith-release: the current release of a stack, which deployments take.
package release

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/hcl2helper"
	"github.com/zclconf/go-cty/cty"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/release"
)

// Datasource is goldsmith-release.
type Datasource struct{ config Config }

// ConfigSpec describes the configuration to Packer.
func (d *Datasource) ConfigSpec() hcldec.ObjectSpec { return d.config.FlatMapstructure().HCL2Spec() }

// OutputSpec describes the output to Packer.
func (d *Datasource) OutputSpec() hcldec.ObjectSpec {
	return new(DatasourceOutput).FlatMapstructure().HCL2Spec()
}

// Configure checks the configuration.
func (d *Datasource) Configure(raws ...any) error { return d.config.decode(raws) }

// Execute reads the release.
func (d *Datasource) Execute() (cty.Value, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := d.read(ctx)
	if err != nil {
		return cty.NullVal(cty.EmptyObject), awsconfig.Explain(err)
	}
	return hcl2helper.HCL2ValueFromConfig(out, d.OutputSpec()), nil
}

func (d *Datasource) read(ctx context.Context) (DatasourceOutput, error) {
	conf, err := awsconfig.Load(ctx, d.config.Options("goldsmith-release"))
	if err != nil {
		return DatasourceOutput{}, err
	}
	s, err := defaultstack.Named(conf, d.config.Stack, func(string, ...any) {})
	if err != nil {
		return DatasourceOutput{}, err
	}
	r, ok, err := release.Current(ctx, s)
	if err != nil {
		return DatasourceOutput{}, err
	}
	if !ok {
		return DatasourceOutput{}, fmt.Errorf("find the current release of stack %s: there is none in %s\n"+
			"hint: a build of both images with prove blocks makes one", d.config.Stack, conf.Region)
	}
	return DatasourceOutput{
		Name:     r.Name,
		DbAmi:    r.Images[defaultstack.Database],
		WebAmi:   r.Images[defaultstack.Web],
		Created:  r.Created.UTC().Format(time.RFC3339),
		Revision: r.Revision,
	}, nil
}
