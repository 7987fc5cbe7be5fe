package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// packageCache is the only way out that machines have: an address on the cloud's internet, and one on the host for the
// making of base images, behind which apt-cacher-ng fetches from the host's Debian mirrors and from nowhere else.
//
// All clouds of a host share one directory of packages, and apt-cacher-ng is not made for two on one directory. So the
// first cloud runs it, and the others pass connections on; when the first ends, the next that has a connection to pass
// on takes over. What was on its way then is cut off, and apt says so.
type packageCache struct {
	host      *Host
	dir       string // shared by all clouds
	address   string // on the host
	listeners []net.Listener

	mu     sync.Mutex
	server *cacheServer // this cloud's, if it is the one
	closed bool
}

// cacheServer is a running apt-cacher-ng.
type cacheServer struct {
	process *exec.Cmd
	unlock  func()
	done    chan struct{}
}

func startPackageCache(ctx context.Context, h *Host) (*packageCache, error) {
	c := &packageCache{host: h, dir: filepath.Join(h.config.CacheDir, "packages"), address: fmt.Sprintf("127.66.%d.1:4568", h.number)}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, err
	}
	for _, listen := range []func() (net.Listener, error){
		func() (net.Listener, error) { return new(net.ListenConfig).Listen(ctx, "tcp4", c.address) },
		func() (net.Listener, error) { return h.ListenInet(ctx, netip.MustParseAddrPort(inetCache)) },
	} {
		listener, err := listen()
		if err != nil {
			c.close()
			return nil, fmt.Errorf("start package cache: %w", err)
		}
		c.listeners = append(c.listeners, listener)
		go acceptEach(listener, c.pass)
	}
	conn, err := c.dial()
	if err != nil {
		c.close()
		return nil, fmt.Errorf("start package cache: %w", err)
	}
	return c, conn.Close()
}

// pass passes a connection on to apt-cacher-ng, whichever cloud runs it.
func (c *packageCache) pass(client *net.TCPConn) {
	defer client.Close()
	server, err := c.dial()
	if err != nil {
		c.host.config.Log.Error("reach the package cache", "error", err)
		return
	}
	defer server.Close()
	splice(client, server.(*net.TCPConn))
}

// cacheDeadline is how long apt-cacher-ng may take to answer after its start.
const cacheDeadline = 10 * time.Second

// dial connects to the running apt-cacher-ng, and starts it if no cloud does.
func (c *packageCache) dial() (net.Conn, error) {
	for deadline := time.Now().Add(cacheDeadline); ; time.Sleep(20 * time.Millisecond) {
		if address, err := os.ReadFile(c.addressPath()); err == nil {
			if conn, err := net.Dial("tcp4", string(address)); err == nil {
				return conn, nil
			}
		}
		if err := c.takeOver(); err != nil {
			return nil, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("apt-cacher-ng does not answer: %s", c.outputTail())
		}
	}
}

// addressPath names a file that says where the running apt-cacher-ng listens.
func (c *packageCache) addressPath() string { return c.dir + ".address" }

// takeOver starts apt-cacher-ng unless it runs already, here or in another cloud.
func (c *packageCache) takeOver() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	if c.server != nil {
		select {
		case <-c.server.done:
			c.server.unlock()
			c.server = nil
		default:
			return nil
		}
	}
	unlock, err := tryLock(c.dir + ".lock")
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.server, err = c.run(); err != nil {
		unlock()
		return fmt.Errorf("start apt-cacher-ng: %w", err)
	}
	c.server.unlock = unlock
	return nil
}

// cacheUser is the user that Debian's package makes for apt-cacher-ng.
const cacheUser = "apt-cacher-ng"

// run starts apt-cacher-ng with a configuration of its own, as its own user: it parses what all machines and the mirrors
// send.
func (c *packageCache) run() (*cacheServer, error) {
	dir := c.configDir()
	address := netip.AddrPortFrom(c.host.addresses.API.Addr(), 4569)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(filepath.Join(dir, "log"), 0o755)); err != nil {
		return nil, err
	}
	if err := errors.Join(giveTo(cacheUser, c.dir), giveTo(cacheUser, dir)); err != nil {
		return nil, err
	}
	if err := errors.Join(
		writeFile(filepath.Join(dir, "acng.conf"), []byte(cacheSettings(c.host.apt, c.dir, dir, address)), 0o644),
		writeFile(c.addressPath(), []byte(address.String()), 0o644)); err != nil {
		return nil, err
	}
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer output.Close()
	s := &cacheServer{process: exec.Command("setpriv", append(unprivileged(cacheUser), "apt-cacher-ng", "-c", dir)...), done: make(chan struct{})}
	s.process.Stdout, s.process.Stderr = output, output
	if err := c.host.spawner.start(s.process); err != nil {
		return nil, err
	}
	go func() {
		s.process.Wait()
		close(s.done)
	}()
	return s, nil
}

// unprivileged are the options by which setpriv runs a program as a user, without groups and without capabilities.
func unprivileged(name string) []string {
	return []string{
		"--reuid=" + name, "--regid=" + name, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs",
		"--pdeathsig=KILL", // what the daemon asked for is lost with root's rights
	}
}

// giveTo makes a user the owner of a directory and of all that is in it. Links are not followed.
func giveTo(name, dir string) error {
	account, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("find the user of apt-cacher-ng: %w", err)
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Lchown(path, uid, gid)
	})
}

// configDir is beside the packages: only one apt-cacher-ng of all clouds runs, and the run directory is root's.
func (c *packageCache) configDir() string { return c.dir + ".config" }

func (c *packageCache) outputTail() string {
	text, err := os.ReadFile(filepath.Join(c.configDir(), "output"))
	if err != nil {
		return "another cloud runs it"
	}
	return tail(string(text), 500)
}

// cacheSettings is the configuration of apt-cacher-ng. What is not below one of the host's mirrors is refused, so that
// machines reach nothing else through it.
func cacheSettings(apt aptHost, cacheDir, runDir string, address netip.AddrPort) string {
	settings := []string{
		"CacheDir: " + cacheDir, "LogDir: " + filepath.Join(runDir, "log"), "SocketPath: " + filepath.Join(runDir, "socket"), "PidFile: " + filepath.Join(runDir, "pid"),
		"BindAddress: " + address.Addr().String(), fmt.Sprintf("Port: %d", address.Port()), "ForeGround: 1", "VerboseLog: 0",
		"ReportPage:", "ExThreshold: 30", "FreshIndexMaxAge: 600",
		"PassThroughPattern: ^$", "ForceManaged: 1",
		"Remap-main: " + plain(apt.Mirror) + " ; " + apt.Mirror,
	}
	if apt.Security != "" {
		settings = append(settings, "Remap-security: "+plain(apt.Security)+" ; "+apt.Security)
	}
	if apt.Proxy != "" {
		settings = append(settings, "Proxy: "+apt.Proxy)
	}
	return strings.Join(settings, "\n") + "\n"
}

func (c *packageCache) close() {
	for _, listener := range c.listeners {
		listener.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.server == nil {
		return
	}
	c.server.process.Process.Signal(unix.SIGTERM)
	select {
	case <-c.server.done:
	case <-time.After(5 * time.Second):
		c.server.process.Process.Kill()
		<-c.server.done
	}
	os.Remove(c.addressPath())
	c.server.unlock()
}
