//go:build acceptance

package acceptance

import "testing"

// TestScan has outside judges look at the stack's instances; the table is part of the tests' output.
func TestScan(t *testing.T) {
	out, err := output("go", "run", "./scan", "--stack", stackName)
	t.Log("\n" + out)
	if err != nil {
		t.Error(err)
	}
}
