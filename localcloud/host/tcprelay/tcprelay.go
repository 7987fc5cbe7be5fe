// Package tcprelay accepts TCP connections and passes them on to others.
package tcprelay

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// concurrent is the number of connections of a listener that are served at a time, of two files each: a port scan
// leaves the cloud enough of the 20,000 that it may have open, and waits for its own.
const concurrent = 4096

// Serve handles each connection, a limited number at a time, until the listener is closed.
func Serve(listener net.Listener, handle func(*net.TCPConn)) {
	slots := make(chan struct{}, concurrent)
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

// Splice copies both ways until both have ended, and passes each side's end on.
func Splice(a, b *net.TCPConn) {
	var both sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{a, b}, {b, a}} {
		both.Go(func() {
			if _, err := io.Copy(way[1], way[0]); err != nil {
				_ = way[1].SetLinger(0)
				way[1].Close()
				return
			}
			_ = way[1].CloseWrite()
		})
	}
	both.Wait()
}

// OriginalDestination returns where a connection was going that a firewall rule redirected.
func OriginalDestination(conn *net.TCPConn) (netip.AddrPort, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var destination netip.AddrPort
	var failure error
	err = raw.Control(func(fd uintptr) {
		// The kernel answers with a sockaddr_in, for which this structure has room.
		var answer *unix.IPv6Mreq
		answer, failure = unix.GetsockoptIPv6Mreq(int(fd), unix.IPPROTO_IP, unix.SO_ORIGINAL_DST)
		if failure != nil {
			return
		}
		b := answer.Multiaddr
		destination = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3]))
	})
	return destination, errors.Join(err, failure)
}
