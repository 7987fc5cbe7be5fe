package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// Line is one line of a file that others own.
type Line struct {
	// The file.
	Path string `json:"path" mapstructure:"path" required:"true"`
	// Which line to replace, the last that matches. The default is none: the line is appended where it is missing.
	Regexp string `json:"regexp,omitempty" mapstructure:"regexp"`
	// The line.
	Line string `json:"line,omitempty" mapstructure:"line"`
	// `present` (the default), or `absent`, which removes every match.
	State string `json:"state,omitempty" mapstructure:"state"`
	// Make the file if there is none. The default is false.
	Create bool `json:"create,omitempty" mapstructure:"create"`
}

// Kind is "line".
func (Line) Kind() string { return "line" }

// Validate reports what is wrong with the description.
func (l Line) Validate() error {
	err := errors.Join(checkPath("path", l.Path), oneOf("state", l.State, Present, Absent))
	if _, bad := regexp.Compile(l.Regexp); bad != nil {
		err = errors.Join(err, fmt.Errorf("regexp: %w", bad))
	}
	switch {
	case strings.ContainsAny(l.Line, "\n"):
		err = errors.Join(err, errors.New("line: it is more than one"))
	case l.State != Absent && l.Line == "":
		err = errors.Join(err, errors.New("line: it is missing"))
	case l.State == Absent && l.Line == "" && l.Regexp == "":
		err = errors.Join(err, errors.New("regexp: either regexp or line is needed"))
	}
	return err
}

// Check edits the file's text in memory.
func (l Line) Check(context.Context, Machine) (Difference, error) {
	before, err := os.ReadFile(l.Path)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case missing && l.State == Absent:
		return nil, nil
	case missing && !l.Create:
		return nil, fmt.Errorf("change a line of %s: there is no such file", l.Path)
	case err != nil && !missing:
		return nil, err
	}
	after, err := l.edit(string(before))
	if err != nil || after == string(before) && !missing {
		return nil, err
	}
	wanted := attributes{mode: 0o644, uid: os.Geteuid(), gid: os.Getegid()}
	if info, err := os.Stat(l.Path); err == nil {
		wanted = attributesOf(info)
	}
	return writeFile{
		path:    l.Path,
		content: Bytes([]byte(after)),
		wanted:  wanted,
		shown:   string(diff.Diff(l.Path, before, l.Path, []byte(after))),
	}, nil
}

// edit returns a file's text with the line in it, or without it.
func (l Line) edit(before string) (string, error) {
	matches, err := l.matcher()
	if err != nil {
		return "", err
	}
	lines := strings.SplitAfter(before, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	last, there := -1, false
	var kept []string
	for i, each := range lines {
		bare := strings.TrimSuffix(each, "\n")
		there = there || bare == l.Line
		if matches(bare) {
			last = i
		} else {
			kept = append(kept, each)
		}
	}
	if l.State == Absent {
		return strings.Join(kept, ""), nil
	}
	switch {
	case last >= 0:
		lines[last] = l.Line + "\n"
	case there:
	default:
		if n := len(lines); n > 0 && !strings.HasSuffix(lines[n-1], "\n") {
			lines[n-1] += "\n"
		}
		lines = append(lines, l.Line+"\n")
	}
	return strings.Join(lines, ""), nil
}

// matcher tells which lines the task is about.
func (l Line) matcher() (func(string) bool, error) {
	if l.Regexp == "" {
		return func(each string) bool { return each == l.Line }, nil
	}
	pattern, err := regexp.Compile(l.Regexp)
	if err != nil {
		return nil, err
	}
	return pattern.MatchString, nil
}
