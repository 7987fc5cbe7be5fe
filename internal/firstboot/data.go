package firstboot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/moby/sys/mountinfo"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// VolumeDir is the mount point of the data volume. The server's data is in a directory below it, as a server would take
// the file system's own lost+found for data. A Setup may keep notes there.
const VolumeDir = instance.StateDir + "/data"

// dataDir is the server's directory on the volume, and seedDir the image's data on its way there.
func (t *dataTier) dataDir() string { return filepath.Join(t.volumeDir, t.data.Name) }
func (t *dataTier) seedDir() string { return t.dataDir() + ".new" }

// TakeData gives a data tier its volume and its service address. It waits for the volume as long as that takes, and
// says on the console that it does. A volume that is blank gets a file system and the image's data; one that holds
// anything is never formatted. Data that the server could not open is refused before it is touched.
func TakeData(ctx context.Context, setups Setups) error {
	t, err := readDataTier(setups)
	if err != nil || t == nil {
		return err
	}
	if volume := t.Settings.DataVolume; volume != "" {
		if err := t.takeVolume(ctx, volume); err != nil {
			return fmt.Errorf("take the data volume %s: %w", volume, err)
		}
	}
	return takeAddress(ctx, t.Identity)
}

// ReleaseData is the way back: after it the volume can be detached. The server has stopped by then.
func ReleaseData(ctx context.Context, setups Setups) error {
	t, err := readDataTier(setups)
	if err != nil || t == nil {
		return err
	}
	var errs []error
	for _, dir := range []string{t.data.Path, t.volumeDir} {
		if mounted(dir) {
			errs = append(errs, run(ctx, "umount", dir))
		}
	}
	if err := dropAddress(ctx, t.Identity); err != nil {
		slog.Info("give up the service address", "error", err) // it is not there: somebody took it away by hand
	}
	return errors.Join(errs...)
}

func (t *dataTier) takeVolume(ctx context.Context, volume string) error {
	own, err := t.setup.Server(ctx)
	if err != nil {
		return err
	}
	standby := instance.Standby{Volume: volume, Server: own, Time: time.Now().UTC()}
	line, err := instance.ConsoleLine(instance.StandbyPrefix, standby)
	if err != nil {
		return err
	}
	if err = tell(line); err != nil {
		return err
	}
	device, err := waitForVolume(ctx, devicesOf(volume), func() error { return toConsole(line) })
	if err != nil {
		return err
	}
	if err := os.MkdirAll(t.volumeDir, 0o700); err != nil {
		return err
	}
	if !mounted(t.volumeDir) {
		if err := mountVolume(ctx, device, t.volumeDir); err != nil {
			return err
		}
	}
	if err := t.ensureData(ctx); err != nil {
		return err
	}
	if err := t.guard(own); err != nil {
		return err
	}
	if err := ownedBy(t.dataDir(), t.data.User); err != nil {
		return err
	}
	if mounted(t.data.Path) {
		return nil
	}
	return run(ctx, "mount", "--bind", t.dataDir(), t.data.Path)
}

// devicesOf are the names of a volume's device. On Nitro its link has the volume's id; on Xen only the name tells that
// the volume was attached as /dev/sdf.
func devicesOf(volume string) []string {
	return []string{
		"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_" + strings.ReplaceAll(volume, "-", ""),
		"/dev/xvdf",
	}
}

// waitForVolume waits for the device of a volume. remind is called now and then meanwhile.
func waitForVolume(ctx context.Context, names []string, remind func() error) (string, error) {
	for again := newReminder(); ; {
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && info.Mode()&os.ModeDevice != 0 {
				return filepath.EvalSymlinks(name)
			}
		}
		if again.due() {
			if err := remind(); err != nil {
				return "", err
			}
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// mountVolume mounts the volume's file system, which it makes only where there is nothing at all.
func mountVolume(ctx context.Context, device, dir string) error {
	err := exec.CommandContext(ctx, "blkid", "--probe", device).Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		// 1 says that errors were corrected.
		checked := run(ctx, "e2fsck", "-p", device)
		if checked != nil && (!errors.As(checked, &exit) || exit.ExitCode() > 1) {
			return checked
		}
	case errors.As(err, &exit) && exit.ExitCode() == 2: // no signature of anything that is known
		if err = makeFileSystem(ctx, device); err != nil {
			return err
		}
	default:
		return fmt.Errorf("look what is on %s: %w", device, err)
	}
	if err := run(ctx, "mount", "-t", "ext4", "-o", "noatime,nodev,nosuid,noexec", device, dir); err != nil {
		return err
	}
	return run(ctx, "resize2fs", device) // the volume may have grown; else this does nothing
}

func makeFileSystem(ctx context.Context, device string) error {
	blank, err := isBlank(device)
	if err != nil {
		return err
	}
	if !blank {
		return fmt.Errorf("%s holds something that is no file system; it is not formatted", device)
	}
	slog.Info("the volume is blank: making a file system", "device", device)
	return run(ctx, "mkfs.ext4", "-q", "-F", "-L", "goldsmith-data", device)
}

// isBlank looks at the start and the end of a device, where all that a volume can hold has its marks.
func isBlank(device string) (bool, error) {
	f, err := os.Open(device)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	const probe = 4 << 20
	zero, got := make([]byte, probe), make([]byte, probe)
	for _, at := range []int64{0, max(0, size-probe)} {
		n, err := f.ReadAt(got, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if !bytes.Equal(got[:n], zero[:n]) {
			return false, nil
		}
	}
	return true, nil
}

// ensureData copies the image's data into a volume that has none yet. A copy that broke off is made anew: it has not
// got its name yet.
func (t *dataTier) ensureData(ctx context.Context) error {
	if _, err := os.Stat(t.dataDir()); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(t.volumeDir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if name := entry.Name(); name != "lost+found" && name != filepath.Base(t.seedDir()) {
			return fmt.Errorf("its file system holds %s and not the data of a %s; it is left alone", name, t.data.Name)
		}
	}
	if err := os.RemoveAll(t.seedDir()); err != nil {
		return err
	}
	if err := run(ctx, "cp", "--archive", t.data.Path, t.seedDir()); err != nil {
		return err
	}
	if err := run(ctx, "sync", "--file-system", t.volumeDir); err != nil {
		return err
	}
	return os.Rename(t.seedDir(), t.dataDir())
}

// guard refuses data that the server here could not open, and notes on the volume that it will.
func (t *dataTier) guard(own instance.Server) error {
	note := filepath.Join(t.volumeDir, "server.json")
	text, err := os.ReadFile(note)
	if err == nil {
		var last instance.Server
		if err = json.Unmarshal(text, &last); err != nil {
			return fmt.Errorf("read %s: %w", note, err)
		}
		if err = own.Opens(last); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	noted := text
	if text, err = json.Marshal(own); err != nil {
		return err
	}
	if bytes.Equal(noted, text) { // a volume that is full can be taken again by the server that it comes from
		return nil
	}
	return WriteFile(note, text, 0o600, 0, 0)
}

// ownedBy gives a tree to a user whose number is another one in this image. The top is last, so that a change that
// broke off is seen.
func ownedBy(dir, name string) error {
	uid, gid, err := UserIDs(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) == uid && int(stat.Gid) == gid {
		return nil
	}
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
	return errors.Join(err, os.Chown(dir, uid, gid))
}

// mounted tells whether something is mounted exactly there.
func mounted(dir string) bool {
	found, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	return err == nil && len(found) > 0
}
