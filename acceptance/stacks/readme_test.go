//go:build acceptance

package stacks

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// TestReadmeAfterGolden does what the README says to do after make golden, in a shell that knows nothing. Left out
// are make scan, which has a test of its own, and make clean, which ends the cloud that the other tests use.
func TestReadmeAfterGolden(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(rig.Repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```\n(eval \"\\$\\(make -s env\\)\".*?)```").FindStringSubmatch(string(text))
	if block == nil {
		t.Fatal("README.md has no block that begins with eval \"$(make -s env)\"")
	}
	var script strings.Builder
	for line := range strings.Lines(block[1]) {
		if strings.HasPrefix(line, "make scan ") || strings.HasPrefix(line, "make clean ") {
			continue
		}
		// A reader sees an answer that is an error; and has the time to watch the page.
		line = strings.Replace(line, "curl ", "curl --silent --show-error --fail-with-body ", 1)
		script.WriteString(strings.Replace(line, "--replace all", "--replace all --bake-time 1s --drain-time 0s", 1))
	}
	t.Cleanup(func() {
		rig.MustOnInstance(t, "db", `sudo mysql --execute "DELETE FROM app.users WHERE username = 'ada'"`)
	})
	cmd := exec.Command("bash", "--noprofile", "--norc", "-e", "-v", "-c", script.String())
	cmd.Dir = rig.Repository
	for _, name := range []string{
		"HOME", "PATH", "GOLDSMITH_CLOUD", "GOCACHE", "GOMODCACHE", "GOPATH", "PACKER_NO_COLOR",
	} {
		cmd.Env = append(cmd.Env, name+"="+os.Getenv(name))
	}
	began := time.Now()
	printed, err := cmd.CombinedOutput()
	out := string(printed)
	if err != nil {
		t.Fatalf("%v:\n%s", err, rig.End(t, out))
	}
	for _, want := range []string{`"ada@example.com"`, "AWS account 123456789012, ", "deploy  ", "(current)"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, rig.End(t, out))
		}
	}
	rig.AssertServes(t)
	rig.Must(t, rig.Goldsmith(), "status")
	rig.Must(t, rig.Goldsmith(), "gc")
	for command, row := range map[string]string{
		"status":  "`status`",
		"gc":      "`gc`",
		"deploy":  "`deploy` of new images",
		"history": "`history`",
		"images":  "`images`",
	} {
		rig.AssertCalls(t, began, command, row)
	}
}
