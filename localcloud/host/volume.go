package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/disk"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/ec2id"
)

// CreateVolume makes a data volume, empty or with a snapshot's content.
func (h *Host) CreateVolume(ctx context.Context, id string, sizeGB int, snapshot string) error {
	if err := cmp.Or(ec2id.Volume.Check(id), checkSize(sizeGB)); err != nil {
		return fmt.Errorf("create volume: %w", err)
	}
	from := ""
	if snapshot != "" {
		if err := ec2id.Snapshot.Check(snapshot); err != nil {
			return fmt.Errorf("create volume %s of a snapshot: %w", id, err)
		}
		if from = h.config.snapshotPath(snapshot); !exists(from) {
			return fmt.Errorf("create volume %s of snapshot %s: there is no such snapshot", id, snapshot)
		}
	}
	defer h.locks.lock(id)()
	if h.hasVolume(id) {
		return fmt.Errorf("create volume %s: it exists", id)
	}
	path := h.config.volumePath(id)
	if err := os.RemoveAll(path); err != nil { // left by a crash before the volume was noted
		return err
	}
	err := makeDisk(ctx, path, sizeGB, from)
	if err == nil {
		err = h.change(func(s *state) error {
			s.Volumes[id] = volumeState{SizeGB: sizeGB}
			return nil
		})
	}
	if err != nil {
		return errors.Join(fmt.Errorf("create volume %s: %w", id, err), os.RemoveAll(path))
	}
	return nil
}

// makeDisk makes a disk of this size, with the content of another if one is given.
func makeDisk(ctx context.Context, path string, sizeGB int, from string) error {
	if from == "" {
		return disk.MakeSparse(path, sizeGB)
	}
	if err := disk.CopySparse(ctx, from, path); err != nil {
		return err
	}
	return disk.Grow(path, int64(sizeGB)<<30)
}

func (h *Host) hasVolume(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.state.Volumes[id]
	return ok
}

// DeleteVolume removes a volume that no machine has.
func (h *Host) DeleteVolume(_ context.Context, id string) error {
	if err := ec2id.Volume.Check(id); err != nil {
		return fmt.Errorf("delete volume: %w", err)
	}
	defer h.locks.lock(id)()
	err := h.change(func(s *state) error {
		if holder := s.holder(id); holder != "" {
			return fmt.Errorf("machine %s has it", holder)
		}
		delete(s.Volumes, id)
		return nil
	})
	if err == nil {
		err = os.RemoveAll(h.config.volumePath(id))
	}
	if err != nil {
		return fmt.Errorf("delete volume %s: %w", id, err)
	}
	return nil
}

// CreateSnapshot copies a volume. A file system of a running machine is frozen meanwhile if it is the root; others are
// copied as they are on disk, as EC2 does.
func (h *Host) CreateSnapshot(ctx context.Context, id, volume string) error {
	if err := cmp.Or(ec2id.Snapshot.Check(id), ec2id.Volume.Check(volume)); err != nil {
		return fmt.Errorf("create snapshot: %w", err)
	}
	h.mu.Lock()
	machine := h.state.rootOf(volume)
	h.mu.Unlock()
	if machine != "" {
		defer h.locks.lock(machine)()
	}
	defer h.locks.lock(volume)()
	h.mu.Lock()
	_, ok := h.state.Volumes[volume]
	m := h.state.Machines[machine].Machine
	running := h.machines[machine] != nil
	h.mu.Unlock()
	if !ok {
		return fmt.Errorf("create snapshot %s of volume %s: there is no such volume", id, volume)
	}
	from, to := h.config.volumePath(volume), h.config.snapshotPath(id)
	var err error
	switch {
	case running:
		err = disk.CopyFrozen(ctx, h.runner.DiskMount(m.ID), from, to)
	case m.ID != "" && !exists(from): // just made into an image; what is above it is empty
		err = disk.MakeFileSystem(ctx, to, m.RootSizeGB)
	default:
		unix.Sync()
		err = disk.CopySparse(ctx, from, to)
	}
	if err != nil {
		return fmt.Errorf("create snapshot %s of volume %s: %w", id, volume, err)
	}
	return nil
}

// DeleteSnapshot removes a snapshot; an image that was made with it keeps its layer.
func (h *Host) DeleteSnapshot(_ context.Context, id string) error {
	if err := ec2id.Snapshot.Check(id); err != nil {
		return fmt.Errorf("delete snapshot: %w", err)
	}
	if err := os.Remove(h.config.snapshotPath(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("delete snapshot %s: %w", id, err)
	}
	return nil
}

// AttachVolume gives a volume to a machine as the device of this name. A stopped machine finds it when it starts.
func (h *Host) AttachVolume(_ context.Context, volume, machine, device string) error {
	if err := cmp.Or(ec2id.Volume.Check(volume), ec2id.Machine.Check(machine), ec2id.CheckDevice(device)); err != nil {
		return fmt.Errorf("attach volume: %w", err)
	}
	defer h.locks.lock(machine)()
	defer h.locks.lock(volume)()
	h.mu.Lock()
	changed := h.state.clone()
	err := changed.attach(volume, machine, device)
	running := h.machines[machine]
	h.mu.Unlock()
	if err != nil {
		return err
	}
	if running != nil {
		if err = running.container.Plug(volume, h.config.volumePath(volume), device); err != nil {
			return err
		}
	}
	err = h.change(func(s *state) error { return s.attach(volume, machine, device) })
	if err != nil && running != nil {
		err = errors.Join(err, running.container.Unplug(volume, device, true))
	}
	return err
}

// DetachVolume takes a volume away from a machine. A running machine must have unmounted it, unless force is given.
func (h *Host) DetachVolume(_ context.Context, machine, device string, force bool) error {
	if err := cmp.Or(ec2id.Machine.Check(machine), ec2id.CheckDevice(device)); err != nil {
		return fmt.Errorf("detach volume: %w", err)
	}
	defer h.locks.lock(machine)()
	h.mu.Lock()
	volume := h.state.Machines[machine].Volumes[device]
	running := h.machines[machine]
	h.mu.Unlock()
	if running != nil && volume != "" {
		if err := running.container.Unplug(volume, device, force); err != nil {
			return err
		}
	}
	return h.change(func(s *state) error { return s.detach(machine, device) })
}
