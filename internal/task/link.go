package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Link is a symbolic link.
type Link struct {
	// Where it is on the instance.
	Path string `json:"path" mapstructure:"path" required:"true"`
	// What it points to.
	Target string `json:"target" mapstructure:"target"`
	// `present` (the default) or `absent`.
	State string `json:"state,omitempty" mapstructure:"state"`
}

// Kind is "link".
func (Link) Kind() string { return "link" }

// Validate reports what is wrong with the description.
func (l Link) Validate() error {
	err := errors.Join(checkPath("path", l.Path), oneOf("state", l.State, Present, Absent))
	if l.State != Absent && l.Target == "" {
		return errors.Join(err, errors.New("target: it is missing"))
	}
	return err
}

// Check reads the link, and not what it points to.
func (l Link) Check(context.Context, Machine) (Difference, error) {
	info, err := os.Lstat(l.Path)
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if there && info.Mode().Type() != fs.ModeSymlink {
		return nil, fmt.Errorf("link %s: it is there and no symbolic link", l.Path)
	}
	if l.State == Absent {
		if !there {
			return nil, nil
		}
		return removePath{path: l.Path}, nil
	}
	is := ""
	if there {
		if is, err = os.Readlink(l.Path); err != nil {
			return nil, err
		}
	}
	if is == l.Target {
		return nil, nil
	}
	return relink{path: l.Path, is: is, target: l.Target}, nil
}

// relink is the difference of a link that is not there or points elsewhere.
type relink struct{ path, is, target string }

func (d relink) String() string { return fmt.Sprintf("%s: %q -> %q", d.path, d.is, d.target) }

func (d relink) Apply(context.Context, Machine) error {
	temporary := d.path + ".goldsmith-new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a run that was killed
		return err
	}
	if err := os.Symlink(d.target, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, d.path)
}
