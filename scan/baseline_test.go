package main

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestBaselineAsksAndJudges(t *testing.T) {
	controls := []control{
		{"right", `value one`, `1`},
		{"wrong", `value two`, `1`},
		{"nothing", `true`, ``},
		{"something", `echo left; echo over`, ``},
		{"no such program", `no-such-program`, `.*`},
		{"fails", `echo 1; false`, `1`},
		{"reads nothing of the script", `cat; echo 1`, `1`},
	}
	script := baselineScript("value() { case $1 in one) echo 1;; two) echo 2;; esac; }", controls)
	cmd := exec.Command("sh", "-s")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	verdict, found, err := judge(string(out), controls)
	if err != nil || verdict != "7 controls" {
		t.Fatalf("verdict %q, %v", verdict, err)
	}
	var ids []string
	for _, f := range found {
		ids = append(ids, f.id)
	}
	if want := []string{"wrong", "something", "no such program", "fails"}; !slices.Equal(ids, want) {
		t.Errorf("got %q", found)
	}
	cut, _, _ := strings.Cut(string(out), "fails")
	if _, _, err := judge(cut, controls); err == nil {
		t.Error("half of the answers are enough")
	}
}

// TestBaselineLists looks for mistakes in the lists themselves.
func TestBaselineLists(t *testing.T) {
	for name, controls := range map[string][]control{"linux": linuxControls(), "ssh": sshControls} {
		seen := map[string]bool{}
		for _, c := range controls {
			if seen[c.id] || strings.ContainsAny(c.id, "'\n") {
				t.Errorf("%s: %q is there twice, or is no id", name, c.id)
			}
			seen[c.id] = true
			if _, err := regexp.Compile(c.want); err != nil {
				t.Errorf("%s: %q: %v", name, c.id, err)
			}
		}
		if out, err := exec.Command("sh", "-n", "-c", baselineScript("", controls)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}
