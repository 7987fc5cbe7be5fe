package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/cgroup"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/debian"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/disk"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/imds"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/netns"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/nspawn"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/process"
)

// Host is one cloud's machines, disks and networks.
type Host struct {
	config    Config
	addresses Addresses
	spawner   *process.Spawner
	network   *network.Network
	bases     *debian.Bases
	cache     *debian.Cache
	runner    *nspawn.Runner
	boot      func(context.Context, nspawn.Spec) (container, error) // bootNspawn, but in unit tests
	exits     chan Exit
	unlock    func() // of the number

	locks keyedLocks // of machines and volumes; taken before mu

	mu       sync.Mutex
	state    state
	machines map[string]*activeMachine // running or being started
	closing  bool                      // nothing is started any more
}

// Open makes the cloud's part of the host. The calling process must have a mount namespace of its own: mounts and
// network namespaces live in it, so when the process ends, however it ends, the kernel takes them down. What a crash
// leaves outside of it, a table of firewall rules, is cleared here first.
func Open(ctx context.Context, config Config) (*Host, error) {
	if err := CheckName(config.Name); err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("open cloud %s: namespaces and mounts need root", config.Name)
	}
	if err := requireOwnMounts(); err != nil {
		return nil, fmt.Errorf("open cloud %s: %w", config.Name, err)
	}
	apt, err := debian.ReadApt()
	if err != nil {
		return nil, err
	}
	number, err := takeNumber(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open cloud %s: %w", config.Name, err)
	}
	addresses := addressesOf(number)
	unlock, err := lockAddresses(config, addresses)
	if err != nil {
		return nil, err
	}
	if err := checkListening(addresses); err != nil {
		unlock()
		return nil, fmt.Errorf("open cloud %s: %w", config.Name, err)
	}
	h := &Host{
		config:    config,
		addresses: addresses,
		spawner:   process.NewSpawner(),
		exits:     make(chan Exit, 64),
		unlock:    unlock,
		machines:  map[string]*activeMachine{},
	}
	if err := h.open(ctx, number, apt); err != nil {
		return nil, errors.Join(err, h.Close(context.WithoutCancel(ctx)))
	}
	return h, nil
}

func (h *Host) open(ctx context.Context, number uint32, apt debian.Apt) error {
	if err := h.config.makeDirs(); err != nil {
		return err
	}
	if err := errors.Join(process.EndMachines(h.config.mountDir()), cgroup.Remove(h.config.group())); err != nil {
		return err
	}
	if err := mountOwn(netns.Dir, h.config.mountDir()); err != nil {
		return err
	}
	if err := h.state.load(h.config.statePath()); err != nil {
		return err
	}
	var err error
	h.network, err = network.Open(ctx, network.Config{Number: number, API: h.addresses.API.Addr()})
	if err != nil {
		return err
	}
	h.runner = nspawn.NewRunner(nspawn.Config{
		MountDir:    h.config.mountDir(),
		MachinesDir: h.config.dir("machines"),
		Cgroup:      h.config.group(),
		Spawner:     h.spawner,
		Network:     h.network,
		Log:         h.config.Log,
	})
	h.boot = h.bootNspawn
	proxy := netip.AddrPortFrom(h.addresses.API.Addr(), packagePort)
	h.bases = debian.NewBases(h.config.baseDir(), apt, proxy, network.PackageCache, h.spawner)
	h.cache, err = startCache(ctx, h.network, h.cacheConfig(apt), proxy)
	return err
}

func (h *Host) cacheConfig(apt debian.Apt) debian.CacheConfig {
	return debian.CacheConfig{
		Dir:     filepath.Join(h.config.CacheDir, "packages"),
		Apt:     apt,
		Server:  netip.AddrPortFrom(h.addresses.API.Addr(), cachePort),
		Spawner: h.spawner,
		Log:     h.config.Log,
	}
}

// mountOwn mounts file systems that are not seen outside of this process's mount namespace.
func mountOwn(dirs ...string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
		}
	}
	return nil
}

// startCache starts the package cache, on the host for the making of base images and on the internet for machines.
func startCache(
	ctx context.Context, n *network.Network, c debian.CacheConfig, proxy netip.AddrPort,
) (*debian.Cache, error) {
	outside, err := new(net.ListenConfig).Listen(ctx, "tcp4", proxy.String())
	if err != nil {
		return nil, fmt.Errorf("start package cache: %w", err)
	}
	inside, err := n.Listen(ctx, network.PackageCache)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start package cache: %w", err), outside.Close())
	}
	c.Listeners = []net.Listener{outside, inside}
	return debian.StartCache(c)
}

// requireOwnMounts refuses to mount anything where the process that started this one would see it.
func requireOwnMounts() error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	parents, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err == nil && own == parents {
		return errors.New("the process shares its mount namespace with its parent; " +
			"start it in one of its own, as unshare --mount does")
	}
	return nil
}

// Addresses are the cloud's fixed addresses.
func (h *Host) Addresses() Addresses { return h.addresses }

// Exits tells of machines that ended by themselves.
func (h *Host) Exits() <-chan Exit { return h.exits }

// Close powers all machines off and takes down what the kernel holds for the cloud. What users made stays on disk.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	var stops errgroup.Group
	for id := range h.Machines() {
		stops.Go(func() error { return h.StopMachine(ctx, id, false) })
	}
	errs := []error{stops.Wait()}
	if h.cache != nil {
		h.cache.Close()
	}
	if h.network != nil {
		errs = append(errs, h.network.Close(ctx))
	}
	if h.runner != nil {
		errs = append(errs, h.runner.Close())
	}
	h.spawner.Close()
	errs = append(errs, disk.Unmount(h.config.mountDir()), cgroup.Remove(h.config.group()))
	h.unlock()
	return errors.Join(errs...)
}

// Apply makes the network so; see network.Network.
func (h *Host) Apply(ctx context.Context, topology network.Topology) error {
	return h.network.Apply(ctx, topology)
}

// Dial connects to a private address in a VPC, as load balancers do that look at their targets.
func (h *Host) Dial(ctx context.Context, vpc string, private netip.AddrPort) (net.Conn, error) {
	return h.network.Dial(ctx, vpc, private)
}

// ListenInet listens on an address of the cloud's internet.
func (h *Host) ListenInet(ctx context.Context, address netip.AddrPort) (net.Listener, error) {
	return h.network.Listen(ctx, address)
}

// SetMetadata says what a machine's metadata service answers from now on; the machine need not run yet.
func (h *Host) SetMetadata(id string, metadata imds.Metadata) { h.network.SetMetadata(id, metadata) }
