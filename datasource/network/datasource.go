// Package network is the data source goldsmith-network: the network of a stack, found by its tags.
package network

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/hcl2helper"
	"github.com/zclconf/go-cty/cty"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
)

// Datasource is goldsmith-network.
type Datasource struct{ config Config }

// ConfigSpec describes the configuration to Packer.
func (d *Datasource) ConfigSpec() hcldec.ObjectSpec { return d.config.FlatMapstructure().HCL2Spec() }

// OutputSpec describes the output to Packer.
func (d *Datasource) OutputSpec() hcldec.ObjectSpec {
	return new(DatasourceOutput).FlatMapstructure().HCL2Spec()
}

// Configure checks the configuration.
func (d *Datasource) Configure(raws ...any) error { return d.config.decode(raws) }

// Execute finds the network.
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
	conf, err := awsconfig.Load(ctx, d.config.Options("goldsmith-network"))
	if err != nil {
		return DatasourceOutput{}, err
	}
	s, err := defaultstack.Named(conf, d.config.Stack, func(string, ...any) {})
	if err != nil {
		return DatasourceOutput{}, err
	}
	n, err := network.Find(ctx, s)
	if err != nil {
		return DatasourceOutput{}, err
	}
	if missing := n.Missing(s.Tiers); len(missing) > 0 {
		return DatasourceOutput{}, fmt.Errorf("find the network of stack %s: in %s these are missing: %s\n"+
			"hint: goldsmith network up --stack %s",
			d.config.Stack, conf.Region, strings.Join(missing, ", "), d.config.Stack)
	}
	return DatasourceOutput{
		VpcId:               n.VPC,
		PublicSubnetId:      n.Public,
		PrivateSubnetId:     n.Private,
		WebSecurityGroupId:  n.Groups[defaultstack.Web],
		DbSecurityGroupId:   n.Groups[defaultstack.Database],
		PublicRouteTableId:  n.PublicTable,
		PrivateRouteTableId: n.PrivateTable,
		InternetGatewayId:   n.Gateway,
		NatGatewayId:        n.NAT,
	}, nil
}
