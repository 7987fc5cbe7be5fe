// Package nspawn runs machines in systemd-nspawn, each in a network namespace and a control group of its own. Its root
// is an overlay: the layers of its image below, and above them what it writes, on an ext4 of the root volume's size, so
// that a full disk is full.
//
// A Runner may boot several machines at a time. One Machine is for one caller at a time, but for Wait and End.
package nspawn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/disk"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/inotify"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/process"
)

// Config has the settings of a Runner.
type Config struct {
	// MountDir is the directory of the mount points of disks and overlays.
	MountDir string
	// MachinesDir holds a directory for each machine, with its seed and its console.
	MachinesDir string
	// Cgroup is the control group above those of the machines.
	Cgroup  string
	Spawner *process.Spawner
	Network *network.Network
	Log     *slog.Logger
}

// Runner boots machines.
type Runner struct {
	config Config
	layers layerMounts
}

// NewRunner returns a Runner that has no machines yet.
func NewRunner(c Config) *Runner {
	return &Runner{config: c, layers: layerMounts{dir: c.MountDir, mounts: map[string]*layerMount{}}}
}

// Close unmounts the layers that machines have left mounted.
func (r *Runner) Close() error { return r.layers.close() }

// Spec says what a machine is made of.
type Spec struct {
	ID       string
	Hostname string
	// Disk is the file of the root volume; it is made of this size if it is not there.
	Disk       string
	DiskSizeGB int
	// Layers are those of the image, the topmost first, and Base is the root directory below them.
	Layers    []Layer
	Base      string
	Interface network.Interface
	// UserData and SSHKeys are written to the seed that cloud-init reads.
	UserData []byte
	SSHKeys  []string
}

// Layer is an image's file system, read-only.
type Layer struct{ ID, Path string }

// Dir returns the directory of a machine's seed and console.
func (r *Runner) Dir(id string) string { return filepath.Join(r.config.MachinesDir, id) }

// ConsolePath returns the file that a machine's console is written to.
func (r *Runner) ConsolePath(id string) string { return filepath.Join(r.Dir(id), "console") }

// DiskMount returns where the root volume of a machine is mounted: the overlay's upper layer is inside.
func (r *Runner) DiskMount(id string) string { return filepath.Join(r.config.MountDir, id+".disk") }

func (r *Runner) rootDir(id string) string { return filepath.Join(r.config.MountDir, id) }

// Boot mounts a machine's disk, plugs in its network and starts its init. Of a machine that does not start nothing is
// left but its disk.
func (r *Runner) Boot(ctx context.Context, s Spec) (*Machine, error) {
	m := &Machine{
		id:     s.ID,
		runner: r,
		nic:    s.Interface,
		loops:  map[string]*os.File{},
		ended:  make(chan struct{}),
	}
	if err := r.boot(ctx, m, s); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (r *Runner) boot(ctx context.Context, m *Machine, s Spec) error {
	if err := inotify.Check(); err != nil {
		return err
	}
	if err := r.mountRoot(ctx, m, s); err != nil {
		return err
	}
	seed, err := r.writeSeed(s)
	if err != nil {
		return err
	}
	namespace, err := r.config.Network.Plug(s.ID, s.Interface)
	if err != nil {
		return err
	}
	console := os.O_CREATE | os.O_TRUNC | os.O_WRONLY | os.O_APPEND
	if m.console, err = os.OpenFile(r.ConsolePath(s.ID), console, 0o600); err != nil {
		return err
	}
	cmd := command(s.ID, r.rootDir(s.ID), seed, namespace)
	cmd.Stdout, cmd.Stderr = m.console, m.console
	if err := r.config.Spawner.StartIn(r.cgroup(s.ID), cmd); err != nil {
		return fmt.Errorf("start systemd-nspawn: %w", err)
	}
	m.nspawn = cmd
	return nil
}

func command(id, root, seed, namespace string) *exec.Cmd {
	cmd := exec.Command("systemd-nspawn", "--quiet", "--directory="+root, "--boot", "--register=no", "--keep-unit",
		"--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only", "--machine="+id,
		"--bind-ro="+seed+":/var/lib/cloud/seed/nocloud",
		// Root in the machine is master of its network, and cannot make device nodes: those of the host's disks would
		// work.
		"--capability=CAP_NET_ADMIN", "--drop-capability=CAP_MKNOD",
		"--network-namespace-path="+namespace)
	// The kernel's parameters are the host's, but those of the network are the machine's own.
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network")
	return cmd
}

func (r *Runner) cgroup(id string) string { return filepath.Join(r.config.Cgroup, id) }

// mountRoot mounts the image's layers and, above them, the machine's own disk.
func (r *Runner) mountRoot(ctx context.Context, m *Machine, s Spec) error {
	if _, err := os.Lstat(s.Disk); errors.Is(err, os.ErrNotExist) {
		if err := disk.MakeFileSystem(ctx, s.Disk, s.DiskSizeGB); err != nil {
			return err
		}
	}
	lower, err := r.layers.mount(s.Layers)
	if err != nil {
		return err
	}
	m.layers = s.Layers
	mount := r.DiskMount(s.ID)
	if err := disk.Mount(s.Disk, mount, false); err != nil {
		return err
	}
	upper, work := filepath.Join(mount, "upper"), filepath.Join(mount, "work")
	for _, dir := range []string{upper, work} {
		if err := plainDir(dir); err != nil {
			return err
		}
	}
	return disk.MountOverlay(append(lower, s.Base), upper, work, r.rootDir(s.ID))
}

// plainDir makes a directory if it is not there, and refuses anything else in its place.
func plainDir(path string) error {
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(path)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("use directory %s: it is something else", path)
	}
	return err
}

// writeSeed lays down what cloud-init reads at boot. It is mounted into the machine, read-only, so that it is never
// part of an image.
func (r *Runner) writeSeed(s Spec) (dir string, err error) {
	dir = filepath.Join(r.Dir(s.ID), "seed")
	meta, err := json.Marshal(map[string]any{
		"instance-id":    s.ID,
		"local-hostname": s.Hostname,
		"public-keys":    s.SSHKeys,
	})
	if err != nil {
		return "", err
	}
	userData := s.UserData
	if len(userData) == 0 {
		userData = []byte("#cloud-config\n{}\n")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return dir, errors.Join(
		os.WriteFile(filepath.Join(dir, "meta-data"), meta, 0o600),
		os.WriteFile(filepath.Join(dir, "user-data"), userData, 0o600))
}
