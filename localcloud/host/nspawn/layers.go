package nspawn

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/disk"
)

// layerMounts are the read-only mounts of images' layers, shared by the machines that stand on them.
type layerMounts struct {
	dir string

	mu     sync.Mutex
	mounts map[string]*layerMount // by image
}

type layerMount struct {
	dir   string
	users int
}

// mount mounts layers and returns their directories, as overlayfs wants them. The layers are to be released, unless
// there is an error.
func (l *layerMounts) mount(layers []Layer) (dirs []string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, layer := range layers {
		mount := l.mounts[layer.ID]
		if mount == nil {
			mount = &layerMount{dir: filepath.Join(l.dir, layer.ID)}
			if err := disk.Mount(layer.Path, mount.dir, true); err != nil {
				return nil, errors.Join(err, l.releaseLocked(layers[:i]))
			}
			l.mounts[layer.ID] = mount
		}
		mount.users++
		// An image of a machine that was never started has an empty disk.
		upper := filepath.Join(mount.dir, "upper")
		if _, err := os.Lstat(upper); err == nil {
			dirs = append(dirs, upper)
		}
	}
	return dirs, nil
}

func (l *layerMounts) release(layers []Layer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.releaseLocked(layers)
}

func (l *layerMounts) releaseLocked(layers []Layer) error {
	var errs []error
	for _, layer := range layers {
		mount := l.mounts[layer.ID]
		if mount.users--; mount.users == 0 {
			delete(l.mounts, layer.ID)
			errs = append(errs, disk.Unmount(mount.dir))
		}
	}
	return errors.Join(errs...)
}

func (l *layerMounts) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, id := range slices.Sorted(maps.Keys(l.mounts)) {
		errs = append(errs, disk.Unmount(l.mounts[id].dir))
	}
	return errors.Join(errs...)
}
