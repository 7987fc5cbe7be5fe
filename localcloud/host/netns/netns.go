// Package netns makes network namespaces and what is in them: addresses, links, routes and firewall rules.
//
// Namespaces have names, as ip(8) gives them. Errors name the namespace and the device.
package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tool"
)

// Dir holds a mount for each namespace that has a name.
const Dir = "/run/netns"

// Loopback is the device that each namespace has.
const Loopback = "lo"

// Add makes a network namespace with its loopback up. Nothing in it filters by reverse path: routes are asymmetric by
// design where several private networks meet.
func Add(name string) error {
	if _, err := os.Lstat(filepath.Join(Dir, name)); err == nil {
		return fmt.Errorf("add network namespace %s: %w", name, os.ErrExist)
	}
	if err := onOwnThread(func() error { return add(name) }); err != nil {
		return errors.Join(fmt.Errorf("add network namespace %s: %w", name, err), Delete(name))
	}
	return nil
}

// add leaves the calling thread in the new namespace.
func add(name string) error {
	handle, err := netns.NewNamed(name)
	if err != nil {
		return err
	}
	if err = handle.Close(); err != nil {
		return err
	}
	filters := []Sysctl{{"net/ipv4/conf/all/rp_filter", "0"}, {"net/ipv4/conf/default/rp_filter", "0"}}
	if err = setSysctls(filters); err != nil {
		return err
	}
	links, err := OpenLinks(name)
	if err != nil {
		return err
	}
	defer links.Close()
	return links.SetUp(Loopback)
}

// Delete removes a namespace; it is no error if there is none.
func Delete(name string) error {
	err := netns.DeleteNamed(name)
	if errors.Is(err, unix.EINVAL) { // it has a name, and was never mounted there
		err = os.Remove(filepath.Join(Dir, name))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete network namespace %s: %w", name, err)
	}
	return nil
}

// onOwnThread calls f on a thread that is spent after it: it is not given back to the scheduler, as there is no certain
// way back from another namespace.
func onOwnThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// Do calls f on a thread that is in a network namespace.
func Do(name string, f func() error) error {
	handle, err := netns.GetFromName(name)
	if err != nil {
		return fmt.Errorf("enter network namespace %s: %w", name, err)
	}
	defer handle.Close()
	return onOwnThread(func() error {
		if err := unix.Setns(int(handle), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", name, err)
		}
		return f()
	})
}

// Listen listens in a namespace for TCP over IPv4.
func Listen(ctx context.Context, namespace, address string) (listener net.Listener, err error) {
	err = Do(namespace, func() (err error) {
		listener, err = new(net.ListenConfig).Listen(ctx, "tcp4", address)
		return err
	})
	return listener, err
}

// Dial connects from inside a namespace; the dialer's control function may bind the socket to a device.
func Dial(ctx context.Context, namespace string, dialer *net.Dialer, address string) (conn net.Conn, err error) {
	err = Do(namespace, func() (err error) {
		conn, err = dialer.DialContext(ctx, "tcp4", address)
		return err
	})
	return conn, err
}

// Sysctl is a kernel parameter of a network namespace, with slashes in its name.
type Sysctl struct{ Name, Value string }

// SetSysctls sets kernel parameters of a namespace, in this order.
func SetSysctls(namespace string, all ...Sysctl) error {
	return Do(namespace, func() error { return setSysctls(all) })
}

// setSysctls sets those of the calling thread's namespace: /proc/sys shows that of whoever opens it.
func setSysctls(all []Sysctl) error {
	for _, s := range all {
		if err := os.WriteFile("/proc/sys/"+s.Name, []byte(s.Value), 0); err != nil {
			return fmt.Errorf("set %s: %w", s.Name, err)
		}
	}
	return nil
}

// LoadRules applies firewall rules, as nft(8) reads them, in one transaction: in a namespace, or on the host where that
// is empty. nft is the one that checks and compiles the text; a ruleset by netlink would be longer and could not be
// read.
func LoadRules(ctx context.Context, namespace, rules string) error {
	args, doing := []string{"nft", "-f", "-"}, "load the firewall rules of the host"
	if namespace != "" {
		// nft has no option for a namespace.
		args = slices.Concat([]string{"ip", "netns", "exec", namespace}, args)
		doing = "load the firewall rules of " + namespace
	}
	return tool.RunWithInput(doing, rules, exec.CommandContext(ctx, args[0], args[1:]...))
}
