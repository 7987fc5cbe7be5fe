package task

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// User is a local user without a password.
type User struct {
	// Its name.
	User string `json:"user" mapstructure:"user" required:"true"`
	// A system user, with a number below 1000 and no shell. The default is false.
	System bool `json:"system,omitempty" mapstructure:"system"`
	// The primary group. The default is one of the user's name.
	Group string `json:"group,omitempty" mapstructure:"group"`
	// More groups, beside those that it has.
	Groups []string `json:"groups,omitempty" mapstructure:"groups"`
	// The home directory.
	Home string `json:"home,omitempty" mapstructure:"home"`
	// Make the home directory. The default is false.
	CreateHome bool `json:"create_home,omitempty" mapstructure:"create_home"`
	// The login shell.
	Shell string `json:"shell,omitempty" mapstructure:"shell"`
	// `present` (the default) or `absent`.
	State string `json:"state,omitempty" mapstructure:"state"`
}

// Kind is "user".
func (User) Kind() string { return "user" }

// Validate reports what is wrong with the description.
func (u User) Validate() error {
	return errors.Join(checkName("user", userName, u.User), optional(u.Group, checkName("group", userName, u.Group)),
		eachName("groups", userName, u.Groups), oneOf("state", u.State, Present, Absent),
		optional(u.Home, checkPath("home", u.Home)), optional(u.Shell, checkPath("shell", u.Shell)))
}

// Check compares the user's entry of passwd(5) and its groups with what should be.
func (u User) Check(ctx context.Context, m Machine) (Difference, error) {
	entry, err := m.Run(ctx, Program{Argv: []string{"getent", "passwd", u.User}})
	var failed *CommandError
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	there := err == nil
	switch {
	case u.State == Absent && !there:
		return nil, nil
	case u.State == Absent:
		return command("remove user "+u.User, "userdel", u.User), nil
	case !there:
		return command("add user "+u.User, u.add()...), nil
	}
	groups, err := m.Run(ctx, Program{Argv: []string{"id", "--name", "--groups", u.User}})
	if err != nil {
		return nil, err
	}
	options, shown := u.modify(strings.TrimSpace(entry), strings.Fields(groups))
	if len(options) == 0 {
		return nil, nil
	}
	return command(strings.Join(shown, "\n"), slices.Concat([]string{"usermod"}, options, []string{u.User})...), nil
}

// add is the command that makes the user.
func (u User) add() []string {
	argv := []string{"useradd"}
	if u.System {
		argv = append(argv, "--system")
	}
	shell := u.Shell
	if shell == "" && u.System {
		shell = "/usr/sbin/nologin"
	}
	for _, option := range []struct{ name, value string }{
		{"--gid", u.Group},
		{"--groups", strings.Join(u.Groups, ",")},
		{"--home-dir", u.Home},
		{"--shell", shell},
	} {
		if option.value != "" {
			argv = append(argv, option.name, option.value)
		}
	}
	if u.Group == "" {
		argv = append(argv, "--user-group")
	}
	if u.CreateHome {
		argv = append(argv, "--create-home")
	} else {
		argv = append(argv, "--no-create-home")
	}
	return append(argv, u.User)
}

// modify compares an entry of passwd(5) and the user's groups, the primary one first, with what should be.
func (u User) modify(entry string, groups []string) (options, shown []string) {
	fields := strings.Split(entry, ":")
	if len(fields) < 7 {
		return nil, nil
	}
	primary := ""
	if len(groups) > 0 {
		primary = groups[0]
	}
	for _, c := range []struct{ option, is, should string }{
		{"--home", fields[5], u.Home},
		{"--shell", fields[6], u.Shell},
		{"--gid", primary, u.Group},
	} {
		if c.should != "" && c.is != c.should {
			options = append(options, c.option, c.should)
			shown = append(shown, fmt.Sprintf("%s: %s -> %s", strings.TrimPrefix(c.option, "--"), c.is, c.should))
		}
	}
	var missing []string
	for _, group := range u.Groups {
		if !slices.Contains(groups, group) {
			missing = append(missing, group)
		}
	}
	if len(missing) > 0 {
		options = append(options, "--append", "--groups", strings.Join(missing, ","))
		shown = append(shown, "groups: add "+strings.Join(missing, ", "))
	}
	return options, shown
}
