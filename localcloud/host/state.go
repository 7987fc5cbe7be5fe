package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
)

// state is what a cloud remembers of its disks and machines; it is one file, replaced atomically at each change.
type state struct {
	Images   map[string]imageState   `json:"images"`
	Machines map[string]machineState `json:"machines"`
	Volumes  map[string]volumeState  `json:"volumes"`
}

// imageState is an image: a layer on top of another image, or a base.
type imageState struct {
	Base   string `json:"base,omitempty"`   // directory of a base image; no layer of its own
	Parent string `json:"parent,omitempty"` // ami-…
	// Deleted images stay while something stands on them.
	Deleted bool `json:"deleted,omitempty"`
}

type machineState struct {
	Machine
	// Volumes are the attached data volumes by device name.
	Volumes map[string]string `json:"volumes,omitempty"`
}

type volumeState struct {
	SizeGB int `json:"size_gb"`
	// Root volumes hold the overlay layers of a machine: upper and work.
	Root bool `json:"root,omitempty"`
}

func (s *state) load(path string) error {
	*s = state{Images: map[string]imageState{}, Machines: map[string]machineState{}, Volumes: map[string]volumeState{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, s); err != nil {
		return fmt.Errorf("read the cloud's state %s: %w", path, err)
	}
	return nil
}

// save is called with h.mu held.
func (h *Host) save() error { return writeJSON(h.statePath(), h.state) }

// holder is the machine that has a volume, as its root or beside it.
func (s *state) holder(volume string) string {
	for id, m := range s.Machines {
		if m.RootVolume == volume {
			return id
		}
		for _, attached := range m.Volumes {
			if attached == volume {
				return id
			}
		}
	}
	return ""
}

// pin has a machine of a base image stand on that very make of it: the id leads to another once it is made anew, of
// which a disk that was written above the old one must know nothing. The entry stays while something stands on it.
func (s *state) pin(m *Machine) {
	if base := s.Images[m.Image].Base; base != "" {
		s.Images[base] = imageState{Base: base, Deleted: true}
		m.Image = base
	}
}

// chain is the images that an image stands on, itself first, and the base under them all.
func (s *state) chain(image string) (layers []string, base string, err error) {
	for id := image; ; {
		found, ok := s.Images[id]
		if !ok {
			return nil, "", fmt.Errorf("find the layers of image %s: image %s is not here", image, id)
		}
		if found.Base != "" {
			return layers, found.Base, nil
		}
		if slices.Contains(layers, id) {
			return nil, "", fmt.Errorf("find the layers of image %s: image %s stands on itself", image, id)
		}
		layers = append(layers, id)
		id = found.Parent
	}
}

// unused are the deleted images that nothing stands on any more.
func (s *state) unused() []string {
	needed := map[string]bool{}
	for _, machine := range s.Machines {
		needed[machine.Image] = true
	}
	// An image is needed by what is launched from it, by itself while it is not deleted, and by what stands on it.
	for id, image := range s.Images {
		if !image.Deleted {
			needed[id] = true
		}
	}
	for grown := true; grown; {
		grown = false
		for id := range needed {
			if parent := s.Images[id].Parent; parent != "" && !needed[parent] {
				needed[parent], grown = true, true
			}
		}
	}
	var unused []string
	for id := range s.Images {
		if !needed[id] {
			unused = append(unused, id)
		}
	}
	slices.Sort(unused)
	return unused
}
