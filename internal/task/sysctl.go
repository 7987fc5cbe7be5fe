package task

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Sysctl is a kernel parameter, in /etc/sysctl.d and, where the kernel lets it be set, at once.
type Sysctl struct {
	// Its name, for example `net.ipv4.tcp_syncookies`.
	Key string `json:"key" mapstructure:"key" required:"true"`
	// Its value.
	Value string `json:"value" mapstructure:"value"`
	// The file that keeps it. The default is `/etc/sysctl.d/60-goldsmith.conf`.
	File string `json:"file,omitempty" mapstructure:"file"`
	// `present` (the default) or `absent`.
	State string `json:"state,omitempty" mapstructure:"state"`
}

// Kind is "sysctl".
func (Sysctl) Kind() string { return "sysctl" }

// Validate reports what is wrong with the description.
func (s Sysctl) Validate() error {
	err := errors.Join(checkName("key", sysctlKey, s.Key), oneOf("state", s.State, Present, Absent))
	if s.State != Absent && (s.Value == "" || strings.ContainsAny(s.Value, "\n")) {
		err = errors.Join(err, errors.New("value: one line is needed"))
	}
	if s.File != "" && (filepath.Dir(s.File) != "/etc/sysctl.d" || !strings.HasSuffix(s.File, ".conf")) {
		err = errors.Join(err, fmt.Errorf("file: %q is not a .conf file in /etc/sysctl.d", s.File))
	}
	return err
}

// Check compares the line of the file; the kernel's own value may be another, as others may have set it.
func (s Sysctl) Check(ctx context.Context, m Machine) (Difference, error) {
	file := s.File
	if file == "" {
		file = "/etc/sysctl.d/60-goldsmith.conf"
	}
	spec := Line{
		Path:   m.path(file),
		Regexp: `^\s*` + strings.ReplaceAll(s.Key, ".", `\.`) + `\s*=`,
		Line:   s.Key + " = " + s.Value,
		Create: true,
		State:  s.State,
	}
	if s.State == Absent {
		spec.Line = ""
	}
	written, err := spec.Check(ctx, m)
	if err != nil || written == nil || s.State == Absent {
		return written, err
	}
	return setSysctl{Difference: written, key: s.Key, value: s.Value}, nil
}

// setSysctl is the difference of the file, and a value to set at once.
type setSysctl struct {
	Difference
	key, value string
}

func (d setSysctl) Apply(ctx context.Context, m Machine) error {
	if err := d.Difference.Apply(ctx, m); err != nil {
		return err
	}
	path := m.path("/proc/sys", strings.ReplaceAll(d.key, ".", "/"))
	err := os.WriteFile(path, []byte(d.value), 0)
	if err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("set %s now: %w", d.key, err)
	}
	return nil // in a container only the file matters: it works where the image boots
}
