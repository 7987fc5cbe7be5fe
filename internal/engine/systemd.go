package engine

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

type unitCheck struct {
	task.Unit
	run runner
}

// check compares the unit's file; after a change systemd reads its configuration again.
func (u unitCheck) check(ctx context.Context) (*change, error) {
	path := filepath.Join("/etc/systemd/system", u.Unit.Unit)
	if u.DropIn != "" {
		path = filepath.Join(path+".d", u.DropIn)
	}
	file := fileCheck{task.File{Path: path, Content: u.Content, State: u.State}, u.run}
	written, err := file.check(ctx)
	if err != nil || written == nil {
		return nil, err
	}
	return &change{diff: written.diff, apply: func(ctx context.Context) error {
		if u.DropIn != "" && u.State != task.Absent {
			directory, err := directoryCheck{task.Directory{Path: filepath.Dir(path)}}.check(ctx)
			if err != nil {
				return err
			}
			if directory != nil {
				if err := directory.apply(ctx); err != nil {
					return err
				}
			}
		}
		return errors.Join(written.apply(ctx), u.run.call(ctx, "systemctl", "daemon-reload"))
	}}, nil
}

type serviceCheck struct {
	task.Service
	run runner
}

// check reads the unit's states in one call and lists the systemctl verbs that are needed.
func (s serviceCheck) check(ctx context.Context) (*change, error) {
	out, err := s.run(ctx, program{argv: []string{"systemctl", "show", "--property=LoadState,ActiveState,UnitFileState", s.Unit}})
	if err != nil {
		return nil, err
	}
	is := map[string]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		is[key] = value
	}
	verbs, err := s.verbs(is)
	if err != nil || len(verbs) == 0 {
		return nil, err
	}
	return &change{diff: strings.Join(verbs, ", ") + " " + s.Unit, apply: func(ctx context.Context) error {
		for _, verb := range verbs {
			if err := s.run.call(ctx, "systemctl", verb, s.Unit); err != nil {
				return s.withJournal(ctx, err)
			}
		}
		return nil
	}}, nil
}

// verbs is what systemctl has to do to a unit in these states.
func (s serviceCheck) verbs(is map[string]string) ([]string, error) {
	masked := is["LoadState"] == "masked"
	if is["LoadState"] == "not-found" && (s.Masked == nil || !*s.Masked) {
		return nil, errors.New("systemd does not know unit " + s.Unit)
	}
	var verbs []string
	if s.Masked != nil && !*s.Masked && masked {
		verbs = append(verbs, "unmask")
	}
	active := is["ActiveState"] == "active" || is["ActiveState"] == "activating" || is["ActiveState"] == "reloading"
	switch {
	case s.State == task.Stopped && active:
		verbs = append(verbs, "stop")
	case s.State == task.Started && !active:
		verbs = append(verbs, "start")
	case s.State == task.Restarted:
		verbs = append(verbs, "restart")
	case s.State == task.Reloaded:
		verbs = append(verbs, "reload-or-restart")
	}
	enabled := strings.HasPrefix(is["UnitFileState"], "enabled")
	switch {
	case s.Enabled == nil:
	case *s.Enabled && !enabled && is["UnitFileState"] != "static" && is["UnitFileState"] != "indirect":
		verbs = append(verbs, "enable")
	case !*s.Enabled && enabled:
		verbs = append(verbs, "disable")
	}
	if s.Masked != nil && *s.Masked && !masked {
		verbs = append(verbs, "mask")
	}
	return verbs, nil
}

// withJournal adds to a failure what the unit said last: systemctl itself says only that it failed.
func (s serviceCheck) withJournal(ctx context.Context, err error) error {
	var failed *commandError
	if !errors.As(err, &failed) {
		return err
	}
	journal, logErr := s.run(ctx, program{argv: []string{"journalctl", "--no-pager", "--output=cat", "--lines=20", "--unit=" + s.Unit}})
	if logErr == nil && journal != "" {
		failed.stderr = strings.TrimSpace(failed.stderr) + "\n" + journal
	}
	return err
}
