package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// The cloud's internet, as machines see it. The addresses are of a range that is reserved for documentation, so they
// are nobody's.
const (
	inetOperator = "198.51.100.1"
	inetStranger = "198.51.100.2" // another host of the internet, for those who want to see that it is refused
	inetCache    = "198.51.100.10:3142"
	inetAPI      = "198.51.100.20:80"
)

// Host is one cloud's machines, disks and networks.
type Host struct {
	config    Config
	addresses Addresses
	number    uint32
	apt       aptHost
	cache     *packageCache
	spawner   *spawner
	relay     *relay
	exits     chan Exit
	unlock    func() // of the number

	mu       sync.Mutex
	state    state
	machines map[string]*machine // running or being started
	mounts   map[string]*imageMount
	routers  map[string]*router
	metadata map[string]*metadataServer
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
	apt, err := readAptHost()
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
		unlock: unlock, config: config, addresses: addresses, number: number, apt: apt,
		spawner: newSpawner(), exits: make(chan Exit, 64),
		machines: map[string]*machine{}, mounts: map[string]*imageMount{}, routers: map[string]*router{}, metadata: map[string]*metadataServer{},
	}
	if err := h.open(ctx); err != nil {
		return nil, errors.Join(err, h.Close(context.WithoutCancel(ctx)))
	}
	return h, nil
}

func (h *Host) open(ctx context.Context) error {
	// Nothing that is mounted from here on is seen outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := h.makeDirs(); err != nil {
		return err
	}
	if err := errors.Join(endSurvivors(h.mountDir()), removeCgroup(h.cgroup(""))); err != nil {
		return err
	}
	for _, tmpfs := range []string{"/run/netns", h.mountDir()} {
		if err := os.MkdirAll(tmpfs, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", tmpfs, "tmpfs", 0, "mode=755"); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", tmpfs, err)
		}
	}
	if err := h.state.load(h.statePath()); err != nil {
		return err
	}
	if err := h.makeInternet(ctx); err != nil {
		return err
	}
	var err error
	if h.relay, err = startRelay(h); err != nil {
		return err
	}
	h.cache, err = startPackageCache(ctx, h)
	return err
}

// requireOwnMounts refuses to mount anything where the process that started this one would see it.
func requireOwnMounts() error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return err
	}
	parents, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err == nil && own == parents {
		return errors.New("the process shares its mount namespace with its parent; start it in one of its own, as unshare --mount does")
	}
	return nil
}

// Addresses are where things are reached.
func (h *Host) Addresses() Addresses { return h.addresses }

// Exits tells of machines that ended by themselves.
func (h *Host) Exits() <-chan Exit { return h.exits }

// Close powers all machines off and takes down what the kernel holds for the cloud. What users made stays on disk.
func (h *Host) Close(ctx context.Context) error {
	var stops errgroup.Group
	for _, id := range h.runningMachines() {
		stops.Go(func() error { return h.StopMachine(ctx, id, false) })
	}
	errs := []error{stops.Wait()}
	if h.relay != nil {
		errs = append(errs, h.relay.close())
	}
	if h.cache != nil {
		h.cache.close()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for vpc := range h.routers {
		errs = append(errs, h.removeRouter(vpc))
	}
	errs = append(errs, deleteNamespace(h.inetNamespace()))
	for _, mount := range h.mounts {
		errs = append(errs, unmount(mount.dir))
	}
	h.spawner.close()
	errs = append(errs, unmount(h.mountDir()), removeCgroup(h.cgroup("")))
	h.unlock()
	return errors.Join(errs...)
}

// Clear removes what a crashed cloud of this name left outside its own mount namespace. It must not run beside a cloud
// of the same name.
func Clear(config Config) error {
	if err := CheckName(config.Name); err != nil {
		return fmt.Errorf("clear: %w", err)
	}
	all, err := readNumbers(config)
	if err != nil {
		return fmt.Errorf("clear: %w", err)
	}
	number, known := all.known(config)
	h := &Host{config: config, number: number, addresses: addressesOf(number)}
	errs := []error{endSurvivors(h.mountDir()), removeCgroup(h.cgroup(""))}
	// The table is of the number: one that never was up has neither. An older cloud may share its number with another.
	if known {
		if unlock, err := lockAddresses(config, h.addresses); err == nil {
			defer unlock()
			errs = append(errs, deleteHostTable(h.hostTable()))
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), " "+config.RunDir+"/") {
		return errors.Join(append(errs, err, fmt.Errorf("clear %s: something is mounted below it", config.RunDir))...)
	}
	return errors.Join(append(errs, removeDir(config.RunDir))...)
}

// lockAddresses makes sure that no other cloud uses the addresses: one of another record of numbers, or one of a time
// when numbers were not recorded.
func lockAddresses(config Config, addresses Addresses) (unlock func(), err error) {
	path := filepath.Join(filepath.Dir(config.RunDir), fmt.Sprintf("%s.lock", addresses.API.Addr()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	unlock, err = tryLock(path)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("open cloud %s: another cloud that is up has its addresses, %s; choose another name",
			config.Name, addresses.PublicPrefix)
	}
	return unlock, err
}

// Destroy removes all that a cloud of this name keeps. It must not run beside it.
func Destroy(config Config) error {
	if err := Clear(config); err != nil {
		return err
	}
	return forget(config)
}

// forget removes what a cloud keeps on disk, and then its number, which another may have from then on.
func forget(config Config) error {
	if err := removeDir(config.StateDir); err != nil {
		return err
	}
	return dropNumber(context.Background(), config)
}

// Exists tells whether there is anything of a cloud of this name, up or down.
func Exists(config Config) (bool, error) {
	if err := CheckName(config.Name); err != nil {
		return false, err
	}
	all, err := readNumbers(config)
	if err != nil {
		return false, err
	}
	_, recorded := all[config.Name]
	return recorded || exists(config.StateDir) || exists(config.RunDir), nil
}

// ListenInet listens on an address of the cloud's internet.
func (h *Host) ListenInet(ctx context.Context, address netip.AddrPort) (net.Listener, error) {
	return listenIn(ctx, h.inetNamespace(), address.String())
}

// makeDirs makes the cloud's directories, and takes away from others what an older version left open to them.
func (h *Host) makeDirs() error {
	// The programs in base images that run as their owner are for machines, not for this host's users.
	dirs := []string{h.config.StateDir, h.config.RunDir, filepath.Join(h.config.CacheDir, "base")}
	for _, name := range []string{"volumes", "images", "snapshots", "machines"} {
		dirs = append(dirs, h.dir(name))
	}
	for _, dir := range dirs {
		if err := ownDir(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

func (h *Host) dir(name string) string { return filepath.Join(h.config.StateDir, name) }

func (h *Host) mountDir() string { return filepath.Join(h.config.RunDir, "mnt") }

func (h *Host) statePath() string { return filepath.Join(h.config.StateDir, "host.json") }
