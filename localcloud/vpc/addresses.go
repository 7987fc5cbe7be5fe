package vpc

import (
	"context"
	"net/netip"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/metadata"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// Addresses answers the calls for elastic addresses.
type Addresses struct {
	moto     *moto.Client
	records  *records.Store
	network  *Network
	metadata *metadata.Service
}

// Handlers answer the calls of EC2 for elastic addresses that are more than a record.
func (a *Addresses) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"AllocateAddress":     a.allocate,
		"AssociateAddress":    a.associate,
		"DisassociateAddress": a.disassociate,
		"ReleaseAddress":      a.release,
		"DescribeAddresses":   a.describe,
	}
}

// allocate gives an elastic address of the local cloud's range.
func (a *Addresses) allocate(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	c = c.Clone()
	var address netip.Addr
	a.records.View(func(o *records.State) { address = o.FreePublic() })
	if !address.IsValid() {
		return nil, awsquery.Fault(apierror.AddressLimitExceeded)
	}
	c.Set("Domain", "vpc")
	c.Set("Address", address.String())
	return a.network.Forward(ctx, c)
}

// Find is an elastic address as moto has it, by any of the names that calls use.
func (a *Addresses) Find(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	described, err := a.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeAddresses"))
	if err != nil {
		return nil, err
	}
	for _, by := range []struct {
		parameter, element string
		missing            *apierror.Row
	}{
		{"AllocationId", "allocationId", apierror.InvalidAllocationIDNotFound},
		{"AssociationId", "associationId", apierror.InvalidAssociationIDNotFound},
		{"PublicIp", "publicIp", apierror.InvalidAddressNotFound},
	} {
		wanted := c.Get(by.parameter)
		if wanted == "" {
			continue
		}
		for _, address := range described.Items("addressesSet") {
			if address.Get(by.element) == wanted {
				return address, nil
			}
		}
		return nil, awsquery.Fault(by.missing, wanted)
	}
	return nil, awsquery.Faultf(apierror.MissingParameters,
		"The request must name the address by AllocationId, AssociationId or PublicIp")
}

// associate moves an elastic address; an instance that had it has it no more, and one that gets it loses its
// automatic one.
func (a *Addresses) associate(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	address, err := a.Find(ctx, c)
	if err != nil {
		return nil, err
	}
	if balancer := a.records.BalancerAt(address.Get("allocationId")); balancer != "" {
		return nil, awsquery.Fault(apierror.AlreadyAssociated, address.Get("allocationId"), "load balancer "+balancer)
	}
	if id := c.Get("InstanceId"); id != "" {
		if err = a.records.InStates([]string{id}, "given an address", "pending", "running", "stopping",
			"stopped"); err != nil {
			return nil, err
		}
	}
	if association := address.Get("associationId"); association != "" {
		if c.Get("AllowReassociation") == "false" {
			return nil, awsquery.Fault(apierror.AddressAlreadyAssociated, address.Get("allocationId"), association)
		}
		if _, err = a.moto.Forward(ctx, awsquery.NewCall("ec2", "DisassociateAddress",
			"AssociationId", association)); err != nil {
			return nil, err
		}
	}
	answered, err := a.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, a.readdress(ctx, c.Get("InstanceId"), address.Get("instanceId"))
}

func (a *Addresses) disassociate(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	address, err := a.Find(ctx, c)
	if err != nil {
		return nil, err
	}
	answered, err := a.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, a.readdress(ctx, address.Get("instanceId"))
}

func (a *Addresses) release(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	address, err := a.Find(ctx, c)
	if err != nil {
		return nil, err
	}
	if address.Get("associationId") != "" {
		return nil, awsquery.Fault(apierror.InvalidIPAddressInUse, address.Get("publicIp"))
	}
	if balancer := a.records.BalancerAt(address.Get("allocationId")); balancer != "" {
		return nil, awsquery.Fault(apierror.InvalidIPAddressInUse, address.Get("publicIp")).
			Adding("Load balancer %s has it.", balancer)
	}
	nats, err := a.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeNatGateways"))
	if err != nil {
		return nil, err
	}
	for _, nat := range nats.Items("natGatewaySet") {
		for _, id := range nat.All("natGatewayAddressSet", "*", "allocationId") {
			if id == address.Get("allocationId") && nat.Get("state") == "available" {
				return nil, awsquery.Fault(apierror.InvalidIPAddressInUse, address.Get("publicIp")).
					Adding("%s has it.", nat.Get("natGatewayId"))
			}
		}
	}
	return a.network.Forward(ctx, c)
}

// readdress makes the network and the metadata of instances follow a change of elastic addresses. Who has one has no
// automatic one any more.
func (a *Addresses) readdress(ctx context.Context, instances ...string) error {
	if err := a.network.Apply(ctx); err != nil {
		return err
	}
	for _, id := range instances {
		record, ok := a.records.Instance(id)
		if !ok || record.State == "terminated" {
			continue
		}
		loses := false
		a.records.View(func(o *records.State) { loses = o.HasElastic(id) && record.Public.IsValid() })
		if loses {
			if err := a.records.ChangeInstance(id,
				func(record *records.Instance) { record.Public = netip.Addr{} }); err != nil {
				return err
			}
		}
		if err := a.metadata.Refresh(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// FreeInstance disassociates what an instance has, before it goes.
func (a *Addresses) FreeInstance(ctx context.Context, id string) error {
	described, err := a.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeAddresses"))
	if err != nil {
		return err
	}
	for _, address := range described.Items("addressesSet") {
		if address.Get("instanceId") != id || address.Get("associationId") == "" {
			continue
		}
		if _, err := a.moto.Forward(ctx, awsquery.NewCall("ec2", "DisassociateAddress",
			"AssociationId", address.Get("associationId"))); err != nil {
			return err
		}
	}
	return nil
}

// describe shows addresses of load balancers as associated, with no instance of the caller's.
func (a *Addresses) describe(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	described, err := a.moto.Ask(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, item := range described.Items("addressesSet") {
		if allocation := item.Get("allocationId"); a.records.BalancerAt(allocation) != "" {
			item.Set("eipassoc-"+strings.TrimPrefix(allocation, "eipalloc-"), "associationId")
			item.Set("amazon-elb", "networkInterfaceOwnerId")
		}
	}
	return described, nil
}
