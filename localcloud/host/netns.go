package host

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

const namespaceDir = "/run/netns"

// namespace is the name of one of this cloud's network namespaces.
func (h *Host) namespace(part string) string { return fmt.Sprintf("gs%d-%s", h.number, part) }

func (h *Host) inetNamespace() string { return h.namespace("inet") }

// addNamespace makes a network namespace with its loopback up. Nothing in it filters by reverse path: routes are
// asymmetric by design where several private networks meet.
func addNamespace(ctx context.Context, name string) error {
	if err := ip(ctx, "", "netns add "+name); err != nil {
		return err
	}
	if err := ip(ctx, name, "link set lo up"); err != nil {
		return err
	}
	return inNamespace(name, func() error {
		return sysctls(map[string]string{"net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/default/rp_filter": "0"})
	})
}

func deleteNamespace(name string) error {
	if !exists(filepath.Join(namespaceDir, name)) {
		return nil
	}
	return ip(context.Background(), "", "netns delete "+name)
}

// ip runs lines of ip(8)'s batch language in a namespace, or on the host if that is empty.
func ip(ctx context.Context, namespace string, lines ...string) error {
	var args []string
	if namespace != "" {
		args = append(args, "-netns", namespace)
	}
	return pipe(ctx, strings.Join(lines, "\n")+"\n", "ip", append(args, "-batch", "-")...)
}

// pipe runs a command with this standard input.
func pipe(ctx context.Context, input, name string, args ...string) error {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &out
	if err := cmd.Run(); err != nil {
		return &ToolError{
			Doing:  "set up the network with " + strings.Join(append([]string{name}, args...), " "),
			Err:    err,
			Output: out.String(),
			Input:  input,
		}
	}
	return nil
}

// inNamespace calls f on a thread that is in a network namespace. The thread is spent: it is not given back to the
// scheduler, as there is no certain way back for it.
func inNamespace(name string, f func() error) error {
	handle, err := os.Open(filepath.Join(namespaceDir, name))
	if err != nil {
		return fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	defer handle.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setns(int(handle.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter network namespace %s: %w", name, err)
			return
		}
		done <- f()
	}()
	return <-done
}

func listenIn(ctx context.Context, namespace, address string) (net.Listener, error) {
	var listener net.Listener
	err := inNamespace(namespace, func() (err error) {
		var config net.ListenConfig
		listener, err = config.Listen(ctx, "tcp4", address)
		return err
	})
	return listener, err
}

// dialIn connects from inside a namespace; the dialer's control function may bind the socket to a device.
func dialIn(ctx context.Context, namespace string, dialer *net.Dialer, address string) (net.Conn, error) {
	var conn net.Conn
	err := inNamespace(namespace, func() (err error) {
		conn, err = dialer.DialContext(ctx, "tcp4", address)
		return err
	})
	return conn, err
}

// sysctls sets kernel parameters of the calling thread's network namespace: /proc/sys shows that of whoever opens it.
func sysctls(values map[string]string) error {
	for key, value := range values {
		if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0); err != nil {
			return fmt.Errorf("set %s: %w", key, err)
		}
	}
	return nil
}

// loadRules replaces all firewall rules of a namespace in one transaction.
func loadRules(ctx context.Context, namespace, rules string) error {
	if namespace == "" {
		return pipe(ctx, rules, "nft", "-f", "-")
	}
	return pipe(ctx, rules, "ip", "netns", "exec", namespace, "nft", "-f", "-")
}
