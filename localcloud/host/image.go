package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// imageMount is the read-only mount of an image's layer, shared by the machines that stand on it.
type imageMount struct {
	dir   string
	users int
}

// ImportBase makes a base image launchable under an id.
func (h *Host) ImportBase(image, base string) error {
	if _, ok := recipes[base]; !ok {
		return fmt.Errorf("import base image %.60q: there is no such one", base)
	}
	if err := imageID.check(image); err != nil {
		return fmt.Errorf("import base image %s: %w", base, err)
	}
	if !exists(h.basePath(base)) {
		return fmt.Errorf("import base image %s as %s: it has not been made", base, image)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.state.Images[image] = imageState{Base: filepath.Base(h.basePath(base))}
	return h.save()
}

// CreateImage freezes the root volume of a machine as the layer of a new image, and as a snapshot of this id. Nothing
// is copied of a stopped machine: its disk becomes the layer, and the machine goes on with an empty one above it. A
// running machine's disk is copied after a sync.
func (h *Host) CreateImage(ctx context.Context, id, image, snapshot string) error {
	if err := cmp.Or(machineID.check(id), imageID.check(image), snapshotID.check(snapshot)); err != nil {
		return fmt.Errorf("create image: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	machine, ok := h.state.Machines[id]
	if !ok {
		return fmt.Errorf("create image %s: there is no machine %s", image, id)
	}
	layer, disk := h.layerPath(image), h.volumePath(machine.RootVolume)
	if h.machines[id] != nil {
		if err := freezeAndCopy(ctx, h.rootMount(id), disk, layer); err != nil {
			return fmt.Errorf("create image %s of running machine %s: %w", image, id, err)
		}
		h.state.Images[image] = imageState{Parent: machine.Image}
		return errors.Join(os.Link(layer, h.snapshotPath(snapshot)), h.save())
	}
	if !exists(disk) { // nothing was written since the last image
		if err := makeFileSystem(ctx, disk, machine.RootSizeGB); err != nil {
			return err
		}
	}
	h.state.Images[image] = imageState{Parent: machine.Image}
	machine.Image = image
	h.state.Machines[id] = machine
	// The layer is linked before the state names it, and the disk's name goes last: a crash leaves a file too many.
	if err := errors.Join(os.Link(disk, layer), os.Link(disk, h.snapshotPath(snapshot))); err != nil {
		return fmt.Errorf("create image %s: %w", image, err)
	}
	if err := h.save(); err != nil {
		return err
	}
	return os.Remove(disk)
}

// DeleteImage forgets an image; its layer goes when nothing stands on it any more.
func (h *Host) DeleteImage(_ context.Context, image string) error {
	if err := imageID.check(image); err != nil {
		return fmt.Errorf("delete image: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	found, ok := h.state.Images[image]
	if !ok {
		return nil
	}
	found.Deleted = true
	h.state.Images[image] = found
	return h.sweep()
}

// Images are the images that can be launched.
func (h *Host) Images() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for id, image := range h.state.Images {
		if !image.Deleted {
			ids = append(ids, id)
		}
	}
	return ids
}

// sweep removes layers that nothing needs. The caller holds h.mu.
func (h *Host) sweep() error {
	unused := h.state.unused()
	for _, id := range unused {
		delete(h.state.Images, id)
	}
	errs := []error{h.save()}
	for _, id := range unused {
		if err := os.Remove(h.layerPath(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (h *Host) layerPath(image string) string { return filepath.Join(h.dir("images"), image+".ext4") }

// mountLayers mounts the layers of an image and returns their directories, the topmost first, as overlayfs wants them,
// and the images that were mounted, to be given to releaseLayers. The caller holds h.mu.
func (h *Host) mountLayers(image string) (dirs, mounted []string, err error) {
	layers, base, err := h.state.chain(image)
	if err != nil {
		return nil, nil, err
	}
	bottom := h.baseDir(base)
	if !exists(bottom) {
		return nil, nil, fmt.Errorf("mount the layers of image %s: base image %s is no more; what stands on it cannot be started", image, bottom)
	}
	for _, id := range layers {
		mount := h.mounts[id]
		if mount == nil {
			mount = &imageMount{dir: filepath.Join(h.mountDir(), id)}
			if err := mountDisk(h.layerPath(id), mount.dir, true); err != nil {
				return nil, nil, errors.Join(err, h.releaseLayers(mounted))
			}
			h.mounts[id] = mount
		}
		mount.users++
		mounted = append(mounted, id)
		// An image of a machine that was never started has an empty disk.
		if upper := filepath.Join(mount.dir, "upper"); exists(upper) {
			dirs = append(dirs, upper)
		}
	}
	return append(dirs, bottom), mounted, nil
}

func (h *Host) releaseLayers(mounted []string) error {
	var errs []error
	for _, id := range mounted {
		mount := h.mounts[id]
		if mount.users--; mount.users == 0 {
			delete(h.mounts, id)
			errs = append(errs, unmount(mount.dir))
		}
	}
	return errors.Join(errs...)
}
