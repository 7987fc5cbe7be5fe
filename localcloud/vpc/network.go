package vpc

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"sync"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/eni"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/targets"
)

// Network makes the network what the records say.
type Network struct {
	moto      *moto.Client
	records   *records.Store
	targets   *targets.Checker
	machinery Router
	log       *slog.Logger

	mu      sync.Mutex // held while the network is read and applied
	applied network.Topology
}

// Handlers answer the calls of EC2 for networks that are more than a record.
func (n *Network) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"DescribeNatGateways": n.describeNatGateways,
		"DeleteNatGateway":    n.deleteNatGateway,
		"DeleteSubnet":        n.deleteSubnet,
		"CreateVpc":           n.createVpc,
		"DeleteVpc":           n.deleteVpc,
	}
}

// resources are the network as moto has it.
type resources struct {
	vpcs, subnets, tables, groups, gateways, nats, addresses, interfaces []*awsquery.Node
}

func (n *Network) read(ctx context.Context) (*resources, error) {
	r := &resources{}
	for _, list := range []struct {
		action, set string
		into        *[]*awsquery.Node
	}{
		{"DescribeVpcs", "vpcSet", &r.vpcs}, {"DescribeSubnets", "subnetSet", &r.subnets},
		{"DescribeRouteTables", "routeTableSet", &r.tables},
		{"DescribeSecurityGroups", "securityGroupInfo", &r.groups},
		{"DescribeInternetGateways", "internetGatewaySet", &r.gateways},
		{"DescribeNatGateways", "natGatewaySet", &r.nats}, {"DescribeAddresses", "addressesSet", &r.addresses},
		{"DescribeNetworkInterfaces", "networkInterfaceSet", &r.interfaces},
	} {
		described, err := n.moto.Ask(ctx, awsquery.NewCall("ec2", list.action))
		if err != nil {
			return nil, fmt.Errorf("read the network: %s: %w", list.action, err)
		}
		*list.into = described.Items(list.set)
	}
	return r, nil
}

// Apply makes the network what the records say.
func (n *Network) Apply(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	r, err := n.read(ctx)
	if err != nil {
		return err
	}
	elastic := map[netip.Addr]string{}
	for _, item := range r.addresses {
		if address, err := netip.ParseAddr(item.Get("publicIp")); err == nil {
			elastic[address] = item.Get("instanceId")
		}
	}
	n.records.SetAddresses(elastic, r.homes())
	topology := n.topology(r)
	if reflect.DeepEqual(topology, n.applied) {
		return nil
	}
	if err := n.machinery.Apply(ctx, topology); err != nil {
		n.applied = network.Topology{} // a part of it may be there
		return &moto.UnrealError{Err: err}
	}
	n.applied = topology
	return nil
}

// homes are the places of instances, by their first interface.
func (r *resources) homes() map[string]records.Home {
	homes := map[string]records.Home{}
	for _, nic := range r.interfaces {
		if addresses, err := eni.PrivateAddresses(nic); err == nil && nic.Get("attachment", "deviceIndex") == "0" {
			homes[nic.Get("attachment", "instanceId")] = records.Home{VPC: nic.Get("vpcId"), Private: addresses[0]}
		}
	}
	return homes
}

// topology reads the records into a topology. What no network can have is left out and told: one such thing, of a
// version of this program that checked less, is not to cost the rest.
func (n *Network) topology(r *resources) network.Topology {
	t := network.Topology{Public: map[netip.Addr]network.Target{}}
	vpcs := map[string]*network.VPC{}
	for _, item := range r.vpcs {
		vpc := &network.VPC{ID: item.Get("vpcId")}
		for _, block := range append([]string{item.Get("cidrBlock")},
			item.All("cidrBlockAssociationSet", "*", "cidrBlock")...) {
			cidr, err := netip.ParsePrefix(block)
			if err != nil {
				n.leftOut(vpc.ID, err)
			} else if !slices.Contains(vpc.CIDRs, cidr) {
				vpc.CIDRs = append(vpc.CIDRs, cidr)
			}
		}
		vpcs[vpc.ID] = vpc
	}
	for _, item := range r.subnets {
		cidr, err := netip.ParsePrefix(item.Get("cidrBlock"))
		if err != nil {
			n.leftOut(item.Get("subnetId"), err)
			continue
		}
		if vpc := vpcs[item.Get("vpcId")]; vpc != nil {
			vpc.Subnets = append(vpc.Subnets, network.Subnet{
				ID:       item.Get("subnetId"),
				CIDR:     cidr,
				Gateway:  cidr.Masked().Addr().Next(),
				Internet: r.internet(vpc.ID, item.Get("subnetId")),
			})
		}
	}
	for _, item := range r.groups {
		if vpc := vpcs[item.Get("vpcId")]; vpc != nil {
			id := item.Get("groupId")
			vpc.Groups = append(vpc.Groups, network.SecurityGroup{
				ID:      id,
				Ingress: n.possible(id, rules(item.Items("ipPermissions"))),
				Egress:  n.possible(id, rules(item.Items("ipPermissionsEgress"))),
			})
		}
	}
	for _, item := range r.interfaces {
		if err := n.addInterface(&t, vpcs[item.Get("vpcId")], item); err != nil {
			n.leftOut(item.Get("networkInterfaceId"), err)
		}
	}
	for _, item := range r.vpcs {
		t.VPCs = append(t.VPCs, *vpcs[item.Get("vpcId")])
	}
	n.addBalancers(&t, r)
	return t
}

func (n *Network) leftOut(id string, err error) {
	n.log.Error("left out of the network, as no network can have it", "resource", id, "error", err)
}

// possible are the rules that a firewall can have.
func (n *Network) possible(group string, all []network.Rule) []network.Rule {
	return slices.DeleteFunc(all, func(rule network.Rule) bool {
		err := rule.Check()
		if err != nil {
			n.leftOut(group, err)
		}
		return err != nil
	})
}

// addInterface adds an instance's interface; others lead to no machine.
func (n *Network) addInterface(t *network.Topology, vpc *network.VPC, nic *awsquery.Node) error {
	id := nic.Get("attachment", "instanceId")
	record, known := n.records.Instance(id)
	if !known || vpc == nil || nic.Get("attachment", "deviceIndex") != "0" {
		return nil
	}
	addresses, err := eni.PrivateAddresses(nic)
	if err != nil {
		return err
	}
	public := n.records.PublicOf(id, record)
	groups := slices.DeleteFunc(nic.All("groupSet", "*", "groupId"), func(id string) bool {
		there := slices.ContainsFunc(vpc.Groups, func(g network.SecurityGroup) bool { return g.ID == id })
		if !there {
			n.leftOut(nic.Get("networkInterfaceId"), fmt.Errorf("security group %s is not there", id))
		}
		return !there
	})
	vpc.Interfaces = append(vpc.Interfaces, network.NetworkInterface{
		ID:         nic.Get("networkInterfaceId"),
		Subnet:     nic.Get("subnetId"),
		PrivateIPs: addresses,
		Public:     public != "",
		Groups:     groups,
	})
	if public != "" {
		address, err := netip.ParseAddr(public)
		if err != nil {
			return err
		}
		t.Public[address] = network.Target{VPC: vpc.ID, Private: addresses[0]}
	}
	return nil
}

// internet finds the target of a subnet's default route, by its own route table or else the VPC's main one.
func (r *resources) internet(vpc, subnet string) network.Internet {
	var table *awsquery.Node
	for _, item := range r.tables {
		if item.Get("vpcId") != vpc {
			continue
		}
		for _, association := range item.Items("associationSet") {
			if association.Get("subnetId") == subnet || table == nil && association.Get("main") == "true" {
				table = item
			}
		}
	}
	for _, route := range table.Items("routeSet") {
		if route.Get("destinationCidrBlock") != "0.0.0.0/0" {
			continue
		}
		for _, gateway := range r.gateways {
			if gateway.Get("internetGatewayId") == route.Get("gatewayId") &&
				slices.Contains(gateway.All("attachmentSet", "*", "vpcId"), vpc) {
				return network.ViaGateway
			}
		}
		for _, nat := range r.nats {
			if nat.Get("natGatewayId") == route.Get("natGatewayId") && nat.Get("state") == "available" {
				return network.ViaNAT
			}
		}
	}
	return network.NoInternet
}

// rules reads a group's permissions.
func rules(permissions []*awsquery.Node) []network.Rule {
	var all []network.Rule
	for _, p := range permissions {
		rule := network.Rule{
			Protocol: p.Get("ipProtocol"),
			From:     number(p.Get("fromPort")),
			To:       number(p.Get("toPort")),
		}
		for _, item := range p.Items("ipRanges") {
			if cidr, err := netip.ParsePrefix(item.Get("cidrIp")); err == nil {
				rule.CIDR = cidr
				all = append(all, rule)
			}
		}
		rule.CIDR = netip.Prefix{}
		for _, item := range p.Items("groups") {
			rule.Group = item.Get("groupId")
			all = append(all, rule)
		}
	}
	return all
}

// number reads a port; none means all.
func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}

// Forward makes a changing call and then the network.
func (n *Network) Forward(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := n.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, n.Apply(ctx)
}

// addBalancers has the elastic addresses of load balancers lead to the healthy targets of each listener.
func (n *Network) addBalancers(t *network.Topology, r *resources) {
	homes := r.homes()
	public := map[string]netip.Addr{} // by allocation
	for _, item := range r.addresses {
		if address, err := netip.ParseAddr(item.Get("publicIp")); err == nil {
			public[item.Get("allocationId")] = address
		}
	}
	healthy := map[string][]netip.AddrPort{} // by target group
	for _, each := range n.targets.Healthy() {
		if at, ok := homes[each.Instance]; ok {
			healthy[each.Group] = append(healthy[each.Group], netip.AddrPortFrom(at.Private, uint16(each.Record.Port)))
		}
	}
	n.records.View(func(o *records.State) {
		for _, balancer := range o.Balancers {
			to := network.Target{VPC: balancer.VPC, Balanced: map[uint16][]netip.AddrPort{}}
			for listener, group := range balancer.Listeners {
				to.Balanced[uint16(listener)] = healthy[group]
			}
			for _, allocation := range balancer.Allocations {
				if address, ok := public[allocation]; ok {
					t.Public[address] = to
				}
			}
		}
	})
}
