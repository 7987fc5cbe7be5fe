package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/durable"
)

// state holds a cloud's disks and machines; it is one file, replaced atomically at each change.
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

// clone copies a state, but for the volumes of a machine: those are replaced, never changed.
func (s state) clone() state {
	return state{Images: maps.Clone(s.Images), Machines: maps.Clone(s.Machines), Volumes: maps.Clone(s.Volumes)}
}

// change changes the state and keeps it. What cannot be done or kept changes nothing.
func (h *Host) change(f func(*state) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := h.state.clone()
	if err := f(&changed); err != nil {
		return err
	}
	text, err := json.MarshalIndent(changed, "", " ")
	if err != nil {
		return fmt.Errorf("write the cloud's state: %w", err)
	}
	if err := durable.WriteFile(h.config.statePath(), text, 0o600); err != nil {
		return err
	}
	h.state = changed
	return nil
}

// attach notes that a machine has a volume. The caller has checked what it was given.
func (s *state) attach(volume, machine, device string) error {
	m, ok := s.Machines[machine]
	if !ok {
		return fmt.Errorf("attach volume %s: there is no machine %s", volume, machine)
	}
	if _, ok := s.Volumes[volume]; !ok {
		return fmt.Errorf("attach volume %s to machine %s: there is no such volume", volume, machine)
	}
	if holder := s.holder(volume); holder != "" {
		return fmt.Errorf("attach volume %s to machine %s: machine %s has it", volume, machine, holder)
	}
	if other := m.Volumes[device]; other != "" {
		return fmt.Errorf("attach volume %s to machine %s: %s is already volume %s", volume, machine, device, other)
	}
	attached := map[string]string{device: volume}
	maps.Copy(attached, m.Volumes)
	m.Volumes = attached
	s.Machines[machine] = m
	return nil
}

// detach notes that a machine has lost a volume.
func (s *state) detach(machine, device string) error {
	m, ok := s.Machines[machine]
	if !ok || m.Volumes[device] == "" {
		return fmt.Errorf("detach %s of machine %s: nothing is attached there", device, machine)
	}
	m.Volumes = maps.Clone(m.Volumes)
	delete(m.Volumes, device)
	s.Machines[machine] = m
	return nil
}

// rootOf returns the machine whose root a volume is, or nothing.
func (s *state) rootOf(volume string) string {
	for id, m := range s.Machines {
		if m.RootVolume == volume {
			return id
		}
	}
	return ""
}

// holder returns the machine that has a volume, as its root or beside it.
func (s *state) holder(volume string) string {
	if id := s.rootOf(volume); id != "" {
		return id
	}
	for id, m := range s.Machines {
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

// chain returns the images that an image stands on, itself first, and the base under them all.
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

// unused returns the deleted images that nothing stands on any more.
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
