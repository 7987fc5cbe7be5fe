// Package disk makes, copies and mounts the disks of machines: sparse files on loop devices, and overlays of them.
package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/process"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tool"
)

// MakeFileSystem makes a sparse file of this size with an empty ext4 in it. There is no journal: a file system is
// always unmounted when its cloud ends, by the kernel if need be, so only a crash of the host itself can hurt it.
func MakeFileSystem(ctx context.Context, path string, sizeGB int) error {
	if err := MakeSparse(path, sizeGB); err != nil {
		return err
	}
	mkfs := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal",
		"-E", "lazy_itable_init=1,nodiscard", path)
	if err := tool.Run("make the file system of "+filepath.Base(path), mkfs); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// MakeSparse makes a file of this size that takes no room yet.
func MakeSparse(path string, sizeGB int) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(sizeGB)<<30), f.Close())
}

// CopySparse copies a disk without filling its holes. The copy has its name once it is whole.
func CopySparse(ctx context.Context, from, to string) error {
	part := to + ".part"
	cp := exec.CommandContext(ctx, "cp", "--sparse=always", "--reflink=auto", from, part)
	if err := tool.Run(fmt.Sprintf("copy %s to %s", filepath.Base(from), filepath.Base(to)), cp); err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	return os.Rename(part, to)
}

// AttachLoop puts a file on a loop device that frees itself with its last user. The returned file keeps it until then.
func AttachLoop(path string, readOnly bool) (*os.File, error) {
	mode, flags := os.O_RDWR, uint32(unix.LO_FLAGS_AUTOCLEAR)
	if readOnly {
		mode, flags = os.O_RDONLY, flags|unix.LO_FLAGS_READ_ONLY
	}
	backing, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, err
	}
	defer backing.Close()
	config := unix.LoopConfig{Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: flags}}
	copy(config.Info.File_name[:63], path)
	for range 64 {
		device, err := openFreeLoop()
		if err != nil {
			return nil, err
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) { // another process was faster
			return nil, fmt.Errorf("put %s on a loop device: %w", path, err)
		}
	}
	return nil, fmt.Errorf("put %s on a loop device: others take each free one first", path)
}

// openFreeLoop opens a loop device that is free at the moment, and makes its node where that is missing.
func openFreeLoop() (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, fmt.Errorf("find a free loop device: %w", err)
	}
	node := fmt.Sprintf("/dev/loop%d", number)
	device, err := os.OpenFile(node, os.O_RDWR, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return device, err
	}
	err = unix.Mknod(node, unix.S_IFBLK|0o660, int(unix.Mkdev(7, uint32(number))))
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make loop device %s: %w", node, err)
	}
	return os.OpenFile(node, os.O_RDWR, 0)
}

// Mount mounts a file's ext4.
func Mount(path, dir string, readOnly bool) error {
	device, err := AttachLoop(path, readOnly)
	if err != nil {
		return err
	}
	defer device.Close() // the mount keeps the device
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	flags, options := uintptr(unix.MS_NOATIME), "nobarrier"
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount(device.Name(), dir, "ext4", flags, options); err != nil {
		return errors.Join(fmt.Errorf("mount %s on %s: %w", path, dir, err), os.Remove(dir))
	}
	return nil
}

// MountOverlay mounts lower directories, the topmost first, under an upper one that is written to.
func MountOverlay(lower []string, upper, work, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", strings.Join(lower, ":"), upper, work)
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		return errors.Join(fmt.Errorf("mount overlay on %s (%s): %w", dir, options, err), os.Remove(dir))
	}
	return nil
}

// Unmount unmounts and removes the mount point. A machine that has just ended may hold it for a moment.
func Unmount(dir string) error {
	var err error
	for range 100 {
		err = unix.Unmount(dir, 0)
		if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			if err = os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("unmount %s: %w", dir, err)
}

// Grow makes a disk this large if it is smaller.
func Grow(path string, size int64) error {
	info, err := os.Stat(path)
	if err != nil || info.Size() >= size {
		return err
	}
	return os.Truncate(path, size)
}

// CopyFrozen copies a disk that is mounted on a directory, as it is at one point in time.
func CopyFrozen(ctx context.Context, dir, path, to string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	const fifreeze, fithaw = 0xC0045877, 0xC0045878 // linux/fs.h
	if err = unix.IoctlSetInt(int(f.Fd()), fifreeze, 0); err != nil {
		return fmt.Errorf("freeze %s: %w", dir, err)
	}
	err = CopySparse(ctx, path, to)
	return errors.Join(err, unix.IoctlSetInt(int(f.Fd()), fithaw, 0))
}

// MountedIn tells whether a block device is mounted in the mount namespace of a process.
func MountedIn(pid int, device *os.File) (bool, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(device.Fd()), &stat); err != nil {
		return false, err
	}
	mounts, err := process.Mounts(pid)
	if err != nil {
		return false, err
	}
	major, minor := int(unix.Major(stat.Rdev)), int(unix.Minor(stat.Rdev))
	return slices.ContainsFunc(mounts, func(mount *mountinfo.Info) bool {
		return mount.Major == major && mount.Minor == minor
	}), nil
}
