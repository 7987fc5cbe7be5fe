package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/netns"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tcprelay"
)

// relayDial is how long a connection to a public address may take. A security group that drops it makes a client of
// EC2 wait; here the client sees its connection accepted and, after this time, reset.
const relayDial = 10 * time.Second

// relay brings TCP connections to public addresses, which are loopback addresses of the host, into the VPC that the
// address leads to. A firewall rule that matches loopback traffic only sends them here, whatever else listens.
type relay struct {
	internet string // namespace that the VPCs are reached from
	number   uint32
	listener *net.TCPListener

	mu     sync.RWMutex
	public map[netip.Addr]Target
	links  map[string]string // by VPC: the device towards its router
	turn   atomic.Uint64     // of connections to load balancers
}

func hostTable(number uint32) string { return fmt.Sprintf("goldsmith_%d", number) }

func startRelay(ctx context.Context, c Config, internet string) (*relay, error) {
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: c.API.AsSlice()})
	if err != nil {
		return nil, fmt.Errorf("listen for public addresses: %w", err)
	}
	rules := fmt.Sprintf(`table ip %[1]s
delete table ip %[1]s
table ip %[1]s {
  chain output {
    type nat hook output priority -100;
    oifname "lo" ip daddr 127.66.%[2]d.2-127.66.%[2]d.254 meta l4proto tcp dnat to %[3]s
  }
}
`, hostTable(c.Number), c.Number, listener.Addr())
	if err := netns.LoadRules(ctx, "", rules); err != nil {
		return nil, errors.Join(fmt.Errorf("redirect public addresses: %w", err), listener.Close())
	}
	r := &relay{internet: internet, number: c.Number, listener: listener}
	go tcprelay.Serve(listener, r.handle)
	return r, nil
}

// DeleteHostTable removes the redirect of a cloud's public addresses; it is no error if there is none.
func DeleteHostTable(ctx context.Context, number uint32) error {
	rules := fmt.Sprintf("table ip %[1]s\ndelete table ip %[1]s\n", hostTable(number))
	return netns.LoadRules(ctx, "", rules)
}

func (r *relay) close(ctx context.Context) error {
	return errors.Join(DeleteHostTable(ctx, r.number), r.listener.Close())
}

func (r *relay) set(public map[netip.Addr]Target, links map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.public, r.links = public, links
}

// target returns what a public address and port lead to, and over which device.
func (r *relay) target(public netip.AddrPort) (private netip.AddrPort, link string, err error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	target, ok := r.public[public.Addr()]
	if !ok {
		return private, "", fmt.Errorf("public address %s belongs to no instance", public.Addr())
	}
	link, ok = r.links[target.VPC]
	if !ok {
		return private, "", fmt.Errorf("public address %s: %s has no router", public.Addr(), target.VPC)
	}
	if target.Balanced == nil {
		return netip.AddrPortFrom(target.Private, public.Port()), link, nil
	}
	healthy := target.Balanced[public.Port()]
	if len(healthy) == 0 {
		return private, "", fmt.Errorf("load balancer at %s: nobody listens, or no target is healthy", public)
	}
	return healthy[r.turn.Add(1)%uint64(len(healthy))], link, nil
}

func (r *relay) handle(client *net.TCPConn) {
	defer client.Close()
	server, err := r.connect(client)
	if err != nil {
		_ = client.SetLinger(0) // reset, as if refused
		return
	}
	defer server.Close()
	tcprelay.Splice(client, server)
}

func (r *relay) connect(client *net.TCPConn) (*net.TCPConn, error) {
	destination, err := tcprelay.OriginalDestination(client)
	if err != nil {
		return nil, err
	}
	private, link, err := r.target(destination)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), relayDial)
	defer cancel()
	return r.dialOver(ctx, link, private)
}

// dial connects to a private address in a VPC.
func (r *relay) dial(ctx context.Context, vpc string, private netip.AddrPort) (*net.TCPConn, error) {
	r.mu.RLock()
	link, ok := r.links[vpc]
	r.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("connect to %s: %s has no router", private, vpc)
	}
	return r.dialOver(ctx, link, private)
}

// dialOver connects to a private address, from the operator's, over the device that leads to its VPC.
func (r *relay) dialOver(ctx context.Context, link string, private netip.AddrPort) (*net.TCPConn, error) {
	dialer := &net.Dialer{
		LocalAddr: &net.TCPAddr{IP: Operator.AsSlice()},
		Control: func(_, _ string, raw syscall.RawConn) error {
			var bind error
			err := raw.Control(func(fd uintptr) { bind = unix.BindToDevice(int(fd), link) })
			return errors.Join(err, bind)
		},
	}
	conn, err := netns.Dial(ctx, r.internet, dialer, private.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}
