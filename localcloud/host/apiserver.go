package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/cgroup"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/disk"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/netns"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/nspawn"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/process"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tool"
)

// apiServerPort is the address and port of the EC2 API's server, on the loopback of its own namespace.
const apiServerPort = "127.0.0.1:5000"

// APIServer is the server that knows EC2's rules, in a machine of its own that is reached over HTTP only.
type APIServer struct {
	host   *Host
	python *exec.Cmd
	root   string
	disk   string
	done   chan struct{}
}

// RunAPIServer starts moto with this environment, and with these files below /etc/moto. It has no network but its own
// loopback, keeps nothing on disk, and is neither root nor has a capability.
func (h *Host) RunAPIServer(
	ctx context.Context, environment map[string]string, files map[string][]byte,
) (*APIServer, error) {
	s := &APIServer{
		host: h,
		root: filepath.Join(h.config.mountDir(), "api"),
		disk: filepath.Join(h.config.mountDir(), "api.disk"),
		done: make(chan struct{}),
	}
	err := s.mount(files)
	if err == nil {
		err = s.start(ctx, environment)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the API server: %w", err), s.Close())
	}
	return s, nil
}

func (s *APIServer) mount(files map[string][]byte) error {
	upper, work := filepath.Join(s.disk, "upper"), filepath.Join(s.disk, "work")
	etc := filepath.Join(upper, "etc/moto")
	// systemd-nspawn wants a user to have a home.
	for _, dir := range []string{work, etc, filepath.Join(upper, "nonexistent")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(etc, name), content, 0o644); err != nil {
			return err
		}
	}
	bases := s.host.bases
	return disk.MountOverlay([]string{bases.Dir(bases.Make("moto"))}, upper, work, s.root)
}

func (s *APIServer) namespace() string { return s.host.network.Namespace("api") }

func (s *APIServer) cgroup() string { return filepath.Join(s.host.config.group(), "api") }

func (s *APIServer) start(ctx context.Context, environment map[string]string) error {
	if err := netns.Add(s.namespace()); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.host.config.StateDir, "api.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	host, port, _ := net.SplitHostPort(apiServerPort)
	args := []string{
		"--quiet", "--directory=" + s.root, "--as-pid2", "--register=no", "--keep-unit",
		"--resolv-conf=off", "--timezone=off",
		// It parses what anybody with a key sends. It writes nothing, and needs no right but to listen.
		"--user=nobody", "--drop-capability=all", "--no-new-privileges=yes", "--read-only", "--tmpfs=/tmp",
		"--link-journal=no", "--console=pipe", "--machine=" + s.host.config.apiMachine(),
		"--network-namespace-path=" + filepath.Join(netns.Dir, s.namespace()),
	}
	for key, value := range environment {
		args = append(args, "--setenv="+key+"="+value)
	}
	s.python = exec.Command("systemd-nspawn", append(args, "python3", "-m", "moto.server", "-H", host, "-p", port)...)
	s.python.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	s.python.Stdout, s.python.Stderr = log, log
	if err := s.host.spawner.StartIn(s.cgroup(), s.python); err != nil {
		return err
	}
	go func() {
		_ = s.python.Wait()
		close(s.done)
	}()
	return s.waitUntilItAnswers(ctx, log.Name())
}

func (s *APIServer) waitUntilItAnswers(ctx context.Context, log string) error {
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); {
		if conn, err := s.DialContext(ctx, "tcp", apiServerPort); err == nil {
			return conn.Close()
		}
		select {
		case <-s.done:
			text, _ := os.ReadFile(log)
			return fmt.Errorf("it ended: %s", tool.Tail(string(text), 1000))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return errors.New("it does not answer within 60 s")
}

// DialContext connects to the server; the address is not looked at.
func (s *APIServer) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return netns.Dial(ctx, s.namespace(), &net.Dialer{}, apiServerPort)
}

// Root is the root of the server's file system.
func (s *APIServer) Root() string { return s.root }

// Done is closed when the server has ended.
func (s *APIServer) Done() <-chan struct{} { return s.done }

// Close ends the server.
func (s *APIServer) Close() error {
	var survivors error
	if s.python != nil && s.python.Process != nil {
		_ = s.python.Process.Kill()
		<-s.done
		survivors = process.EndMachines(s.disk)
	}
	return errors.Join(survivors, disk.Unmount(s.root), os.RemoveAll(s.disk), nspawn.Forget(s.host.config.apiMachine()),
		netns.Delete(s.namespace()), cgroup.Remove(s.cgroup()))
}
