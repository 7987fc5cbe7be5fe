package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// AssertDir holds a user's own assertions, one file each. They are part of what an instance verifies at boot.
const AssertDir = "/etc/goldsmith/assert.d"

// AssertTimeout is how long an assertion may take that says nothing else.
const AssertTimeout = 10 * time.Second

// Assertion is a command that has to succeed on an instance for it to be ready. It is repeated until it does, or until
// the instance gives up. Exactly one of Argv and Shell is set.
type Assertion struct {
	Name  string   `json:"name"`
	Argv  []string `json:"argv,omitempty"`
	Shell string   `json:"shell,omitempty"` // run by /bin/sh -eu
	// Output is a regular expression that the standard output has to match.
	Output string `json:"output,omitempty"`
	// Timeout is a Go duration; the default is AssertTimeout, and a minute the most.
	Timeout string `json:"timeout,omitempty"`
}

// Validate reports what is wrong with it.
func (a Assertion) Validate() error {
	var errs []error
	if strings.TrimSpace(a.Name) == "" {
		errs = append(errs, errors.New("name: it is missing"))
	}
	if (len(a.Argv) == 0) == (a.Shell == "") {
		errs = append(errs, errors.New("argv: either argv or shell is needed"))
	}
	if _, err := regexp.Compile(a.Output); err != nil {
		errs = append(errs, fmt.Errorf("output: %w", err))
	}
	if a.Timeout != "" {
		if d, err := time.ParseDuration(a.Timeout); err != nil || d <= 0 || d > time.Minute {
			errs = append(
				errs,
				fmt.Errorf("timeout: %q should be a duration of a minute at most, such as 10s", a.Timeout),
			)
		}
	}
	return errors.Join(errs...)
}

var notInFileName = regexp.MustCompile(`[^A-Za-z0-9]+`)

// Task is the task that puts the assertion into an image.
func (a Assertion) Task() (task.Task, error) {
	if err := a.Validate(); err != nil {
		return task.Task{}, err
	}
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return task.Task{}, err
	}
	name := strings.Trim(notInFileName.ReplaceAllString(strings.ToLower(a.Name), "-"), "-")
	return task.Task{
		Name: a.Name,
		Spec: task.File{Path: filepath.Join(AssertDir, name+".json"), Content: task.Bytes(append(text, '\n'))},
	}, nil
}

// Assertions reads those in a directory, by the names of their files.
func Assertions(dir string) ([]Assertion, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	var all []Assertion
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the assertions: %w", err)
		}
		var a Assertion
		if err := json.Unmarshal(text, &a); err != nil {
			return nil, fmt.Errorf("read the assertion %s: %w", path, err)
		}
		if err := a.Validate(); err != nil {
			return nil, fmt.Errorf("read the assertion %s: %w", path, err)
		}
		all = append(all, a)
	}
	return all, nil
}
