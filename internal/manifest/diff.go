package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Difference lists the differences between two images.
type Difference struct {
	// Packages, Units, Sockets and Files each are sorted lines: "+ name" is new, "- name" is gone, "~ name" has
	// changed.
	Packages []string `json:"packages"`
	Units    []string `json:"units"`
	Sockets  []string `json:"sockets"`
	// Configuration is the files below /etc, Files all others.
	Configuration []string `json:"configuration"`
	Files         []string `json:"files"`
}

// Empty says whether the images are the same, as far as manifests go.
func (d Difference) Empty() bool {
	return len(d.Packages)+len(d.Units)+len(d.Sockets)+len(d.Configuration)+len(d.Files) == 0
}

// Diff compares two manifests.
func Diff(a, b *Manifest) Difference {
	files := func(m *Manifest, want bool) map[string]string {
		all := map[string]string{}
		for _, f := range m.Files {
			if strings.HasPrefix(f.Path, "/etc/") != want {
				continue
			}
			all[f.Path] = strings.TrimSpace(fmt.Sprintf("%s %s %s %s", f.Mode, f.Owner, f.Digest, f.Link))
		}
		return all
	}
	packages := func(m *Manifest) map[string]string {
		all := map[string]string{}
		for _, p := range m.Packages {
			all[p.Name+":"+p.Arch] = p.Version
		}
		return all
	}
	sockets := func(m *Manifest) map[string]string {
		all := map[string]string{}
		for _, s := range m.Sockets {
			all[s] = ""
		}
		return all
	}
	return Difference{
		Packages: compare(
			packages(a),
			packages(b),
			true,
		),
		Units:   compare(a.Units, b.Units, true),
		Sockets: compare(sockets(a), sockets(b), false),
		Configuration: compare(
			files(a, true),
			files(b, true),
			false,
		),
		Files: compare(files(a, false), files(b, false), false),
	}
}

// compare lists what differs; values are shown where they are fit for people.
func compare(a, b map[string]string, show bool) []string {
	names := map[string]bool{}
	for _, m := range []map[string]string{a, b} {
		for name := range m {
			names[name] = true
		}
	}
	lines := []string{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, had := a[name]
		after, has := b[name]
		line, value := "- "+name, before
		switch {
		case had && has && before == after:
			continue
		case had && has:
			line, value = "~ "+name, before+" -> "+after
		case has:
			line, value = "+ "+name, after
		}
		if show {
			line += " " + value
		}
		lines = append(lines, line)
	}
	return lines
}
