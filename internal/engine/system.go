package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

type groupCheck struct {
	task.Group
	run runner
}

func (g groupCheck) check(context.Context) (*change, error) {
	name := g.Group.Group
	_, err := user.LookupGroup(name)
	var unknown user.UnknownGroupError
	there := err == nil
	if err != nil && !errors.As(err, &unknown) {
		return nil, err
	}
	switch {
	case there == (g.State != task.Absent):
		return nil, nil
	case there:
		return &change{diff: "remove group " + name, apply: func(ctx context.Context) error { return g.run.call(ctx, "groupdel", name) }}, nil
	}
	argv := []string{"groupadd"}
	if g.System {
		argv = append(argv, "--system")
	}
	return &change{diff: "add group " + name, apply: func(ctx context.Context) error { return g.run.call(ctx, append(argv, name)...) }}, nil
}

type userCheck struct {
	task.User
	run runner
}

func (u userCheck) check(ctx context.Context) (*change, error) {
	name := u.User.User
	entry, err := u.run(ctx, program{argv: []string{"getent", "passwd", name}})
	var failed *commandError
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	there := err == nil
	switch {
	case u.State == task.Absent && !there:
		return nil, nil
	case u.State == task.Absent:
		return &change{diff: "remove user " + name, apply: func(ctx context.Context) error { return u.run.call(ctx, "userdel", name) }}, nil
	case !there:
		return &change{diff: "add user " + name, apply: func(ctx context.Context) error { return u.run.call(ctx, u.add()...) }}, nil
	}
	groups, err := u.run(ctx, program{argv: []string{"id", "--name", "--groups", name}})
	if err != nil {
		return nil, err
	}
	options, shown := u.modify(strings.TrimSpace(entry), strings.Fields(groups))
	if len(options) == 0 {
		return nil, nil
	}
	return &change{diff: strings.Join(shown, "\n"), apply: func(ctx context.Context) error {
		return u.run.call(ctx, append(append([]string{"usermod"}, options...), name)...)
	}}, nil
}

// add is the command that makes the user.
func (u userCheck) add() []string {
	argv := []string{"useradd"}
	if u.System {
		argv = append(argv, "--system")
	}
	shell := u.Shell
	if shell == "" && u.System {
		shell = "/usr/sbin/nologin"
	}
	for _, option := range [][2]string{{"--gid", u.User.Group}, {"--groups", strings.Join(u.Groups, ",")}, {"--home-dir", u.Home}, {"--shell", shell}} {
		if option[1] != "" {
			argv = append(argv, option[0], option[1])
		}
	}
	if u.User.Group == "" {
		argv = append(argv, "--user-group")
	}
	if u.CreateHome {
		argv = append(argv, "--create-home")
	} else {
		argv = append(argv, "--no-create-home")
	}
	return append(argv, u.User.User)
}

// modify compares an entry of passwd(5) and the user's groups with what should be. The primary group of a user that
// is there is compared by name.
func (u userCheck) modify(entry string, groups []string) (options, shown []string) {
	fields := strings.Split(entry, ":")
	if len(fields) < 7 {
		return nil, nil
	}
	for _, c := range []struct{ option, is, should string }{{"--home", fields[5], u.Home}, {"--shell", fields[6], u.Shell}, {"--gid", first(groups), u.User.Group}} {
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

func first(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	return texts[0]
}

type sysctlCheck struct {
	task.Sysctl
	run runner
}

func (s sysctlCheck) check(ctx context.Context) (*change, error) {
	file := s.File
	if file == "" {
		file = "/etc/sysctl.d/60-goldsmith.conf"
	}
	spec := task.Line{Path: file, Regexp: `^\s*` + strings.ReplaceAll(s.Key, ".", `\.`) + `\s*=`, Line: s.Key + " = " + s.Value, Create: true, State: s.State}
	if s.State == task.Absent {
		spec.Line = ""
	}
	written, err := lineCheck{spec}.check(ctx)
	if err != nil || written == nil {
		return nil, err
	}
	return &change{diff: written.diff, apply: func(ctx context.Context) error {
		if err := written.apply(ctx); err != nil || s.State == task.Absent {
			return err
		}
		path := "/proc/sys/" + strings.ReplaceAll(s.Key, ".", "/")
		if err := os.WriteFile(path, []byte(s.Value), 0); err != nil && !errors.Is(err, os.ErrPermission) && !isReadOnly(err) {
			return fmt.Errorf("set %s now: %w", s.Key, err)
		}
		return nil // in a container the file is what counts: it works where the image boots
	}}, nil
}

type holdCheck struct {
	task.AptHold
	run runner
}

func (h holdCheck) check(ctx context.Context) (*change, error) {
	held, err := h.run(ctx, program{argv: append([]string{"apt-mark", "showhold"}, h.Names...)})
	if err != nil {
		return nil, err
	}
	is := strings.Fields(held)
	verb, want := "hold", true
	if h.State == task.Absent {
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
	return &change{diff: verb + " " + strings.Join(differ, ", "), apply: func(ctx context.Context) error {
		return h.run.call(ctx, append([]string{"apt-mark", verb}, differ...)...)
	}}, nil
}
