package task

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
)

// Unit is a systemd unit file or, with DropIn, a drop-in for one, in /etc/systemd/system. systemd is told to read its
// configuration again when the file changed.
type Unit struct {
	Unit    string `json:"unit"`              // for example app.service
	DropIn  string `json:"drop_in,omitempty"` // for example 50-limits.conf
	Content Blob   `json:"-"`
	State   string `json:"state,omitempty"` // present (default) or absent
}

// UnitBlock is a unit file, or a drop-in, in /etc/systemd/system.
type UnitBlock struct {
	// The unit's name, for example `app.service`.
	Unit string `mapstructure:"unit" required:"true"`
	// The name of a drop-in, for example `50-limits.conf`; without it, the unit itself is meant.
	DropIn string `mapstructure:"drop_in"`
	// The content. Either this or `source`.
	Content string `mapstructure:"content"`
	// A template on this machine with the content. Either this or `content`.
	Source string `mapstructure:"source"`
	// `present` (the default) or `absent`.
	State string `mapstructure:"state"`
}

// Kind is "unit".
func (Unit) Kind() string { return "unit" }

// Kind is "unit".
func (UnitBlock) Kind() string { return "unit" }

// Spec renders the source.
func (b UnitBlock) Spec(render func(string) ([]byte, error)) (Spec, error) {
	spec := Unit{Unit: b.Unit, DropIn: b.DropIn, State: b.State}
	if b.State == Absent {
		return spec, nil
	}
	if (b.Content == "") == (b.Source == "") {
		return nil, errors.New("content: either content or source is needed")
	}
	content := []byte(b.Content)
	if b.Source != "" {
		var err error
		if content, err = render(b.Source); err != nil {
			return nil, fmt.Errorf("source: %w", err)
		}
	}
	spec.Content = Bytes(content)
	return spec, nil
}

// Validate reports what is wrong with the description.
func (u Unit) Validate() error {
	return errors.Join(checkName("unit", unitName, u.Unit),
		optional(u.DropIn, checkName("drop_in", dropInName, u.DropIn)), oneOf("state", u.State, Present, Absent),
		checkContent(u.State, u.Content))
}

func (u Unit) content() Blob { return u.Content }

func (u Unit) withContent(blob Blob) (Spec, error) {
	u.Content = blob
	return u, nil
}

// Check compares the unit's file.
func (u Unit) Check(ctx context.Context, m Machine) (Difference, error) {
	path := m.path("/etc/systemd/system", u.Unit)
	if u.DropIn != "" {
		path = m.path("/etc/systemd/system", u.Unit+".d", u.DropIn)
	}
	written, err := File{Path: path, Content: u.Content, State: u.State}.Check(ctx, m)
	if err != nil || written == nil {
		return nil, err
	}
	d := changeUnit{Difference: written}
	if u.DropIn != "" && u.State != Absent {
		d.directory, err = Directory{Path: filepath.Dir(path)}.Check(ctx, m)
	}
	return d, err
}

// changeUnit is the difference of a unit's file.
type changeUnit struct {
	Difference
	directory Difference // of a drop-in; nil where it is there
}

func (d changeUnit) Apply(ctx context.Context, m Machine) error {
	if d.directory != nil {
		if err := d.directory.Apply(ctx, m); err != nil {
			return err
		}
	}
	return errors.Join(d.Difference.Apply(ctx, m), m.Run.Call(ctx, "systemctl", "daemon-reload"))
}
