package cgroup

import (
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
)

func TestPick(t *testing.T) {
	const both = "30 29 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n" +
		"31 29 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n" +
		"32 29 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	for _, c := range []struct {
		name, mountinfo string
		want            []string
	}{
		{"both versions", both, []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"}},
		{
			"the second",
			"25 24 0:22 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
			[]string{"/sys/fs/cgroup"},
		},
		{"the first only", "30 29 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", nil},
		{"nonsense", "x - y\n\n", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			mounts, _ := mountinfo.GetMountsFromReader(strings.NewReader(c.mountinfo), nil) // nothing of nonsense
			if got := pick(mounts); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
