package firstboot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// Run makes the instance ready for its services to start. It does the same at each boot, and files of earlier boots
// stay. On a machine that is no instance of a stack it does nothing but tell its SSH host keys: a person may have to
// look why it does not come further.
func Run(ctx context.Context, setups Setups) error {
	tellHostKeys()
	c, err := connect(ctx)
	if errors.Is(err, errNoMetadata) {
		slog.Info("this is no instance of a stack", "reason", err)
		return nil
	}
	if err != nil {
		return err
	}
	userData, err := c.userData(ctx)
	if err != nil {
		return err
	}
	settings, err := instance.ParseSettings(userData)
	if errors.Is(err, instance.ErrNotConfigured) {
		slog.Info("this is no instance of a stack", "reason", err)
		return nil
	}
	if err != nil {
		return err
	}
	id, err := c.identity(ctx)
	if err != nil {
		return err
	}
	id.Service = settings.ServiceAddress
	i := Instance{Settings: settings, Identity: id}
	d, err := i.describe()
	if err != nil {
		return err
	}
	setup, err := setups.of(d)
	if err != nil {
		return err
	}
	values, err := readSecrets(ctx, c, i, d)
	if err != nil {
		return err
	}
	err = prepare(ctx, Boot{Instance: i, values: values}, d, setup)
	var validity *validityError
	if errors.As(err, &validity) {
		return c.withClock(err)
	}
	return err
}

// readSecrets are the values of all parameters that a description names, by their whole names.
func readSecrets(ctx context.Context, c *cloud, i Instance, d imagespec.Description) (map[string]string, error) {
	b := Boot{Instance: i}
	var required, optional []string
	for _, s := range d.Secrets {
		if name := b.parameter(s.Tier, s.Parameter); !slices.Contains(required, name) {
			required = append(required, name)
		}
	}
	if d.Certificate != nil {
		optional = append(
			optional,
			b.parameter("", d.Certificate.Parameter),
			b.parameter("", d.Certificate.KeyParameter),
		)
	}
	return c.parameters(ctx, required, optional)
}

// prepare writes the files that the description names, and last the note of the instance for later units.
func prepare(ctx context.Context, b Boot, d imagespec.Description, setup Setup) error {
	needs, err := needsOf(b.Settings, d)
	if err != nil {
		return err
	}
	if err = makeDirectories(); err != nil {
		return err
	}
	if setup != nil {
		if err = setup.Prepare(ctx, b); err != nil {
			return err
		}
	}
	if d.Certificate != nil {
		if b.OwnCertificate, err = placeCertificate(b, *d.Certificate); err != nil {
			return err
		}
	}
	for _, s := range d.Secrets {
		if err := placeSecret(b, s); err != nil {
			return err
		}
	}
	for _, e := range d.Environments {
		if err := placeEnvironment(e, needs); err != nil {
			return err
		}
	}
	if err := letThrough(ctx, b.Settings, d, needs); err != nil {
		return err
	}
	return b.write()
}

func makeDirectories() error {
	for _, dir := range []struct {
		path string
		mode fs.FileMode
	}{
		{instance.RunDir, 0o755},
		{filepath.Join(instance.RunDir, "tls"), 0o755},
		{filepath.Join(instance.RunDir, "credentials"), 0o700},
		{instance.StateDir, 0o700},
	} {
		if err := errors.Join(os.MkdirAll(dir.path, dir.mode), os.Chmod(dir.path, dir.mode)); err != nil {
			return err
		}
	}
	return nil
}

// needsOf are the addresses of the tiers that the description needs, with their ports.
func needsOf(s instance.Settings, d imagespec.Description) ([]instance.TierAddress, error) {
	var found []instance.TierAddress
	for _, need := range d.Needs {
		i := slices.IndexFunc(s.Needs, func(a instance.TierAddress) bool { return a.Tier == need.Tier })
		if i < 0 {
			return nil, fmt.Errorf(
				"become tier %s of stack %s: the image needs the address of tier %s, and user-data has none"+
					"\nhint: deploy the image into a stack with a tier %s",
				s.Tier,
				s.Stack,
				need.Tier,
				need.Tier,
			)
		}
		address := s.Needs[i]
		address.Port = cmp.Or(address.Port, need.Port)
		found = append(found, address)
	}
	return found, nil
}

func placeSecret(b Boot, s imagespec.Secret) error {
	if s.Path == "" {
		return nil
	}
	mode, err := strconv.ParseUint(cmp.Or(s.Mode, "0600"), 8, 32)
	if err != nil {
		return fmt.Errorf("write secret %s: %w", s.Parameter, err)
	}
	uid, gid := 0, 0
	if s.Owner != "" {
		if uid, _, err = UserIDs(s.Owner); err != nil {
			return fmt.Errorf("write secret %s: %w", s.Parameter, err)
		}
	}
	if s.Group != "" {
		group, err := user.LookupGroup(s.Group)
		if err != nil {
			return fmt.Errorf("write secret %s: %w", s.Parameter, err)
		}
		if gid, err = strconv.Atoi(group.Gid); err != nil {
			return fmt.Errorf("write secret %s: %w", s.Parameter, err)
		}
	}
	return placeFile(s.Path, []byte(b.Secret(s.Tier, s.Parameter)), fs.FileMode(mode), uid, gid)
}

func placeFile(path string, content []byte, mode fs.FileMode, uid, gid int) error {
	if dir := filepath.Dir(path); !exists(dir) {
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil { // whatever the umask
			return err
		}
	}
	return WriteFile(path, content, mode, uid, gid)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func placeEnvironment(e imagespec.Environment, needs []instance.TierAddress) error {
	var text strings.Builder
	for _, v := range e.Variables {
		value := v.Value
		for _, need := range needs {
			switch need.Tier {
			case v.AddressOf:
				value = need.Address
			case v.PortOf:
				value = strconv.Itoa(need.Port)
			}
		}
		fmt.Fprintf(&text, "%s=%s\n", v.Name, value)
	}
	return placeFile(e.Path, []byte(text.String()), 0o644, 0, 0)
}

// letThrough has systemd let clients through to the units that take them, and the units that need other tiers through
// to those, until the next boot. The units refuse all but the machine's own addresses.
func letThrough(ctx context.Context, s instance.Settings, d imagespec.Description, needs []instance.TierAddress) error {
	var units []string
	ranges := map[string][]string{}
	let := func(unit string, allowed ...string) {
		if !slices.Contains(units, unit) {
			units = append(units, unit)
		}
		ranges[unit] = append(ranges[unit], allowed...)
	}
	for _, u := range d.Units {
		if u.Clients {
			let(u.Name, s.Clients...)
		}
	}
	for i, need := range d.Needs {
		for _, unit := range need.Units {
			let(unit, rangeOf(needs[i].Address))
		}
	}
	for _, unit := range units {
		if err := letIn(ctx, unit, ranges[unit]); err != nil {
			return err
		}
	}
	return nil
}

func letIn(ctx context.Context, unit string, ranges []string) error {
	var allowed []string
	for _, text := range ranges {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("let clients %s through to %s: %w", text, unit, err)
		}
		allowed = append(allowed, prefix.Masked().String())
	}
	if len(allowed) == 0 {
		return nil
	}
	if err := run(ctx, "systemctl", "set-property", "--runtime", unit,
		"IPAddressAllow="+strings.Join(allowed, " ")); err != nil {
		return fmt.Errorf("let %s through to %s: %w", strings.Join(allowed, ", "), unit, err)
	}
	return nil
}

// rangeOf is the range for systemd's IPAddressAllow that lets a unit reach a host. A name may stand for any address,
// and takes a DNS server to resolve: for one the range is all of IPv4.
func rangeOf(host string) string {
	address, err := netip.ParseAddr(host)
	if err != nil {
		return "0.0.0.0/0"
	}
	return netip.PrefixFrom(address, address.BitLen()).String()
}
