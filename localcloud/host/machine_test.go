package host

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/nspawn"
)

// fakeMachines boots machines that are no processes.
type fakeMachines struct {
	// before is called in a boot, and its error is the boot's.
	before func(nspawn.Spec) error
	// plug is asked of each volume.
	plug func(volume string) error

	mu     sync.Mutex
	booted []*fakeContainer
}

// fakeContainer is a machine that runs until it is killed, powered off, or ended by the test.
type fakeContainer struct {
	machines *fakeMachines
	spec     nspawn.Spec
	end      chan error

	mu      sync.Mutex
	plugged []string // volumes
	closed  bool
}

func (f *fakeMachines) boot(_ context.Context, spec nspawn.Spec) (container, error) {
	if f.before != nil {
		if err := f.before(spec); err != nil {
			return nil, err
		}
	}
	c := &fakeContainer{machines: f, spec: spec, end: make(chan error, 8)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.booted = append(f.booted, c)
	return c, nil
}

func (f *fakeMachines) last() *fakeContainer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.booted[len(f.booted)-1]
}

func (c *fakeContainer) Wait() error { return <-c.end }

func (c *fakeContainer) PowerOff() error {
	c.end <- nil
	return unix.ESRCH // it has ended
}

func (c *fakeContainer) Kill() error {
	c.end <- errors.New("killed")
	return nil
}

func (c *fakeContainer) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return nil
}

func (c *fakeContainer) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (c *fakeContainer) Plug(volume, _, _ string) error {
	if c.machines.plug != nil {
		if err := c.machines.plug(volume); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plugged = append(c.plugged, volume)
	return nil
}

func (c *fakeContainer) Unplug(volume, _ string, _ bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.plugged = slices.DeleteFunc(c.plugged, func(v string) bool { return v == volume })
	return nil
}

func (c *fakeContainer) volumes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.plugged)
}

// fakeHost is a host part with a stopped machine, i-1, that has two volumes, and one more volume, vol-free.
func fakeHost(t *testing.T) (*Host, *fakeMachines) {
	t.Helper()
	h, _ := testHost(t)
	machines := &fakeMachines{}
	h.boot = machines.boot
	h.network = &network.Network{}
	err := h.change(func(s *state) error {
		s.Images["ami-base"] = imageState{Base: "trixie-0123456789ab"}
		s.Machines["i-1"] = machineState{
			Machine: testSpec("i-1"),
			Volumes: map[string]string{"/dev/sdf": "vol-f", "/dev/sdg": "vol-g"},
		}
		for _, id := range []string{"vol-i-1", "vol-f", "vol-g", "vol-free"} {
			s.Volumes[id] = volumeState{SizeGB: 1}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return h, machines
}

func testSpec(id string) Machine {
	return Machine{
		ID:         id,
		Image:      "ami-base",
		RootVolume: "vol-" + strings.ReplaceAll(id, "-", ""),
		RootSizeGB: 1,
		Interface: network.Interface{
			ID:         "eni-1",
			VPC:        "vpc-1",
			Subnet:     "subnet-1",
			MAC:        "02:00:00:00:00:01",
			PrivateIPs: []netip.Addr{netip.MustParseAddr("10.0.0.4")},
		},
	}
}

// A machine that cannot have one of its volumes does not run, nor is anything left of it; it starts once it can.
func TestStartWithoutAVolume(t *testing.T) {
	h, machines := fakeHost(t)
	gone := errors.New("the volume's file is gone")
	machines.plug = func(volume string) error {
		if volume == "vol-g" {
			return gone
		}
		return nil
	}
	if err := h.StartMachine(t.Context(), "i-1"); !errors.Is(err, gone) {
		t.Errorf("got %v", err)
	}
	if h.Machines()["i-1"] || !machines.last().isClosed() {
		t.Errorf("it runs: %v; it is taken down: %v", h.Machines()["i-1"], machines.last().isClosed())
	}
	machines.plug = nil
	if err := h.StartMachine(t.Context(), "i-1"); err != nil {
		t.Fatalf("it does not start again: %v", err)
	}
	if got := machines.last().volumes(); !slices.Equal(got, []string{"vol-f", "vol-g"}) {
		t.Errorf("it has %v", got)
	}
	if err := h.StopMachine(t.Context(), "i-1", false); err != nil || h.Machines()["i-1"] {
		t.Errorf("it runs: %v, %v", h.Machines()["i-1"], err)
	}
	select {
	case exit := <-h.Exits():
		t.Errorf("an end that was asked for is told: %+v", exit)
	default:
	}
}

// A machine that does not start at its launch leaves nothing, so that it can be launched again.
func TestRunThatFailsLeavesNothing(t *testing.T) {
	h, machines := fakeHost(t)
	before := files(t, h.config.StateDir)
	refused := errors.New("no memory")
	machines.before = func(spec nspawn.Spec) error {
		return errors.Join(os.WriteFile(spec.Disk, nil, 0o600), refused)
	}
	for range 2 {
		if err := h.RunMachine(t.Context(), testSpec("i-2")); !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
	}
	if _, ok := h.Machines()["i-2"]; ok || h.hasVolume("vol-i2") || files(t, h.config.StateDir) != before {
		t.Errorf("left: machine %v, volume %v, files\n%s", ok, h.hasVolume("vol-i2"), files(t, h.config.StateDir))
	}
}

// What only looks, and what is done to others, does not wait for a boot nor for a machine that is slow to take a
// volume.
func TestOthersDoNotWaitForABoot(t *testing.T) {
	for _, slow := range []string{"boot", "plug"} {
		t.Run(slow, func(t *testing.T) {
			h, machines := fakeHost(t)
			reached, goOn := make(chan bool), make(chan bool)
			wait := func() error {
				reached <- true
				<-goOn
				return nil
			}
			if slow == "boot" {
				machines.before = func(nspawn.Spec) error { return wait() }
			} else {
				machines.plug = func(volume string) error {
					if volume == "vol-f" {
						return wait()
					}
					return nil
				}
			}
			started := make(chan error)
			go func() { started <- h.StartMachine(context.Background(), "i-1") }()
			<-reached
			if images := h.Images(); !slices.Contains(images, "ami-base") {
				t.Errorf("images: %v", images)
			}
			if _, ok := h.Machines()["i-1"]; !ok {
				t.Error("the machine is not there")
			}
			err := errors.Join(
				h.CreateVolume(t.Context(), "vol-new", 1, ""),
				h.CreateSnapshot(t.Context(), "snap-new", "vol-new"),
				h.DeleteVolume(t.Context(), "vol-new"),
				h.UpdateMachine("i-1", func(m *Machine) { m.UserData = []byte("changed") }),
			)
			if err != nil {
				t.Error(err)
			}
			stopped := make(chan error)
			go func() { stopped <- h.StopMachine(context.Background(), "i-1", true) }()
			close(goOn)
			if err := <-started; err != nil {
				t.Error(err)
			}
			// Who stops a machine that is being started means it.
			if err := <-stopped; err != nil || h.Machines()["i-1"] {
				t.Errorf("it runs: %v, %v", h.Machines()["i-1"], err)
			}
			if got := string(h.state.Machines["i-1"].UserData); got != "changed" {
				t.Errorf("its user-data is %q", got)
			}
		})
	}
}

// exitStatus is the error of a program that ended so.
func exitStatus(t *testing.T, status string) error {
	t.Helper()
	err := exec.Command("sh", "-c", "exit "+status).Run()
	if err == nil {
		t.Fatal("the program ended well")
	}
	return err
}

func TestMachineEndsByItself(t *testing.T) {
	reboot, died := exitStatus(t, "133"), exitStatus(t, "1")
	broken := errors.New("the disk is broken")
	for _, c := range []struct {
		name   string
		end    error
		second error // of the boot after that
		want   error
		told   bool
	}{
		{name: "powers off", told: true},
		{name: "dies", end: died, want: died, told: true},
		{name: "reboots", end: reboot},
		{name: "reboots and does not come back", end: reboot, second: broken, want: broken, told: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, machines := fakeHost(t)
			if err := h.StartMachine(t.Context(), "i-1"); err != nil {
				t.Fatal(err)
			}
			machines.before = func(nspawn.Spec) error { return c.second }
			first := h.runningMachine("i-1")
			machines.last().end <- c.end
			<-first.done
			if c.told {
				if exit := <-h.Exits(); exit.ID != "i-1" || !errors.Is(exit.Err, c.want) {
					t.Errorf("got %+v", exit)
				}
			}
			if running := h.Machines()["i-1"]; running == c.told {
				t.Errorf("it runs: %v", running)
			}
		})
	}
}

// Nothing is started in a cloud that goes down.
func TestNoStartWhileGoingDown(t *testing.T) {
	h, machines := fakeHost(t)
	if err := h.StartMachine(t.Context(), "i-1"); err != nil {
		t.Fatal(err)
	}
	first := h.runningMachine("i-1")
	h.mu.Lock()
	h.closing = true
	h.mu.Unlock()
	machines.last().end <- exitStatus(t, "133")
	<-first.done
	if err := h.StartMachine(t.Context(), "i-1"); err == nil || len(machines.booted) != 1 {
		t.Errorf("got %v, after %d boots", err, len(machines.booted))
	}
}

// breakState makes that no change of the state can be kept.
func breakState(t *testing.T, h *Host) {
	t.Helper()
	if err := errors.Join(os.Remove(h.config.statePath()), os.Mkdir(h.config.statePath(), 0o700)); err != nil {
		t.Fatal(err)
	}
}

// What cannot be kept is not left half done.
func TestNothingIsLeftOfAFailure(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name string
		do   func(*Host) error
	}{
		{"create a volume", func(h *Host) error { return h.CreateVolume(ctx, "vol-new", 1, "") }},
		{"attach a volume", func(h *Host) error { return h.AttachVolume(ctx, "vol-free", "i-1", "/dev/sdh") }},
		{"run a machine", func(h *Host) error { return h.RunMachine(ctx, testSpec("i-2")) }},
		{"delete an image", func(h *Host) error { return h.DeleteImage(ctx, "ami-base") }},
		{"terminate a machine", func(h *Host) error { return h.TerminateMachine(ctx, "i-1", false) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, machines := fakeHost(t)
			if err := h.StartMachine(ctx, "i-1"); err != nil {
				t.Fatal(err)
			}
			breakState(t, h)
			before, volumes := files(t, h.config.StateDir), machines.last().volumes()
			if err := c.do(h); err == nil {
				t.Error("it is done, and not kept")
			}
			if after := files(t, h.config.StateDir); after != before {
				t.Errorf("files changed from\n%s\nto\n%s", before, after)
			}
			if after := machines.last().volumes(); !slices.Equal(after, volumes) {
				t.Errorf("the machine has %v, and had %v", after, volumes)
			}
			if len(h.state.Machines) != 1 || h.hasVolume("vol-new") || h.state.holder("vol-free") != "" {
				t.Errorf("the state is %+v", h.state)
			}
		})
	}
}

// An image of a stopped machine is its disk under more names, or there is none of them.
func TestImageIsWholeOrNot(t *testing.T) {
	h, _ := fakeHost(t)
	disk := h.config.volumePath(h.state.Machines["i-1"].RootVolume)
	if err := os.WriteFile(disk, []byte("disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := files(t, h.config.StateDir)
	// The snapshot's name is taken.
	taken := h.config.snapshotPath("snap-taken")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.CreateImage(t.Context(), "i-1", "ami-new", "snap-taken"); !errors.Is(err, os.ErrExist) {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(taken); err != nil {
		t.Fatal(err)
	}
	breakState(t, h)
	if err := h.CreateImage(t.Context(), "i-1", "ami-new", "snap-new"); err == nil {
		t.Error("it is made, and not kept")
	}
	if after := files(t, h.config.StateDir); after != before || h.state.Machines["i-1"].Image != "ami-base" {
		t.Errorf(
			"the machine stands on %s; files changed from\n%s\nto\n%s",
			h.state.Machines["i-1"].Image,
			before,
			after,
		)
	}
	if err := os.Remove(h.config.statePath()); err != nil {
		t.Fatal(err)
	}
	if err := h.CreateImage(t.Context(), "i-1", "ami-new", "snap-new"); err != nil {
		t.Fatal(err)
	}
	if h.state.Machines["i-1"].Image != "ami-new" || exists(disk) || !exists(h.config.layerPath("ami-new")) {
		t.Errorf("the machine stands on %s; files\n%s", h.state.Machines["i-1"].Image, files(t, filepath.Dir(disk)))
	}
}
