package builder

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
)

// TestCheckoutsPathIsNoInput has the same options of a build in two checkouts: what is in a file counts, not where it
// lies.
func TestCheckoutsPathIsNoInput(t *testing.T) {
	of := func(content string) inputs.Inputs {
		path := filepath.Join(t.TempDir(), "user-data")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		in := inputs.Inputs{}
		if err := addConfig(in, Config{Unchanged: &Unchanged{}, UserDataFile: path}, "us-east-1"); err != nil {
			t.Fatal(err)
		}
		return in
	}
	if one, other := of("#!/bin/sh\n"), of("#!/bin/sh\n"); !maps.Equal(one, other) {
		t.Errorf("the same file in two directories: %v and %v", one, other)
	}
	if one, other := of("#!/bin/sh\n"), of("#!/bin/sh\necho\n"); maps.Equal(one, other) {
		t.Errorf("two files are one input: %v", one)
	}
}
