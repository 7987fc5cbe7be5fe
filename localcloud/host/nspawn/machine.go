package nspawn

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/cgroup"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/devnode"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/disk"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/process"
)

// Machine is a machine that was booted.
type Machine struct {
	id      string
	runner  *Runner
	nic     network.Interface
	nspawn  *exec.Cmd // nil if it did not get so far
	console *os.File
	layers  []Layer             // mounted for it
	loops   map[string]*os.File // its volumes, by device
	ended   chan struct{}
}

// Wait waits until systemd-nspawn has ended, by itself or by End. It is called once.
func (m *Machine) Wait() error {
	defer close(m.ended)
	return m.nspawn.Wait()
}

// IsReboot tells whether an error of Wait says that the machine wants to be started again.
func IsReboot(err error) bool {
	const rebootStatus = 133 // systemd-nspawn(1)
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == rebootStatus
}

// PowerOff asks the machine's init to power off. Early in its boot it does not listen yet. The error is ESRCH if it has
// ended.
func (m *Machine) PowerOff() error {
	const sigrtmin = 34 // glibc's; systemd(1) counts from it
	init, err := m.Init()
	if err != nil {
		return err
	}
	return unix.Kill(init, unix.Signal(sigrtmin+4))
}

// Kill cuts the machine's power.
func (m *Machine) Kill() error {
	if err := m.nspawn.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Init returns the process id of the machine's first process, on the host. Right after the boot it waits for it.
func (m *Machine) Init() (int, error) {
	for range 100 {
		if pid := process.InitBelow(m.nspawn.Process.Pid); pid != 0 {
			return pid, nil
		}
		select {
		case <-m.ended:
			return 0, fmt.Errorf("machine %s has ended", m.id)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return 0, fmt.Errorf("machine %s has no first process", m.id)
}

// Close takes down what the machine has in the kernel. It must have ended, or not have started.
func (m *Machine) Close() error {
	r := m.runner
	var errs []error
	if m.nspawn != nil {
		// If nspawn was killed, the machine is still there, on a disk that the next start would mount a second time.
		errs = append(errs, process.EndMachines(r.DiskMount(m.id)))
	}
	for _, loop := range m.loops {
		errs = append(errs, loop.Close())
	}
	if m.console != nil {
		errs = append(errs, m.console.Close())
	}
	return errors.Join(append(errs,
		disk.Unmount(r.rootDir(m.id)),
		disk.Unmount(r.DiskMount(m.id)),
		r.layers.release(m.layers),
		Forget(m.id),
		cgroup.Remove(r.cgroup(m.id)),
		r.config.Network.Unplug(m.nic))...)
}

// Forget removes the directory that systemd-nspawn leaves in /run for each machine that ever ran, which must have
// ended.
func Forget(machine string) error {
	err := os.Remove(filepath.Join("/run/systemd/nspawn/propagate", machine))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Plug makes the device node of a volume, whose file this is.
func (m *Machine) Plug(volume, path, device string) error {
	loop, err := disk.AttachLoop(path, false)
	if err != nil {
		return fmt.Errorf("attach volume %s: %w", volume, err)
	}
	if err := m.addNode(volume, device, loop); err != nil {
		return errors.Join(fmt.Errorf("attach volume %s to machine %s: %w", volume, m.id, err), loop.Close())
	}
	m.loops[device] = loop
	return nil
}

func (m *Machine) addNode(volume, device string, loop *os.File) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(loop.Fd()), &stat); err != nil {
		return err
	}
	root, err := m.openRoot()
	if err != nil {
		return err
	}
	defer root.Close()
	return devnode.Add(root, device, volume, stat.Rdev)
}

func (m *Machine) openRoot() (*os.File, error) {
	init, err := m.Init()
	if err != nil {
		return nil, err
	}
	return devnode.OpenRoot(init, m.runner.DiskMount(m.id))
}

// Unplug removes the device node of a volume, if it has one. The error is EBUSY while the machine has it mounted. With
// force, a machine that does not let go of it loses the volume all the same.
func (m *Machine) Unplug(volume, device string, force bool) error {
	loop := m.loops[device]
	if loop == nil {
		return nil
	}
	init, err := m.Init()
	if err != nil {
		return err
	}
	mounted, err := disk.MountedIn(init, loop)
	if err != nil {
		return err
	}
	if mounted && !force {
		return fmt.Errorf("detach volume %s of machine %s: it is mounted there: %w", volume, m.id, unix.EBUSY)
	}
	if err := m.removeNode(volume, device); err != nil {
		if !force {
			return fmt.Errorf("detach volume %s of machine %s: %w", volume, m.id, err)
		}
		m.runner.config.Log.Warn("a machine keeps the node of a detached volume",
			"machine", m.id, "volume", volume, "error", err)
	}
	delete(m.loops, device)
	return loop.Close()
}

func (m *Machine) removeNode(volume, device string) error {
	root, err := m.openRoot()
	if err != nil {
		return err
	}
	defer root.Close()
	return devnode.Remove(root, device, volume)
}
