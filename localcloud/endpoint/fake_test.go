package endpoint

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/imds"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/identity"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
)

// machinery is a host that is told which calls may come; any other fails the test.
type machinery struct {
	t     *testing.T
	exits chan host.Exit

	mu       sync.Mutex
	allowed  map[string]error // by method: what it answers
	calls    []string
	machines map[string]bool
	images   []string
	ran      []host.Machine
	metadata map[string]imds.Metadata
	topology network.Topology
	dial     string // where Dial leads
	stuck    error  // what keeps machines from being stopped
	attempts int    // how often that was tried meanwhile
	// whileApplying is called by Apply.
	whileApplying func()
}

func newMachinery(t *testing.T, allowed ...string) *machinery {
	m := &machinery{
		t:        t,
		exits:    make(chan host.Exit),
		allowed:  map[string]error{},
		machines: map[string]bool{},
		metadata: map[string]imds.Metadata{},
		images:   []string{moto.BaseImages["trixie"].ID},
	}
	for _, method := range append(allowed, "Apply") {
		m.allowed[method] = nil
	}
	return m
}

func (m *machinery) call(method string, of ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if method != "Apply" {
		m.calls = append(m.calls, strings.Join(append([]string{method}, of...), " "))
	}
	err, ok := m.allowed[method]
	if !ok {
		m.t.Errorf("the machinery was not told of %s %v", method, of)
	}
	return err
}

func (m *machinery) called() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

func (m *machinery) set(id string, running bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.machines[id] = running
}

// hold has machines not be stopped from now on, or be again.
func (m *machinery) hold(stuck error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stuck = stuck
}

// held is the error of an attempt to stop a machine.
func (m *machinery) held() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stuck != nil {
		m.attempts++
	}
	return m.stuck
}

// tried is the number of failed stops of machines.
func (m *machinery) tried() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.attempts
}

func (m *machinery) RunMachine(_ context.Context, machine host.Machine) error {
	err := m.call("RunMachine", machine.ID)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.machines[machine.ID] = true
		m.ran = append(m.ran, machine)
	}
	return err
}

func (m *machinery) StartMachine(_ context.Context, id string) error {
	m.set(id, true)
	return m.call("StartMachine", id)
}

func (m *machinery) StopMachine(_ context.Context, id string, force bool) error {
	m.set(id, false)
	return m.call("StopMachine", id, fmt.Sprint(force))
}

func (m *machinery) TerminateMachine(_ context.Context, id string, keepRoot bool) error {
	if err := m.held(); err != nil {
		return err
	}
	m.mu.Lock()
	delete(m.machines, id)
	m.mu.Unlock()
	return m.call("TerminateMachine", id, fmt.Sprint(keepRoot))
}

func (m *machinery) Machines() map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]bool{}
	for id, running := range m.machines {
		all[id] = running
	}
	return all
}

func (m *machinery) Images() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.images)
}

func (m *machinery) SetMetadata(id string, told imds.Metadata) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.metadata[id] = told
}

func (m *machinery) Apply(_ context.Context, topology network.Topology) error {
	m.mu.Lock()
	m.topology = topology
	whileApplying := m.whileApplying
	m.mu.Unlock()
	if whileApplying != nil {
		whileApplying()
	}
	return m.call("Apply")
}

func (m *machinery) Dial(context.Context, string, netip.AddrPort) (net.Conn, error) {
	if m.dial == "" {
		return nil, errors.New("nobody listens")
	}
	return net.Dial("tcp", m.dial)
}
func (m *machinery) Exits() <-chan host.Exit { return m.exits }
func (m *machinery) RebootMachine(_ context.Context, id string) error {
	if err := m.held(); err != nil {
		return err
	}
	return m.call("RebootMachine", id)
}
func (m *machinery) UpdateMachine(id string, _ func(*host.Machine)) error {
	return m.call("UpdateMachine", id)
}
func (m *machinery) Console(id string) ([]byte, time.Time, error) {
	return []byte("console of " + id), time.Unix(0, 0), m.call("Console", id)
}
func (m *machinery) CreateVolume(_ context.Context, id string, sizeGB int, snapshot string) error {
	return m.call("CreateVolume", id, fmt.Sprint(sizeGB), snapshot)
}
func (m *machinery) DeleteVolume(_ context.Context, id string) error {
	return m.call("DeleteVolume", id)
}
func (m *machinery) AttachVolume(_ context.Context, volume, machine, device string) error {
	return m.call("AttachVolume", volume, machine, device)
}
func (m *machinery) DetachVolume(_ context.Context, machine, device string, force bool) error {
	return m.call("DetachVolume", machine, device, fmt.Sprint(force))
}
func (m *machinery) CreateSnapshot(_ context.Context, id, volume string) error {
	return m.call("CreateSnapshot", id, volume)
}
func (m *machinery) DeleteSnapshot(_ context.Context, id string) error {
	return m.call("DeleteSnapshot", id)
}
func (m *machinery) CreateImage(_ context.Context, machine, image, snapshot string) error {
	return m.call("CreateImage", machine, image, snapshot)
}
func (m *machinery) DeleteImage(_ context.Context, image string) error {
	return m.call("DeleteImage", image)
}

// newServer is a server that has started nothing: its journal is empty, and it knows the instances of its overlay.
func newServer(t *testing.T, b *mototest.Moto, m *machinery) *Server {
	t.Helper()
	dir := t.TempDir()
	s := New(Config{
		StateDir: dir,
		Public:   netip.MustParsePrefix("127.66.9.0/24"),
		Operator: netip.MustParseAddr("198.51.100.1"),
		Key:      operatorKey,
		Dial:     b.Dial,
		Log:      slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError + 1})),
	}, m)
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// request sends a call to a server as a client does.
func request(t *testing.T, s *Server, action string, parameters ...string) (int, *awsquery.Node) {
	t.Helper()
	form := awsquery.NewCall("ec2", action, parameters...).Form
	w := send(s, "ec2", "test", form)
	root, err := awsquery.ParseXML(w.Body.Bytes())
	if err != nil {
		t.Fatalf("%s: %v: %s", action, err, w.Body)
	}
	return w.Code, root
}

// operatorKey is the key of the cloud that newServer makes.
var operatorKey = identity.OperatorKey{AccessKeyID: "test", SecretAccessKey: "the operator's secret"}

// apiAddress is the server's address for the operator, machinesAddress that for machines.
var (
	apiAddress      = netip.MustParseAddrPort("127.66.9.1:4566")
	machinesAddress = netip.MustParseAddrPort("198.51.100.20:80")
)

func send(s *Server, service, key string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "http://"+apiAddress.String()+"/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	credentials := aws.Credentials{AccessKeyID: key, SecretAccessKey: operatorKey.SecretAccessKey}
	return sendSigned(s, Operators, apiAddress, r, service, awsquery.Region, credentials, form.Encode())
}

// sendSigned signs a request as the SDK does and has it served.
func sendSigned(s *Server, side Side, at netip.AddrPort, r *http.Request, service, inRegion string, key aws.Credentials,
	body string) *httptest.ResponseRecorder {
	digest := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(context.Background(), key, r, hex.EncodeToString(digest[:]), service, inRegion,
		time.Now()); err != nil {
		panic(err)
	}
	w := httptest.NewRecorder()
	s.Handler(side, at).ServeHTTP(w, r)
	return w
}

func mustRequest(t *testing.T, s *Server, action string, parameters ...string) *awsquery.Node {
	t.Helper()
	status, root := request(t, s, action, parameters...)
	if status != http.StatusOK {
		t.Fatalf("%s: %s", action, root.Bytes())
	}
	return root
}

// refused is a request that must fail with this code.
func refused(t *testing.T, s *Server, code, action string, parameters ...string) string {
	t.Helper()
	status, root := request(t, s, action, parameters...)
	want := statusOf(code)
	if got := root.Get("Errors", "Error", "Code"); status != want || got != code {
		t.Errorf("%s: status %d, code %q, want %d and %q: %s", action, status, got, want, code, root.Bytes())
	}
	return root.Get("Errors", "Error", "Message")
}

// statusOf is the status that goes with a code; 400 for one of moto's own.
func statusOf(code string) int {
	for _, row := range apierror.Rows() {
		if row.Code == code {
			return row.Status
		}
	}
	return http.StatusBadRequest
}

// newRequest is one that is not signed yet.
func newRequest(method, target, body string) *http.Request {
	return httptest.NewRequest(method, "http://"+apiAddress.String()+target, strings.NewReader(body))
}

// change changes a server's records.
func change(t *testing.T, s *Server, how func(*records.State)) {
	t.Helper()
	if err := s.records.Update(how); err != nil {
		t.Fatal(err)
	}
}

func journalPath(s *Server) string { return filepath.Join(s.config.StateDir, "journal.jsonl") }

// reopenedJournal are the calls that are left after a start, which compacts the journal.
func reopenedJournal(t *testing.T, s *Server) []*awsquery.Call {
	t.Helper()
	again := moto.New(s.config.Dial, s.config.Log)
	if err := again.Open(journalPath(s)); err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	return again.Journaled()
}
