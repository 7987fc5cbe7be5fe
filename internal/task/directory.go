package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Directory is a directory with this mode and owner.
type Directory struct {
	// Where it is on the instance.
	Path string `json:"path" mapstructure:"path" required:"true"`
	// The mode in octal. The default is `0755`.
	Mode string `json:"mode,omitempty" mapstructure:"mode"`
	// The owner. The default is root.
	Owner string `json:"owner,omitempty" mapstructure:"owner"`
	// The group. The default is root.
	Group string `json:"group,omitempty" mapstructure:"group"`
	// `present` (the default), or `absent`, which removes all that is in it too.
	State string `json:"state,omitempty" mapstructure:"state"`
}

// Kind is "directory".
func (Directory) Kind() string { return "directory" }

// Validate reports what is wrong with the description.
func (d Directory) Validate() error {
	err := errors.Join(checkPath("path", d.Path), checkMode(d.Mode),
		optional(d.Owner, checkName("owner", userName, d.Owner)),
		optional(d.Group, checkName("group", userName, d.Group)), oneOf("state", d.State, Present, Absent))
	if d.State == Absent && strings.Count(filepath.Clean(d.Path), "/") < 2 {
		return errors.Join(
			err,
			fmt.Errorf("path: %s is too near the root to be removed with all that is in it", d.Path),
		)
	}
	return err
}

// Check looks at the directory, and not at what is in it.
func (d Directory) Check(context.Context, Machine) (Difference, error) {
	if d.State == Absent {
		return checkAbsent(d.Path, true)
	}
	wanted, err := wantedAttributes(d.Mode, d.Owner, d.Group, "0755")
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeDirectory{path: d.Path, wanted: wanted}, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("make directory %s: it is there and no directory", d.Path)
	}
	if shown := attributesOf(info).diff(wanted); shown != "" {
		return setAttributes{path: d.Path, wanted: wanted, shown: shown}, nil
	}
	return nil, nil
}

// makeDirectory is the difference of a directory that is not there. Those above it are made too, as root's.
type makeDirectory struct {
	path   string
	wanted attributes
}

func (d makeDirectory) String() string { return "create directory " + d.path }

func (d makeDirectory) Apply(context.Context, Machine) error {
	if err := os.MkdirAll(d.path, 0o755); err != nil {
		return err
	}
	return d.wanted.set(d.path)
}
