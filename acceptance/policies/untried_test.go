//go:build acceptance

package policies

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/iampolicy"
)

// untried are actions that are granted, and that no test on a local cloud can use, and why.
var untried = map[string]string{}

// granted are the actions of the policy for all purposes.
func granted(t *testing.T) []string {
	t.Helper()
	var policy struct{ Statement []struct{ Action []string } }
	if err := json.Unmarshal(textOf(t, iampolicy.All), &policy); err != nil {
		t.Fatal(err)
	}
	actions := map[string]bool{}
	for _, s := range policy.Statement {
		for _, action := range s.Action {
			actions[action] = true
		}
	}
	return slices.Sorted(maps.Keys(actions))
}
