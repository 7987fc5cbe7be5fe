// Package devnode gives running machines the nodes of their volumes.
//
// A machine's file system is its root's, who may be hostile: nothing in it is executed from here, and no link in it is
// followed. Device nodes are made and removed by system calls, relative to directories that are held open.
package devnode

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/process"
)

// inRoot are the openat2 flags for paths below a machine's root: the path cannot leave it, and nothing on it is a link.
const inRoot = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS

// byID is the directory, below a machine's /dev, of the links to its volumes by their ids.
var byID = []string{"disk", "by-id"}

// OpenRoot opens the root directory of a machine's first process. The process is held while it is looked at, as its id
// may go to another, and it is the machine's only if its root is mounted from the machine's own disk.
func OpenRoot(pid int, disk string) (*os.File, error) {
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("hold process %d: %w", pid, err)
	}
	defer unix.Close(handle)
	if !process.IsInit(pid, disk) {
		return nil, fmt.Errorf("open the root of process %d: it is not the first of machine %s",
			pid, filepath.Base(disk))
	}
	root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.PidfdSendSignal(handle, 0, nil, 0); err != nil { // it ended: the root may be that of another process
		return nil, errors.Join(fmt.Errorf("open the root of process %d: %w", pid, err), root.Close())
	}
	return root, nil
}

// openBelow opens a directory below another that is taken for the root of all paths.
func openBelow(root *os.File, path string) (*os.File, error) {
	fd, err := unix.Openat2(int(root.Fd()), path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: inRoot,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open the machine's", Path: "/" + path, Err: err}
	}
	return os.NewFile(uintptr(fd), "/"+path), nil
}

// Add makes a block device's node below a machine's root, and the link by which EC2's instances find a volume by
// its id. What else has the node's or the link's name goes, unless it is a directory. It is done as a whole or not at
// all.
func Add(root *os.File, device, volume string, number uint64) error {
	name := strings.TrimPrefix(device, "/dev/")
	dev, err := openBelow(root, "dev")
	if err != nil {
		return err
	}
	defer dev.Close()
	links, err := makeBelow(root, dev, byID)
	if err != nil {
		return err
	}
	defer links.Close()
	var owner unix.Stat_t
	if err = unix.Fstat(int(dev.Fd()), &owner); err != nil {
		return fmt.Errorf("look at the machine's /dev: %w", err)
	}
	if err = remove(dev, name); err != nil {
		return err
	}
	if err = unix.Mknodat(int(dev.Fd()), name, unix.S_IFBLK|0o660, int(number)); err != nil {
		return &os.PathError{Op: "make the machine's", Path: device, Err: err}
	}
	err = own(dev, name, owner, 0o660)
	if err == nil {
		err = remove(links, linkName(volume))
	}
	if err == nil {
		err = unix.Symlinkat(device, int(links.Fd()), linkName(volume))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("make the machine's %s: %w", device, err), remove(dev, name))
	}
	return nil
}

// own gives a new node to whom the machine's /dev belongs, and takes off it what the daemon's umask did to its mode.
func own(dev *os.File, name string, owner unix.Stat_t, mode uint32) error {
	if err := unix.Fchownat(int(dev.Fd()), name, int(owner.Uid), int(owner.Gid), unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	node, err := unix.Openat2(int(dev.Fd()), name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: inRoot})
	if err != nil {
		return err
	}
	defer unix.Close(node)
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", node), mode)
}

// Remove removes a device's node and its link. That one of them is gone already is no error.
func Remove(root *os.File, device, volume string) error {
	dev, err := openBelow(root, "dev")
	if err != nil {
		return err
	}
	defer dev.Close()
	err = remove(dev, strings.TrimPrefix(device, "/dev/"))
	links, missing := openBelow(root, filepath.Join(append([]string{"dev"}, byID...)...))
	if errors.Is(missing, os.ErrNotExist) {
		return err
	}
	if missing != nil {
		return errors.Join(err, missing)
	}
	defer links.Close()
	return errors.Join(err, remove(links, linkName(volume)))
}

// makeBelow makes the directories of a path below a machine's /dev, where they are missing, and opens the last one.
func makeBelow(root, dev *os.File, names []string) (*os.File, error) {
	parent, path := dev, "dev"
	for i, name := range names {
		if err := unix.Mkdirat(int(parent.Fd()), name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, &os.PathError{Op: "make the machine's", Path: "/" + filepath.Join(path, name), Err: err}
		}
		path = filepath.Join(path, name)
		next, err := openBelow(root, path)
		if i > 0 {
			parent.Close()
		}
		if err != nil {
			return nil, err
		}
		parent = next
	}
	return parent, nil
}

// remove removes a name from a directory, whatever has it but a directory. A link is removed, not what it leads to.
func remove(dir *os.File, name string) error {
	if err := unix.Unlinkat(int(dir.Fd()), name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "remove the machine's", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return nil
}

// linkName is the name that Debian's udev rules give a volume of EC2.
func linkName(volume string) string {
	return "nvme-Amazon_Elastic_Block_Store_" + strings.ReplaceAll(volume, "-", "")
}
