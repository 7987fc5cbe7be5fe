// Package cgroup makes and removes control groups, one for each machine and one above those of a cloud.
//
// Without a group of its own each the machines' inits would share one: a unit that is restarted in one machine would
// take the processes of the unit of that name in all others with it.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// hierarchies returns where those hierarchies are mounted that systemd-nspawn makes groups in: first the unified one,
// then, on a host that still has it, systemd's own of the first version.
func hierarchies() ([]string, error) {
	all, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, err
	}
	mounts := pick(all)
	if len(mounts) == 0 {
		return nil, errors.New("find the control groups: no cgroup2 file system is mounted; " +
			"machines need one at /sys/fs/cgroup or /sys/fs/cgroup/unified")
	}
	return mounts, nil
}

func pick(mounts []*mountinfo.Info) []string {
	var unified, named []string
	for _, mount := range mounts {
		switch {
		case mount.FSType == "cgroup2":
			unified = append(unified, mount.Mountpoint)
		case mount.FSType == "cgroup" && slices.Contains(strings.Split(mount.VFSOptions, ","), "name=systemd"):
			named = append(named, mount.Mountpoint)
		}
	}
	if len(unified) == 0 {
		return nil
	}
	return slices.Concat(unified[:1], named)
}

// Make makes a control group and opens its directory, for a process to be started in it.
func Make(name string) (*os.File, error) {
	mounts, err := hierarchies()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(mounts[0], name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make control group %s: %w", dir, err)
	}
	return os.Open(dir)
}

// Remove removes a control group and all below it. Processes that are about to end may keep it for a moment.
func Remove(name string) error {
	mounts, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, mount := range mounts {
		errs = append(errs, removeTree(filepath.Join(mount, name)))
	}
	return errors.Join(errs...)
}

func removeTree(dir string) error {
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := removeDirectories(dir)
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
	}
}

// removeDirectories removes a tree of directories, but no files: those of a control group go with it.
func removeDirectories(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, path := range slices.Backward(dirs) {
		if err := unix.Rmdir(path); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove control group %s: %w", path, err)
		}
	}
	return nil
}
