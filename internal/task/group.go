package task

import (
	"context"
	"errors"
)

// Group is a local group.
type Group struct {
	// Its name.
	Group string `json:"group" mapstructure:"group" required:"true"`
	// A system group, with a number below 1000. The default is false.
	System bool `json:"system,omitempty" mapstructure:"system"`
	// `present` (the default) or `absent`.
	State string `json:"state,omitempty" mapstructure:"state"`
}

// Kind is "group".
func (Group) Kind() string { return "group" }

// Validate reports what is wrong with the description.
func (g Group) Validate() error {
	return errors.Join(checkName("group", userName, g.Group), oneOf("state", g.State, Present, Absent))
}

// Check asks whether there is such a group.
func (g Group) Check(ctx context.Context, m Machine) (Difference, error) {
	_, err := m.Run(ctx, Program{Argv: []string{"getent", "group", g.Group}})
	var failed *CommandError
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	there := err == nil
	switch {
	case there == (g.State != Absent):
		return nil, nil
	case there:
		return command("remove group "+g.Group, "groupdel", g.Group), nil
	case g.System:
		return command("add group "+g.Group, "groupadd", "--system", g.Group), nil
	}
	return command("add group "+g.Group, "groupadd", g.Group), nil
}
