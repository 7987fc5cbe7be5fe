//go:build linux

package seal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// disk is a file system on a block device, by one of the places where it is mounted.
type disk struct {
	device, mount string
	// unread is why its free blocks cannot be looked through; empty where they can.
	unread string
}

// disks are the file systems that are part of the image. device finds a block device by its numbers: the name in the
// table of mounts may be one that nothing has, such as Ubuntu's /dev/root.
func disks(mounts []*mountinfo.Info, device func(major, minor int) (string, error)) (found []disk, notes []string) {
	seen := map[[2]int]bool{}
	for _, m := range mounts {
		numbers := [2]int{m.Major, m.Minor}
		// What is mounted read-only or in memory is from elsewhere and no part of the image.
		if seen[numbers] || readOnly(m) || strings.HasPrefix(m.Mountpoint, "/run/") {
			continue
		}
		switch {
		case slices.Contains([]string{"ext2", "ext3", "ext4"}, m.FSType):
			d := disk{mount: m.Mountpoint}
			var err error
			if d.device, err = device(m.Major, m.Minor); err != nil {
				d.unread = err.Error()
			}
			found = append(found, d)
		case slices.Contains([]string{"xfs", "btrfs", "f2fs", "zfs", "jfs", "reiserfs"}, m.FSType):
			found = append(found, disk{
				device: m.Source,
				mount:  m.Mountpoint,
				unread: "that can be done on ext4, and it is " + m.FSType,
			})
		case m.FSType == "overlay" && m.Mountpoint == "/":
			notes = append(notes, "the root file system is an overlay: a snapshot of it has files and no free blocks")
		}
		seen[numbers] = true
	}
	return found, notes
}

func readOnly(m *mountinfo.Info) bool {
	return slices.Contains(strings.Split(m.Options+","+m.VFSOptions, ","), "ro")
}

// blockDevice is the path of the block device of these numbers.
func blockDevice(major, minor int) (string, error) {
	return blockDeviceIn("/sys/dev/block", "/dev", major, minor)
}

func blockDeviceIn(sys, dev string, major, minor int) (string, error) {
	target, err := os.Readlink(filepath.Join(sys, fmt.Sprintf("%d:%d", major, minor)))
	if err != nil {
		return "", fmt.Errorf("its device %d:%d is not known here: %w", major, minor, err)
	}
	// The kernel writes the slash of a name such as cciss/c0d0 so, as a file's name has none.
	path := filepath.Join(dev, strings.ReplaceAll(filepath.Base(target), "!", "/"))
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return "", fmt.Errorf("its device %s is not to be seen from here: %w", path, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFBLK || stat.Rdev != unix.Mkdev(uint32(major), uint32(minor)) {
		return "", errors.New("its device " + path + " is another one")
	}
	return path, nil
}
