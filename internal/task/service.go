package task

import (
	"context"
	"errors"
	"strings"
)

// Service is the state of a systemd unit.
type Service struct {
	// The unit's name, for example `nginx.service`.
	Unit string `json:"unit" mapstructure:"unit" required:"true"`
	// `started`, `stopped`, `restarted` or `reloaded`; the last two always change. The default leaves it as it is.
	State string `json:"state,omitempty" mapstructure:"state"`
	// Whether it starts at boot. The default leaves it as it is.
	Enabled *bool `json:"enabled,omitempty" mapstructure:"enabled"`
	// Whether it can be started at all. The default leaves it as it is.
	Masked *bool `json:"masked,omitempty" mapstructure:"masked"`
}

// Kind is "service".
func (Service) Kind() string { return "service" }

// Validate reports what is wrong with the description.
func (s Service) Validate() error {
	err := errors.Join(
		checkName("unit", unitName, s.Unit),
		oneOf("state", s.State, Started, Stopped, Restarted, Reloaded),
	)
	if s.State == "" && s.Enabled == nil && s.Masked == nil {
		return errors.Join(err, errors.New("state: one of state, enabled and masked is needed"))
	}
	if s.Masked != nil && *s.Masked && (s.State != "" && s.State != Stopped || s.Enabled != nil && *s.Enabled) {
		return errors.Join(err, errors.New("masked: a masked unit can be neither enabled nor started"))
	}
	return err
}

// Check reads the unit's states in one call and lists the systemctl verbs that are needed.
func (s Service) Check(ctx context.Context, m Machine) (Difference, error) {
	out, err := m.Run(ctx, Program{
		Argv: []string{"systemctl", "show", "--property=LoadState,ActiveState,UnitFileState", s.Unit},
	})
	if err != nil {
		return nil, err
	}
	is := map[string]string{}
	for each := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(each), "=")
		is[key] = value
	}
	verbs, err := s.verbs(is)
	if err != nil || len(verbs) == 0 {
		return nil, err
	}
	return changeService{unit: s.Unit, verbs: verbs}, nil
}

// verbs are the systemctl commands that a unit in these states needs.
func (s Service) verbs(is map[string]string) ([]string, error) {
	masked := is["LoadState"] == "masked"
	if is["LoadState"] == "not-found" && (s.Masked == nil || !*s.Masked) {
		return nil, errors.New("systemd does not know unit " + s.Unit)
	}
	var verbs []string
	if s.Masked != nil && !*s.Masked && masked {
		verbs = append(verbs, "unmask")
	}
	verbs = append(verbs, s.stateVerbs(is["ActiveState"])...)
	verbs = append(verbs, s.enabledVerbs(is["UnitFileState"])...)
	if s.Masked != nil && *s.Masked && !masked {
		verbs = append(verbs, "mask")
	}
	return verbs, nil
}

// enabledVerbs have a unit of this UnitFileState start at boot, or not. A static one cannot be enabled.
func (s Service) enabledVerbs(unitFileState string) []string {
	enabled := strings.HasPrefix(unitFileState, "enabled")
	switch {
	case s.Enabled == nil:
	case *s.Enabled && !enabled && unitFileState != "static" && unitFileState != "indirect":
		return []string{"enable"}
	case !*s.Enabled && enabled:
		return []string{"disable"}
	}
	return nil
}

// stateVerbs bring a unit of this ActiveState into the wanted State.
func (s Service) stateVerbs(activeState string) []string {
	active := activeState == "active" || activeState == "activating" || activeState == "reloading"
	switch {
	case s.State == Stopped && active:
		return []string{"stop"}
	case s.State == Started && !active:
		return []string{"start"}
	case s.State == Restarted:
		return []string{"restart"}
	case s.State == Reloaded:
		return []string{"reload-or-restart"}
	}
	return nil
}

// changeService is the difference of a unit's state.
type changeService struct {
	unit  string
	verbs []string
}

func (d changeService) String() string { return strings.Join(d.verbs, ", ") + " " + d.unit }

func (d changeService) Apply(ctx context.Context, m Machine) error {
	for _, verb := range d.verbs {
		if err := m.Run.Call(ctx, "systemctl", verb, d.unit); err != nil {
			return d.withJournal(ctx, m, err)
		}
	}
	return nil
}

// withJournal adds to a failure what the unit said last: systemctl itself says only that it failed.
func (d changeService) withJournal(ctx context.Context, m Machine, err error) error {
	var failed *CommandError
	if !errors.As(err, &failed) {
		return err
	}
	journal, logErr := m.Run(ctx, Program{
		Argv: []string{"journalctl", "--no-pager", "--output=cat", "--lines=20", "--unit=" + d.unit},
	})
	if logErr == nil && journal != "" {
		failed.Stderr = strings.TrimSpace(failed.Stderr) + "\n" + journal
	}
	return err
}
