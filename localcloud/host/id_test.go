package host

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/debian"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/nspawn"
)

// badIDs are refused as ids: they would lead out of a directory, or be more than one word.
var badIDs = []string{
	"",
	".",
	"..",
	"vol-",
	"vol",
	"../volumes/vol-1",
	"vol-1/../../x",
	"vol-../x",
	"vol-1\n",
	"vol-1 x",
	"vol-1\x00",
	"VOL-1",
	"vol-A",
	"vol_1",
	"vol-1-1",
	"-vol-1",
	"xvol-1",
	"vol-" + strings.Repeat("1", 33),
	"vol-ä",
}

func TestImageIDs(t *testing.T) {
	for id, good := range map[string]bool{
		"ami-1":                  true,
		"trixie-0123456789ab":    true,
		"moto-0123456789ab":      false,
		"other-0123456789ab":     false,
		"trixie-":                false,
		"../trixie-0123456789ab": false,
	} {
		if err := checkImage(id); (err == nil) != good {
			t.Errorf("image %q: %v", id, err)
		}
	}
}

// testHost is a host part without a kernel's: state and files only. outside is a directory beside its own, with a disk.
func testHost(t *testing.T) (h *Host, outside string) {
	t.Helper()
	dir := t.TempDir()
	h = &Host{
		config: Config{
			Name:     "unit",
			StateDir: filepath.Join(dir, "state"),
			RunDir:   filepath.Join(dir, "run"),
			CacheDir: filepath.Join(dir, "cache"),
			Log:      slog.New(slog.DiscardHandler),
		},
		machines: map[string]*activeMachine{},
		exits:    make(chan Exit, 64),
	}
	h.runner = nspawn.NewRunner(nspawn.Config{MountDir: h.config.mountDir(), MachinesDir: h.config.dir("machines")})
	h.bases = debian.NewBases(h.config.baseDir(), debian.Apt{}, netip.AddrPort{}, netip.AddrPort{}, nil)
	h.boot = h.bootNspawn
	if err := errors.Join(h.config.makeDirs(), h.state.load(h.config.statePath())); err != nil {
		t.Fatal(err)
	}
	outside = filepath.Join(h.config.StateDir, "volumes", "outside.img")
	if err := os.WriteFile(outside, []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	return h, outside
}

// files is all that is below a directory.
func files(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// Each method that takes an id refuses one that is none, whichever of its ids that is, before a file is touched.
func TestBadIDsReachNoPath(t *testing.T) {
	ctx := context.Background()
	bad := append([]string{"../volumes/outside", "../../state/volumes/outside"}, badIDs...)
	h, _ := testHost(t)
	one := Machine{ID: "i-1", Image: "ami-1", RootVolume: "vol-1"}
	h.state.Machines["i-1"] = machineState{Machine: one}
	h.state.Volumes["vol-2"] = volumeState{SizeGB: 1}
	before := files(t, h.config.StateDir)
	runWith := func(change func(*Machine)) error {
		m := Machine{
			ID:         "i-2",
			Image:      "ami-1",
			RootVolume: "vol-3",
			RootSizeGB: 1,
			Interface: network.Interface{
				ID:         "eni-1",
				VPC:        "vpc-1",
				Subnet:     "subnet-1",
				MAC:        "02:00:00:00:00:01",
				PrivateIPs: []netip.Addr{netip.MustParseAddr("10.0.0.4")},
			},
		}
		change(&m)
		return h.RunMachine(ctx, m)
	}
	for _, id := range bad {
		calls := map[string]func() error{
			"ImportBase, image":     func() error { return h.ImportBase(id, "trixie") },
			"ImportBase, base":      func() error { return h.ImportBase("ami-1", id) },
			"EnsureBase":            func() error { return h.EnsureBase(ctx, id, func(string) {}) },
			"CreateImage, machine":  func() error { return h.CreateImage(ctx, id, "ami-2", "snap-2") },
			"CreateImage, image":    func() error { return h.CreateImage(ctx, "i-1", id, "snap-2") },
			"CreateImage, snapshot": func() error { return h.CreateImage(ctx, "i-1", "ami-2", id) },
			"DeleteImage":           func() error { return h.DeleteImage(ctx, id) },
			"RunMachine":            func() error { return runWith(func(m *Machine) { m.ID = id }) },
			"RunMachine, image":     func() error { return runWith(func(m *Machine) { m.Image = id }) },
			"RunMachine, root":      func() error { return runWith(func(m *Machine) { m.RootVolume = id }) },
			"RunMachine, interface": func() error { return runWith(func(m *Machine) { m.Interface.ID = id }) },
			"RunMachine, VPC":       func() error { return runWith(func(m *Machine) { m.Interface.VPC = id }) },
			"RunMachine, subnet":    func() error { return runWith(func(m *Machine) { m.Interface.Subnet = id }) },
			"RunMachine, MAC":       func() error { return runWith(func(m *Machine) { m.Interface.MAC = id }) },
			"UpdateMachine":         func() error { return h.UpdateMachine(id, func(*Machine) {}) },
			"UpdateMachine, to": func() error {
				return h.UpdateMachine("i-1", func(m *Machine) { m.RootVolume = id })
			},
			"StartMachine":              func() error { return h.StartMachine(ctx, id) },
			"StopMachine":               func() error { return h.StopMachine(ctx, id, true) },
			"RebootMachine":             func() error { return h.RebootMachine(ctx, id) },
			"TerminateMachine":          func() error { return h.TerminateMachine(ctx, id, false) },
			"Console":                   func() error { _, _, err := h.Console(id); return err },
			"CreateVolume":              func() error { return h.CreateVolume(ctx, id, 1, "") },
			"DeleteVolume":              func() error { return h.DeleteVolume(ctx, id) },
			"CreateSnapshot":            func() error { return h.CreateSnapshot(ctx, id, "vol-2") },
			"CreateSnapshot, volume":    func() error { return h.CreateSnapshot(ctx, "snap-1", id) },
			"DeleteSnapshot":            func() error { return h.DeleteSnapshot(ctx, id) },
			"AttachVolume":              func() error { return h.AttachVolume(ctx, id, "i-1", "/dev/sdf") },
			"AttachVolume, machine":     func() error { return h.AttachVolume(ctx, "vol-2", id, "/dev/sdf") },
			"AttachVolume, device":      func() error { return h.AttachVolume(ctx, "vol-2", "i-1", id) },
			"DetachVolume, machine":     func() error { return h.DetachVolume(ctx, id, "/dev/sdf", true) },
			"DetachVolume, device":      func() error { return h.DetachVolume(ctx, "i-1", id, true) },
			"CreateVolume, of snapshot": func() error { return h.CreateVolume(ctx, "vol-3", 1, cmp.Or(id, "vol-1")) },
		}
		for name, call := range calls {
			if err := call(); err == nil {
				t.Errorf("%s takes %q", name, id)
			} else if strings.Contains(err.Error(), "\x00") {
				t.Errorf("%s: %q", name, err)
			}
		}
	}
	if after := files(t, h.config.StateDir); after != before {
		t.Errorf("files changed from\n%s\nto\n%s", before, after)
	}
	if m := h.state.Machines["i-1"]; m.RootVolume != "vol-1" {
		t.Errorf("a refused change was made: %+v", m)
	}
}

// A volume is one machine's at a time, and it is there.
func TestAttachNeedsAFreeVolume(t *testing.T) {
	ctx := context.Background()
	h, _ := testHost(t)
	h.state.Machines["i-1"] = machineState{Machine: Machine{ID: "i-1", RootVolume: "vol-1"}}
	h.state.Machines["i-2"] = machineState{Machine: Machine{ID: "i-2", RootVolume: "vol-2"}}
	for _, id := range []string{"vol-1", "vol-2", "vol-3"} {
		h.state.Volumes[id] = volumeState{SizeGB: 1}
	}
	if err := h.AttachVolume(ctx, "vol-3", "i-1", "/dev/sdf"); err != nil {
		t.Fatal(err)
	}
	for volume, want := range map[string]string{
		"vol-3": "machine i-1 has it",
		"vol-2": "machine i-2 has it",
		"vol-9": "no such volume",
	} {
		if err := h.AttachVolume(ctx, volume, "i-2", "/dev/sdg"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", volume, err, want)
		}
	}
	err := h.CreateVolume(ctx, "vol-4", 1, "snap-9")
	if err == nil || !strings.Contains(err.Error(), "no such snapshot") {
		t.Errorf("a volume of no snapshot: %v", err)
	}
}

func TestSizes(t *testing.T) {
	for size, good := range map[int]bool{-1: false, 0: false, 1: true, 16384: true, 1 << 40: false} {
		if err := checkSize(size); (err == nil) != good {
			t.Errorf("%d GB: %v", size, err)
		}
	}
}
