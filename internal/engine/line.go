package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

type lineCheck struct{ spec task.Line }

func (c lineCheck) check(context.Context) (*change, error) {
	l := c.spec
	before, err := os.ReadFile(l.Path)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case missing && l.State == task.Absent:
		return nil, nil
	case missing && !l.Create:
		return nil, fmt.Errorf("change a line of %s: there is no such file", l.Path)
	case err != nil && !missing:
		return nil, err
	}
	after, err := editLine(string(before), l)
	if err != nil || after == string(before) && !missing {
		return nil, err
	}
	return &change{diff: string(diff.Diff(l.Path, before, l.Path, []byte(after))), apply: func(context.Context) error {
		attributes := attributes{mode: 0o644, uid: os.Geteuid(), gid: os.Getegid()}
		if info, err := os.Stat(l.Path); err == nil {
			attributes = attributesOf(info)
		}
		return replaceFile(l.Path, bytes.NewReader([]byte(after)), attributes, untested)
	}}, nil
}

// editLine is a file's text with the line in it, or without it.
func editLine(text string, l task.Line) (string, error) {
	matches, err := lineMatcher(l)
	if err != nil {
		return "", err
	}
	lines := strings.SplitAfter(text, "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	last, there := -1, false
	var kept []string
	for i, line := range lines {
		bare := strings.TrimSuffix(line, "\n")
		there = there || bare == l.Line
		if matches(bare) {
			last = i
		} else {
			kept = append(kept, line)
		}
	}
	if l.State == task.Absent {
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

// lineMatcher tells which lines the task is about.
func lineMatcher(l task.Line) (func(string) bool, error) {
	if l.Regexp == "" {
		return func(line string) bool { return line == l.Line }, nil
	}
	pattern, err := regexp.Compile(l.Regexp)
	if err != nil {
		return nil, err
	}
	return pattern.MatchString, nil
}
