//go:build acceptance

package rig

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestShell: it is a terminal, ends what ctrl-C ends, and tells a command that failed.
func TestShell(t *testing.T) {
	Repository = t.TempDir()
	s := NewShell(t, "PATH="+os.Getenv("PATH"), "GREETING=hello")
	out := s.Run(`echo "$GREETING" $((1+1)); tty   # a comment`, time.Minute)
	if !strings.Contains(out, "hello 2\n/dev/pts/") {
		t.Errorf("got %q", out)
	}
	s.Type("sh -c 'echo $((40+2)); exec sleep 100'\n")
	s.Await(regexp.MustCompile("42"), time.Minute)
	s.Type("\x03")
	if out, status := s.End(10 * time.Second); status != 130 {
		t.Errorf("an interrupted command has status %d: %q", status, out)
	}
	s.Type("read -r answer && [ \"$answer\" = yes ]\n")
	s.Type("yes\n")
	s.Succeeds("read", time.Minute)
	s.Run("printf 'a line without its end'", time.Minute)
	s.Type("false\n")
	if _, status := s.End(time.Minute); status != 1 {
		t.Errorf("false has status %d", status)
	}
}
