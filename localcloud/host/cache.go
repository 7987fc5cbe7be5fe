package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// packageCache is apt-cacher-ng as a child of the cloud, on a loopback address of the host, and its address on the
// cloud's internet: the only way out that machines have.
type packageCache struct {
	address  string // on the host
	process  *exec.Cmd
	listener net.Listener
	unlock   func()
	done     chan struct{}
}

// startPackageCache runs the cache over the directory that all clouds share or, while another cloud has that, over one
// of its own: apt-cacher-ng is not made for two on one directory.
func startPackageCache(ctx context.Context, h *Host) (*packageCache, error) {
	shared := filepath.Join(h.config.CacheDir, "apt")
	if err := os.MkdirAll(shared, 0o755); err != nil {
		return nil, err
	}
	dir := shared
	c := &packageCache{address: fmt.Sprintf("127.66.%d.1:4568", h.number), done: make(chan struct{})}
	soon, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	var err error
	if c.unlock, err = lockFile(soon, shared+".lock"); errors.Is(err, context.DeadlineExceeded) {
		dir = shared + "-" + h.config.Name
		c.unlock, err = lockFile(ctx, dir+".lock")
	}
	if err != nil {
		return nil, fmt.Errorf("start package cache: %w", err)
	}
	if err := c.start(h, dir); err != nil {
		c.close()
		return nil, fmt.Errorf("start package cache: %w", err)
	}
	if c.listener, err = h.ListenInet(ctx, netip.MustParseAddrPort(inetCache)); err != nil {
		c.close()
		return nil, err
	}
	go c.serve()
	return c, nil
}

func (c *packageCache) start(h *Host, dir string) error {
	conf := filepath.Join(h.config.RunDir, "apt-cacher-ng")
	host, port, _ := strings.Cut(c.address, ":")
	settings := []string{"CacheDir: " + dir, "LogDir: " + conf + "/log", "BindAddress: " + host, "Port: " + port, "ForeGround: 1",
		"ReportPage:", "ExThreshold: 30", "SocketPath: " + conf + "/socket", "PidFile: " + conf + "/pid", "VerboseLog: 0",
		"FreshIndexMaxAge: 600", "PassThroughPattern: ^$"}
	if h.apt.Proxy != "" {
		settings = append(settings, "Proxy: "+h.apt.Proxy)
	}
	if err := writeFile(filepath.Join(conf, "acng.conf"), []byte(strings.Join(settings, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	for _, d := range []string{dir, conf + "/log"} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	log, err := os.Create(filepath.Join(conf, "output"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.process = exec.Command("apt-cacher-ng", "-c", conf)
	c.process.Stdout, c.process.Stderr = log, log
	if err := h.spawner.start(c.process); err != nil {
		return err
	}
	go func() {
		c.process.Wait()
		close(c.done)
	}()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if conn, err := net.Dial("tcp", c.address); err == nil {
			return conn.Close()
		}
		select {
		case <-c.done:
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("apt-cacher-ng ended: %s", tail(string(text), 500))
		default:
		}
	}
	return fmt.Errorf("apt-cacher-ng does not answer on %s", c.address)
}

// serve relays from the cloud's internet to the cache on the host.
func (c *packageCache) serve() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			server, err := net.Dial("tcp", c.address)
			if err != nil {
				return
			}
			defer server.Close()
			splice(conn.(*net.TCPConn), server.(*net.TCPConn))
		}()
	}
}

func (c *packageCache) close() {
	if c.listener != nil {
		c.listener.Close()
	}
	if c.process != nil && c.process.Process != nil {
		c.process.Process.Signal(unix.SIGTERM)
		select {
		case <-c.done:
		case <-time.After(5 * time.Second):
			c.process.Process.Kill()
			<-c.done
		}
	}
	if c.unlock != nil {
		c.unlock()
	}
}
