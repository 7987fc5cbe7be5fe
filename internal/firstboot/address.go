package firstboot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// networkDir is the directory of systemd-networkd's volatile settings, which are gone with the next boot.
const networkDir = "/run/systemd/network"

// addressDropIn is the drop-in by which systemd-networkd adds the service address to the interface.
const addressDropIn = "50-goldsmith-address.conf"

// takeAddress gives the interface of the instance's private address the service address too.
func takeAddress(ctx context.Context, id Identity) error {
	if id.Service == "" {
		return nil
	}
	device, err := deviceOf(id.Private)
	if err != nil {
		return err
	}
	if err := tellNetworkd(ctx, networkDir, device, id.Service); err != nil {
		return err
	}
	return addAddress(ctx, id.Service, device)
}

func addAddress(ctx context.Context, address, device string) error {
	return run(ctx, "ip", "address", "replace", address+"/32", "dev", device)
}

// dropAddress takes the service address away from the interface.
func dropAddress(ctx context.Context, id Identity) error {
	if id.Service == "" {
		return nil
	}
	device, err := deviceOf(id.Private)
	if err != nil {
		return err
	}
	forgotten := forgetAddress(networkDir)
	return errors.Join(forgotten, run(ctx, "ip", "address", "delete", id.Service+"/32", "dev", device))
}

var networkFile = regexp.MustCompile(`(?m)^\s*Network File: (/\S+\.network)\s*$`)

// tellNetworkd has systemd-networkd give the interface the address when it starts anew, as it does while its package is
// upgraded: it removes addresses that it does not know. On a machine where it does not manage the interface nothing is
// done. It is not told to read that now, which would have it configure the interface from scratch.
func tellNetworkd(ctx context.Context, dir, device, address string) error {
	cmd := exec.CommandContext(ctx, "networkctl", "--no-pager", "status", device)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	found := networkFile.FindSubmatch(out)
	if err != nil || found == nil {
		slog.Info("systemd-networkd does not manage the interface", "interface", device, "reason", err)
		return nil
	}
	dropIns := filepath.Join(dir, filepath.Base(string(found[1]))+".d")
	if err := errors.Join(os.MkdirAll(dropIns, 0o755), os.Chmod(dropIns, 0o755)); err != nil { // whatever the umask
		return fmt.Errorf("have systemd-networkd keep the service address: %w", err)
	}
	text := "# The service address, as long as this instance has the data.\n[Address]\nAddress=" + address + "/32\n"
	return WriteFile(filepath.Join(dropIns, addressDropIn), []byte(text), 0o644, 0, 0)
}

func forgetAddress(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*.network.d", addressDropIn))
	for _, path := range paths {
		if removed := os.Remove(path); !errors.Is(removed, fs.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}

func deviceOf(address string) (string, error) {
	wanted, err := netip.ParseAddr(address)
	if err != nil {
		return "", err
	}
	all, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	for _, i := range all {
		addresses, err := i.Addrs()
		if err != nil {
			return "", err
		}
		for _, a := range addresses {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr() == wanted {
				return i.Name, nil
			}
		}
	}
	return "", fmt.Errorf("no interface has the address %s", address)
}

// lookAtAddress is how often it is looked whether the address is there although nothing was heard of it.
const lookAtAddress = time.Minute

// KeepAddress gives the service address back to the interface whenever somebody took it away: a restart of whatever
// configures the network removes what it does not know. It ends where there is no such address.
func KeepAddress(ctx context.Context, setups Setups) error {
	t, err := readDataTier(setups)
	if err != nil || t == nil || t.Identity.Service == "" {
		return err
	}
	changed, err := addressChanges(ctx)
	if err != nil {
		return err
	}
	service, private := t.Identity.Service, t.Identity.Private
	keepAddress(ctx, changed, func() error {
		if _, err := deviceOf(service); err == nil {
			return nil
		}
		device, err := deviceOf(private)
		if err != nil {
			return err // the interface is being configured: there will be more to hear
		}
		slog.Warn("the service address was taken away; it is given back", "address", service, "interface", device)
		return addAddress(ctx, service, device)
	})
	return nil
}

func keepAddress(ctx context.Context, changed <-chan struct{}, assert func() error) {
	for {
		if err := assert(); err != nil {
			slog.Warn("the service address is not there", "reason", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(lookAtAddress):
		}
	}
}

// addressChanges tells that an interface got or lost an IPv4 address. The kernel's message is not read: one has to look
// in any case.
func addressChanges(ctx context.Context) (<-chan struct{}, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("listen for changes of addresses: %w", err)
	}
	socket := os.NewFile(uintptr(fd), "netlink")
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: unix.RTMGRP_IPV4_IFADDR})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for changes of addresses: %w", err), socket.Close())
	}
	changed := make(chan struct{}, 1)
	context.AfterFunc(ctx, func() { socket.Close() })
	go func() {
		defer socket.Close()
		for message := make([]byte, 8<<10); ; {
			// A reader that was too slow is told so, and has to look all the same.
			if _, err := socket.Read(message); err != nil && !errors.Is(err, unix.ENOBUFS) {
				return
			}
			select {
			case changed <- struct{}{}:
			default: // it is known already
			}
		}
	}()
	return changed, nil
}
