//go:build linux

package seal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
)

// TestDisks by tables of mounts as they are on EC2.
func TestDisks(t *testing.T) {
	const ubuntu = `24 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw,discard,errors=remount-ro
25 24 0:6 / /dev rw,nosuid,noexec,relatime shared:2 - devtmpfs devtmpfs rw,size=478292k
31 24 7:0 / /snap/core22/1380 ro,nodev,relatime shared:31 - squashfs /dev/loop0 ro,errors=continue
78 24 259:3 / /boot rw,relatime shared:33 - ext4 /dev/nvme0n1p16 rw
81 78 259:2 / /boot/efi rw,relatime shared:35 - vfat /dev/nvme0n1p15 rw,fmask=0077
90 24 259:1 /srv /mnt rw,relatime shared:1 - ext4 /dev/root rw,discard,errors=remount-ro
`
	for _, c := range []struct {
		name, mounts string
		want         []disk
		notes        int
	}{
		{"Ubuntu", ubuntu, []disk{{"/dev/b259:1", "/", ""}, {"/dev/b259:3", "/boot", ""}}, 0},
		{"a device that is not there", "24 1 8:1 / / rw - ext4 /dev/sda1 rw\n", []disk{{"", "/", "no device"}}, 0},
		{"another kind", "24 1 259:1 / / rw - xfs /dev/nvme0n1p1 rw\n",
			[]disk{{"/dev/nvme0n1p1", "/", "that can be done on ext4, and it is xfs"}}, 0},
		{"the local cloud", "24 1 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/a,upperdir=/b\n" +
			"25 24 259:1 /seed /var/lib/cloud/seed/nocloud ro,relatime - ext4 /dev/vda rw\n", nil, 1},
		{"a disk that is read-only", "24 1 259:1 / / rw - ext4 /dev/sda1 ro\n", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(c.mounts), nil)
			if err != nil {
				t.Fatal(err)
			}
			found, notes := disks(mounts, func(major, minor int) (string, error) {
				if major != 259 {
					return "", fmt.Errorf("no device")
				}
				return fmt.Sprintf("/dev/b%d:%d", major, minor), nil
			})
			if !slices.Equal(found, c.want) || len(notes) != c.notes {
				t.Errorf("got %+v, %q", found, notes)
			}
		})
	}
}

// TestBlockDevice: a name in /dev that is no such device, or another one, is not taken for it.
func TestBlockDevice(t *testing.T) {
	sys, dev := t.TempDir(), t.TempDir()
	for numbers, name := range map[string]string{"259:1": "nvme0n1p1", "8:1": "sda1", "1:3": "null"} {
		if err := os.Symlink("../../devices/pci0000:00/block/"+name, filepath.Join(sys, numbers)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dev, "nvme0n1p1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		major, minor int
		want         string
	}{
		{259, 1, "is another one"},
		{8, 1, "is not to be seen from here"},
		{9, 9, "9:9 is not known here"},
	} {
		path, err := blockDeviceIn(sys, dev, c.major, c.minor)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d:%d: got %q, %v", c.major, c.minor, path, err)
		}
	}
}
