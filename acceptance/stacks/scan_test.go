//go:build acceptance

package stacks

import (
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// TestScan has outside judges look at the stack's instances; the table is part of the tests' output.
func TestScan(t *testing.T) {
	out, err := rig.Output("go", "run", "./scan", "--stack", rig.StackName)
	t.Log("\n" + out)
	if err != nil {
		t.Error(err)
	}
}
