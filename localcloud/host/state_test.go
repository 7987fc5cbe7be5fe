package host

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/durable"
)

// testState is a base with three layers on it, and a second one on the first layer.
func testState() state {
	return state{
		Images: map[string]imageState{
			"ami-base":   {Base: "trixie-new"},
			"trixie-old": {Base: "trixie-old", Deleted: true},
			"ami-1": {
				Parent: "trixie-old",
			},
			"ami-2":    {Parent: "ami-1"},
			"ami-3":    {Parent: "ami-2"},
			"ami-side": {Parent: "ami-1"},
		},
		Machines: map[string]machineState{}, Volumes: map[string]volumeState{},
	}
}

func TestChain(t *testing.T) {
	s := testState()
	s.Images["ami-loop"] = imageState{Parent: "ami-loop"}
	s.Images["ami-orphan"] = imageState{Parent: "ami-lost"}
	for _, c := range []struct {
		image  string
		layers []string
		base   string
		err    string
	}{
		{image: "ami-base", base: "trixie-new"},
		{image: "ami-3", layers: []string{"ami-3", "ami-2", "ami-1"}, base: "trixie-old"},
		{image: "ami-side", layers: []string{"ami-side", "ami-1"}, base: "trixie-old"},
		{image: "ami-orphan", err: "image ami-lost is not here"},
		{image: "ami-loop", err: "stands on itself"},
		{image: "ami-none", err: "image ami-none is not here"},
	} {
		t.Run(c.image, func(t *testing.T) {
			layers, base, err := s.chain(c.image)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("error is %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || !slices.Equal(layers, c.layers) || base != c.base {
				t.Errorf("got %v on %s, %v", layers, base, err)
			}
		})
	}
}

func TestUnused(t *testing.T) {
	for _, c := range []struct {
		name    string
		deleted []string
		machine string // the image of a machine
		want    []string
	}{
		{name: "nothing is deleted"},
		{name: "others stand on it", deleted: []string{"ami-1", "ami-2"}},
		{name: "the top", deleted: []string{"ami-3"}, want: []string{"ami-3"}},
		{name: "a machine stands on it", deleted: []string{"ami-3", "ami-2"}, machine: "ami-3"},
		{
			name:    "all, to the old base",
			deleted: []string{"ami-1", "ami-2", "ami-3", "ami-side"},
			want:    []string{"ami-1", "ami-2", "ami-3", "ami-side", "trixie-old"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := testState()
			for _, id := range c.deleted {
				image := s.Images[id]
				image.Deleted = true
				s.Images[id] = image
			}
			if c.machine != "" {
				s.Machines["i-1"] = machineState{Machine: Machine{Image: c.machine}}
			}
			if got := s.unused(); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// A machine keeps its base when the base's id leads to a newer one.
func TestPin(t *testing.T) {
	s := testState()
	m := Machine{ID: "i-1", Image: "ami-base"}
	s.pin(&m)
	s.Machines[m.ID] = machineState{Machine: m}
	s.Images["ami-base"] = imageState{Base: "trixie-newest"}
	if layers, base, err := s.chain(m.Image); err != nil || base != "trixie-new" || len(layers) > 0 {
		t.Errorf("the machine stands on %v, %s, %v", layers, base, err)
	}
	if unused := s.unused(); slices.Contains(unused, "trixie-new") {
		t.Errorf("%v would go", unused)
	}
	layered := Machine{Image: "ami-3"}
	if s.pin(&layered); layered.Image != "ami-3" {
		t.Errorf("a machine of a layer stands on %s", layered.Image)
	}
}

func TestStateIsKept(t *testing.T) {
	h := &Host{config: Config{StateDir: t.TempDir()}, state: testState()}
	path := h.config.statePath()
	if err := h.change(func(*state) error { return nil }); err != nil {
		t.Fatal(err)
	}
	var s state
	if err := s.load(path); err != nil {
		t.Fatal(err)
	}
	if len(s.Images) != len(testState().Images) || s.Machines == nil {
		t.Errorf("got %+v", s)
	}
	if err := durable.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a broken file gives %v", err)
	}
}

// A change that is refused, or that cannot be kept, is not made.
func TestChangeIsWholeOrNot(t *testing.T) {
	h := &Host{config: Config{StateDir: t.TempDir()}, state: testState()}
	add := func(s *state) error {
		s.Machines["i-1"] = machineState{Machine: Machine{ID: "i-1", RootVolume: "vol-1"}}
		s.Volumes["vol-2"] = volumeState{SizeGB: 1}
		return s.attach("vol-2", "i-1", "/dev/sdf")
	}
	refused := errors.New("refused")
	err := h.change(func(s *state) error { return errors.Join(add(s), refused) })
	if !errors.Is(err, refused) || len(h.state.Machines) > 0 {
		t.Errorf("got %v, and %v", err, h.state.Machines)
	}
	if err = h.change(add); err != nil {
		t.Fatal(err)
	}
	if err = os.Remove(h.config.statePath()); err != nil {
		t.Fatal(err)
	}
	if err = os.Mkdir(h.config.statePath(), 0o700); err != nil { // which no file can replace
		t.Fatal(err)
	}
	err = h.change(func(s *state) error { return s.detach("i-1", "/dev/sdf") })
	if err == nil || h.state.holder("vol-2") != "i-1" {
		t.Errorf("got %v; the volume is held by %q", err, h.state.holder("vol-2"))
	}
}
