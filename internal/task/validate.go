package task

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

var (
	packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?$`)
	userName    = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}\$?$`)
	unitName    = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]+\.(service|socket|timer|target|mount|path|slice)$`)
	dropInName  = regexp.MustCompile(`^[A-Za-z0-9_.@-]+\.conf$`)
	sysctlKey   = regexp.MustCompile(`^[a-zA-Z0-9_/*-]+(\.[a-zA-Z0-9_/*-]+)+$`)
)

// Validate reports everything that is wrong with a play, each with the task's place and name.
func (p Play) Validate() error {
	handlers := map[string]bool{}
	var errs []error
	for i, h := range p.Handlers {
		if handlers[h.Name] {
			errs = append(errs, fmt.Errorf("handler[%d].name: there are two handlers named %q", i, h.Name))
		}
		handlers[h.Name] = true
		if len(h.Notify) > 0 {
			errs = append(errs, fmt.Errorf("handler[%d] %q: notify: a handler notifies nobody", i, h.Name))
		}
		errs = append(errs, within(fmt.Sprintf("handler[%d]", i), h))
	}
	for i, t := range p.Tasks {
		for _, name := range t.Notify {
			if !handlers[name] {
				errs = append(errs, fmt.Errorf("task[%d] %q: notify: there is no handler %q", i, t.Name, name))
			}
		}
		errs = append(errs, within(fmt.Sprintf("task[%d]", i), t))
	}
	return errors.Join(errs...)
}

// within reports what is wrong with one task; each line names it.
func within(place string, t Task) error {
	if t.Name == "" {
		return fmt.Errorf("%s.name: it is missing", place)
	}
	if t.Spec == nil {
		return fmt.Errorf("%s %q: it says nothing to do", place, t.Name)
	}
	if err := text(t); err != nil {
		return fmt.Errorf("%s %q: %w", place, t.Name, err)
	}
	if err := t.Spec.Validate(); err != nil {
		return fmt.Errorf("%s %q: %s.%w", place, t.Name, t.Spec.Kind(), err)
	}
	return nil
}

// text wants UTF-8 of all that is sent as JSON, which would silently become other characters. Contents of files and SQL
// are sent as bytes.
func text(t Task) error {
	errs := []error{utf8Only("name", reflect.ValueOf(t.Name)), utf8Only("notify", reflect.ValueOf(t.Notify))}
	spec := reflect.ValueOf(onWire(t.Spec))
	for i := range spec.NumField() {
		name, _, _ := strings.Cut(spec.Type().Field(i).Tag.Get("json"), ",")
		errs = append(errs, utf8Only(t.Spec.Kind()+"."+name, spec.Field(i)))
	}
	return errors.Join(errs...)
}

func utf8Only(name string, v reflect.Value) error {
	var errs []error
	switch {
	case v.Kind() == reflect.String && !utf8.ValidString(v.String()):
		return fmt.Errorf("%s: %q is not UTF-8", name, v.String())
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			errs = append(errs, utf8Only(fmt.Sprintf("%s[%d]", name, i), v.Index(i)))
		}
	case v.Kind() == reflect.Map:
		for _, key := range v.MapKeys() {
			errs = append(errs, utf8Only(name, key), utf8Only(name+"."+key.String(), v.MapIndex(key)))
		}
	}
	return errors.Join(errs...)
}

// Validate reports what is wrong with the description; all kinds of task have it.
func (s Package) Validate() error {
	return errors.Join(nonEmpty("names", s.Names), eachName("names", packageName, s.Names), oneOf("state", s.State, Present, Latest, Absent))
}

// Validate reports what is wrong with the description.
func (s File) Validate() error {
	return errors.Join(absolute("path", s.Path), mode(s.Mode), owner("owner", s.Owner), owner("group", s.Group), oneOf("state", s.State, Present, Absent),
		content(s.State, s.Content))
}

// Validate reports what is wrong with the description.
func (s Directory) Validate() error {
	err := errors.Join(absolute("path", s.Path), mode(s.Mode), owner("owner", s.Owner), owner("group", s.Group), oneOf("state", s.State, Present, Absent))
	if s.State == Absent && strings.Count(filepath.Clean(s.Path), "/") < 2 {
		return errors.Join(err, fmt.Errorf("path: %s is too near the root to be removed with all that is in it", s.Path))
	}
	return err
}

// Validate reports what is wrong with the description.
func (s Link) Validate() error {
	err := errors.Join(absolute("path", s.Path), oneOf("state", s.State, Present, Absent))
	if s.State != Absent && s.Target == "" {
		return errors.Join(err, errors.New("target: it is missing"))
	}
	return err
}

// Validate reports what is wrong with the description.
func (s Group) Validate() error {
	return errors.Join(match("group", userName, s.Group), oneOf("state", s.State, Present, Absent))
}

// Validate reports what is wrong with the description.
func (s User) Validate() error {
	err := errors.Join(match("user", userName, s.User), owner("group", s.Group), eachName("groups", userName, s.Groups), oneOf("state", s.State, Present, Absent))
	for name, path := range map[string]string{"home": s.Home, "shell": s.Shell} {
		if path != "" {
			err = errors.Join(err, absolute(name, path))
		}
	}
	return err
}

// Validate reports what is wrong with the description.
func (s Unit) Validate() error {
	err := errors.Join(match("unit", unitName, s.Unit), oneOf("state", s.State, Present, Absent), content(s.State, s.Content))
	if s.DropIn != "" {
		return errors.Join(err, match("drop_in", dropInName, s.DropIn))
	}
	return err
}

// Validate reports what is wrong with the description.
func (s Service) Validate() error {
	err := errors.Join(match("unit", unitName, s.Unit), oneOf("state", s.State, Started, Stopped, Restarted, Reloaded))
	if s.State == "" && s.Enabled == nil && s.Masked == nil {
		return errors.Join(err, errors.New("state: one of state, enabled and masked is needed"))
	}
	if s.Masked != nil && *s.Masked && (s.State != "" && s.State != Stopped || s.Enabled != nil && *s.Enabled) {
		return errors.Join(err, errors.New("masked: a masked unit can be neither enabled nor started"))
	}
	return err
}

// Validate reports what is wrong with the description.
func (s Command) Validate() error {
	var err error
	if (len(s.Argv) == 0) == (s.Shell == "") {
		err = errors.New("argv: either argv or shell is needed")
	}
	for name, path := range map[string]string{"creates": s.Creates, "dir": s.Dir} {
		if path != "" {
			err = errors.Join(err, absolute(name, path))
		}
	}
	if s.Timeout != "" {
		if d, bad := time.ParseDuration(s.Timeout); bad != nil || d <= 0 {
			err = errors.Join(err, fmt.Errorf("timeout: %q is not a duration such as 90s or 10m", s.Timeout))
		}
	}
	return err
}

// Validate reports what is wrong with the description.
func (s Sysctl) Validate() error {
	err := errors.Join(match("key", sysctlKey, s.Key), oneOf("state", s.State, Present, Absent))
	if s.State != Absent && (s.Value == "" || strings.ContainsAny(s.Value, "\n")) {
		err = errors.Join(err, errors.New("value: one line is needed"))
	}
	if s.File != "" && (filepath.Dir(s.File) != "/etc/sysctl.d" || !strings.HasSuffix(s.File, ".conf")) {
		err = errors.Join(err, fmt.Errorf("file: %q is not a .conf file in /etc/sysctl.d", s.File))
	}
	return err
}

// Validate reports what is wrong with the description.
func (s SQL) Validate() error {
	if strings.TrimSpace(s.Statements) == "" {
		return errors.New("statements: they are missing")
	}
	return nil
}

// Validate reports what is wrong with the description.
func (s AptHold) Validate() error {
	return errors.Join(nonEmpty("names", s.Names), eachName("names", packageName, s.Names), oneOf("state", s.State, Present, Absent))
}

// Validate reports what is wrong with the description.
func (s Line) Validate() error {
	err := errors.Join(absolute("path", s.Path), oneOf("state", s.State, Present, Absent))
	if _, bad := regexp.Compile(s.Regexp); bad != nil {
		err = errors.Join(err, fmt.Errorf("regexp: %w", bad))
	}
	switch {
	case strings.ContainsAny(s.Line, "\n"):
		err = errors.Join(err, errors.New("line: it is more than one"))
	case s.State != Absent && s.Line == "":
		err = errors.Join(err, errors.New("line: it is missing"))
	case s.State == Absent && s.Line == "" && s.Regexp == "":
		err = errors.Join(err, errors.New("regexp: either regexp or line is needed"))
	}
	return err
}

func absolute(name, path string) error {
	switch {
	case path == "":
		return fmt.Errorf("%s: it is missing", name)
	case !filepath.IsAbs(path):
		return fmt.Errorf("%s: %q is not an absolute path", name, path)
	case filepath.Clean(path) != path:
		return fmt.Errorf("%s: %q should be %q", name, path, filepath.Clean(path))
	case strings.ContainsAny(path, "\x00\n"):
		return fmt.Errorf("%s: %q has a character that no path should have", name, path)
	}
	return nil
}

// mode checks an octal mode such as 0640.
func mode(text string) error {
	if text == "" {
		return nil
	}
	if n, err := strconv.ParseUint(text, 8, 32); err != nil || n > 0o7777 || len(text) < 3 {
		return fmt.Errorf("mode: %q is not an octal mode such as 0640", text)
	}
	return nil
}

func owner(name, text string) error {
	if text == "" {
		return nil
	}
	return match(name, userName, text)
}

func content(state string, blob Blob) error {
	if state != Absent && blob.Digest == "" {
		return errors.New("content: it is missing")
	}
	return nil
}

func match(name string, pattern *regexp.Regexp, text string) error {
	if text == "" {
		return fmt.Errorf("%s: it is missing", name)
	}
	if !pattern.MatchString(text) {
		return fmt.Errorf("%s: %q is not a name that can be used here", name, text)
	}
	return nil
}

func eachName(name string, pattern *regexp.Regexp, texts []string) error {
	var errs []error
	for i, text := range texts {
		errs = append(errs, match(fmt.Sprintf("%s[%d]", name, i), pattern, text))
	}
	return errors.Join(errs...)
}

func nonEmpty(name string, texts []string) error {
	if len(texts) == 0 {
		return fmt.Errorf("%s: at least one is needed", name)
	}
	return nil
}

// oneOf accepts an empty text, which stands for the default.
func oneOf(name, text string, allowed ...string) error {
	if text == "" || slices.Contains(allowed, text) {
		return nil
	}
	return fmt.Errorf("%s: %q should be one of %s", name, text, strings.Join(allowed, ", "))
}
