// Package access enters instances over SSH: by way of another one where an instance has no public address, with host
// keys that the instance printed on its console, so that no answer is trusted at first sight, and with the stack's key
// or the user's ssh-agent. It runs commands, holds a shell at the user's terminal, and copies files by SFTP; no ssh
// client is needed on this machine, and none's configuration is read. It knows nothing of stacks and of EC2: who calls
// it says where the instances are and which keys they have.
package access

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// Hop is an instance on the way, or at its end.
type Hop struct {
	ID      string
	Address string
	// Port is the one that sshd listens on; 22 if it is 0.
	Port int
	User string
	// HostKeys are public keys as ssh(1) writes them.
	HostKeys []string
	// Identity is the path of the private key.
	Identity string
	// Public is the public half of the private key. It may be nil: it only finds the key in an ssh-agent where the
	// file is not on this machine, or has a passphrase and does not show its public half.
	Public ssh.PublicKey
}

func (h Hop) hostPort() string {
	port := h.Port
	if port == 0 {
		port = 22
	}
	return net.JoinHostPort(h.Address, strconv.Itoa(port))
}

// Client is a connection to the last of some hops.
type Client struct {
	id     string
	target *ssh.Client
	before []*ssh.Client
}

// dialTimeout is how long each hop may take.
const dialTimeout = 15 * time.Second

// Dial connects to the last hop by way of the others. ask is for keys with a passphrase that no ssh-agent has; nil
// where nobody can be asked.
func Dial(ctx context.Context, hops []Hop, ask Ask) (*Client, error) {
	keys := newKeyring(ask)
	defer keys.close()
	c := &Client{}
	for _, hop := range hops {
		next, err := c.dial(ctx, hop, keys)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("log in to %s: %w", hop.ID, err), c.Close())
		}
		if c.target != nil {
			c.before = append(c.before, c.target)
		}
		c.id, c.target = hop.ID, next
	}
	go keepAlive(c.target)
	return c, nil
}

func (c *Client) dial(ctx context.Context, hop Hop, keys *keyring) (*ssh.Client, error) {
	if len(hop.HostKeys) == 0 {
		return nil, errors.New("its console shows no SSH host keys")
	}
	signers, err := keys.signers(ctx, hop)
	if err != nil {
		return nil, err
	}
	config := &ssh.ClientConfig{
		User:              hop.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(signers...)},
		HostKeyCallback:   pinned(hop.HostKeys),
		HostKeyAlgorithms: algorithms(hop.HostKeys),
		Timeout:           dialTimeout,
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dial := (&net.Dialer{}).DialContext
	if c.target != nil {
		dial = c.target.DialContext
	}
	conn, err := dial(ctx, "tcp", hop.hostPort())
	if err != nil {
		return nil, err
	}
	// The handshake knows no context: its connection is closed instead.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	connected, channels, requests, err := ssh.NewClientConn(conn, hop.hostPort(), config)
	if err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	return ssh.NewClient(connected, channels, requests), nil
}

const (
	keepAliveEvery   = 15 * time.Second
	keepAliveTimeout = 30 * time.Second
)

// keepAlive closes a connection whose other end has gone without a word, as that of a terminated instance does: a shell
// at a raw terminal could not even be interrupted. It ends with the connection.
func keepAlive(client *ssh.Client) {
	ended := make(chan struct{})
	go func() {
		_ = client.Wait()
		close(ended)
	}()
	ticker := time.NewTicker(keepAliveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			return
		case <-ticker.C:
		}
		answered := make(chan struct{})
		go func() {
			// A server that does not know the request says so, which is an answer too.
			_, _, _ = client.SendRequest("keepalive@openssh.com", true, nil)
			close(answered)
		}()
		select {
		case <-answered:
		case <-time.After(keepAliveTimeout):
			client.Close()
			return
		}
	}
}

// mostOutput is the largest output, in bytes, that Run returns of a command.
const mostOutput = 4 << 20

// Run runs a command and returns its standard output, which may not be long. What it says on standard error is part of
// the error.
func (c *Client) Run(ctx context.Context, command string) (string, error) {
	session, err := c.target.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	stop := context.AfterFunc(ctx, func() { session.Close() })
	defer stop()
	// One that says too much would wait for ever for somebody to read the rest: the connection ends.
	stdout, stderr := &limited{full: c.Close}, &limited{full: c.Close}
	session.Stdout, session.Stderr = stdout, stderr
	if err := session.Run(command); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		err = cmp.Or(stdout.err, stderr.err, err)
		said := plaintext.Lines(strings.TrimSpace(stderr.kept.String()))
		return stdout.kept.String(), fmt.Errorf("run %q: %w: %s", command, err, said)
	}
	return stdout.kept.String(), nil
}

// limited keeps what is written to it, up to mostOutput.
type limited struct {
	kept bytes.Buffer // a field, as its ReadFrom would go past Write
	full func() error
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if l.kept.Len()+len(p) > mostOutput {
		l.err = fmt.Errorf("it printed more than %d bytes", mostOutput)
		return 0, errors.Join(l.err, l.full())
	}
	return l.kept.Write(p)
}

// Close ends the connection, and those by the way of which it goes.
func (c *Client) Close() error {
	var errs []error
	if c.target != nil {
		errs = append(errs, c.target.Close())
	}
	for _, hop := range c.before {
		errs = append(errs, hop.Close())
	}
	return errors.Join(errs...)
}
