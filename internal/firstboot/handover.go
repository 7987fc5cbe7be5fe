package firstboot

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// HandOver ends the server's work on this instance of a data tier: no more writes, the server stopped as a whole and
// the volume unmounted. Then the volume can be detached.
func HandOver(ctx context.Context, setups Setups) error {
	t, err := readDataTier(setups)
	if err != nil {
		return err
	}
	if t == nil || t.Settings.DataVolume == "" {
		return errors.New("hand the data over: this instance has no data volume")
	}
	t.setup.Pause(ctx)
	return run(ctx, "systemctl", "stop", instance.DataUnit)
}

// Resume has the server work again on an instance that had handed its data over: it takes the volume, which may still
// be on its way, and verifies itself. Where the server never stopped nothing happens.
func Resume(ctx context.Context, setups Setups) error {
	t, err := readDataTier(setups)
	if err != nil {
		return err
	}
	if t == nil {
		return errors.New("resume the server: this is no data tier of a stack")
	}
	if _, err := unitActive(ctx, t.data.Unit); err == nil {
		return t.setup.Resume(ctx, true) // the hand-over may have come no further
	}
	if err := run(ctx, "systemctl", "start", instance.DataUnit); err != nil {
		return err
	}
	if err := t.setup.Resume(ctx, false); err != nil {
		return err
	}
	if err := run(ctx, "systemctl", "start", t.data.Unit); err != nil {
		return err
	}
	return run(ctx, "systemctl", "restart", instance.DatabaseUnit, instance.ReadyUnit)
}

// roomNeeded is the space, in bytes, that a server may need to stop or to start: for its log and its temporary table
// space.
const roomNeeded = 64 << 20

// ErrNoRoom is wrapped by Room's error for a full data volume.
var ErrNoRoom = errors.New(instance.NoRoom)

// Room fails if the data volume is so full that the server might not stop: one that cannot write what is in its memory
// waits for somebody to make room, and takes no other end than being killed.
func Room(context.Context) error {
	d, err := imagespec.Read(instance.DescriptionDir, instance.KindData)
	if err != nil {
		return err
	}
	if d.Data == nil {
		return errors.New("look for room: this image has no data directory")
	}
	dir := d.Data.Path
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("look for room in %s: %w", dir, err)
	}
	if free := int64(fs.Bavail) * fs.Bsize; free < roomNeeded {
		return fmt.Errorf("%w: %d MiB of %d are free in %s; the server may need %d to stop and to start",
			ErrNoRoom, free>>20, int64(fs.Blocks)*fs.Bsize>>20, dir, roomNeeded>>20)
	}
	return nil
}
