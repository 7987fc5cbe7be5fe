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
)

// apiServerPort is where the EC2 API's server listens, on the loopback of its own namespace.
const apiServerPort = "127.0.0.1:5000"

// APIServer is the server that knows EC2's rules, in a machine of its own that is reached over HTTP only.
type APIServer struct {
	host    *Host
	process *exec.Cmd
	root    string
	disk    string
	done    chan struct{}
}

// RunAPIServer starts moto with this environment, and with these files below /etc/moto. It has no network but its own
// loopback, keeps nothing on disk, and is neither root nor has a capability.
func (h *Host) RunAPIServer(ctx context.Context, environment map[string]string, files map[string][]byte) (*APIServer, error) {
	s := &APIServer{host: h, root: filepath.Join(h.mountDir(), "api"), disk: filepath.Join(h.mountDir(), "api.disk"), done: make(chan struct{})}
	upper, work := filepath.Join(s.disk, "upper"), filepath.Join(s.disk, "work")
	for name, content := range files {
		if err := writeFile(filepath.Join(upper, "etc/moto", name), content, 0o644); err != nil {
			return nil, err
		}
	}
	// systemd-nspawn wants a user to have a home.
	if err := errors.Join(os.MkdirAll(work, 0o755), os.MkdirAll(filepath.Join(upper, "nonexistent"), 0o755)); err != nil {
		return nil, err
	}
	if err := mountOverlay([]string{h.basePath("moto")}, upper, work, s.root); err != nil {
		return nil, err
	}
	if err := s.start(ctx, environment); err != nil {
		return nil, errors.Join(fmt.Errorf("start the API server: %w", err), s.Close())
	}
	return s, nil
}

func (s *APIServer) namespace() string { return s.host.namespace("api") }

func (s *APIServer) start(ctx context.Context, environment map[string]string) error {
	if err := addNamespace(ctx, s.namespace()); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.host.config.StateDir, "api.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	host, port, _ := net.SplitHostPort(apiServerPort)
	args := []string{"--quiet", "--directory=" + s.root, "--as-pid2", "--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off",
		// It parses what anybody with a key sends. It writes nothing, and needs no right but to listen.
		"--user=nobody", "--drop-capability=all", "--no-new-privileges=yes", "--read-only", "--tmpfs=/tmp",
		"--link-journal=no", "--console=pipe", "--machine=" + s.namespace(), "--network-namespace-path=" + filepath.Join(namespaceDir, s.namespace())}
	for key, value := range environment {
		args = append(args, "--setenv="+key+"="+value)
	}
	s.process = exec.Command("systemd-nspawn", append(args, "python3", "-m", "moto.server", "-H", host, "-p", port)...)
	s.process.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	s.process.Stdout, s.process.Stderr = log, log
	if err := s.host.spawner.startIn(s.host.cgroup("api"), s.process); err != nil {
		return err
	}
	go func() {
		s.process.Wait()
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
			return fmt.Errorf("it ended: %s", tail(string(text), 1000))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return errors.New("it does not answer within 60 s")
}

// DialContext connects to the server; the address is not looked at.
func (s *APIServer) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return dialIn(ctx, s.namespace(), &net.Dialer{}, apiServerPort)
}

// Done is closed when the server has ended.
func (s *APIServer) Done() <-chan struct{} { return s.done }

// Close ends the server.
func (s *APIServer) Close() error {
	var survivors error
	if s.process != nil && s.process.Process != nil {
		s.process.Process.Kill()
		<-s.done
		survivors = endSurvivors(s.disk)
	}
	return errors.Join(survivors, unmount(s.root), os.RemoveAll(s.disk), deleteNamespace(s.namespace()), removeCgroup(s.host.cgroup("api")))
}
