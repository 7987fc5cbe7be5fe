package host

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// consoleBytes is how much of a console is kept, as EC2 does.
const consoleBytes = 64 << 10

// stopDeadline is how long a machine may take to power off before it is killed.
const stopDeadline = 30 * time.Second

// machine is a running instance.
type machine struct {
	id      string
	nspawn  *exec.Cmd
	layers  []string // images whose layers it stands on
	loops   map[string]*os.File
	console *os.File
	done    chan struct{} // closed when it has ended and all of it is taken down
	stopped bool          // the API told it to end
}

// RunMachine makes a machine and starts it. The interface's private network must have been applied.
func (h *Host) RunMachine(ctx context.Context, m Machine) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("run a machine: %w", err)
	}
	h.mu.Lock()
	if _, ok := h.state.Machines[m.ID]; ok {
		h.mu.Unlock()
		return fmt.Errorf("run machine %s: it exists", m.ID)
	}
	h.state.pin(&m)
	h.state.Machines[m.ID] = machineState{Machine: m}
	h.state.Volumes[m.RootVolume] = volumeState{SizeGB: m.RootSizeGB, Root: true}
	err := h.save()
	h.mu.Unlock()
	if err == nil {
		err = h.StartMachine(ctx, m.ID)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("run machine %s: %w", m.ID, err), h.TerminateMachine(context.WithoutCancel(ctx), m.ID, false))
	}
	return nil
}

// UpdateMachine changes what a machine gets at its next start: its user-data, for example.
func (h *Host) UpdateMachine(id string, change func(*Machine)) error {
	if err := machineID.check(id); err != nil {
		return fmt.Errorf("update machine: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok := h.state.Machines[id]
	if !ok {
		return fmt.Errorf("update machine %s: there is none", id)
	}
	change(&m.Machine)
	if err := m.check(); err != nil || m.ID != id {
		return fmt.Errorf("update machine %s: %w", id, cmp.Or(err, errors.New("its id cannot change")))
	}
	h.state.Machines[id] = m
	return h.save()
}

// StartMachine starts a machine that is not running.
func (h *Host) StartMachine(ctx context.Context, id string) error {
	if err := machineID.check(id); err != nil {
		return fmt.Errorf("start machine: %w", err)
	}
	h.mu.Lock()
	err := h.start(ctx, id)
	failed := h.machines[id]
	h.mu.Unlock()
	if err != nil && failed != nil && failed.stopped {
		<-failed.done // a start that failed leaves no machine that ends by and by
	}
	return err
}

// start starts a machine. The caller holds h.mu.
func (h *Host) start(ctx context.Context, id string) error {
	m, ok := h.state.Machines[id]
	if !ok {
		return fmt.Errorf("start machine %s: there is none", id)
	}
	if h.machines[id] != nil {
		return fmt.Errorf("start machine %s: it is running", id)
	}
	running := &machine{id: id, loops: map[string]*os.File{}, done: make(chan struct{})}
	if err := h.boot(ctx, running, m); err != nil {
		return errors.Join(fmt.Errorf("start machine %s: %w", id, err), h.takeDown(running))
	}
	h.machines[id] = running
	go h.watch(running)
	for device, volume := range m.Volumes {
		if err := h.plug(running, volume, device); err != nil {
			running.stopped = true // a machine whose start failed does not go on without its volumes
			return errors.Join(err, running.nspawn.Process.Kill())
		}
	}
	return nil
}

// boot mounts the machine's disk and starts its init. The caller holds h.mu and takes down what it leaves on error.
func (h *Host) boot(ctx context.Context, running *machine, m machineState) error {
	if err := checkInotify(newInotify); err != nil {
		return err
	}
	if err := h.mountRoot(ctx, running, m); err != nil {
		return err
	}
	seed, err := h.writeSeed(m.Machine)
	if err != nil {
		return err
	}
	if err := h.plugNetwork(ctx, m.Interface); err != nil {
		return err
	}
	if running.console, err = os.OpenFile(h.consolePath(m.ID), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return err
	}
	cmd := exec.Command("systemd-nspawn", "--quiet", "--directory="+h.rootDir(m.ID), "--boot", "--register=no", "--keep-unit",
		"--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only", "--machine="+m.ID,
		"--bind-ro="+seed+":/var/lib/cloud/seed/nocloud",
		// Root in the machine is master of its network, and cannot make device nodes: those of the host's disks would work.
		"--capability=CAP_NET_ADMIN", "--drop-capability=CAP_MKNOD",
		"--network-namespace-path="+filepath.Join(namespaceDir, h.namespace(m.Interface.ID)))
	// The kernel's parameters are the host's, but those of the network are the machine's own.
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network")
	cmd.Stdout, cmd.Stderr = running.console, running.console
	if err := h.spawner.startIn(h.cgroup(m.ID), cmd); err != nil {
		return fmt.Errorf("start systemd-nspawn: %w", err)
	}
	running.nspawn = cmd
	return nil
}

// mountRoot mounts the image's layers and, above them, the machine's own disk.
func (h *Host) mountRoot(ctx context.Context, running *machine, m machineState) error {
	disk, mount := h.volumePath(m.RootVolume), h.rootMount(m.ID)
	if !exists(disk) {
		if err := makeFileSystem(ctx, disk, m.RootSizeGB); err != nil {
			return err
		}
	}
	lower, mounted, err := h.mountLayers(m.Image)
	if err != nil {
		return err
	}
	running.layers = mounted
	if err := mountDisk(disk, mount, false); err != nil {
		return err
	}
	upper, work := filepath.Join(mount, "upper"), filepath.Join(mount, "work")
	for _, dir := range []string{upper, work} {
		if err := plainDir(dir, 0o755); err != nil {
			return err
		}
	}
	return mountOverlay(lower, upper, work, h.rootDir(m.ID))
}

// rebootStatus is systemd-nspawn's exit status when the machine wants to be started again.
const rebootStatus = 133

// watch waits for a machine's end and takes down what it had. It starts a machine again that reboots by itself, and
// reports an end that nobody had asked for.
func (h *Host) watch(m *machine) {
	err := m.nspawn.Wait()
	// If nspawn was killed, the machine is still there, on a disk that the next start would mount a second time.
	survivors := endSurvivors(h.rootMount(m.id))
	h.mu.Lock()
	delete(h.machines, m.id)
	if down := errors.Join(survivors, h.takeDown(m)); down != nil {
		h.config.Log.Error("take down a machine", "machine", m.id, "error", down)
	}
	silent := m.stopped
	var exit *exec.ExitError
	switch {
	case err == nil || silent:
	case errors.As(err, &exit) && exit.ExitCode() == rebootStatus:
		err = h.start(context.Background(), m.id)
		silent = err == nil
	default:
		console, _, _ := h.Console(m.id) // without it, the exit status is all that is known
		err = ended(m.id, err, console)
	}
	h.mu.Unlock()
	close(m.done)
	if silent {
		return
	}
	h.exits <- Exit{ID: m.id, Err: err}
}

// takeDown removes what a machine has in the kernel. The caller holds h.mu.
func (h *Host) takeDown(m *machine) error {
	var errs []error
	for _, loop := range m.loops {
		errs = append(errs, loop.Close())
	}
	if m.console != nil {
		errs = append(errs, m.console.Close())
	}
	errs = append(errs, unmount(h.rootDir(m.id)), unmount(h.rootMount(m.id)), h.releaseLayers(m.layers), removeCgroup(h.cgroup(m.id)))
	if state, ok := h.state.Machines[m.id]; ok {
		errs = append(errs, h.unplugNetwork(state.Interface))
	}
	return errors.Join(errs...)
}

// StopMachine powers a machine off, or, with force, cuts its power. A machine that is not running is left so.
func (h *Host) StopMachine(ctx context.Context, id string, force bool) error {
	if err := machineID.check(id); err != nil {
		return fmt.Errorf("stop machine: %w", err)
	}
	h.mu.Lock()
	m := h.machines[id]
	if m == nil {
		h.mu.Unlock()
		return nil
	}
	m.stopped = true
	h.mu.Unlock()
	if !force && m.powerOff(ctx) {
		return nil
	}
	if err := m.nspawn.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop machine %s: %w", id, err)
	}
	if !m.endsWithin(ctx, stopDeadline) {
		return fmt.Errorf("stop machine %s: it does not end", id)
	}
	return nil
}

// powerOff asks the machine's own init to power off, again and again: early in its boot it does not listen yet.
func (m *machine) powerOff(ctx context.Context) bool {
	const sigrtmin = 34 // glibc's; systemd(1) counts from it
	for deadline := time.Now().Add(stopDeadline); time.Now().Before(deadline) && ctx.Err() == nil; {
		init, err := m.init()
		if err == nil && unix.Kill(init, unix.Signal(sigrtmin+4)) != nil {
			return m.endsWithin(ctx, stopDeadline)
		}
		if m.endsWithin(ctx, 3*time.Second) {
			return true
		}
	}
	return false
}

func (m *machine) endsWithin(ctx context.Context, deadline time.Duration) bool {
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	select {
	case <-m.done:
		return true
	case <-ctx.Done():
		return false
	case <-timer.C:
		return false
	}
}

// RebootMachine stops a machine and starts it.
func (h *Host) RebootMachine(ctx context.Context, id string) error {
	if err := h.StopMachine(ctx, id, false); err != nil {
		return err
	}
	return h.StartMachine(ctx, id)
}

// TerminateMachine ends a machine and removes it, with its root volume unless that is kept.
func (h *Host) TerminateMachine(ctx context.Context, id string, keepRoot bool) error {
	if err := machineID.check(id); err != nil {
		return fmt.Errorf("terminate machine: %w", err)
	}
	if err := h.StopMachine(ctx, id, true); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok := h.state.Machines[id]
	if !ok {
		return nil
	}
	delete(h.state.Machines, id)
	delete(h.metadata, id)
	errs := []error{h.sweep(), os.RemoveAll(h.machineDir(id))}
	if !keepRoot {
		errs = append(errs, h.deleteVolume(m.RootVolume))
	}
	return errors.Join(errs...)
}

// Machines are all machines, and whether each is running.
func (h *Host) Machines() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]bool{}
	for id := range h.state.Machines {
		all[id] = h.machines[id] != nil
	}
	return all
}

func (h *Host) runningMachines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for id := range h.machines {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// Console is the end of what a machine wrote to its console since its last start, and when it last wrote.
func (h *Host) Console(id string) ([]byte, time.Time, error) {
	if err := machineID.check(id); err != nil {
		return nil, time.Time{}, fmt.Errorf("read a console: %w", err)
	}
	f, err := os.Open(h.consolePath(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read console of machine %s: %w", id, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	if info.Size() > consoleBytes {
		if _, err := f.Seek(-consoleBytes, io.SeekEnd); err != nil {
			return nil, time.Time{}, err
		}
	}
	text, err := io.ReadAll(f)
	return text, info.ModTime(), err
}

// init is the process id of the machine's first process, on the host. It is the child of nspawn's only child or of
// nspawn itself, depending on the version; it is the one that is process 1 inside.
func (m *machine) init() (int, error) {
	for range 100 {
		if pid := firstProcess(m.nspawn.Process.Pid); pid != 0 {
			return pid, nil
		}
		select {
		case <-m.done:
			return 0, fmt.Errorf("machine %s has ended", m.id)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return 0, fmt.Errorf("machine %s has no first process", m.id)
}

func firstProcess(pid int) int {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	for _, field := range strings.Fields(string(children)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", child))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			if ids, ok := strings.CutPrefix(line, "NSpid:"); ok {
				if fields := strings.Fields(ids); len(fields) > 1 && fields[len(fields)-1] == "1" {
					return child
				}
			}
		}
		if found := firstProcess(child); found != 0 {
			return found
		}
	}
	return 0
}

// writeSeed lays down what cloud-init reads at boot. It is mounted into the machine, read-only, so that it is never
// part of an image.
func (h *Host) writeSeed(m Machine) (string, error) {
	dir := filepath.Join(h.machineDir(m.ID), "seed")
	meta, err := json.Marshal(map[string]any{"instance-id": m.ID, "local-hostname": m.Hostname, "public-keys": m.SSHKeys})
	if err != nil {
		return "", err
	}
	userData := m.UserData
	if len(userData) == 0 {
		userData = []byte("#cloud-config\n{}\n")
	}
	return dir, errors.Join(
		writeFile(filepath.Join(dir, "meta-data"), meta, 0o600),
		writeFile(filepath.Join(dir, "user-data"), userData, 0o600))
}

func (h *Host) machineDir(id string) string  { return filepath.Join(h.dir("machines"), id) }
func (h *Host) consolePath(id string) string { return filepath.Join(h.machineDir(id), "console") }
func (h *Host) rootDir(id string) string     { return filepath.Join(h.mountDir(), id) }

// rootMount is where the root volume of a machine is mounted: the overlay's upper layer is inside.
func (h *Host) rootMount(id string) string { return filepath.Join(h.mountDir(), id+".disk") }
