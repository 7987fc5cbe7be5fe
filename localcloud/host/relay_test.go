package host

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// short is a listener that cannot accept for a while, as on a machine that is out of files.
type short struct {
	net.Listener
	failures int
}

func (s *short) Accept() (net.Conn, error) {
	if s.failures > 0 {
		s.failures--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return s.Listener.Accept()
}

func TestAcceptOutlivesAShortage(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		acceptEach(&short{listener, 3}, func(c *net.TCPConn) { c.Close() })
	}()
	conn, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection was never handled")
	}
	listener.Close()
	<-ended
}

func TestTargetsOfPublicAddresses(t *testing.T) {
	at := netip.MustParseAddrPort
	r := &relay{links: map[string]string{"vpc-1": "vpc1"}, public: map[netip.Addr]Target{
		at("127.66.1.2:0").Addr(): {VPC: "vpc-1", Private: at("10.0.1.4:0").Addr()},
		at("127.66.1.3:0").Addr(): {VPC: "vpc-1", Balanced: map[uint16][]netip.AddrPort{443: {at("10.0.1.5:8443"), at("10.0.1.6:8443")}, 80: nil}},
		at("127.66.1.4:0").Addr(): {VPC: "vpc-2", Private: at("10.0.1.4:0").Addr()},
	}}
	if got, link, err := r.target(at("127.66.1.2:22")); err != nil || got != at("10.0.1.4:22") || link != "vpc1" {
		t.Errorf("an instance: %s over %s, %v", got, link, err)
	}
	seen := map[netip.AddrPort]int{}
	for range 10 {
		got, _, err := r.target(at("127.66.1.3:443"))
		if err != nil {
			t.Fatal(err)
		}
		seen[got]++
	}
	if seen[at("10.0.1.5:8443")] != 5 || seen[at("10.0.1.6:8443")] != 5 {
		t.Errorf("a load balancer with two targets: %v", seen)
	}
	for _, nobody := range []string{"127.66.1.3:80", "127.66.1.3:22", "127.66.1.4:80", "127.66.1.5:80"} {
		if got, _, err := r.target(at(nobody)); err == nil {
			t.Errorf("%s leads to %s", nobody, got)
		}
	}
}
