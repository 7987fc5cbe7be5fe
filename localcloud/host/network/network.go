// Package network makes VPCs real: a namespace for each, which routes between its machines, with security groups as its
// firewall; VPCs may have the same addresses. The internet is a namespace too, which holds the operator's address, the
// API and the package cache, and from which nothing leads further. Public addresses are loopback addresses of the host.
//
// A Network locks itself, and calls nothing of its caller. Limits: IPv4, one interface for each machine, TCP from the
// host to public addresses.
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/imds"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/netns"
)

// The cloud's internet, as machines see it. The addresses are of a range that is reserved for documentation, so they
// are nobody's.
var (
	Operator     = netip.MustParseAddr("198.51.100.1") // the host's user
	stranger     = netip.MustParseAddr("198.51.100.2") // another host of the internet, to see that it is refused
	PackageCache = netip.MustParseAddrPort("198.51.100.10:3142")
	API          = netip.MustParseAddrPort("198.51.100.20:80")
)

// Config says which cloud's network it is.
type Config struct {
	// Number is the cloud's, and part of its names in the kernel.
	Number uint32
	// API is the loopback address where the host reaches the EC2 API; public addresses are of the same /24.
	API netip.Addr
}

func (c Config) namespace(part string) string { return fmt.Sprintf("gs%d-%s", c.Number, part) }

func (c Config) internet() string { return c.namespace("inet") }

// Network is the network of one cloud.
type Network struct {
	config Config
	relay  *relay

	mu       sync.Mutex
	routers  map[string]*router
	metadata map[string]*imds.Server // by machine
}

// Open makes the internet's namespace, which routers are linked to, and the relay of public addresses.
func Open(ctx context.Context, c Config) (*Network, error) {
	n := &Network{config: c, routers: map[string]*router{}, metadata: map[string]*imds.Server{}}
	if err := n.open(ctx); err != nil {
		return nil, errors.Join(err, n.Close(context.WithoutCancel(ctx)))
	}
	return n, nil
}

func (n *Network) open(ctx context.Context) error {
	internet := n.config.internet()
	if err := netns.Add(internet); err != nil {
		return err
	}
	links, err := netns.OpenLinks(internet)
	if err != nil {
		return err
	}
	defer links.Close()
	err = links.AddAddresses(netns.Loopback, netns.Host(Operator), netns.Host(stranger),
		netns.Host(PackageCache.Addr()), netns.Host(API.Addr()))
	if err != nil {
		return err
	}
	n.relay, err = startRelay(ctx, n.config, internet)
	return err
}

// Close takes all of it down.
func (n *Network) Close(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	if n.relay != nil {
		errs = append(errs, n.relay.close(ctx))
	}
	for _, vpc := range sortedKeys(n.routers) {
		errs = append(errs, n.removeRouter(vpc))
	}
	return errors.Join(append(errs, netns.Delete(n.config.internet()))...)
}

// Namespace returns the name of one of the cloud's network namespaces.
func (n *Network) Namespace(part string) string { return n.config.namespace(part) }

// Listen listens on an address of the cloud's internet.
func (n *Network) Listen(ctx context.Context, address netip.AddrPort) (net.Listener, error) {
	return netns.Listen(ctx, n.config.internet(), address.String())
}

// Dial connects to a private address in a VPC, as load balancers do that look at their targets.
func (n *Network) Dial(ctx context.Context, vpc string, private netip.AddrPort) (net.Conn, error) {
	return n.relay.dial(ctx, vpc, private)
}

// SetMetadata says what a machine's metadata service answers from now on; the machine need not run yet.
func (n *Network) SetMetadata(machine string, metadata imds.Metadata) {
	n.mu.Lock()
	server := n.metadata[machine]
	if server == nil {
		server = imds.NewServer()
		n.metadata[machine] = server
	}
	n.mu.Unlock()
	server.Set(metadata)
}

// Forget drops the metadata of a machine that is no more.
func (n *Network) Forget(machine string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.metadata, machine)
}

// Apply makes the network so: routers, their subnets' gateways, and all rules of a VPC in one transaction. What is so
// already is not touched. VPCs that are not named lose their routers. A topology that is not valid changes nothing.
func (n *Network) Apply(ctx context.Context, topology Topology) error {
	if err := topology.Check(); err != nil {
		return fmt.Errorf("apply network: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	wanted := map[string]bool{}
	for _, vpc := range topology.VPCs {
		wanted[vpc.ID] = true
		if err := n.applyVPC(ctx, vpc); err != nil {
			errs = append(errs, fmt.Errorf("apply network of %s: %w", vpc.ID, err))
		}
	}
	for _, id := range sortedKeys(n.routers) {
		if !wanted[id] && len(n.routers[id].plugged) == 0 {
			errs = append(errs, n.removeRouter(id))
		}
	}
	links := map[string]string{}
	for id, r := range n.routers {
		links[id] = r.link()
	}
	n.relay.set(topology.Public, links)
	return errors.Join(errs...)
}

func (n *Network) applyVPC(ctx context.Context, vpc VPC) error {
	r := n.routers[vpc.ID]
	if r == nil {
		var err error
		if r, err = n.addRouter(ctx, vpc.ID); err != nil {
			return err
		}
	}
	if err := r.setGateways(vpc.Subnets); err != nil {
		return err
	}
	if err := r.setInterfaces(vpc.Interfaces); err != nil {
		return err
	}
	rules, err := ruleset(vpc)
	if err != nil {
		return err
	}
	if rules == r.rules {
		return nil
	}
	if err := netns.LoadRules(ctx, r.namespace, rules); err != nil {
		return err
	}
	r.rules = rules
	return nil
}

// Plug makes a machine's namespace, with its one interface linked to the VPC's router, and returns where it is mounted.
// The VPC must have been applied. What was made before an error is removed again.
func (n *Network) Plug(machine string, i Interface) (namespace string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.routers[i.VPC]
	if r == nil {
		return "", fmt.Errorf("plug in %s: the network of %s has not been applied", i.ID, i.VPC)
	}
	subnet := slices.IndexFunc(r.subnets, func(s Subnet) bool { return s.ID == i.Subnet })
	if subnet < 0 || len(i.PrivateIPs) == 0 {
		return "", fmt.Errorf("plug in %s: subnet %s has not been applied, or the interface has no address",
			i.ID, i.Subnet)
	}
	name := n.Namespace(i.ID)
	if err := netns.Add(name); err != nil {
		return "", err
	}
	r.plugged[i.ID] = n.metadata[machine]
	if err := r.plug(name, i, r.subnets[subnet]); err != nil {
		return "", errors.Join(fmt.Errorf("plug in %s: %w", i.ID, err), n.unplug(r, i))
	}
	return filepath.Join(netns.Dir, name), nil
}

// Unplug removes a machine's namespace; it is no error if there is none.
func (n *Network) Unplug(i Interface) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.routers[i.VPC]
	if r == nil {
		return netns.Delete(n.Namespace(i.ID))
	}
	return n.unplug(r, i)
}

func (n *Network) unplug(r *router, i Interface) error {
	return errors.Join(r.unplug(i.ID), netns.Delete(n.Namespace(i.ID)))
}
