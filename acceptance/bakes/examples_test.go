//go:build acceptance

package bakes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// TestExamples validates each build file of examples, with its data sources asked, and each stack file.
func TestExamples(t *testing.T) {
	installAmazon(t)
	files := func(pattern string) []string {
		found, err := filepath.Glob(filepath.Join(rig.Repository, "examples", pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("there are no examples %s: %v", pattern, err)
		}
		return found
	}
	for _, file := range append(files("stack.hcl"), files("*/stack.hcl")...) {
		rig.Must(t, rig.Goldsmith(), "stack", "validate", file)
	}
	for _, file := range files("*/build.pkr.hcl") {
		directory := filepath.Dir(file)
		t.Run(filepath.Base(directory), func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(directory, "README.md")); err != nil {
				t.Error(err)
			}
			validate := func(stack string) (string, error) {
				return rig.Output(rig.Packer(t), "validate", "-evaluate-datasources", "-var", "stack="+stack, "-var",
					"region=us-east-1", directory)
			}
			if out, err := validate(rig.StackName); err != nil {
				t.Errorf("%v:\n%s", err, rig.End(t, out))
			}
			if out, err := validate("Golden!"); err == nil || !strings.Contains(out, "stack") ||
				!strings.Contains(out, `"Golden!"`) {
				t.Errorf("a stack of an impossible name: %v:\n%s", err, rig.End(t, out))
			}
			rig.Must(t, rig.Packer(t), "fmt", "-check", "-diff", directory)
		})
	}
}
