//go:build acceptance

package rig

import (
	"strings"
	"testing"
)

type plan struct {
	Changes []struct{ Action, What, ID, Reason string }
	Notes   []string
}

// PlanOf returns the changes of a plan, a line each.
func PlanOf(t *testing.T, args ...string) string {
	t.Helper()
	var p plan
	Decode(t, strings.NewReader(Must(t, Goldsmith(), append([]string{"stack", "plan", "--json"}, args...)...)), &p)
	var lines []string
	for _, c := range p.Changes {
		lines = append(lines, c.Action+" "+c.What+": "+c.Reason)
	}
	return strings.Join(append(lines, p.Notes...), "\n")
}
