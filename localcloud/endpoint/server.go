// Package endpoint is the HTTP endpoint of the local cloud: who gets in, what is signed, and who answers which call. It
// puts the parts together: moto, which knows EC2's rules, and the packages that make real what moto only records (vpc,
// ec2, scaling, identity). Machines, disks and networks are package host's. What none of them can answer is refused
// with an error that SDKs do not retry.
//
// It remembers. Each changing call is a line in moto's journal; what moto does not know is in package records. Both are
// written before the caller learns of the outcome, and what a crash left half done is undone at the next start: an
// instance without a machine is terminated, a machine without an instance removed. After a start all instances are
// stopped.
//
// Limits: one region. Every request is signed, with the operator's key, with one that IAM or STS made here, or, by a
// machine, with one of its metadata service; sigv4 verifies it. The caller is known by that, and package authorization
// decides by its policies what it may do, before anything is done. An access key id that starts with ASIAEXPIRED is one
// that has expired, so that a client's handling of that can be tried. GET /latest/checkip, signed for a service of that
// name, answers with the caller's address as instances see it.
package endpoint

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

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/policyeval"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/authorization"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/ec2"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/identity"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/manners"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/metadata"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/scaling"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/servicemodel"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/targets"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/trail"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/vpc"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/workqueue"
)

// Machinery makes machines, disks and networks real; *host.Host does.
type Machinery interface {
	ec2.Machinery
	vpc.Router
	metadata.Machinery
	targets.Dialer
}

// Config holds the settings of a Server.
type Config struct {
	StateDir string
	// Public is the prefix of public addresses; its first two addresses are not given out.
	Public netip.Prefix
	// Operator is the address that a client on the host has for instances, Key the access key that it signs with.
	Operator netip.Addr
	Key      identity.OperatorKey
	// Dial connects to moto.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Manners delay, limit and refuse calls as EC2 does; nil does not.
	Manners *manners.Manners
	// Models have the members and types of calls; nil does not check them.
	Models *servicemodel.Models
	// Trail is told of each call; nil is not.
	Trail *trail.Trail
	Log   *slog.Logger
}

// Server is the endpoint. Locks are taken in the order change, network, gate, records.
type Server struct {
	config    Config
	moto      *moto.Client
	records   *records.Store
	queue     *workqueue.Queue // what goes on after an answer
	keys      *identity.Keys
	targets   *targets.Checker
	network   *vpc.Network
	compute   *ec2.EC2
	groups    *scaling.Groups
	balancers *scaling.Balancers
	security  *vpc.SecurityGroups
	mapper    *authorization.Mapper
	allowed   *authorization.Authorizer
	handlers  map[string]map[string]awsquery.Handler // by service and action

	// change is held by each changing EC2 call from its checks to its answer.
	change sync.Mutex
}

// New makes a server; Start makes it ready to serve.
func New(config Config, machinery Machinery) *Server {
	s := &Server{
		config:  config,
		moto:    moto.New(config.Dial, config.Log),
		records: &records.Store{},
		queue:   workqueue.New(config.Log),
	}
	s.keys = identity.New(s.moto, s.records, config.Key)
	s.mapper = authorization.NewMapper(s.moto, s.records)
	s.allowed = authorization.New(s.moto, config.Manners)
	s.targets = targets.New(s.records, machinery, config.Manners)
	instanceData := metadata.New(s.moto, s.records, s.keys, machinery)
	network := vpc.New(vpc.Config{
		Moto:      s.moto,
		Records:   s.records,
		Targets:   s.targets,
		Metadata:  instanceData,
		Machinery: machinery,
		Log:       config.Log,
	})
	compute := ec2.New(ec2.Config{
		Moto:      s.moto,
		Records:   s.records,
		Queue:     s.queue,
		VPC:       network,
		Metadata:  instanceData,
		Machinery: machinery,
		Change:    &s.change,
		Gone:      func(record records.Instance) { s.groups.InstanceGone(record) },
		Log:       config.Log,
	})
	scaled := scaling.New(scaling.Config{
		Moto:    s.moto,
		Records: s.records,
		Queue:   s.queue,
		Targets: s.targets,
		VPC:     network,
		EC2:     compute,
		Pace:    config.Manners,
		Change:  &s.change,
		Log:     config.Log,
	})
	s.network, s.security = network.Network, network.SecurityGroups
	s.compute = compute
	s.groups, s.balancers = scaled.Groups, scaled.Balancers
	s.handlers = s.handlersOf(network, compute, scaled)
	return s
}

// Start replays what users made and brings the records and the machines to agree. ctx ends what goes on in the
// background.
func (s *Server) Start(ctx context.Context) error {
	context.AfterFunc(ctx, s.queue.Stop)
	if err := s.open(); err != nil {
		return err
	}
	if err := s.moto.Replay(ctx); err != nil {
		return err
	}
	s.compute.KeyPairs.Read()
	if err := s.network.OpenDefaultVPC(ctx); err != nil {
		return fmt.Errorf("give the default VPC its internet gateway: %w", err)
	}
	if err := s.compute.Instances.Reconcile(ctx); err != nil {
		return err
	}
	s.queue.Go(s.compute.Instances.WatchExits)
	s.queue.Go(s.balancers.Watch)
	if err := s.network.Apply(ctx); err != nil {
		return err
	}
	return s.groups.Resume()
}

// Close ends what goes on in the background and waits for what is under way.
func (s *Server) Close() error {
	s.queue.Close()
	return s.moto.Close()
}

// open reads what the cloud remembers.
func (s *Server) open() error {
	if err := s.moto.Open(filepath.Join(s.config.StateDir, "journal.jsonl")); err != nil {
		return err
	}
	return s.records.Open(filepath.Join(s.config.StateDir, "api.json"), s.config.Public)
}

// passed are the headers of moto that its answers keep.
var passed = []string{"Content-Type", "X-Amzn-Errortype", "X-Amzn-Requestid", "X-Amz-Checksum",
	"X-Amz-Checksum-Algorithm", "X-Amz-Data-Length"}

// serve answers one request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, from Side) {
	c, err := s.admit(r, from)
	event := trail.EventOf(r, c)
	asks := s.asks(r.Context(), c)
	if err == nil && s.config.Trail != nil {
		event.Authorization = s.noted(c, asks)
	}
	var a *awsquery.Answer
	if err == nil && c.Service != awsquery.CheckIPService {
		a, err = s.answer(r.Context(), c, asks)
	}
	event.End(a, err)
	s.config.Trail.Record(event)
	if err != nil {
		s.config.Log.Info("refused", "service", c.Service, "call", c.String(), "caller", c.Caller.ARN, "error", err)
		writeError(w, c.Service, err)
		return
	}
	if c.Service == awsquery.CheckIPService {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, s.callerAddress(r)+"\n")
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
	_, _ = w.Write(a.Body)
}

// asks tells what a call asks IAM for, and looks that up once.
func (s *Server) asks(ctx context.Context, c *awsquery.Call) authorization.Asks {
	return sync.OnceValues(func() ([]policyeval.Request, error) { return s.mapper.Requests(ctx, c) })
}

// noted are the requests for authorization of a call, for the trail: it has those of callers too who may do everything.
func (s *Server) noted(c *awsquery.Call, asks authorization.Asks) []policyeval.Request {
	requests, err := asks()
	if err != nil {
		s.config.Log.Warn("the trail lacks what a call asks IAM for", "call", c.String(), "error", err)
	}
	return requests
}

// callerAddress is the caller's address as instances see it. Requests from the host come from loopback.
func (s *Server) callerAddress(r *http.Request) string {
	address, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || address.Addr().Unmap().IsLoopback() {
		return s.config.Operator.String()
	}
	return address.Addr().Unmap().String()
}
