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
	if err := checkText(t); err != nil {
		return fmt.Errorf("%s %q: %w", place, t.Name, err)
	}
	if err := t.Spec.Validate(); err != nil {
		return fmt.Errorf("%s %q: %s.%w", place, t.Name, t.Spec.Kind(), err)
	}
	return nil
}

// checkText wants UTF-8 of all that is sent as JSON, which would silently become other characters. Contents of files
// and SQL are sent as bytes.
func checkText(t Task) error {
	errs := []error{utf8Only("name", reflect.ValueOf(t.Name)), utf8Only("notify", reflect.ValueOf(t.Notify))}
	spec := reflect.ValueOf(t.Spec)
	for i := range spec.NumField() {
		name, _, _ := strings.Cut(spec.Type().Field(i).Tag.Get("json"), ",")
		if name == "-" {
			continue // a content
		}
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
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			errs = append(errs, utf8Only(name, key), utf8Only(name+"."+key.String(), v.MapIndex(key)))
		}
	}
	return errors.Join(errs...)
}

func checkPath(name, path string) error {
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

// checkMode checks an octal mode such as 0640.
func checkMode(text string) error {
	if text == "" {
		return nil
	}
	if n, err := strconv.ParseUint(text, 8, 32); err != nil || n > 0o7777 || len(text) < 3 {
		return fmt.Errorf("mode: %q is not an octal mode such as 0640", text)
	}
	return nil
}

func checkContent(state string, blob Blob) error {
	if state != Absent && blob.Digest == "" {
		return errors.New("content: it is missing")
	}
	return nil
}

func checkName(name string, pattern *regexp.Regexp, text string) error {
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
		errs = append(errs, checkName(fmt.Sprintf("%s[%d]", name, i), pattern, text))
	}
	return errors.Join(errs...)
}

func nonEmpty(name string, texts []string) error {
	if len(texts) == 0 {
		return fmt.Errorf("%s: at least one is needed", name)
	}
	return nil
}

// optional is an attribute's fault unless the attribute is left out.
func optional(text string, fault error) error {
	if text == "" {
		return nil
	}
	return fault
}

// oneOf accepts an empty text, which stands for the default.
func oneOf(name, text string, allowed ...string) error {
	if text == "" || slices.Contains(allowed, text) {
		return nil
	}
	return fmt.Errorf("%s: %q should be one of %s", name, text, strings.Join(allowed, ", "))
}
