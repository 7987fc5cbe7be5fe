package process

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
)

func TestLeadsNamespace(t *testing.T) {
	for _, c := range []struct {
		status string
		want   bool
	}{
		{"Name:\tsystemd\nNSpid:\t3584\t1\nNSpgid:\t3584\t1\n", true},
		{"Name:\tsshd\nNSpid:\t3734\t57\n", false},
		{"Name:\tsystemd\nNSpid:\t1\n", false}, // the host's own
		{"Name:\tnested\nNSpid:\t90\t40\t1\n", true},
		{"", false},
	} {
		proc := t.TempDir()
		path := filepath.Join(proc, "3584", "status")
		err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(c.status), 0o600))
		if err != nil {
			t.Fatal(err)
		}
		if got := leadsNamespace(proc, 3584); got != c.want {
			t.Errorf("%q: %v, want %v", c.status, got, c.want)
		}
		if leadsNamespace(proc, 1) {
			t.Error("a process that is not there is one")
		}
	}
}

func TestRootIsOn(t *testing.T) {
	const machine = "240 159 0:41 / / rw,relatime shared:5 - overlay overlay " +
		"rw,lowerdir=/run/goldsmith/a/mnt/ami-1/upper:/base,upperdir=/run/goldsmith/a/mnt/i-web.disk/upper," +
		"workdir=/w\n241 240 0:48 / /tmp rw shared:6 - tmpfs tmpfs rw\n"
	const host = "22 1 253:0 / / rw,relatime - ext4 /dev/vda1 rw\n" +
		"23 22 0:41 / /run/goldsmith/a/mnt/i-web rw - overlay overlay rw," +
		"upperdir=/run/goldsmith/a/mnt/i-web.disk/upper\n"
	for _, c := range []struct {
		name, mountinfo, dir string
		want                 bool
	}{
		{"the cloud's", machine, "/run/goldsmith/a/mnt", true},
		{"the machine's", machine, "/run/goldsmith/a/mnt/i-web.disk", true},
		{"another machine's", machine, "/run/goldsmith/a/mnt/i-we", false},
		{"another cloud's", machine, "/run/goldsmith/b/mnt", false},
		{"a cloud whose name begins so", machine, "/run/goldsmith/a/mn", false},
		{"the host, which sees the overlay", host, "/run/goldsmith/a/mnt", false},
		{"nothing", "", "/run/goldsmith/a/mnt", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			mounts, err := mountinfo.GetMountsFromReader(strings.NewReader(c.mountinfo), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := rootIsOn(mounts, c.dir); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
