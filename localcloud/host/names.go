package host

import (
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/imds"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tool"
)

// Names of the packages below, by which package endpoint knows them.
type (
	Interface        = network.Interface
	Topology         = network.Topology
	Target           = network.Target
	VPC              = network.VPC
	Subnet           = network.Subnet
	Internet         = network.Internet
	NetworkInterface = network.NetworkInterface
	SecurityGroup    = network.SecurityGroup
	Rule             = network.Rule
	Metadata         = imds.Metadata
	Credentials      = imds.Credentials
	ToolError        = tool.Error
)

// Where a subnet's default route leads.
const (
	NoInternet = network.NoInternet
	ViaGateway = network.ViaGateway
	ViaNAT     = network.ViaNAT
)

// Public returns what a caller of the API may read of an error.
func Public(err error) string { return tool.Public(err) }
