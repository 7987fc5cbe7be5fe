//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config,DatasourceOutput

package network

import (
	"errors"

	"github.com/hashicorp/packer-plugin-sdk/template/config"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsaccess"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// Config is the data source's configuration.
type Config struct {
	awsaccess.Access `mapstructure:",squash"`

	// The stack whose network is wanted.
	Stack string `mapstructure:"stack" required:"true"`
}

// DatasourceOutput is the output of the data source.
type DatasourceOutput struct {
	// The VPC.
	VpcId string `mapstructure:"vpc_id"`
	// The subnet of the web tier, where images are baked too.
	PublicSubnetId string `mapstructure:"public_subnet_id"`
	// The subnet of the database.
	PrivateSubnetId string `mapstructure:"private_subnet_id"`
	// The security group of the web tier.
	WebSecurityGroupId string `mapstructure:"web_security_group_id"`
	// The security group of the database.
	DbSecurityGroupId string `mapstructure:"db_security_group_id"`
	// The route table of the public subnet.
	PublicRouteTableId string `mapstructure:"public_route_table_id"`
	// The route table of the private subnet.
	PrivateRouteTableId string `mapstructure:"private_route_table_id"`
	// The internet gateway, the public subnet's way out.
	InternetGatewayId string `mapstructure:"internet_gateway_id"`
	// The NAT gateway, the private subnet's way out.
	NatGatewayId string `mapstructure:"nat_gateway_id"`
}

// decode reads the configuration, and reports everything that is wrong.
func (c *Config) decode(raws []any) error {
	if err := config.Decode(c, &config.DecodeOpts{PluginType: "goldsmith-network"}, raws...); err != nil {
		return err
	}
	return errors.Join(append(c.Prepare(), stackfile.CheckName(c.Stack))...)
}
