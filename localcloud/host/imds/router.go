package imds

import (
	"maps"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Address is the IP address of the instances' metadata service.
const Address = "169.254.169.254"

// Router is the metadata service of a VPC, in the namespace of its router: it tells instances apart by their addresses,
// which the firewall holds them to. In a machine's own namespace it would take port 80 from the machine.
type Router struct {
	listener net.Listener

	mu      sync.RWMutex
	servers map[netip.Addr]*Server
}

// Serve starts a router that answers on a listener until it is closed.
func Serve(listener net.Listener) *Router {
	r := &Router{listener: listener, servers: map[netip.Addr]*Server{}}
	server := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // until the listener is closed
	return r
}

// Bind has a server answer what comes from these addresses, and from no others any more.
func (r *Router) Bind(server *Server, addresses []netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.servers, func(_ netip.Addr, bound *Server) bool { return bound == server })
	for _, address := range addresses {
		r.servers[address] = server
	}
}

// ServeHTTP passes a request on to the server of the instance that it comes from.
func (r *Router) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	from, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		http.NotFound(w, req)
		return
	}
	r.mu.RLock()
	server := r.servers[from.Addr().Unmap()]
	r.mu.RUnlock()
	if server == nil {
		http.NotFound(w, req)
		return
	}
	server.ServeHTTP(w, req)
}

// Close ends the router.
func (r *Router) Close() error { return r.listener.Close() }
