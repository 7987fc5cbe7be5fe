package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Links changes the devices, addresses and routes of one namespace.
type Links struct {
	namespace string
	handle    *netlink.Handle
}

// OpenLinks opens the netlink socket of a namespace.
func OpenLinks(namespace string) (*Links, error) {
	l := &Links{namespace: namespace}
	err := Do(namespace, func() (err error) {
		l.handle, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netlink of %s: %w", namespace, err)
	}
	return l, nil
}

// Close closes the socket.
func (l *Links) Close() { l.handle.Close() }

// Peer is the other end of a veth pair, in another namespace. Without a MAC the kernel chooses one.
type Peer struct {
	Device    string
	Namespace string
	MAC       net.HardwareAddr
}

// AddVeth makes a veth pair with one end here, which is set up, and one in another namespace, which is not.
func (l *Links) AddVeth(device string, peer Peer) error {
	other, err := netns.GetFromName(peer.Namespace)
	if err != nil {
		return fmt.Errorf("add device %s in %s: namespace %s: %w", device, l.namespace, peer.Namespace, err)
	}
	defer other.Close()
	err = l.handle.LinkAdd(&netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: device, TxQLen: -1},
		PeerName:         peer.Device,
		PeerNamespace:    netlink.NsFd(other),
		PeerHardwareAddr: peer.MAC,
	})
	if err != nil {
		return fmt.Errorf("add device %s in %s: %w", device, l.namespace, err)
	}
	return l.SetUp(device)
}

// SetUp sets a device up.
func (l *Links) SetUp(device string) error {
	return l.on("set up", device, func(link netlink.Link) error { return l.handle.LinkSetUp(link) })
}

// Delete removes a device and its peer.
func (l *Links) Delete(device string) error {
	return l.on("delete", device, func(link netlink.Link) error { return l.handle.LinkDel(link) })
}

// AddAddresses gives a device addresses. Of a prefix that holds several the broadcast address is set too.
func (l *Links) AddAddresses(device string, prefixes ...netip.Prefix) error {
	return l.on("add an address to", device, func(link netlink.Link) error {
		for _, prefix := range prefixes {
			if err := l.handle.AddrAdd(link, &netlink.Addr{IPNet: ipNet(prefix)}); err != nil {
				return fmt.Errorf("%s: %w", prefix, err)
			}
		}
		return nil
	})
}

// DeleteAddresses takes addresses from a device.
func (l *Links) DeleteAddresses(device string, prefixes ...netip.Prefix) error {
	return l.on("delete an address of", device, func(link netlink.Link) error {
		for _, prefix := range prefixes {
			if err := l.handle.AddrDel(link, &netlink.Addr{IPNet: ipNet(prefix)}); err != nil {
				return fmt.Errorf("%s: %w", prefix, err)
			}
		}
		return nil
	})
}

// Route is a route over a device. Where To is not valid, it is the default route.
type Route struct {
	To     netip.Prefix
	Via    netip.Addr // the gateway, if there is one
	From   netip.Addr // the preferred source address, if there is one
	Metric int
}

// SetRoute makes a route, in place of one to the same destination.
func (l *Links) SetRoute(device string, r Route) error {
	return l.on("route over", device, func(link netlink.Link) error {
		return l.handle.RouteReplace(r.over(link))
	})
}

// DeleteRoute removes a route.
func (l *Links) DeleteRoute(device string, r Route) error {
	return l.on("delete a route over", device, func(link netlink.Link) error {
		return l.handle.RouteDel(r.over(link))
	})
}

func (r Route) over(link netlink.Link) *netlink.Route {
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index,
		Dst:       ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)),
		Priority:  r.Metric,
		Scope:     netlink.SCOPE_LINK,
	}
	if r.To.IsValid() {
		route.Dst = ipNet(r.To)
	}
	if r.Via.IsValid() {
		route.Gw, route.Scope = r.Via.AsSlice(), netlink.SCOPE_UNIVERSE
	}
	if r.From.IsValid() {
		route.Src = r.From.AsSlice()
	}
	return route
}

// IsNotFound tells whether an error says that a device is not there.
func IsNotFound(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing)
}

// Host is the prefix of one address.
func Host(address netip.Addr) netip.Prefix { return netip.PrefixFrom(address, address.BitLen()) }

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func (l *Links) on(doing, device string, f func(netlink.Link) error) error {
	link, err := l.handle.LinkByName(device)
	if err == nil {
		err = f(link)
	}
	if err != nil {
		return fmt.Errorf("%s device %s in %s: %w", doing, device, l.namespace, err)
	}
	return nil
}
