//go:build acceptance

package rig

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestLongTestsExist holds the list of long tests to the tests that there are.
func TestLongTestsExist(t *testing.T) {
	root := filepath.Join("..", "..")
	list, err := os.ReadFile(filepath.Join(root, "acceptance", "long.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`Test[A-Z]\w*`).FindAllString(string(list), -1)
	if len(names) < 20 {
		t.Errorf("only %d tests are listed", len(names))
	}
	var tests strings.Builder
	for _, pattern := range []string{"acceptance/*/*_test.go", "localcloud/*/*_test.go", "internal/*/*_test.go"} {
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tests.Write(text)
		}
	}
	for _, name := range names {
		if !strings.Contains(tests.String(), "\nfunc "+name+"(") {
			t.Errorf("acceptance/long.md lists %s, which is no test", name)
		}
	}
}
