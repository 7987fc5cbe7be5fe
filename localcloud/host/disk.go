package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// makeFileSystem makes a sparse file of this size with an empty ext4 in it. There is no journal: a file system is
// always unmounted when its cloud ends, by the kernel if need be, so only a crash of the host itself can hurt it.
func makeFileSystem(ctx context.Context, path string, sizeGB int) error {
	if err := makeSparse(path, sizeGB); err != nil {
		return err
	}
	mkfs := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal",
		"-E", "lazy_itable_init=1,nodiscard", path)
	if err := run("make the file system of "+filepath.Base(path), mkfs); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func makeSparse(path string, sizeGB int) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(sizeGB)<<30), f.Close())
}

// copySparse copies a disk without filling its holes. The copy has its name once it is whole.
func copySparse(ctx context.Context, from, to string) error {
	part := to + ".part"
	cp := exec.CommandContext(ctx, "cp", "--sparse=always", "--reflink=auto", from, part)
	if err := run(fmt.Sprintf("copy %s to %s", filepath.Base(from), filepath.Base(to)), cp); err != nil {
		return errors.Join(err, os.RemoveAll(part))
	}
	return os.Rename(part, to)
}

// attachLoop puts a file on a loop device that frees itself with its last user. The returned file keeps it until then.
func attachLoop(path string, readOnly bool) (*os.File, error) {
	mode, flags := os.O_RDWR, uint32(unix.LO_FLAGS_AUTOCLEAR)
	if readOnly {
		mode, flags = os.O_RDONLY, flags|unix.LO_FLAGS_READ_ONLY
	}
	backing, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return nil, err
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	for range 64 {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		device, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", number), os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			if err = unix.Mknod(fmt.Sprintf("/dev/loop%d", number), unix.S_IFBLK|0o660, int(unix.Mkdev(7, uint32(number)))); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		config := unix.LoopConfig{Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: flags}}
		copy(config.Info.File_name[:63], path)
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

// mountDisk mounts a file's ext4.
func mountDisk(path, dir string, readOnly bool) error {
	device, err := attachLoop(path, readOnly)
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
		return fmt.Errorf("mount %s on %s: %w", path, dir, err)
	}
	return nil
}

// mountOverlay mounts lower directories, the topmost first, under an upper one that is written to.
func mountOverlay(lower []string, upper, work, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", strings.Join(lower, ":"), upper, work)
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay on %s (%s): %w", dir, options, err)
	}
	return nil
}

// unmount unmounts and removes the mount point. A machine that has just ended may hold it for a moment.
func unmount(dir string) error {
	var err error
	for range 100 {
		err = unix.Unmount(dir, 0)
		if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
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
