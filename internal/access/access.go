// Package access is how instances are entered: over SSH, by way of another one where an instance has no public address,
// and with host keys that the instance printed on its console, so that no answer is trusted at first sight.
package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// Hop is an instance on the way, or at its end.
type Hop struct {
	ID, Address, User string
	// HostKeys are public keys as ssh(1) writes them.
	HostKeys []string
	// Identity is the path of the private key.
	Identity string
}

// hostKeyLine is a public key as ssh(1) writes it; the console may have something before it.
var hostKeyLine = regexp.MustCompile(`(?:ssh-[a-z0-9]+|ecdsa-sha2-nistp[0-9]+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/]+=*`)

// HostKeys are the keys that an instance printed on its console: those between its marks, of the last such block that is
// whole. A console is torn by what the kernel says, begins anywhere, and has a block of each boot.
func HostKeys(console []byte) []string {
	blocks := strings.Split(string(console), instance.HostKeysBegin)
	for _, block := range slices.Backward(blocks[1:]) {
		text, _, whole := strings.Cut(block, instance.HostKeysEnd)
		if !whole {
			continue
		}
		if keys := keysIn(text); len(keys) > 0 {
			return keys
		}
	}
	return nil
}

// keysIn are the whole keys in a text, each once.
func keysIn(text string) []string {
	var keys []string
	for line := range strings.Lines(text) {
		key := hostKeyLine.FindString(line)
		if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key)); err == nil && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// OpenSSH runs ssh(1) or scp(1) with what it needs to know of the hops; in the arguments the target is named by its id.
func OpenSSH(ctx context.Context, hops []Hop, program string, arguments []string, in io.Reader, out, complaints io.Writer) error {
	path, err := config(hops)
	if err != nil {
		return fmt.Errorf("write the configuration of %s: %w", program, err)
	}
	defer os.RemoveAll(filepath.Dir(path))
	run := exec.CommandContext(ctx, program, append([]string{"-F", path}, arguments...)...)
	run.Stdin, run.Stdout, run.Stderr = in, out, complaints
	return run.Run()
}

// config writes what ssh(1) and scp(1) need into a directory of its own, and returns the path of the configuration.
// Hosts are named by their ids; the first hop is the way in, the last the target.
func config(hops []Hop) (path string, err error) {
	dir, err := os.MkdirTemp("", "goldsmith-ssh-")
	if err != nil {
		return "", err
	}
	var config, known strings.Builder
	for i, hop := range hops {
		for _, key := range hop.HostKeys {
			fmt.Fprintf(&known, "%s %s\n", hop.ID, key)
		}
		fmt.Fprintf(&config, "Host %s\n  HostName %s\n  HostKeyAlias %s\n  User %s\n  IdentityFile %s\n", hop.ID, hop.Address, hop.ID, hop.User, hop.Identity)
		if i > 0 {
			fmt.Fprintf(&config, "  ProxyJump %s\n", hops[i-1].ID)
		}
	}
	fmt.Fprintf(&config, "Host *\n  IdentitiesOnly yes\n  IdentityAgent none\n  StrictHostKeyChecking yes\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile none\n  LogLevel ERROR\n  ConnectTimeout 15\n", filepath.Join(dir, "known_hosts"))
	path = filepath.Join(dir, "config")
	return path, errors.Join(os.WriteFile(path, []byte(config.String()), 0o600), os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(known.String()), 0o600))
}

// Client is a connection to the last of some hops.
type Client struct {
	target *ssh.Client
	before []*ssh.Client
}

// dialTimeout is how long each hop may take.
const dialTimeout = 15 * time.Second

// Dial connects to the last hop by way of the others.
func Dial(ctx context.Context, hops []Hop) (*Client, error) {
	c := &Client{}
	for _, hop := range hops {
		next, err := c.dial(ctx, hop)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("log in to %s: %w", hop.ID, err), c.Close())
		}
		if c.target != nil {
			c.before = append(c.before, c.target)
		}
		c.target = next
	}
	return c, nil
}

func (c *Client) dial(ctx context.Context, hop Hop) (*ssh.Client, error) {
	text, err := os.ReadFile(hop.Identity)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", hop.Identity, err)
	}
	if len(hop.HostKeys) == 0 {
		return nil, errors.New("its console shows no SSH host keys")
	}
	config := &ssh.ClientConfig{User: hop.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: pinned(hop.HostKeys), Timeout: dialTimeout}
	for _, line := range hop.HostKeys {
		algorithm, _, _ := strings.Cut(line, " ")
		config.HostKeyAlgorithms = append(config.HostKeyAlgorithms, algorithm)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	dial := (&net.Dialer{}).DialContext
	if c.target != nil {
		dial = c.target.DialContext
	}
	address := net.JoinHostPort(hop.Address, "22")
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	// The handshake knows no context: its connection is closed instead.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	connected, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	return ssh.NewClient(connected, channels, requests), nil
}

// pinned accepts the keys that the console showed.
func pinned(lines []string) ssh.HostKeyCallback {
	return func(name string, _ net.Addr, key ssh.PublicKey) error {
		for _, line := range lines {
			known, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
			if err == nil && bytes.Equal(known.Marshal(), key.Marshal()) {
				return nil
			}
		}
		return fmt.Errorf("the host key of %s, %s, is not one that the instance printed on its console", name, ssh.FingerprintSHA256(key))
	}
}

// Run runs a command and returns its standard output. What it says on standard error is part of the error.
func (c *Client) Run(ctx context.Context, command string) (string, error) {
	session, err := c.target.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	stop := context.AfterFunc(ctx, func() { session.Close() })
	defer stop()
	var stdout, stderr bytes.Buffer
	session.Stdout, session.Stderr = &stdout, &stderr
	if err := session.Run(command); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return stdout.String(), fmt.Errorf("run %q: %w: %s", command, err, plaintext.Lines(strings.TrimSpace(stderr.String())))
	}
	return stdout.String(), nil
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
