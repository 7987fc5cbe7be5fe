package devnode

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// machineRoot is a machine's root directory with its /dev, and, outside of it, a directory that nothing may reach.
func machineRoot(t *testing.T) (root *os.File, dev, outside string) {
	t.Helper()
	above := t.TempDir()
	dev, outside = filepath.Join(above, "root", "dev"), filepath.Join(above, "outside")
	for _, dir := range []string{dev, outside} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.Open(filepath.Join(above, "root"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, dev, outside
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(at), os.MkdirAll(filepath.Dir(at), 0o755), os.Symlink(to, at)); err != nil {
		t.Fatal(err)
	}
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("%s holds %v, %v", dir, entries, err)
	}
}

// A machine's root may lay links where the daemon goes.
func TestNodesFollowNoLinks(t *testing.T) {
	for _, c := range []struct{ name, at string }{
		{"dev", "."}, {"disk", "disk"}, {"by-id", "disk/by-id"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root, dev, outside := machineRoot(t)
			// Of what an absolute and a relative link lead to, both have what the daemon would look for.
			for _, to := range []string{outside, "../../outside", "/"} {
				link(t, to, filepath.Join(dev, c.at))
				if err := Add(root, "/dev/sdf", "vol-1", unix.Mkdev(7, 200)); !errors.Is(err, unix.ELOOP) {
					t.Errorf("%s leads to %s: add: %v, want ELOOP", c.name, to, err)
				}
				if _, err := os.Lstat(filepath.Join(dev, "sdf")); c.name != "dev" && !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s leads to %s: a node is left: %v", c.name, to, err)
				}
				if err := Remove(root, "/dev/sdf", "vol-1"); !errors.Is(err, unix.ELOOP) {
					t.Errorf("%s leads to %s: remove: %v, want ELOOP", c.name, to, err)
				}
				empty(t, outside)
			}
		})
	}
}

func TestMakeBelow(t *testing.T) {
	root, dev, _ := machineRoot(t)
	below, err := os.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	for range 2 {
		links, err := makeBelow(root, below, byID)
		if err != nil {
			t.Fatal(err)
		}
		links.Close()
	}
	if info, err := os.Lstat(filepath.Join(dev, "disk", "by-id")); err != nil || !info.IsDir() {
		t.Errorf("%v, %v", info, err)
	}
}

// checkNode checks a device node and the link to it by id.
func checkNode(t *testing.T, path, id string) {
	t.Helper()
	var node unix.Stat_t
	err := unix.Lstat(path, &node)
	if err != nil || node.Mode != unix.S_IFBLK|0o660 || node.Rdev != unix.Mkdev(7, 200) {
		t.Errorf("the node is %o of device %d, %v", node.Mode, node.Rdev, err)
	}
	if to, err := os.Readlink(id); err != nil || to != "/dev/sdf" {
		t.Errorf("the link by id leads to %q, %v", to, err)
	}
}

// What has the name already goes, be it a link or a file, and what the link leads to stays.
func TestNodeTakesTheName(t *testing.T) {
	root, dev, outside := machineRoot(t)
	precious := filepath.Join(outside, "precious")
	for _, path := range []string{precious, filepath.Join(dev, "sdf")} {
		if err := os.WriteFile(path, []byte("kept"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	id := filepath.Join(dev, "disk", "by-id", "nvme-Amazon_Elastic_Block_Store_vol1")
	link(t, precious, id)
	err := Add(root, "/dev/sdf", "vol-1", unix.Mkdev(7, 200))
	if errors.Is(err, unix.EPERM) { // device nodes are for root; the rest of the way is in TestNodesFollowNoLinks
		if _, err = os.Lstat(filepath.Join(dev, "sdf")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("what has the name: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	checkNode(t, filepath.Join(dev, "sdf"), id)
	for range 2 { // what is gone already is no error
		if err := Remove(root, "/dev/sdf", "vol-1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{filepath.Join(dev, "sdf"), id} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if text, err := os.ReadFile(precious); err != nil || string(text) != "kept" {
		t.Errorf("what a link led to has %q, %v", text, err)
	}
}

// Only the first process of a machine is taken for one.
func TestOpenRootOfAnother(t *testing.T) {
	if root, err := OpenRoot(os.Getpid(), t.TempDir()); err == nil {
		t.Errorf("got %s of a process that is no machine's", root.Name())
	}
}
