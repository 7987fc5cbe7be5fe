package vpc

import (
	"context"
	"log/slog"
	"maps"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/metadata"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/targets"
)

// Router makes a network real.
type Router interface {
	Apply(context.Context, network.Topology) error
}

// Config holds the dependencies of a VPC's parts.
type Config struct {
	Moto      *moto.Client
	Records   *records.Store
	Targets   *targets.Checker
	Metadata  *metadata.Service
	Machinery Router
	Log       *slog.Logger
}

// VPC are the calls for networks, by kind of resource.
type VPC struct {
	Network        *Network
	SecurityGroups *SecurityGroups
	Addresses      *Addresses
	Interfaces     *Interfaces
	Reservations   *Reservations
}

// New makes the parts.
func New(c Config) *VPC {
	n := &Network{
		moto:      c.Moto,
		records:   c.Records,
		targets:   c.Targets,
		machinery: c.Machinery,
		log:       c.Log,
	}
	groups := &SecurityGroups{moto: c.Moto, network: n}
	return &VPC{
		Network:        n,
		SecurityGroups: groups,
		Addresses: &Addresses{
			moto:     c.Moto,
			records:  c.Records,
			network:  n,
			metadata: c.Metadata,
		},
		Interfaces: &Interfaces{
			moto:           c.Moto,
			records:        c.Records,
			network:        n,
			securityGroups: groups,
		},
		Reservations: &Reservations{records: c.Records, network: n},
	}
}

// Handlers answer the calls that are more than a record, by action.
func (v *VPC) Handlers() map[string]awsquery.Handler {
	all := map[string]awsquery.Handler{}
	for _, resource := range []map[string]awsquery.Handler{
		v.Network.Handlers(),
		v.SecurityGroups.Handlers(),
		v.Addresses.Handlers(),
		v.Interfaces.Handlers(),
		v.Reservations.Handlers(),
	} {
		maps.Copy(all, resource)
	}
	return all
}
