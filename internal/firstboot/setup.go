package firstboot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// Setup has first boot's steps for one kind of server that a description cannot express.
type Setup interface {
	// Prepare runs at each boot, before the units of the tier start.
	Prepare(context.Context, Boot) error
	// Server is the installed server, by which it is known whether it can open the tier's data.
	Server(context.Context) (instance.Server, error)
	// Start runs once the server has started.
	Start(context.Context, Instance) error
	// Pause stops the writes of a server that is about to give up its data. What cannot be done is logged: the data is
	// given up in any case.
	Pause(context.Context)
	// Resume undoes Pause, on a server that still runs or before one is started again.
	Resume(ctx context.Context, running bool) error
}

// Setups are the known setups by the names that descriptions have for them; each takes the settings there.
type Setups map[string]func(settings json.RawMessage) (Setup, error)

// of is the setup that a description names, or nil.
func (s Setups) of(d imagespec.Description) (Setup, error) {
	if d.Setup == nil {
		return nil, nil
	}
	newSetup, ok := s[d.Setup.Name]
	if !ok {
		known := slices.Sorted(maps.Keys(s))
		return nil, fmt.Errorf("read the image's description: setup %q is not known here, only %s"+
			"\nhint: bake the image anew, all of it with one version of goldsmith",
			d.Setup.Name, strings.Join(known, ", "))
	}
	setup, err := newSetup(d.Setup.Settings)
	if err != nil {
		return nil, fmt.Errorf("read the image's description: setup %s: %w", d.Setup.Name, err)
	}
	return setup, nil
}

// StartSetup runs once the server of a data tier has started. On any other machine it does nothing.
func StartSetup(ctx context.Context, setups Setups) error {
	i, err := readInstance()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	d, err := i.describe()
	if err != nil {
		return err
	}
	setup, err := setups.of(d)
	if err != nil || setup == nil {
		return err
	}
	return setup.Start(ctx, i)
}
