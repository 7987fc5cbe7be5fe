//go:build acceptance

package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamples validates each build file of examples, with its data sources asked, and each stack file.
func TestExamples(t *testing.T) {
	installAmazon(t)
	files := func(pattern string) []string {
		found, err := filepath.Glob(filepath.Join(repository, "examples", pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("there are no examples %s: %v", pattern, err)
		}
		return found
	}
	for _, file := range append(files("stack.hcl"), files("*/stack.hcl")...) {
		must(t, goldsmith(), "stack", "validate", file)
	}
	for _, file := range files("*/build.pkr.hcl") {
		directory := filepath.Dir(file)
		t.Run(filepath.Base(directory), func(t *testing.T) {
			if _, err := os.Stat(filepath.Join(directory, "README.md")); err != nil {
				t.Error(err)
			}
			validate := func(stack string) (string, error) {
				return output(packer(t), "validate", "-evaluate-datasources", "-var", "stack="+stack, "-var", "region=us-east-1", directory)
			}
			if out, err := validate(stackName); err != nil {
				t.Errorf("%v:\n%s", err, out)
			}
			if out, err := validate("Golden!"); err == nil || !strings.Contains(out, "stack") || !strings.Contains(out, `"Golden!"`) {
				t.Errorf("a stack of an impossible name: %v:\n%s", err, out)
			}
			must(t, packer(t), "fmt", "-check", "-diff", directory)
		})
	}
}
