// Package api is the EC2 endpoint of the local cloud: a proxy in front of an API server that knows EC2's rules (moto)
// and that makes real what such a server only records. Machines, disks and networks are package host's; here is what
// they should be.
//
// What the server behind does not do as EC2 does is mended here: states that take time, public addresses, client
// tokens, console output, key pairs and images that are the same after a restart, filters, checks of what depends on
// what. What it cannot answer at all is refused with an error that SDKs do not retry.
//
// It remembers. Each changing call is a line in a journal, which is replayed to a fresh server behind; what the server
// behind does not know is in a file of its own. Both are written before the caller learns of the outcome, and what a
// crash left half done is undone at the next start: an instance without a machine is terminated, a machine without an
// instance removed. After a start all instances are stopped.
//
// Limits: one region, one network interface for each instance; an image is of the root volume only; volumes keep their
// size; Auto Scaling and load balancing are what groups.go, refresh.go and balancers.go say; there is never capacity for bare metal, so that a
// client's handling of that can be tried.
//
// Every request is signed, with the operator's key, with one that IAM or STS made here, or, by a machine, with one of its
// metadata service; sigv4 verifies it. The caller is known by that, and may do everything: policies are not evaluated.
// An access key id that starts with ASIAEXPIRED is one that has expired, so that a client's handling of that can be
// tried. GET /latest/checkip, signed for a service of that name, answers with the caller's address as instances see it.
package api

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/workqueue"
)

// Machinery makes machines, disks and networks real; *host.Host does.
type Machinery interface {
	RunMachine(context.Context, host.Machine) error
	StartMachine(context.Context, string) error
	StopMachine(ctx context.Context, id string, force bool) error
	RebootMachine(context.Context, string) error
	TerminateMachine(ctx context.Context, id string, keepRoot bool) error
	UpdateMachine(id string, change func(*host.Machine)) error
	// Machines are all machines, and whether each is running.
	Machines() map[string]bool
	SetMetadata(string, host.Metadata)
	Console(string) ([]byte, time.Time, error)
	// Dial connects to a private address in a VPC.
	Dial(ctx context.Context, vpc string, private netip.AddrPort) (net.Conn, error)
	Exits() <-chan host.Exit
	Apply(context.Context, host.Topology) error
	CreateVolume(ctx context.Context, id string, sizeGB int, snapshot string) error
	DeleteVolume(context.Context, string) error
	AttachVolume(ctx context.Context, volume, machine, device string) error
	DetachVolume(ctx context.Context, machine, device string, force bool) error
	CreateSnapshot(ctx context.Context, id, volume string) error
	DeleteSnapshot(context.Context, string) error
	CreateImage(ctx context.Context, machine, image, snapshot string) error
	DeleteImage(context.Context, string) error
	// Images are the images that can be launched, base images that have been made among them.
	Images() []string
}

// Config is what a Server needs.
type Config struct {
	StateDir string
	// Public is the prefix of public addresses; its first two addresses are not given out.
	Public netip.Prefix
	// Operator is the address that a client on the host has for instances, Key the access key that it signs with.
	Operator netip.Addr
	Key      OperatorKey
	// Dial connects to the API server behind.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger
}

// Server is the endpoint. Locks are taken in the order change, network, gate, mu.
type Server struct {
	config    Config
	machinery Machinery
	backend   *http.Client
	journal   *journal
	queue     *workqueue.Queue // what goes on after an answer

	// change is held by each changing EC2 call from its checks to its answer.
	change sync.Mutex
	// network is held while the network is read and applied.
	network sync.Mutex
	applied host.Topology
	// gate is held alone by a change in the server behind, and shared by what only reads.
	gate sync.RWMutex

	mu      sync.Mutex
	overlay overlay
	keys    map[string]string  // public keys, by key pair
	health  map[string]*health // of load balancers' targets, by target group and instance
	drained map[string]bool    // instances of groups that get no new connections any more
	// sessions are the temporary keys, by id.
	sessions map[string]session

	// issuing is held while a metadata service is given credentials; issued are the last ones of each instance.
	issuing sync.Mutex
	issued  map[awsquery.Caller]host.Credentials
}

// New makes a server; Start makes it ready to serve.
func New(config Config, machinery Machinery) *Server {
	return &Server{
		config: config, machinery: machinery, queue: workqueue.New(config.Log), keys: map[string]string{}, health: map[string]*health{}, drained: map[string]bool{},
		sessions: map[string]session{}, issued: map[awsquery.Caller]host.Credentials{},
		backend: &http.Client{Transport: &http.Transport{DialContext: config.Dial, MaxIdleConnsPerHost: 8, DisableCompression: true}},
	}
}

// Start replays what users made and brings the records and the machines to agree. ctx ends what goes on in the
// background.
func (s *Server) Start(ctx context.Context) error {
	context.AfterFunc(ctx, s.queue.Stop)
	var err error
	if s.journal, err = openJournal(filepath.Join(s.config.StateDir, "journal.jsonl")); err != nil {
		return err
	}
	if err := s.overlay.load(filepath.Join(s.config.StateDir, "api.json"), s.config.Public); err != nil {
		return err
	}
	if err := s.journal.replay(ctx, s); err != nil {
		return err
	}
	s.readKeys()
	if err := s.openDefaultVPC(ctx); err != nil {
		return fmt.Errorf("give the default VPC its internet gateway: %w", err)
	}
	if err := s.reconcile(ctx); err != nil {
		return err
	}
	s.queue.Go(s.watchExits)
	s.queue.Go(s.watchTargets)
	if err := s.applyNetwork(ctx); err != nil {
		return err
	}
	return s.resumeGroups()
}

// Close ends what goes on in the background and waits for what is under way.
func (s *Server) Close() error {
	s.queue.Close()
	if s.journal == nil {
		return nil
	}
	return s.journal.close()
}

// passed are the headers of the server behind that its answers keep.
var passed = []string{"Content-Type", "X-Amzn-Errortype", "X-Amzn-Requestid", "X-Amz-Checksum", "X-Amz-Checksum-Algorithm", "X-Amz-Data-Length"}

// serve answers one request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, from Side) {
	c, err := s.admit(r, from)
	if err == nil && c.Service == awsquery.CheckIPService {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, s.callerAddress(r)+"\n")
		return
	}
	var a *awsquery.Answer
	if err == nil {
		a, err = s.answer(r.Context(), c)
	}
	if err != nil {
		s.config.Log.Info("refused", "service", c.Service, "call", c.String(), "caller", c.Caller.ARN, "error", err)
		writeError(w, c.Service, err)
		return
	}
	header := w.Header()
	for _, name := range passed {
		if value := a.Header.Get(name); value != "" {
			header.Set(name, value)
		}
	}
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(a.Body)))
	w.WriteHeader(a.Status)
	w.Write(a.Body)
}

// callerAddress is how instances see the caller: requests from the host come from loopback.
func (s *Server) callerAddress(r *http.Request) string {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || address.Addr().Unmap().IsLoopback() {
		return s.config.Operator.String()
	}
	return address.Addr().Unmap().String()
}
