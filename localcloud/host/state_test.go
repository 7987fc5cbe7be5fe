package host

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// testState is a base with three layers on it, and a second one on the first layer.
func testState() state {
	return state{
		Images: map[string]imageState{
			"ami-base": {Base: "trixie-new"}, "trixie-old": {Base: "trixie-old", Deleted: true},
			"ami-1": {Parent: "trixie-old"}, "ami-2": {Parent: "ami-1"}, "ami-3": {Parent: "ami-2"}, "ami-side": {Parent: "ami-1"},
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
		{name: "all, to the old base", deleted: []string{"ami-1", "ami-2", "ami-3", "ami-side"}, want: []string{"ami-1", "ami-2", "ami-3", "ami-side", "trixie-old"}},
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
	path := filepath.Join(t.TempDir(), "host.json")
	if err := writeJSON(path, testState()); err != nil {
		t.Fatal(err)
	}
	var s state
	if err := s.load(path); err != nil {
		t.Fatal(err)
	}
	if len(s.Images) != len(testState().Images) || s.Machines == nil {
		t.Errorf("got %+v", s)
	}
	if err := writeFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a broken file gives %v", err)
	}
}
