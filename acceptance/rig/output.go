//go:build acceptance

package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// endLines is the number of lines of a command's output that a failure shows. A bake prints hundreds of lines, of which
// CI keeps the first; the cause is among the last, and all of them are in a file.
const endLines = 60

var kept atomic.Int32

// End is the part of a command's output that a failed test shows: short output as it is, and of longer output the last
// lines and the path of a file that has all of it.
func End(t testing.TB, out string) string {
	t.Helper()
	return endOf(t.Name(), out)
}

func endOf(name, out string) string {
	lines := strings.Split(strings.TrimRight(out, "\n"), "\n")
	if len(lines) <= endLines {
		return out
	}
	path, err := keep(name, out)
	if err != nil {
		path = err.Error()
	}
	return fmt.Sprintf("... %d lines before these; all of them: %s\n%s",
		len(lines)-endLines, path, strings.Join(lines[len(lines)-endLines:], "\n"))
}

// outputs is the directory for whole outputs; it outlives the tests' cloud.
func outputs() string { return filepath.Join(filepath.Dir(Repository), "output") }

func keep(name, out string) (string, error) {
	if err := os.MkdirAll(outputs(), 0o755); err != nil {
		return "", err
	}
	name = strings.NewReplacer("/", "-", " ", "_").Replace(name)
	path := filepath.Join(outputs(), fmt.Sprintf("%s-%d.log", name, kept.Add(1)))
	return path, os.WriteFile(path, []byte(out), 0o644)
}

// Output runs a command in the repository and returns what it printed, both streams together.
func Output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = Repository
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Must is Output for commands that have to succeed.
func Must(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := Output(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, End(t, out))
	}
	return out
}

// require is Must for what belongs to no test.
func require(name string, args ...string) error {
	out, err := Output(name, args...)
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, endOf(filepath.Base(name), out))
	}
	return nil
}
