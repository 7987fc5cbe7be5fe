package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// relayDial is how long a connection to a public address may take. A security group that drops it makes a client of
// EC2 wait; here the client sees its connection accepted and, after this time, reset.
const relayDial = 10 * time.Second

// relayed is how many connections are relayed at a time, of two files each: a port scan leaves the cloud enough of the
// 20,000 that it may have open, and waits for its own.
const relayed = 4096

// relay brings TCP connections to public addresses, which are loopback addresses of the host, into the VPC that the
// address leads to. A firewall rule that matches loopback traffic only sends them here, whatever else listens.
type relay struct {
	host     *Host
	listener *net.TCPListener

	mu     sync.RWMutex
	public map[netip.Addr]Target
	links  map[string]string // by VPC: the device towards its router
	turn   atomic.Uint64     // of connections to load balancers
}

func (h *Host) hostTable() string { return fmt.Sprintf("goldsmith_%d", h.number) }

func startRelay(h *Host) (*relay, error) {
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: h.addresses.API.Addr().AsSlice()})
	if err != nil {
		return nil, fmt.Errorf("listen for public addresses: %w", err)
	}
	n := h.number
	rules := fmt.Sprintf(`table ip %[1]s
delete table ip %[1]s
table ip %[1]s {
  chain output {
    type nat hook output priority -100;
    oifname "lo" ip daddr 127.66.%[2]d.2-127.66.%[2]d.254 meta l4proto tcp dnat to %[3]s
  }
}
`, h.hostTable(), n, listener.Addr())
	if err := loadRules(context.Background(), "", rules); err != nil {
		return nil, errors.Join(fmt.Errorf("redirect public addresses: %w", err), listener.Close())
	}
	r := &relay{host: h, listener: listener}
	go acceptEach(listener, r.handle)
	return r, nil
}

// deleteHostTable removes the redirect; it is no error if there is none.
func deleteHostTable(name string) error {
	return loadRules(context.Background(), "", fmt.Sprintf("table ip %[1]s\ndelete table ip %[1]s\n", name))
}

func (r *relay) close() error {
	return errors.Join(deleteHostTable(r.host.hostTable()), r.listener.Close())
}

func (r *relay) set(public map[netip.Addr]Target, links map[string]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.public, r.links = public, links
}

// target is what a public address and port lead to, and over which device.
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

// acceptEach handles each connection, relayed of them at a time, until the listener is closed.
func acceptEach(listener net.Listener, handle func(*net.TCPConn)) {
	slots := make(chan struct{}, relayed)
	for {
		slots <- struct{}{}
		conn, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // the client went, or the machine is short of something: the next may do
			time.Sleep(10 * time.Millisecond)
			<-slots
			continue
		}
		go func() {
			defer func() { <-slots }()
			handle(conn.(*net.TCPConn))
		}()
	}
}

func (r *relay) handle(client *net.TCPConn) {
	defer client.Close()
	server, err := r.connect(client)
	if err != nil {
		client.SetLinger(0) // reset, as if refused
		return
	}
	defer server.Close()
	splice(client, server)
}

func (r *relay) connect(client *net.TCPConn) (*net.TCPConn, error) {
	destination, err := originalDestination(client)
	if err != nil {
		return nil, err
	}
	private, link, err := r.target(destination)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), relayDial)
	defer cancel()
	return r.host.dialVPC(ctx, link, private)
}

// Dial connects to a private address in a VPC, as load balancers do that look at their targets.
func (h *Host) Dial(ctx context.Context, vpc string, private netip.AddrPort) (net.Conn, error) {
	h.relay.mu.RLock()
	link, ok := h.relay.links[vpc]
	h.relay.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("connect to %s: %s has no router", private, vpc)
	}
	return h.dialVPC(ctx, link, private)
}

// dialVPC connects to a private address, from the operator's, over the device that leads to its VPC.
func (h *Host) dialVPC(ctx context.Context, link string, private netip.AddrPort) (*net.TCPConn, error) {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(inetOperator)}, Control: func(_, _ string, raw syscall.RawConn) error {
		var bind error
		err := raw.Control(func(fd uintptr) { bind = unix.BindToDevice(int(fd), link) })
		return errors.Join(err, bind)
	}}
	conn, err := dialIn(ctx, h.inetNamespace(), dialer, private.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// originalDestination is where a redirected connection was going.
func originalDestination(conn *net.TCPConn) (netip.AddrPort, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var destination netip.AddrPort
	var failure error
	err = raw.Control(func(fd uintptr) {
		// The kernel answers with a sockaddr_in, for which this structure has room.
		answer, err := unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, unix.SO_ORIGINAL_DST)
		if err != nil {
			failure = err
			return
		}
		b := answer.Multiaddr
		destination = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3]))
	})
	return destination, errors.Join(err, failure)
}

// splice copies both ways until both have ended, and passes each side's end on.
func splice(a, b *net.TCPConn) {
	var both sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{a, b}, {b, a}} {
		both.Go(func() {
			if _, err := io.Copy(way[1], way[0]); err != nil {
				way[1].SetLinger(0)
				way[1].Close()
				return
			}
			way[1].CloseWrite()
		})
	}
	both.Wait()
}
