package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Each machine has a control group of its own. Without that the machines' inits would share one: a unit that is
// restarted in one machine would take the processes of the unit of that name in all others with it.

// cgroupMounts are where the hierarchies are that systemd-nspawn makes groups in: first the unified one, then, on a
// host that still has it, systemd's own of the first version.
func cgroupMounts() ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	mounts := parseCgroupMounts(string(text))
	if len(mounts) == 0 {
		return nil, errors.New("find the control groups: no cgroup2 file system is mounted; machines need one at /sys/fs/cgroup or /sys/fs/cgroup/unified")
	}
	return mounts, nil
}

func parseCgroupMounts(mountinfo string) []string {
	var unified, named []string
	for line := range strings.Lines(mountinfo) {
		mount, source, ok := strings.Cut(line, " - ")
		fields, after := strings.Fields(mount), strings.Fields(source)
		if !ok || len(fields) < 5 || len(after) < 3 {
			continue
		}
		switch {
		case after[0] == "cgroup2":
			unified = append(unified, fields[4])
		case after[0] == "cgroup" && slices.Contains(strings.Split(after[2], ","), "name=systemd"):
			named = append(named, fields[4])
		}
	}
	if len(unified) == 0 {
		return nil
	}
	return slices.Concat(unified[:1], named)
}

// cgroup is the name of a control group of this cloud; without a part, of the one above them all.
func (h *Host) cgroup(part string) string {
	return filepath.Join("goldsmith-"+h.config.Name, part)
}

// makeCgroup makes a control group, into which a process can be started.
func makeCgroup(name string) (*os.File, error) {
	mounts, err := cgroupMounts()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(mounts[0], name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make control group %s: %w", dir, err)
	}
	return os.Open(dir)
}

// removeCgroup removes a control group and all below it. Processes that are about to end may keep it for a moment.
func removeCgroup(name string) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	var errs []error
	for _, mount := range mounts {
		errs = append(errs, removeGroupTree(filepath.Join(mount, name)))
	}
	return errors.Join(errs...)
}

func removeGroupTree(dir string) error {
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
