package debian

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/durable"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/lockfile"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/process"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tcprelay"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tool"
)

// Cache is the only way out that machines have: listeners on the cloud's internet, and on the host for the making of
// base images, behind which apt-cacher-ng fetches from the host's Debian mirrors and from nowhere else.
//
// All clouds of a host share one directory of packages, and apt-cacher-ng is not made for two on one directory. So the
// first cloud runs it, and the others pass connections on; when the first ends, the next that has a connection to pass
// on takes over. What was on its way then is cut off, and apt says so.
type Cache struct {
	config CacheConfig

	mu     sync.Mutex
	server *cacheServer // this cloud's, if it is the one
	closed bool
}

// CacheConfig has the settings of a Cache.
type CacheConfig struct {
	// Dir holds the packages, and is shared by all clouds.
	Dir string
	Apt Apt
	// Server is the address of this cloud's apt-cacher-ng, if it runs one.
	Server netip.AddrPort
	// Listeners are closed with the cache.
	Listeners []net.Listener
	Spawner   *process.Spawner
	Log       *slog.Logger
}

// cacheServer is a running apt-cacher-ng.
type cacheServer struct {
	process *exec.Cmd
	lock    *os.File
	done    chan struct{}
}

// StartCache starts passing connections on. It fails, and closes the listeners, if no apt-cacher-ng can be reached.
func StartCache(config CacheConfig) (*Cache, error) {
	c := &Cache{config: config}
	err := os.MkdirAll(config.Dir, 0o755)
	if err == nil {
		var conn net.Conn
		if conn, err = c.dial(); err == nil {
			err = conn.Close()
		}
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("start package cache: %w", err)
	}
	for _, listener := range config.Listeners {
		go tcprelay.Serve(listener, c.pass)
	}
	return c, nil
}

// pass passes a connection on to apt-cacher-ng, whichever cloud runs it.
func (c *Cache) pass(client *net.TCPConn) {
	defer client.Close()
	server, err := c.dial()
	if err != nil {
		c.config.Log.Error("reach the package cache", "error", err)
		return
	}
	defer server.Close()
	tcprelay.Splice(client, server.(*net.TCPConn))
}

// cacheDeadline is how long apt-cacher-ng may take to answer after its start.
const cacheDeadline = 10 * time.Second

// dial connects to the running apt-cacher-ng, and starts it if no cloud does.
func (c *Cache) dial() (net.Conn, error) {
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
func (c *Cache) addressPath() string { return c.config.Dir + ".address" }

// takeOver starts apt-cacher-ng unless it runs already, here or in another cloud.
func (c *Cache) takeOver() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	if c.server != nil {
		select {
		case <-c.server.done:
			c.server.lock.Close()
			c.server = nil
		default:
			return nil
		}
	}
	lock, err := lockfile.TryLock(c.config.Dir + ".lock")
	if errors.Is(err, lockfile.ErrHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.server, err = c.run(lock); err != nil {
		return errors.Join(fmt.Errorf("start apt-cacher-ng: %w", err), lock.Close())
	}
	return nil
}

// cacheUser is the user that Debian's package makes for apt-cacher-ng.
const cacheUser = "apt-cacher-ng"

// run starts apt-cacher-ng with a configuration of its own, as its own user: it parses what all machines and the
// mirrors send.
func (c *Cache) run(lock *os.File) (*cacheServer, error) {
	dir, address := c.configDir(), c.config.Server
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(filepath.Join(dir, "log"), 0o755)); err != nil {
		return nil, err
	}
	if err := errors.Join(giveTo(cacheUser, c.config.Dir), giveTo(cacheUser, dir)); err != nil {
		return nil, err
	}
	settings := cacheSettings(c.config.Apt, c.config.Dir, dir, address)
	err := durable.WriteFile(filepath.Join(dir, "acng.conf"), []byte(settings), 0o644)
	if err == nil {
		err = durable.WriteFile(c.addressPath(), []byte(address.String()), 0o644)
	}
	if err != nil {
		return nil, err
	}
	output, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return nil, err
	}
	defer output.Close()
	server := exec.Command("setpriv", append(unprivileged(cacheUser), "apt-cacher-ng", "-c", dir)...)
	server.Stdout, server.Stderr = output, output
	s := &cacheServer{process: server, lock: lock, done: make(chan struct{})}
	if err := c.config.Spawner.Start(server); err != nil {
		return nil, err
	}
	go func() {
		_ = s.process.Wait()
		close(s.done)
	}()
	return s, nil
}

// unprivileged returns the options by which setpriv runs a program as a user, without groups and without capabilities.
func unprivileged(name string) []string {
	return []string{
		"--reuid=" + name,
		"--regid=" + name,
		"--clear-groups",
		"--inh-caps=-all",
		"--bounding-set=-all",
		"--no-new-privs",
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
func (c *Cache) configDir() string { return c.config.Dir + ".config" }

func (c *Cache) outputTail() string {
	text, err := os.ReadFile(filepath.Join(c.configDir(), "output"))
	if err != nil {
		return "another cloud runs it"
	}
	return tool.Tail(string(text), 500)
}

// cacheSettings returns the configuration of apt-cacher-ng. What is not below one of the host's mirrors is refused, so
// that machines reach nothing else through it.
func cacheSettings(apt Apt, cacheDir, runDir string, address netip.AddrPort) string {
	settings := []string{
		"CacheDir: " + cacheDir,
		"LogDir: " + filepath.Join(runDir, "log"),
		"SocketPath: " + filepath.Join(runDir, "socket"),
		"PidFile: " + filepath.Join(runDir, "pid"),
		"BindAddress: " + address.Addr().String(),
		fmt.Sprintf("Port: %d", address.Port()),
		"ForeGround: 1",
		"VerboseLog: 0",
		"ReportPage:",
		"ExThreshold: 30",
		"FreshIndexMaxAge: 600",
		"PassThroughPattern: ^$",
		"ForceManaged: 1",
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

// Close stops listening and, if this cloud runs apt-cacher-ng, ends it.
func (c *Cache) Close() {
	for _, listener := range c.config.Listeners {
		listener.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.server == nil {
		return
	}
	_ = c.server.process.Process.Signal(unix.SIGTERM)
	select {
	case <-c.server.done:
	case <-time.After(5 * time.Second):
		_ = c.server.process.Process.Kill()
		<-c.server.done
	}
	os.Remove(c.addressPath())
	c.server.lock.Close()
}
