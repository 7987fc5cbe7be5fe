package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/imds"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/netns"
)

// machineDevice is the name of a machine's interface, as on a Nitro instance.
const machineDevice = "ens5"

// maxRouters is the number of VPCs for which the internet's side has addresses.
const maxRouters = 254

// router is a VPC's namespace: each machine is linked to it, and it to the internet. Its Network locks it.
type router struct {
	index     int    // of its address on the internet's side
	namespace string // network namespace
	links     *netns.Links
	metadata  *imds.Router

	rules   string // as loaded
	subnets []Subnet
	wanted  map[string][]netip.Addr // by interface: private addresses, as last applied
	routed  map[string][]netip.Addr // by interface: private addresses with a route
	plugged map[string]*imds.Server // by interface: who answers its machine; nil without metadata
}

// addRouter makes a VPC's namespace and its link to the internet, or nothing of it.
func (n *Network) addRouter(ctx context.Context, vpc string) (*router, error) {
	index := n.freeIndex()
	if index > maxRouters {
		return nil, fmt.Errorf("add the router of %s: %d VPCs are the most that a cloud can have", vpc, maxRouters)
	}
	r := &router{
		index:     index,
		namespace: n.Namespace(vpc),
		routed:    map[string][]netip.Addr{},
		plugged:   map[string]*imds.Server{},
	}
	if err := netns.Add(r.namespace); err != nil {
		return nil, err
	}
	n.routers[vpc] = r
	err := r.linkTo(n.config.internet())
	if err == nil {
		err = r.serveMetadata(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, n.removeRouter(vpc))
	}
	return r, nil
}

func (n *Network) freeIndex() int {
	for index := 1; ; index++ {
		taken := false
		for _, r := range n.routers {
			taken = taken || r.index == index
		}
		if !taken {
			return index
		}
	}
}

// linkTo links a router to the internet. The link has addresses of a range for documentation, so that private ranges
// may overlap between VPCs.
func (r *router) linkTo(internet string) error {
	outside, err := netns.OpenLinks(internet)
	if err != nil {
		return err
	}
	defer outside.Close()
	if r.links, err = netns.OpenLinks(r.namespace); err != nil {
		return err
	}
	if err := outside.AddVeth(r.link(), netns.Peer{Device: uplink, Namespace: r.namespace}); err != nil {
		return err
	}
	own := netns.Host(r.address())
	if err := outside.SetRoute(r.link(), netns.Route{To: own, From: Operator}); err != nil {
		return err
	}
	// A route by device: who binds a socket to it reaches this VPC's private addresses.
	if err := outside.SetRoute(r.link(), netns.Route{From: Operator, Metric: 1000 + r.index}); err != nil {
		return err
	}
	if err := r.links.SetUp(uplink); err != nil {
		return err
	}
	if err := r.links.AddAddresses(uplink, own); err != nil {
		return err
	}
	if err := r.links.SetRoute(uplink, netns.Route{}); err != nil {
		return err
	}
	return netns.SetSysctls(r.namespace, append(answerForOthers(uplink),
		netns.Sysctl{Name: "net/ipv4/ip_forward", Value: "1"},
		netns.Sysctl{Name: "net/ipv4/conf/all/send_redirects", Value: "0"},
		netns.Sysctl{Name: "net/ipv4/conf/default/send_redirects", Value: "0"})...)
}

// answerForOthers has a router answer ARP requests for all addresses that it routes to, at once.
func answerForOthers(name string) []netns.Sysctl {
	return []netns.Sysctl{
		{Name: "net/ipv4/conf/" + name + "/proxy_arp", Value: "1"},
		{Name: "net/ipv4/neigh/" + name + "/proxy_delay", Value: "0"},
	}
}

func (r *router) serveMetadata(ctx context.Context) error {
	address := netip.MustParseAddr(imds.Address)
	if err := r.links.AddAddresses(netns.Loopback, netns.Host(address)); err != nil {
		return err
	}
	listener, err := netns.Listen(ctx, r.namespace, netip.AddrPortFrom(address, 80).String())
	if err != nil {
		return fmt.Errorf("start the metadata service: %w", err)
	}
	r.metadata = imds.Serve(listener)
	return nil
}

func (r *router) link() string { return fmt.Sprintf("vpc%d", r.index) }

func (r *router) address() netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, byte(r.index)}) }

// removeRouter removes a VPC's namespace; its links go with it. The caller holds n.mu.
func (n *Network) removeRouter(vpc string) error {
	r := n.routers[vpc]
	delete(n.routers, vpc)
	var errs []error
	if r.links != nil {
		// The link goes first: a namespace whose sockets are still closing would keep it for a while.
		if err := r.links.Delete(uplink); err != nil && !netns.IsNotFound(err) {
			errs = append(errs, err)
		}
		r.links.Close()
	}
	if r.metadata != nil {
		errs = append(errs, r.metadata.Close())
	}
	return errors.Join(append(errs, netns.Delete(r.namespace))...)
}

// setGateways gives the router each subnet's first address.
func (r *router) setGateways(subnets []Subnet) error {
	if slices.Equal(r.subnets, subnets) {
		return nil
	}
	gateways := func(of []Subnet) (prefixes []netip.Prefix) {
		for _, subnet := range of {
			prefixes = append(prefixes, netns.Host(subnet.Gateway))
		}
		return prefixes
	}
	before := gateways(r.subnets)
	r.subnets = slices.Clone(subnets)
	if err := r.links.DeleteAddresses(netns.Loopback, before...); err != nil {
		return err
	}
	return r.links.AddAddresses(netns.Loopback, gateways(subnets)...)
}

// setInterfaces notes which addresses interfaces have, and routes to those that are plugged in.
func (r *router) setInterfaces(interfaces []NetworkInterface) error {
	holders := map[netip.Addr]string{}
	r.wanted = map[string][]netip.Addr{}
	for _, i := range interfaces {
		r.wanted[i.ID] = i.PrivateIPs
		if _, plugged := r.plugged[i.ID]; plugged {
			for _, address := range i.PrivateIPs {
				holders[address] = i.ID
			}
		}
	}
	for _, i := range interfaces {
		if _, plugged := r.plugged[i.ID]; plugged {
			if err := r.route(i.ID, i.PrivateIPs, holders); err != nil {
				return err
			}
		}
	}
	return nil
}

// route makes the interface's private addresses reachable over its link. An address that another interface holds now is
// routed there at one stroke, and so is not taken away here.
func (r *router) route(eni string, addresses []netip.Addr, holders map[netip.Addr]string) error {
	before := r.routed[eni]
	if slices.Equal(before, addresses) {
		return nil
	}
	r.routed[eni] = slices.Clone(addresses)
	if server := r.plugged[eni]; server != nil {
		r.metadata.Bind(server, addresses)
	}
	for _, old := range before {
		if !slices.Contains(addresses, old) && holders[old] == "" {
			if err := r.links.DeleteRoute(device(eni), netns.Route{To: netns.Host(old)}); err != nil {
				return err
			}
		}
	}
	for _, address := range addresses {
		if err := r.links.SetRoute(device(eni), netns.Route{To: netns.Host(address)}); err != nil {
			return err
		}
	}
	return nil
}

// plug links a machine's namespace to the router.
func (r *router) plug(namespace string, i Interface, subnet Subnet) error {
	mac, err := net.ParseMAC(i.MAC)
	if err != nil {
		return err
	}
	link := device(i.ID)
	if err = r.links.AddVeth(link, netns.Peer{Device: machineDevice, Namespace: namespace, MAC: mac}); err != nil {
		return err
	}
	if err = netns.SetSysctls(r.namespace, answerForOthers(link)...); err != nil {
		return err
	}
	// A machine that was stopped may have got other addresses meanwhile.
	addresses := i.PrivateIPs
	if applied := r.wanted[i.ID]; len(applied) > 0 {
		addresses = applied
	}
	if err = r.route(i.ID, addresses, nil); err != nil {
		return err
	}
	inside, err := netns.OpenLinks(namespace)
	if err != nil {
		return err
	}
	defer inside.Close()
	own := netip.PrefixFrom(i.PrivateIPs[0], subnet.CIDR.Bits())
	if err := inside.AddAddresses(machineDevice, own); err != nil {
		return err
	}
	if err := inside.SetUp(machineDevice); err != nil {
		return err
	}
	return inside.SetRoute(machineDevice, netns.Route{Via: subnet.Gateway})
}

// unplug removes the link of an interface, if it has one.
func (r *router) unplug(eni string) error {
	server, plugged := r.plugged[eni]
	if !plugged {
		return nil
	}
	if server != nil {
		r.metadata.Bind(server, nil)
	}
	delete(r.plugged, eni)
	delete(r.routed, eni)
	if err := r.links.Delete(device(eni)); err != nil && !netns.IsNotFound(err) {
		return err
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
