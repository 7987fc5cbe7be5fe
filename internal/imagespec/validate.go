package imagespec

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

var (
	itemName      = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)
	unitName      = regexp.MustCompile(`^[A-Za-z0-9:_.@-]+\.(service|socket|timer|mount|path|target)$`)
	parameterName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	// logPath matches text that a shell takes for one path or one pattern of paths.
	logPath      = regexp.MustCompile(`^[A-Za-z0-9/._*?+:@%-]+$`)
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// validate reports what is wrong with a fragment by itself.
func (d Description) validate() error {
	var errs []error
	if d.Kind != "" && d.Kind != instance.KindData && d.Kind != instance.KindService {
		errs = append(errs, fmt.Errorf("kind %q: data or service is needed", d.Kind))
	}
	for _, u := range d.Units {
		errs = append(errs, pattern(unitName, "unit", u.Name))
	}
	for _, p := range d.Ports {
		errs = append(errs, p.validate())
	}
	for _, p := range d.Probes {
		errs = append(errs, p.validate())
	}
	for _, s := range d.Secrets {
		errs = append(errs, s.validate())
	}
	for _, n := range d.Needs {
		errs = append(errs, n.validate())
	}
	for _, e := range d.Environments {
		errs = append(errs, e.validate())
	}
	for _, l := range d.Logs {
		errs = append(errs, l.validate())
	}
	if c := d.Certificate; c != nil {
		errs = append(errs, pattern(parameterName, "certificate's parameter", c.Parameter),
			pattern(parameterName, "certificate's key parameter", c.KeyParameter),
			inMemory("certificate", c.Path), inMemory("certificate's key", c.KeyPath))
	}
	if data := d.Data; data != nil {
		errs = append(errs, pattern(unitName, "unit of the data", data.Unit), absolute("data", data.Path),
			pattern(itemName, "name of the data", data.Name), pattern(itemName, "user of the data", data.User))
	}
	if d.Setup != nil {
		errs = append(errs, pattern(itemName, "setup", d.Setup.Name))
	}
	return errors.Join(errs...)
}

func (l Log) validate() error {
	errs := []error{pattern(itemName, "log", l.Name), pattern(unitName, "unit of log "+l.Name, l.Unit)}
	if l.Name == Journal {
		errs = append(errs, fmt.Errorf("log %s: every instance has one of this name", l.Name))
	}
	if l.Path != "" {
		errs = append(errs, absolute("log "+l.Name, l.Path), pattern(logPath, "path of log "+l.Name, l.Path))
	}
	return errors.Join(errs...)
}

func (p Port) validate() error {
	errs := []error{pattern(itemName, "port", p.Name)}
	if p.Port < 1 || p.Port > 65535 {
		errs = append(errs, fmt.Errorf("port %s: %d should be within 1 and 65535", p.Name, p.Port))
	}
	if _, err := netip.ParseAddr(p.Address); err != nil && p.Address != AnyAddress && p.Address != InstanceAddress {
		errs = append(
			errs,
			fmt.Errorf("port %s: address %q should be any, instance or an IP address", p.Name, p.Address),
		)
	}
	return errors.Join(errs...)
}

func (p Probe) validate() error {
	errs := []error{pattern(itemName, "probe", p.Name)}
	command, is := p.Command()
	switch {
	case is && (p.Port != "" || p.Path != "" || p.Status != 0):
		errs = append(errs, fmt.Errorf("probe %s: a command has no port, path or status", p.Name))
	case is:
		if err := command.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("probe %s: %w", p.Name, err))
		}
	case p.Port == "":
		errs = append(errs, fmt.Errorf("probe %s: a port or a command is needed", p.Name))
	case p.Path == "" && p.Status != 0:
		errs = append(errs, fmt.Errorf("probe %s: a status needs a path", p.Name))
	case p.Path != "" && !strings.HasPrefix(p.Path, "/"):
		errs = append(errs, fmt.Errorf("probe %s: path %q should begin with /", p.Name, p.Path))
	case p.Status != 0 && (p.Status < 100 || p.Status > 599):
		errs = append(errs, fmt.Errorf("probe %s: %d is no HTTP status", p.Name, p.Status))
	}
	return errors.Join(errs...)
}

func (s Secret) validate() error {
	errs := []error{pattern(parameterName, "secret", s.Parameter)}
	if s.Tier != "" {
		errs = append(errs, pattern(itemName, "tier of secret "+s.Parameter, s.Tier))
	}
	if s.Path != "" {
		errs = append(errs, inMemory("secret "+s.Parameter, s.Path))
	}
	if mode, err := strconv.ParseUint(s.Mode, 8, 32); s.Mode != "" && (err != nil || mode > 0o777) {
		errs = append(errs, fmt.Errorf("secret %s: mode %q should be octal, as in 0640", s.Parameter, s.Mode))
	}
	return errors.Join(errs...)
}

func (n Need) validate() error {
	errs := []error{pattern(itemName, "needed tier", n.Tier)}
	if n.Port < 0 || n.Port > 65535 {
		errs = append(errs, fmt.Errorf("needed tier %s: port %d should be within 1 and 65535", n.Tier, n.Port))
	}
	for _, unit := range n.Units {
		errs = append(errs, pattern(unitName, "unit that needs tier "+n.Tier, unit))
	}
	return errors.Join(errs...)
}

func (e Environment) validate() error {
	errs := []error{inMemory("environment", e.Path)}
	for _, v := range e.Variables {
		errs = append(errs, pattern(variableName, "variable of "+e.Path, v.Name))
		if v.AddressOf != "" && v.PortOf != "" || v.Value != "" && v.AddressOf+v.PortOf != "" {
			errs = append(
				errs,
				fmt.Errorf("variable %s of %s: only one of value, address_of and port_of may be given", v.Name, e.Path),
			)
		}
		if strings.ContainsAny(v.Value, "\n\r\"'\\") {
			errs = append(
				errs,
				fmt.Errorf("variable %s of %s: its value may have no quote, backslash or line's end", v.Name, e.Path),
			)
		}
	}
	return errors.Join(errs...)
}

func pattern(wanted *regexp.Regexp, what, text string) error {
	if wanted.MatchString(text) {
		return nil
	}
	return fmt.Errorf("%s %q: it should match %s", what, text, wanted)
}

func absolute(what, path string) error {
	if filepath.IsAbs(path) && filepath.Clean(path) == path {
		return nil
	}
	return fmt.Errorf("%s: path %q should be absolute, and have no . or .. in it", what, path)
}

// inMemory wants a path below the run directory: what is secret or of one boot only is not written to a disk.
func inMemory(what, path string) error {
	if err := absolute(what, path); err != nil {
		return err
	}
	if !strings.HasPrefix(path, instance.RunDir+"/") {
		return fmt.Errorf("%s: path %s should be below %s, which is in memory", what, path, instance.RunDir)
	}
	return nil
}
