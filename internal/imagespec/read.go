package imagespec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// ErrNotForKind says that no fragment in an image is for the wanted kind of tier.
var ErrNotForKind = errors.New("the image is not made for this kind of tier")

type fragment struct {
	path string
	Description
}

// Read merges the fragments in a directory that are for a kind of tier. It is ErrNotForKind if none is.
func Read(dir, kind string) (Description, error) {
	all, err := fragments(dir)
	if err != nil {
		return Description{}, err
	}
	return mergeFor(all, kind, dir)
}

// ReadStream is Read of fragments that follow one another in a stream, as cat prints the files of an instance.
func ReadStream(stream io.Reader, kind string) (Description, error) {
	var all []fragment
	for decoder := json.NewDecoder(stream); ; {
		path := fmt.Sprintf("fragment %d", len(all)+1)
		var text json.RawMessage
		err := decoder.Decode(&text)
		if errors.Is(err, io.EOF) {
			return mergeFor(all, kind, "what was read")
		}
		if err == nil {
			var f fragment
			f, err = parseFragment(path, text)
			all = append(all, f)
		}
		if err != nil {
			return Description{}, fmt.Errorf("read the image's description, %s: %w", path, err)
		}
	}
}

// mergeFor merges those of the fragments that are for a kind of tier. where says where they are.
func mergeFor(all []fragment, kind, where string) (Description, error) {
	var other []string
	found := false
	for _, f := range all {
		found = found || f.Kind == kind
		if f.Kind != kind && f.Kind != "" {
			other = append(other, filepath.Base(f.path)+" is for "+f.Kind)
		}
	}
	if !found {
		detail := "nothing describes it"
		if len(other) > 0 {
			detail = strings.Join(other, ", ")
		}
		return Description{}, fmt.Errorf("%w: %s is wanted, and in %s %s", ErrNotForKind, kind, where, detail)
	}
	return merge(all, kind)
}

// Check reads all fragments, for each kind that they are for, and returns their version: 0 where there is none.
func Check(dir string) (version int, err error) {
	all, err := fragments(dir)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	var kinds []string
	for _, f := range all {
		if !slices.Contains(kinds, f.Kind) {
			kinds = append(kinds, f.Kind)
		}
	}
	var errs []error
	for _, kind := range kinds {
		if kind == "" && len(kinds) > 1 { // part of the others
			continue
		}
		_, err := merge(all, kind)
		errs = append(errs, err)
	}
	return Version, errors.Join(errs...)
}

func fragments(dir string) ([]fragment, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json")) // sorted
	if err != nil {
		return nil, err
	}
	var all []fragment
	var errs []error
	for _, path := range paths {
		text, err := os.ReadFile(path)
		var f fragment
		if err == nil {
			f, err = parseFragment(path, text)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read the image's description %s: %w", path, err))
			continue
		}
		all = append(all, f)
	}
	return all, errors.Join(errs...)
}

func parseFragment(path string, text []byte) (fragment, error) {
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return fragment{}, err
	}
	switch {
	case head.Version == nil:
		return fragment{}, fmt.Errorf(
			"it has no version\nhint: it is of an older goldsmith; bake the image anew with this one",
		)
	case *head.Version != Version:
		return fragment{}, fmt.Errorf("version %d is not known here; version %d is"+
			"\nhint: bake the image anew, all of it with one version of goldsmith", *head.Version, Version)
	}
	f := fragment{path: path}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f.Description); err != nil {
		return fragment{}, err
	}
	return f, f.validate()
}

// merger puts fragments together. claims are the values of items with the path of their first fragment, by the item's
// name.
type merger struct {
	Description
	claims map[string]claim
	errs   []error
}

type claim struct {
	path  string
	value any
}

// takes tells whether the value is new. Two fragments may say the same of an item; if they differ it is a conflict.
func (m *merger) takes(path, item string, value any) bool {
	before, ok := m.claims[item]
	if !ok {
		m.claims[item] = claim{path, value}
		return true
	}
	if !reflect.DeepEqual(before.value, value) {
		m.errs = append(m.errs, fmt.Errorf("read the image's description: %s is described in two ways, by %s and by %s",
			item, before.path, path))
	}
	return false
}

func merge(all []fragment, kind string) (Description, error) {
	m := merger{Description: Description{Version: Version, Kind: kind}, claims: map[string]claim{}}
	for _, f := range all {
		if f.Kind == kind || f.Kind == "" {
			m.add(f)
		}
	}
	m.resolve()
	if err := errors.Join(m.errs...); err != nil {
		return Description{}, err
	}
	return m.Description, nil
}

func (m *merger) add(f fragment) {
	m.Units = take(m, f.path, m.Units, f.Units, func(u Unit) string { return "unit " + u.Name })
	m.Ports = take(m, f.path, m.Ports, f.Ports, func(p Port) string { return "port " + p.Name })
	for _, p := range f.Ports {
		m.takes(f.path, "port "+strconv.Itoa(p.Port), p)
	}
	m.Probes = take(m, f.path, m.Probes, f.Probes, func(p Probe) string { return "probe " + p.Name })
	m.Secrets = take(m, f.path, m.Secrets, f.Secrets, func(s Secret) string {
		if s.Path == "" {
			return "secret " + s.Tier + "/" + s.Parameter
		}
		return "file " + s.Path
	})
	m.Environments = take(
		m,
		f.path,
		m.Environments,
		f.Environments,
		func(e Environment) string { return "file " + e.Path },
	)
	m.Logs = take(m, f.path, m.Logs, f.Logs, func(l Log) string { return "log " + l.Name })
	m.needs(f)
	if c := f.Certificate; c != nil && m.takes(f.path, "the certificate", *c) {
		m.takes(f.path, "file "+c.Path, *c)
		m.takes(f.path, "file "+c.KeyPath, *c)
		m.Certificate = c
	}
	if f.Data != nil && m.takes(f.path, "the data", *f.Data) {
		m.Data = f.Data
	}
	if f.Setup != nil && m.takes(f.path, "the setup", *f.Setup) {
		m.Setup = f.Setup
	}
}

func take[T any](m *merger, path string, into, values []T, item func(T) string) []T {
	for _, value := range values {
		if m.takes(path, item(value), value) {
			into = append(into, value)
		}
	}
	return into
}

// needs adds the units of several fragments that need the same tier.
func (m *merger) needs(f fragment) {
	for _, need := range f.Needs {
		m.takes(f.path, "port of the needed tier "+need.Tier, need.Port)
		i := slices.IndexFunc(m.Needs, func(n Need) bool { return n.Tier == need.Tier })
		if i < 0 {
			need.Units = slices.Clone(need.Units)
			m.Needs = append(m.Needs, need)
			continue
		}
		for _, unit := range need.Units {
			if !slices.Contains(m.Needs[i].Units, unit) {
				m.Needs[i].Units = append(m.Needs[i].Units, unit)
			}
		}
	}
}

// resolve looks for what items name and no fragment has.
func (m *merger) resolve() {
	dangling := func(item, missing string) {
		m.errs = append(m.errs, fmt.Errorf("read the image's description %s: %s needs %s, which no fragment has",
			m.claims[item].path, item, missing))
	}
	for _, p := range m.Probes {
		if _, ok := m.claims["port "+p.Port]; p.Port != "" && !ok {
			dangling("probe "+p.Name, "port "+p.Port)
		}
	}
	for _, l := range m.Logs {
		if _, ok := m.claims["unit "+l.Unit]; !ok {
			dangling("log "+l.Name, "unit "+l.Unit)
		}
	}
	for _, e := range m.Environments {
		for _, v := range e.Variables {
			tier := v.AddressOf + v.PortOf
			if tier != "" && !slices.ContainsFunc(m.Needs, func(n Need) bool { return n.Tier == tier }) {
				dangling("file "+e.Path, "tier "+tier)
			}
		}
	}
	if m.Data != nil && m.Setup == nil {
		dangling("the data", "a setup, by which its server's version is known,")
	}
	for _, s := range m.Secrets {
		if s.Path == "" && m.Setup == nil {
			dangling("secret "+s.Tier+"/"+s.Parameter, "a path or a setup")
		}
	}
}

// CheckTag tells by the tag of an AMI whether this goldsmith and the image understand each other. sealed says that a
// goldsmith has baked the image; the tags of an image that another account shares cannot be seen, and say nothing.
func CheckTag(tag string, sealed bool) error {
	const hint = "\nhint: bake the image anew with this goldsmith"
	switch {
	case tag == strconv.Itoa(Version), tag == "" && !sealed:
		return nil
	case tag == "":
		return fmt.Errorf(
			"it has no tag %s: it is of an older goldsmith, or no provisioner described what it runs%s",
			Tag,
			hint,
		)
	}
	return fmt.Errorf(
		"its description is of version %s, and version %d is known here%s, or deploy with the one that baked it",
		tag,
		Version,
		hint,
	)
}
