package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/ec2id"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/inotify"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/nspawn"
)

// consoleBytes is the size of the end of a console that is kept, as on EC2.
const consoleBytes = 64 << 10

// stopDeadline is how long a machine may take to power off before it is killed.
const stopDeadline = 30 * time.Second

// activeMachine is a machine that runs.
type activeMachine struct {
	id        string
	container container
	done      chan struct{} // closed when it has ended and all of it is taken down
	stopped   atomic.Bool   // told to end by the API, or by a start that failed
}

// container is a machine that was booted; *nspawn.Machine is one.
type container interface {
	Wait() error
	PowerOff() error
	Kill() error
	Close() error
	Plug(volume, path, device string) error
	Unplug(volume, device string, force bool) error
}

// RunMachine makes a machine and starts it. The interface's private network must have been applied.
func (h *Host) RunMachine(ctx context.Context, m Machine) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("run a machine: %w", err)
	}
	err := h.change(func(s *state) error {
		if _, ok := s.Machines[m.ID]; ok {
			return errors.New("it exists")
		}
		s.pin(&m)
		s.Machines[m.ID] = machineState{Machine: m}
		s.Volumes[m.RootVolume] = volumeState{SizeGB: m.RootSizeGB, Root: true}
		return nil
	})
	if err != nil {
		return fmt.Errorf("run machine %s: %w", m.ID, err)
	}
	if err := h.StartMachine(ctx, m.ID); err != nil {
		undo := h.TerminateMachine(context.WithoutCancel(ctx), m.ID, false)
		return errors.Join(fmt.Errorf("run machine %s: %w", m.ID, err), undo)
	}
	return nil
}

// UpdateMachine changes what a machine gets at its next start: its user-data, for example.
func (h *Host) UpdateMachine(id string, change func(*Machine)) error {
	if err := ec2id.Machine.Check(id); err != nil {
		return fmt.Errorf("update machine: %w", err)
	}
	return h.change(func(s *state) error {
		m, ok := s.Machines[id]
		if !ok {
			return fmt.Errorf("update machine %s: there is none", id)
		}
		change(&m.Machine)
		if err := m.check(); err != nil || m.ID != id {
			return fmt.Errorf("update machine %s: %w", id, cmp.Or(err, errors.New("its id cannot change")))
		}
		s.Machines[id] = m
		return nil
	})
}

// StartMachine starts a machine that is not running. After an error it does not run.
func (h *Host) StartMachine(ctx context.Context, id string) error {
	if err := ec2id.Machine.Check(id); err != nil {
		return fmt.Errorf("start machine: %w", err)
	}
	unlock := h.locks.lock(id)
	failed, err := h.start(ctx, id)
	unlock()
	if failed != nil {
		<-failed.done
	}
	return err
}

// start starts a machine. The caller holds its lock. With the error may come a machine that was booted and is ending
// now.
func (h *Host) start(ctx context.Context, id string) (failed *activeMachine, err error) {
	m, spec, err := h.startable(id)
	if err != nil {
		return nil, fmt.Errorf("start machine %s: %w", id, err)
	}
	booted, err := h.boot(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("start machine %s: %w", id, err)
	}
	running := &activeMachine{id: id, container: booted, done: make(chan struct{})}
	h.mu.Lock()
	h.machines[id] = running
	h.mu.Unlock()
	go h.watch(context.WithoutCancel(ctx), running)
	for _, device := range slices.Sorted(maps.Keys(m.Volumes)) {
		volume := m.Volumes[device]
		if err := booted.Plug(volume, h.config.volumePath(volume), device); err != nil {
			running.stopped.Store(true)
			return running, errors.Join(fmt.Errorf("start machine %s: %w", id, err), booted.Kill())
		}
	}
	return nil, nil
}

// startable returns what a machine is made of, unless it cannot be started.
func (h *Host) startable(id string) (machineState, nspawn.Spec, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok := h.state.Machines[id]
	if !ok {
		return m, nspawn.Spec{}, errors.New("there is none")
	}
	if h.machines[id] != nil {
		return m, nspawn.Spec{}, errors.New("it is running")
	}
	if h.closing {
		return m, nspawn.Spec{}, errors.New("the cloud is going down")
	}
	images, base, err := h.state.chain(m.Image)
	if err != nil {
		return m, nspawn.Spec{}, err
	}
	spec := nspawn.Spec{
		ID:         m.ID,
		Hostname:   m.Hostname,
		Disk:       h.config.volumePath(m.RootVolume),
		DiskSizeGB: m.RootSizeGB,
		Base:       h.bases.Dir(base),
		Interface:  m.Interface,
		UserData:   m.UserData,
		SSHKeys:    m.SSHKeys,
	}
	for _, image := range images {
		spec.Layers = append(spec.Layers, nspawn.Layer{ID: image, Path: h.config.layerPath(image)})
	}
	return m, spec, nil
}

// bootNspawn boots a machine in systemd-nspawn.
func (h *Host) bootNspawn(ctx context.Context, spec nspawn.Spec) (container, error) {
	if !exists(spec.Base) {
		return nil, fmt.Errorf("base image %s is no more; what stands on it cannot be started", spec.Base)
	}
	m, err := h.runner.Boot(ctx, spec)
	if err != nil {
		return nil, err // and no container that is a nil *nspawn.Machine
	}
	return m, nil
}

// watch waits for a machine's end and takes down what it had. It starts a machine again that reboots by itself, and
// reports an end that nobody had asked for.
func (h *Host) watch(ctx context.Context, m *activeMachine) {
	end := m.container.Wait()
	unlock := h.locks.lock(m.id) // what is under way with the machine ends first
	if err := m.container.Close(); err != nil {
		h.config.Log.Error("take down a machine", "machine", m.id, "error", err)
	}
	h.mu.Lock()
	delete(h.machines, m.id)
	h.mu.Unlock()
	stopped := m.stopped.Load()
	exit := Exit{ID: m.id}
	switch {
	case end == nil || stopped:
	case nspawn.IsReboot(end):
		_, exit.Err = h.start(ctx, m.id)
		stopped = exit.Err == nil
	default:
		console, _, _ := h.Console(m.id) // without it, the exit status is all that is known
		exit.Err = inotify.ExitError(m.id, end, console)
	}
	unlock()
	close(m.done)
	if !stopped {
		h.exits <- exit
	}
}

// StopMachine powers a machine off, or, with force, cuts its power. A machine that is not running is left so.
func (h *Host) StopMachine(ctx context.Context, id string, force bool) error {
	if err := ec2id.Machine.Check(id); err != nil {
		return fmt.Errorf("stop machine: %w", err)
	}
	m := h.runningMachine(id)
	if m == nil {
		return nil
	}
	m.stopped.Store(true)
	if !force && m.powerOff(ctx) {
		return nil
	}
	if err := m.container.Kill(); err != nil {
		return fmt.Errorf("stop machine %s: %w", id, err)
	}
	if !m.endsWithin(ctx, stopDeadline) {
		return fmt.Errorf("stop machine %s: it does not end", id)
	}
	return nil
}

// runningMachine returns a machine that runs, or nil. One that is being started is waited for.
func (h *Host) runningMachine(id string) *activeMachine {
	defer h.locks.lock(id)()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.machines[id]
}

// powerOff asks the machine's own init to power off, again and again: early in its boot it does not listen yet.
func (m *activeMachine) powerOff(ctx context.Context) bool {
	for deadline := time.Now().Add(stopDeadline); time.Now().Before(deadline) && ctx.Err() == nil; {
		if err := m.container.PowerOff(); errors.Is(err, unix.ESRCH) {
			return m.endsWithin(ctx, stopDeadline)
		}
		if m.endsWithin(ctx, 3*time.Second) {
			return true
		}
	}
	return false
}

func (m *activeMachine) endsWithin(ctx context.Context, deadline time.Duration) bool {
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
	if err := ec2id.Machine.Check(id); err != nil {
		return fmt.Errorf("terminate machine: %w", err)
	}
	if err := h.StopMachine(ctx, id, true); err != nil {
		return err
	}
	defer h.locks.lock(id)()
	var root string
	unused, err := h.sweep(func(s *state) error {
		if h.machines[id] != nil {
			return errors.New("it was started again meanwhile")
		}
		root = s.Machines[id].RootVolume
		delete(s.Machines, id)
		if !keepRoot {
			delete(s.Volumes, root)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("terminate machine %s: %w", id, err)
	}
	if root == "" { // there was none
		return nil
	}
	h.network.Forget(id)
	files := append(unused, h.runner.Dir(id))
	if !keepRoot {
		files = append(files, h.config.volumePath(root))
	}
	if err := removeAll(files); err != nil {
		return fmt.Errorf("terminate machine %s: %w", id, err)
	}
	return nil
}

// removeAll removes files and directories. What is not there is no error.
func removeAll(paths []string) error {
	var errs []error
	for _, path := range paths {
		errs = append(errs, os.RemoveAll(path))
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

// Console returns the end of what a machine wrote to its console since its last start, and when it last wrote.
func (h *Host) Console(id string) ([]byte, time.Time, error) {
	if err := ec2id.Machine.Check(id); err != nil {
		return nil, time.Time{}, fmt.Errorf("read a console: %w", err)
	}
	f, err := os.Open(h.runner.ConsolePath(id))
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
		if _, err = f.Seek(-consoleBytes, io.SeekEnd); err != nil {
			return nil, time.Time{}, err
		}
	}
	text, err := io.ReadAll(f)
	return text, info.ModTime(), err
}
