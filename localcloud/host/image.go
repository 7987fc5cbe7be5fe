package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/debian"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/disk"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/ec2id"
)

// EnsureBase makes the base image of this name unless the cache has it: bookworm, trixie and sid are Debian releases
// that instances are launched from, moto is the root of the EC2 API's server. progress gets a line now and then.
func (h *Host) EnsureBase(ctx context.Context, name string, progress func(string)) error {
	return h.bases.Ensure(ctx, name, progress)
}

// ImportBase makes a base image launchable under an id.
func (h *Host) ImportBase(image, base string) error {
	if !debian.IsBase(base) {
		return fmt.Errorf("import base image %.60q: there is no such one", base)
	}
	if err := ec2id.Image.Check(image); err != nil {
		return fmt.Errorf("import base image %s: %w", base, err)
	}
	made := h.bases.Make(base)
	if !exists(h.bases.Dir(made)) {
		return fmt.Errorf("import base image %s as %s: it has not been made", base, image)
	}
	return h.change(func(s *state) error {
		s.Images[image] = imageState{Base: made}
		return nil
	})
}

// CreateImage freezes the root volume of a machine as the layer of a new image, and as a snapshot of this id. Nothing
// is copied of a stopped machine: its disk becomes the layer, and the machine goes on with an empty one above it. A
// running machine's disk is copied after a sync.
func (h *Host) CreateImage(ctx context.Context, id, image, snapshot string) error {
	if err := cmp.Or(ec2id.Machine.Check(id), ec2id.Image.Check(image), ec2id.Snapshot.Check(snapshot)); err != nil {
		return fmt.Errorf("create image: %w", err)
	}
	defer h.locks.lock(id)()
	h.mu.Lock()
	m, ok := h.state.Machines[id]
	running := h.machines[id] != nil
	h.mu.Unlock()
	if !ok {
		return fmt.Errorf("create image %s: there is no machine %s", image, id)
	}
	freeze := h.freezeDisk
	if running {
		freeze = h.copyDisk
	}
	if err := freeze(ctx, m.Machine, image, snapshot); err != nil {
		return fmt.Errorf("create image %s of machine %s: %w", image, id, err)
	}
	return nil
}

// copyDisk makes an image of a running machine.
func (h *Host) copyDisk(ctx context.Context, m Machine, image, snapshot string) error {
	layer := h.config.layerPath(image)
	if err := disk.CopyFrozen(ctx, h.runner.DiskMount(m.ID), h.config.volumePath(m.RootVolume), layer); err != nil {
		return err
	}
	names := []string{h.config.snapshotPath(snapshot)}
	err := link(layer, names)
	if err != nil {
		return errors.Join(err, os.Remove(layer))
	}
	err = h.change(func(s *state) error {
		s.Images[image] = imageState{Parent: s.Machines[m.ID].Image}
		return nil
	})
	if err != nil {
		return errors.Join(err, removeAll(append(names, layer)))
	}
	return nil
}

// freezeDisk makes an image of the disk of a stopped machine.
func (h *Host) freezeDisk(ctx context.Context, m Machine, image, snapshot string) error {
	root := h.config.volumePath(m.RootVolume)
	if !exists(root) { // nothing was written since the last image
		if err := disk.MakeFileSystem(ctx, root, m.RootSizeGB); err != nil {
			return err
		}
	}
	// The layer is linked before the state names it, and the disk's name goes last: a crash leaves a file too many.
	names := []string{h.config.layerPath(image), h.config.snapshotPath(snapshot)}
	if err := link(root, names); err != nil {
		return err
	}
	err := h.change(func(s *state) error {
		frozen := s.Machines[m.ID]
		s.Images[image] = imageState{Parent: frozen.Image}
		frozen.Image = image
		s.Machines[m.ID] = frozen
		return nil
	})
	if err != nil {
		return errors.Join(err, removeAll(names))
	}
	return os.Remove(root)
}

// link gives a file all of these names too, or none of them.
func link(file string, names []string) error {
	for i, name := range names {
		if err := os.Link(file, name); err != nil {
			return errors.Join(err, removeAll(names[:i]))
		}
	}
	return nil
}

// DeleteImage forgets an image; its layer goes when nothing stands on it any more.
func (h *Host) DeleteImage(_ context.Context, image string) error {
	if err := ec2id.Image.Check(image); err != nil {
		return fmt.Errorf("delete image: %w", err)
	}
	unused, err := h.sweep(func(s *state) error {
		if found, ok := s.Images[image]; ok {
			found.Deleted = true
			s.Images[image] = found
		}
		return nil
	})
	if err == nil {
		err = removeAll(unused)
	}
	if err != nil {
		return fmt.Errorf("delete image %s: %w", image, err)
	}
	return nil
}

// Images returns the images that can be launched.
func (h *Host) Images() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(h.state.Images)) {
		if !h.state.Images[id].Deleted {
			ids = append(ids, id)
		}
	}
	return ids
}

// sweep changes the state, has it forget the images that nothing needs then, and returns their layers, to be removed.
func (h *Host) sweep(change func(*state) error) (layers []string, err error) {
	err = h.change(func(s *state) error {
		if refused := change(s); refused != nil {
			return refused
		}
		for _, id := range s.unused() {
			delete(s.Images, id)
			layers = append(layers, h.config.layerPath(id))
		}
		return nil
	})
	return layers, err
}
