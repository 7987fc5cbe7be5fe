package access

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access/sshtest"
)

// identity is a key pair whose private half is in a file, with a passphrase unless that is empty.
func identity(t *testing.T, passphrase string) (path string, public ssh.PublicKey, private ed25519.PrivateKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "test")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "test", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "key.pem")
	if err = os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	if public, err = ssh.NewPublicKey(private.Public()); err != nil {
		t.Fatal(err)
	}
	return path, public, private
}

// noAgent has the test know no ssh-agent of who runs it.
func noAgent(t *testing.T) { t.Setenv("SSH_AUTH_SOCK", "") }

// startAgent is an ssh-agent with some keys.
func startAgent(t *testing.T, keys ...ed25519.PrivateKey) {
	t.Helper()
	ring := agent.NewKeyring()
	for _, key := range keys {
		if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "agent") // the path of a socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		listener.Close()
		os.RemoveAll(dir)
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = agent.ServeAgent(ring, conn) // it ends with the connection
				conn.Close()
			}()
		}
	}()
	t.Setenv("SSH_AUTH_SOCK", path)
}

func hopTo(s *sshtest.Server, id, key string) Hop {
	return Hop{
		ID:       id,
		Address:  s.Host,
		Port:     s.Port,
		User:     "admin",
		HostKeys: []string{s.HostKey},
		Identity: key,
	}
}

// connect starts a server and connects to it.
func connect(t *testing.T, root string, run func(*sshtest.Session)) (*Client, *sshtest.Server) {
	t.Helper()
	noAgent(t)
	path, public, _ := identity(t, "")
	server := sshtest.Start(t, "admin", public, root, run)
	client, err := Dial(t.Context(), []Hop{hopTo(server, "i-1", path)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client, server
}

func TestRun(t *testing.T) {
	client, _ := connect(t, "", (*sshtest.Session).Shell)
	if out, err := client.Run(t.Context(), "echo $((40 + 2))"); err != nil || out != "42\n" {
		t.Errorf("got %q, %v", out, err)
	}
	var exit *ssh.ExitError
	_, err := client.Run(t.Context(), "echo no >&2; exit 3")
	if !errors.As(err, &exit) || exit.ExitStatus() != 3 || !strings.HasSuffix(err.Error(), ": no") {
		t.Errorf("got %v", err)
	}
}

// TestRunEndsWhatSaysTooMuch, on either stream, instead of keeping all of it.
func TestRunEndsWhatSaysTooMuch(t *testing.T) {
	for _, command := range []string{"yes", "yes >&2"} {
		client, _ := connect(t, "", (*sshtest.Session).Shell)
		out, err := client.Run(t.Context(), command)
		if err == nil || !strings.Contains(err.Error(), "it printed more than 4194304 bytes") || len(out) > mostOutput {
			t.Errorf("%s: got %d bytes, %v", command, len(out), err)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	started := make(chan struct{})
	client, _ := connect(t, "", func(s *sshtest.Session) {
		close(started)
		<-s.Signals // which do not come
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	if _, err := client.Run(ctx, "sleep"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestJump goes to a server by way of another one, which lets nobody do anything else.
func TestJump(t *testing.T) {
	noAgent(t)
	path, public, _ := identity(t, "")
	gateway := sshtest.Start(t, "admin", public, "", func(s *sshtest.Session) { s.Exit(1) })
	behind := sshtest.Start(t, "admin", public, "", (*sshtest.Session).Shell)
	client, err := Dial(t.Context(), []Hop{hopTo(gateway, "i-web", path), hopTo(behind, "i-db", path)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := client.Run(t.Context(), "echo there"); err != nil || out != "there\n" {
		t.Errorf("got %q, %v", out, err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	// Each of both must have the key that its own console showed.
	wrong := hopTo(behind, "i-db", path)
	wrong.HostKeys = []string{gateway.HostKey}
	for _, hops := range [][]Hop{{hopTo(gateway, "i-web", path), wrong}, {wrong}} {
		client, err := Dial(t.Context(), hops, nil)
		if err == nil || !strings.Contains(err.Error(), "log in to i-db: ") ||
			!strings.Contains(err.Error(), "printed on its console") {
			t.Errorf("%d hops: got %v, %v", len(hops), client, err)
		}
	}
}

func TestDialFailures(t *testing.T) {
	noAgent(t)
	path, public, _ := identity(t, "")
	other, _, _ := identity(t, "")
	server := sshtest.Start(t, "admin", public, "", (*sshtest.Session).Shell)
	good := hopTo(server, "i-1", path)
	for want, change := range map[string]func(*Hop){
		"its console shows no SSH host keys": func(h *Hop) { h.HostKeys = nil },
		"unable to authenticate":             func(h *Hop) { h.Identity = other },
		"is not on this machine":             func(h *Hop) { h.Identity += ".none" },
		"no key found": func(h *Hop) {
			h.Identity = filepath.Join(t.TempDir(), "empty")
			if err := os.WriteFile(h.Identity, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"connect": func(h *Hop) { h.Port = 1 },
	} {
		hop := good
		change(&hop)
		client, err := Dial(t.Context(), []Hop{hop}, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "log in to i-1: ") {
			t.Errorf("want %q, got %v, %v", want, client, err)
		}
	}
}

func TestPassphrase(t *testing.T) {
	noAgent(t)
	path, public, _ := identity(t, "open sesame")
	server := sshtest.Start(t, "admin", public, "", (*sshtest.Session).Shell)
	hops := []Hop{hopTo(server, "i-1", path), hopTo(server, "i-2", path)}
	asked := 0
	ask := func(_ context.Context, of string) ([]byte, error) {
		if of != path {
			t.Errorf("asked for that of %s", of)
		}
		asked++
		if asked == 1 {
			return []byte("sesame"), nil
		}
		return []byte("open sesame"), nil
	}
	client, err := Dial(t.Context(), hops, ask)
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	if asked != 2 {
		t.Errorf("asked %d times for one key of two hops, mistyped once", asked)
	}
	if _, err := Dial(t.Context(), hops, nil); err == nil || !strings.Contains(err.Error(), "hint: ssh-add "+path) {
		t.Errorf("where nobody can be asked: %v", err)
	}
	asked = 0
	wrong := func(context.Context, string) ([]byte, error) {
		asked++
		return []byte("wrong"), nil
	}
	if _, err := Dial(t.Context(), hops, wrong); err == nil || asked != attempts {
		t.Errorf("mistyped %d times: %v", asked, err)
	}
	gone := errors.New("no terminal")
	if _, err := Dial(
		t.Context(),
		hops,
		func(context.Context, string) ([]byte, error) { return nil, gone },
	); !errors.Is(
		err,
		gone,
	) {
		t.Errorf("without a terminal: %v", err)
	}
}

// TestAgent has the key in an ssh-agent, beside others: in a file too, with a passphrase that nobody knows, or in none.
func TestAgent(t *testing.T) {
	path, public, private := identity(t, "forgotten")
	_, _, other := identity(t, "")
	server := sshtest.Start(t, "admin", public, "", (*sshtest.Session).Shell)
	startAgent(t, other, private)
	locked := hopTo(server, "i-1", path)
	missing := hopTo(server, "i-1", path+".none")
	known := missing
	known.Public = public
	for name, hop := range map[string]Hop{"locked file": locked, "no file": missing, "no file, known key": known} {
		client, err := Dial(t.Context(), []Hop{hop}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		client.Close()
	}
	startAgent(t, other)
	for name, hop := range map[string]Hop{"locked file": locked, "no file, known key": known} {
		if _, err := Dial(t.Context(), []Hop{hop}, nil); err == nil {
			t.Errorf("%s: the agent does not have the key, and it was let in", name)
		}
	}
}

func TestCheckIdentity(t *testing.T) {
	noAgent(t)
	path, public, _ := identity(t, "")
	locked, lockedPublic, lockedPrivate := identity(t, "x")
	for _, c := range []struct {
		name   string
		path   string
		public ssh.PublicKey
		want   string
	}{
		{"the key", path, public, ""},
		{"whichever", path, nil, ""},
		{"another one", path, lockedPublic, path + " is another one"},
		{"with a passphrase", locked, lockedPublic, ""},
		{"another one with a passphrase", locked, public, locked + " is another one"},
		{"missing", path + ".none", public, path + ".none is not on this machine"},
	} {
		err := CheckIdentity(c.path, c.public)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if err := CheckIdentity(path+".none", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	startAgent(t, lockedPrivate)
	if err := CheckIdentity(path+".none", lockedPublic); err != nil {
		t.Errorf("in the agent: %v", err)
	}
	if err := CheckIdentity(path+".none", public); err == nil {
		t.Error("not in the agent: no error")
	}
}

func TestPublicKey(t *testing.T) {
	path, public, _ := identity(t, "")
	locked, lockedPublic, _ := identity(t, "x")
	for path, want := range map[string]ssh.PublicKey{path: public, locked: lockedPublic} {
		got, err := PublicKey(path)
		if err != nil || !bytes.Equal(got.Marshal(), want.Marshal()) {
			t.Errorf("%s: got %v, %v", path, got, err)
		}
	}
	if _, err := PublicKey(path + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestRSAHostKeys: the key's type is not the name of a signature that servers still make.
func TestRSAHostKeys(t *testing.T) {
	got := strings.Join(algorithms([]string{"ssh-ed25519 AAAA", "ssh-rsa AAAA"}), " ")
	if want := "ssh-ed25519 rsa-sha2-512 rsa-sha2-256"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// queued is one end of a pipe that takes what is written before somebody reads it, as a network does.
type queued struct {
	net.Conn
	out    chan []byte
	closed chan struct{}
	once   sync.Once
}

func newQueued(conn net.Conn) *queued {
	q := &queued{
		Conn:   conn,
		out:    make(chan []byte, 1000),
		closed: make(chan struct{}),
	}
	go func() {
		for {
			select {
			case <-q.closed:
				return
			case b := <-q.out:
				_, _ = conn.Write(b) // who closed its end reads no more
			}
		}
	}()
	return q
}

func (q *queued) Write(b []byte) (int, error) {
	q.out <- bytes.Clone(b)
	return len(b), nil
}

func (q *queued) Close() error {
	q.once.Do(func() { close(q.closed) })
	return q.Conn.Close()
}

// answerOnce is a server that answers one of the requests that keep a connection alive, closes quiet, and answers none
// after it.
func answerOnce(t *testing.T, conn net.Conn, key ssh.Signer, quiet chan<- struct{}) {
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(key)
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		t.Error(err)
		return
	}
	go func() {
		for channel := range channels {
			_, asked, err := channel.Accept()
			if err != nil {
				return
			}
			go func() {
				for request := range asked {
					_ = request.Reply(true, nil) // the client may be gone
				}
			}()
		}
	}()
	first := <-requests
	if err := first.Reply(false, nil); err != nil {
		t.Error(err)
	}
	close(quiet)
	for range requests {
	}
}

// TestDeadConnection has the other end say nothing any more, not even that it is gone.
func TestDeadConnection(t *testing.T) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGUSR2) // its goroutine would be part of the bubble else
	synctest.Test(t, func(t *testing.T) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.NewSignerFromKey(private)
		if err != nil {
			t.Fatal(err)
		}
		one, other := net.Pipe()
		here, there := newQueued(one), newQueued(other)
		defer there.Close()
		quiet := make(chan struct{})
		go answerOnce(t, there, signer, quiet)
		conn, channels, requests, err := ssh.NewClientConn(here, "test", &ssh.ClientConfig{
			HostKeyCallback: ssh.FixedHostKey(signer.PublicKey()),
		})
		if err != nil {
			t.Fatal(err)
		}
		client := &Client{
			id:     "i-1",
			target: ssh.NewClient(conn, channels, requests),
		}
		go keepAlive(client.target)
		began := time.Now()
		err = client.Attach(t.Context(), "sleep", Streams{})
		var closed *NoWayInError
		if !errors.As(err, &closed) {
			t.Errorf("got %v", err)
		}
		<-quiet
		if took, want := time.Since(began), 2*keepAliveEvery+keepAliveTimeout; took != want {
			t.Errorf("it took %v to find out, want %v", took, want)
		}
	})
}
