package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// CreateVolume makes a data volume, empty or with a snapshot's content.
func (h *Host) CreateVolume(ctx context.Context, id string, sizeGB int, snapshot string) error {
	if err := cmp.Or(volumeID.check(id), checkSize(sizeGB)); err != nil {
		return fmt.Errorf("create volume: %w", err)
	}
	if snapshot != "" {
		if err := snapshotID.check(snapshot); err != nil {
			return fmt.Errorf("create volume %s of a snapshot: %w", id, err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.state.Volumes[id]; ok {
		return fmt.Errorf("create volume %s: it exists", id)
	}
	if snapshot != "" && !exists(h.snapshotPath(snapshot)) {
		return fmt.Errorf("create volume %s of snapshot %s: there is no such snapshot", id, snapshot)
	}
	path := h.volumePath(id)
	if err := os.RemoveAll(path); err != nil { // left by a crash before the volume was noted
		return err
	}
	if snapshot == "" {
		if err := makeSparse(path, sizeGB); err != nil {
			return fmt.Errorf("create volume %s: %w", id, err)
		}
	} else {
		if err := copySparse(ctx, h.snapshotPath(snapshot), path); err != nil {
			return fmt.Errorf("create volume %s of snapshot %s: %w", id, snapshot, err)
		}
		if err := growTo(path, int64(sizeGB)<<30); err != nil {
			return err
		}
	}
	h.state.Volumes[id] = volumeState{SizeGB: sizeGB}
	return h.save()
}

func growTo(path string, size int64) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() >= size {
		return err
	}
	return os.Truncate(path, size)
}

// Volumes are all volumes, machines' root volumes too, and their sizes in GB.
func (h *Host) Volumes() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]int{}
	for id, volume := range h.state.Volumes {
		all[id] = volume.SizeGB
	}
	return all
}

// Snapshots are all snapshots, those of images too.
func (h *Host) Snapshots() ([]string, error) {
	entries, err := os.ReadDir(h.dir("snapshots"))
	var ids []string
	for _, entry := range entries {
		if id, ok := strings.CutSuffix(entry.Name(), ".img"); ok {
			ids = append(ids, id)
		}
	}
	return ids, err
}

// DeleteVolume removes a volume that no machine has.
func (h *Host) DeleteVolume(_ context.Context, id string) error {
	if err := volumeID.check(id); err != nil {
		return fmt.Errorf("delete volume: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if holder := h.state.holder(id); holder != "" {
		return fmt.Errorf("delete volume %s: machine %s has it", id, holder)
	}
	return h.deleteVolume(id)
}

func (h *Host) deleteVolume(id string) error {
	delete(h.state.Volumes, id)
	if err := h.save(); err != nil {
		return err
	}
	if err := os.Remove(h.volumePath(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete volume %s: %w", id, err)
	}
	return nil
}

// CreateSnapshot copies a volume. A file system of a running machine is frozen meanwhile if it is the root; others are
// copied as they are on disk, as EC2 does.
func (h *Host) CreateSnapshot(ctx context.Context, id, volume string) error {
	if err := cmp.Or(snapshotID.check(id), volumeID.check(volume)); err != nil {
		return fmt.Errorf("create snapshot: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.state.Volumes[volume]; !ok {
		return fmt.Errorf("create snapshot %s of volume %s: there is no such volume", id, volume)
	}
	for machine, m := range h.state.Machines {
		if m.RootVolume != volume {
			continue
		}
		if h.machines[machine] != nil {
			return freezeAndCopy(ctx, h.rootMount(machine), h.volumePath(volume), h.snapshotPath(id))
		}
		if !exists(h.volumePath(volume)) { // just made into an image; what is above it is empty
			return makeFileSystem(ctx, h.snapshotPath(id), m.RootSizeGB)
		}
	}
	unix.Sync()
	if err := copySparse(ctx, h.volumePath(volume), h.snapshotPath(id)); err != nil {
		return fmt.Errorf("create snapshot %s of volume %s: %w", id, volume, err)
	}
	return nil
}

// DeleteSnapshot removes a snapshot; an image that was made with it keeps its layer.
func (h *Host) DeleteSnapshot(_ context.Context, id string) error {
	if err := snapshotID.check(id); err != nil {
		return fmt.Errorf("delete snapshot: %w", err)
	}
	if err := os.Remove(h.snapshotPath(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete snapshot %s: %w", id, err)
	}
	return nil
}

// freezeAndCopy copies a mounted disk at one point in time.
func freezeAndCopy(ctx context.Context, dir, disk, to string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	const fifreeze, fithaw = 0xC0045877, 0xC0045878 // linux/fs.h
	if err := unix.IoctlSetInt(int(f.Fd()), fifreeze, 0); err != nil {
		return fmt.Errorf("freeze %s: %w", dir, err)
	}
	err = copySparse(ctx, disk, to)
	return errors.Join(err, unix.IoctlSetInt(int(f.Fd()), fithaw, 0))
}

// AttachVolume gives a volume to a machine as the device of this name. A stopped machine finds it when it starts.
func (h *Host) AttachVolume(_ context.Context, volume, machine, device string) error {
	if err := cmp.Or(volumeID.check(volume), machineID.check(machine), checkDevice(device)); err != nil {
		return fmt.Errorf("attach volume: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok := h.state.Machines[machine]
	if !ok {
		return fmt.Errorf("attach volume %s: there is no machine %s", volume, machine)
	}
	if _, ok := h.state.Volumes[volume]; !ok {
		return fmt.Errorf("attach volume %s to machine %s: there is no such volume", volume, machine)
	}
	if holder := h.state.holder(volume); holder != "" {
		return fmt.Errorf("attach volume %s to machine %s: machine %s has it", volume, machine, holder)
	}
	if m.Volumes == nil {
		m.Volumes = map[string]string{}
	}
	if other := m.Volumes[device]; other != "" {
		return fmt.Errorf("attach volume %s to machine %s: %s is already volume %s", volume, machine, device, other)
	}
	if running := h.machines[machine]; running != nil {
		if err := h.plug(running, volume, device); err != nil {
			return err
		}
	}
	m.Volumes[device] = volume
	h.state.Machines[machine] = m
	return h.save()
}

// plug makes the device node inside a running machine.
func (h *Host) plug(m *machine, volume, device string) error {
	loop, err := attachLoop(h.volumePath(volume), false)
	if err != nil {
		return fmt.Errorf("attach volume %s: %w", volume, err)
	}
	if err := h.addNode(m, volume, device, loop); err != nil {
		loop.Close()
		return fmt.Errorf("attach volume %s to machine %s: %w", volume, m.id, err)
	}
	m.loops[device] = loop
	return nil
}

func (h *Host) addNode(m *machine, volume, device string, loop *os.File) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(loop.Fd()), &stat); err != nil {
		return err
	}
	root, err := h.openRoot(m)
	if err != nil {
		return err
	}
	defer root.Close()
	return addNode(root, device, volume, stat.Rdev)
}

// openRoot opens the root directory of a running machine.
func (h *Host) openRoot(m *machine) (*os.File, error) {
	init, err := m.init()
	if err != nil {
		return nil, err
	}
	return openRoot(init, h.rootMount(m.id))
}

// DetachVolume takes a volume away from a machine. A running machine must have unmounted it, unless force is given.
func (h *Host) DetachVolume(_ context.Context, machine, device string, force bool) error {
	if err := cmp.Or(machineID.check(machine), checkDevice(device)); err != nil {
		return fmt.Errorf("detach volume: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok := h.state.Machines[machine]
	if !ok || m.Volumes[device] == "" {
		return fmt.Errorf("detach %s of machine %s: nothing is attached there", device, machine)
	}
	if running := h.machines[machine]; running != nil && running.loops[device] != nil {
		if err := h.unplug(running, device, m.Volumes[device], force); err != nil {
			return err
		}
	}
	delete(m.Volumes, device)
	h.state.Machines[machine] = m
	return h.save()
}

// unplug removes the device node of a running machine. With force, a machine that does not let go of it loses the volume
// all the same.
func (h *Host) unplug(m *machine, device, volume string, force bool) error {
	init, err := m.init()
	if err != nil {
		return err
	}
	loop := m.loops[device]
	mounted, err := mountedIn(init, loop)
	if err != nil {
		return err
	}
	if mounted && !force {
		return fmt.Errorf("detach volume %s of machine %s: it is mounted there: %w", volume, m.id, unix.EBUSY)
	}
	if err := h.removeNode(m, device, volume); err != nil {
		if !force {
			return fmt.Errorf("detach volume %s of machine %s: %w", volume, m.id, err)
		}
		h.config.Log.Warn("a machine keeps the node of a detached volume", "machine", m.id, "volume", volume, "error", err)
	}
	delete(m.loops, device)
	return loop.Close()
}

func (h *Host) removeNode(m *machine, device, volume string) error {
	root, err := h.openRoot(m)
	if err != nil {
		return err
	}
	defer root.Close()
	return removeNode(root, device, volume)
}

// mountedIn tells whether a block device is mounted in the mount namespace of a process.
func mountedIn(pid int, device *os.File) (bool, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(device.Fd()), &stat); err != nil {
		return false, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return false, err
	}
	number := fmt.Sprintf("%d:%d", unix.Major(stat.Rdev), unix.Minor(stat.Rdev))
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == number {
			return true, nil
		}
	}
	return false, nil
}

func (h *Host) volumePath(id string) string   { return filepath.Join(h.dir("volumes"), id+".img") }
func (h *Host) snapshotPath(id string) string { return filepath.Join(h.dir("snapshots"), id+".img") }
