package builder

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
)

// TestArchitectureIsAnInput has it be the source AMI's: one plugin bakes for both.
func TestArchitectureIsAnInput(t *testing.T) {
	of := func(arch types.ArchitectureValues) string {
		in := inputs.Inputs{}
		if err := addConfig(in, Config{Unchanged: &Unchanged{}}, "us-east-1", arch); err != nil {
			t.Fatal(err)
		}
		return in.Digest()
	}
	if of(types.ArchitectureValuesX8664) == of(types.ArchitectureValuesArm64) {
		t.Error("an image for arm64 has the inputs of one for amd64")
	}
}

// TestCheckoutsPathIsNoInput has the same options of a build in two checkouts: what is in a file counts, not where it
// lies.
func TestCheckoutsPathIsNoInput(t *testing.T) {
	of := func(content string) inputs.Inputs {
		path := filepath.Join(t.TempDir(), "user-data")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		in := inputs.Inputs{}
		if err := addConfig(
			in,
			Config{Unchanged: &Unchanged{}, UserDataFile: path},
			"us-east-1",
			types.ArchitectureValuesX8664,
		); err != nil {
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
