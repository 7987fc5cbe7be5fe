package task

import (
	"context"
	"errors"
	"slices"
	"strings"
)

// AptHold is packages that keep the version they have.
type AptHold struct {
	// The packages' names.
	Names []string `json:"names" mapstructure:"names" required:"true"`
	// `present` (the default) or `absent`.
	State string `json:"state,omitempty" mapstructure:"state"`
}

// Kind is "apt_hold".
func (AptHold) Kind() string { return "apt_hold" }

// Validate reports what is wrong with the description.
func (h AptHold) Validate() error {
	return errors.Join(
		nonEmpty("names", h.Names),
		eachName("names", packageName, h.Names),
		oneOf("state", h.State, Present, Absent),
	)
}

// Check asks which of the packages are held.
func (h AptHold) Check(ctx context.Context, m Machine) (Difference, error) {
	held, err := m.Run(ctx, Program{Argv: append([]string{"apt-mark", "showhold"}, h.Names...)})
	if err != nil {
		return nil, err
	}
	is := strings.Fields(held)
	verb, want := "hold", true
	if h.State == Absent {
		verb, want = "unhold", false
	}
	var differ []string
	for _, name := range h.Names {
		if slices.Contains(is, name) != want {
			differ = append(differ, name)
		}
	}
	if len(differ) == 0 {
		return nil, nil
	}
	return command(verb+" "+strings.Join(differ, ", "), append([]string{"apt-mark", verb}, differ...)...), nil
}
