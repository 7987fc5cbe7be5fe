package host

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
)

// machineDevice is the name of a machine's interface, as on a Nitro instance.
const machineDevice = "ens5"

// router is a VPC's namespace: each machine is linked to it, and it to the internet.
type router struct {
	index     int    // of its address on the internet's side
	namespace string // network namespace
	rules     string // as loaded
	subnets   []Subnet
	wanted    map[string][]netip.Addr    // by interface: private addresses, as last applied
	routed    map[string][]netip.Addr    // by interface: private addresses with a route
	plugged   map[string]*metadataServer // by interface: who answers its machine; nil without metadata
	desk      *metadataDesk
}

// makeInternet makes the namespace that routers are linked to; it holds the operator's address, the package cache and
// the API.
func (h *Host) makeInternet(ctx context.Context) error {
	name := h.inetNamespace()
	if err := addNamespace(ctx, name); err != nil {
		return err
	}
	return ip(ctx, name,
		"address add 198.51.100.1/32 dev lo", "address add 198.51.100.2/32 dev lo",
		"address add 198.51.100.10/32 dev lo", "address add 198.51.100.20/32 dev lo")
}

// Apply makes the network so: routers, their subnets' gateways, and all rules of a VPC in one transaction. What is so
// already is not touched. VPCs that are not named lose their routers. A topology that is not valid changes nothing.
func (h *Host) Apply(ctx context.Context, topology Topology) error {
	if err := topology.Check(); err != nil {
		return fmt.Errorf("apply network: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	wanted := map[string]bool{}
	for _, vpc := range topology.VPCs {
		wanted[vpc.ID] = true
		if err := h.applyVPC(ctx, vpc); err != nil {
			errs = append(errs, fmt.Errorf("apply network of %s: %w", vpc.ID, err))
		}
	}
	for id, r := range h.routers {
		if !wanted[id] && len(r.plugged) == 0 {
			errs = append(errs, h.removeRouter(id))
		}
	}
	links := map[string]string{}
	for id, r := range h.routers {
		links[id] = r.link()
	}
	h.relay.set(topology.Public, links)
	return errors.Join(errs...)
}

func (h *Host) applyVPC(ctx context.Context, vpc VPC) error {
	r := h.routers[vpc.ID]
	if r == nil {
		var err error
		if r, err = h.addRouter(ctx, vpc.ID); err != nil {
			return err
		}
	}
	if err := r.setGateways(ctx, vpc.Subnets); err != nil {
		return err
	}
	holders := map[netip.Addr]string{}
	r.wanted = map[string][]netip.Addr{}
	for _, i := range vpc.Interfaces {
		r.wanted[i.ID] = i.PrivateIPs
		if _, plugged := r.plugged[i.ID]; plugged {
			for _, address := range i.PrivateIPs {
				holders[address] = i.ID
			}
		}
	}
	for _, i := range vpc.Interfaces {
		if _, plugged := r.plugged[i.ID]; plugged {
			if err := r.route(ctx, i.ID, i.PrivateIPs, holders); err != nil {
				return err
			}
		}
	}
	rules, err := ruleset(vpc)
	if err != nil {
		return err
	}
	if rules == r.rules {
		return nil
	}
	if err := loadRules(ctx, r.namespace, rules); err != nil {
		return err
	}
	r.rules = rules
	return nil
}

// addRouter makes a VPC's namespace and its link to the internet. The link has addresses of a range for documentation,
// so that private ranges may overlap between VPCs.
func (h *Host) addRouter(ctx context.Context, vpc string) (*router, error) {
	index := 1
	for h.routerWithIndex(index) {
		index++
	}
	r := &router{index: index, namespace: h.namespace(vpc), routed: map[string][]netip.Addr{}, plugged: map[string]*metadataServer{}}
	if err := addNamespace(ctx, r.namespace); err != nil {
		return nil, err
	}
	h.routers[vpc] = r
	inet := h.inetNamespace()
	address := r.address()
	if err := ip(ctx, inet,
		fmt.Sprintf("link add %s type veth peer name %s netns %s", r.link(), uplink, r.namespace),
		fmt.Sprintf("link set %s up", r.link()),
		fmt.Sprintf("route add %s/32 dev %s src %s", address, r.link(), inetOperator),
		// A route by device: who binds a socket to it reaches this VPC's private addresses.
		fmt.Sprintf("route add default dev %s metric %d src %s", r.link(), 1000+index, inetOperator)); err != nil {
		return nil, err
	}
	if err := ip(ctx, r.namespace, "link set "+uplink+" up", fmt.Sprintf("address add %s/32 dev %s", address, uplink), "route add default dev "+uplink); err != nil {
		return nil, err
	}
	var err error
	if r.desk, err = openMetadataDesk(ctx, r.namespace); err != nil {
		return nil, err
	}
	return r, inNamespace(r.namespace, func() error {
		return sysctls(map[string]string{
			"net/ipv4/ip_forward": "1", "net/ipv4/conf/" + uplink + "/proxy_arp": "1", "net/ipv4/neigh/" + uplink + "/proxy_delay": "0",
			"net/ipv4/conf/all/send_redirects": "0", "net/ipv4/conf/default/send_redirects": "0",
		})
	})
}

func (h *Host) routerWithIndex(index int) bool {
	for _, r := range h.routers {
		if r.index == index {
			return true
		}
	}
	return false
}

func (r *router) link() string { return fmt.Sprintf("vpc%d", r.index) }

func (r *router) address() string { return fmt.Sprintf("203.0.113.%d", r.index) }

// removeRouter removes a VPC's namespace; its links go with it. The caller holds h.mu.
func (h *Host) removeRouter(vpc string) error {
	r := h.routers[vpc]
	delete(h.routers, vpc)
	// The link goes first: a namespace whose sockets are still closing would keep it for a while.
	errs := []error{ip(context.Background(), h.inetNamespace(), "link delete "+r.link())}
	if r.desk != nil {
		errs = append(errs, r.desk.close())
	}
	return errors.Join(append(errs, deleteNamespace(r.namespace))...)
}

// setGateways gives the router each subnet's first address.
func (r *router) setGateways(ctx context.Context, subnets []Subnet) error {
	if slices.Equal(r.subnets, subnets) {
		return nil
	}
	var lines []string
	for _, old := range r.subnets {
		lines = append(lines, fmt.Sprintf("address delete %s/32 dev lo", old.Gateway))
	}
	for _, subnet := range subnets {
		lines = append(lines, fmt.Sprintf("address add %s/32 dev lo", subnet.Gateway))
	}
	r.subnets = slices.Clone(subnets)
	return ip(ctx, r.namespace, lines...)
}

// route makes the interface's private addresses reachable over its link. An address that another interface holds now is
// routed there at one stroke, and so is not taken away here.
func (r *router) route(ctx context.Context, eni string, addresses []netip.Addr, holders map[netip.Addr]string) error {
	if slices.Equal(r.routed[eni], addresses) {
		return nil
	}
	var lines []string
	for _, old := range r.routed[eni] {
		if !slices.Contains(addresses, old) && holders[old] == "" {
			lines = append(lines, fmt.Sprintf("route delete %s/32 dev %s", old, device(eni)))
		}
	}
	for _, address := range addresses {
		lines = append(lines, fmt.Sprintf("route replace %s/32 dev %s", address, device(eni)))
	}
	r.routed[eni] = slices.Clone(addresses)
	if server := r.plugged[eni]; server != nil {
		r.desk.seat(server, addresses)
	}
	return ip(ctx, r.namespace, lines...)
}

// plugNetwork makes a machine's namespace with its one interface, linked to the VPC's router. The caller holds h.mu.
func (h *Host) plugNetwork(ctx context.Context, i Interface) error {
	r := h.routers[i.VPC]
	if r == nil {
		return fmt.Errorf("plug in %s: the network of %s has not been applied", i.ID, i.VPC)
	}
	subnet := slices.IndexFunc(r.subnets, func(s Subnet) bool { return s.ID == i.Subnet })
	if subnet < 0 || len(i.PrivateIPs) == 0 {
		return fmt.Errorf("plug in %s: subnet %s has not been applied, or the interface has no address", i.ID, i.Subnet)
	}
	name, link := h.namespace(i.ID), device(i.ID)
	if err := addNamespace(ctx, name); err != nil {
		return err
	}
	r.plugged[i.ID] = h.metadataOf(i)
	if err := ip(ctx, r.namespace,
		fmt.Sprintf("link add %s type veth peer name %s netns %s address %s", link, machineDevice, name, i.MAC),
		fmt.Sprintf("link set %s up", link)); err != nil {
		return err
	}
	if err := inNamespace(r.namespace, func() error {
		return sysctls(map[string]string{"net/ipv4/conf/" + link + "/proxy_arp": "1", "net/ipv4/neigh/" + link + "/proxy_delay": "0"})
	}); err != nil {
		return err
	}
	// A machine that was stopped may have got other addresses meanwhile.
	addresses := i.PrivateIPs
	if applied := r.wanted[i.ID]; len(applied) > 0 {
		addresses = applied
	}
	if err := r.route(ctx, i.ID, addresses, nil); err != nil {
		return err
	}
	if err := ip(ctx, name,
		fmt.Sprintf("address add %s/%d broadcast + dev %s", i.PrivateIPs[0], r.subnets[subnet].CIDR.Bits(), machineDevice),
		"link set "+machineDevice+" up",
		fmt.Sprintf("route add default via %s dev %s", r.subnets[subnet].Gateway, machineDevice)); err != nil {
		return err
	}
	return nil
}

// metadataOf is the metadata server of the machine that has an interface. The caller holds h.mu.
func (h *Host) metadataOf(i Interface) *metadataServer {
	for id, m := range h.state.Machines {
		if m.Interface.ID == i.ID {
			return h.metadata[id]
		}
	}
	return nil
}

// unplugNetwork removes a machine's namespace. The caller holds h.mu.
func (h *Host) unplugNetwork(i Interface) error {
	var err error
	if r := h.routers[i.VPC]; r != nil {
		server, plugged := r.plugged[i.ID]
		if !plugged {
			return deleteNamespace(h.namespace(i.ID))
		}
		if server != nil {
			r.desk.seat(server, nil)
		}
		delete(r.plugged, i.ID)
		delete(r.routed, i.ID)
		if exists(filepath.Join(namespaceDir, r.namespace)) {
			err = ip(context.Background(), r.namespace, "link delete "+device(i.ID))
		}
	}
	return errors.Join(err, deleteNamespace(h.namespace(i.ID)))
}
