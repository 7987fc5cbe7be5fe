//go:build acceptance

package rig

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestEndOfOutput(t *testing.T) {
	Repository = filepath.Join(t.TempDir(), "checkout")
	const short = "one\ntwo\n"
	if got := End(t, short); got != short {
		t.Errorf("short output is shown as %q", got)
	}
	var long strings.Builder
	for i := range 500 {
		fmt.Fprintf(&long, "line %d\n", i)
	}
	long.WriteString("the cause\n")
	got := End(t, long.String())
	if strings.Count(got, "\n") > endLines+1 || !strings.HasSuffix(got, "the cause") ||
		strings.Contains(got, "line 7\n") {
		t.Errorf("of 501 lines are shown:\n%s", got)
	}
	path := regexp.MustCompile(`all of them: (\S+)`).FindStringSubmatch(got)
	if path == nil {
		t.Fatalf("no file is named:\n%s", got)
	}
	whole, err := os.ReadFile(path[1])
	if err != nil || string(whole) != long.String() {
		t.Errorf("%s has %d bytes of %d: %v", path[1], len(whole), long.Len(), err)
	}
}

func TestCommandThatFailsSaysWhy(t *testing.T) {
	Repository = filepath.Join(t.TempDir(), "checkout")
	if err := os.Mkdir(Repository, 0o755); err != nil {
		t.Fatal(err)
	}
	err := require("sh", "-c", "seq 500; echo the cause; exit 3")
	if err == nil || !strings.HasPrefix(err.Error(), "sh -c seq 500") ||
		!strings.Contains(err.Error(), "exit status 3") ||
		!strings.HasSuffix(err.Error(), "the cause") {
		t.Errorf("got %v", err)
	}
}
