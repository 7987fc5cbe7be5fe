package deploy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
)

// polls matches the calls by which something is waited for: a thing that is known is looked at again. All others of
// these calls look for something.
var polls = regexp.MustCompile(`^(GetConsoleOutput|GetInstanceProfile|Describe\w+ .*"(Instance|Volume|Snapshot|` +
	`NatGateway|NetworkInterface)Ids":\[)`)

// counted are the numbers of calls that were made, those that are polls apart, and what was called more than once and
// is none.
func counted(calls []ec2fake.Call) (made, polled int, again []string) {
	seen := map[string]bool{}
	for _, c := range calls {
		input, err := json.Marshal(c.Input)
		if err != nil {
			panic(err)
		}
		key := c.Name + " " + string(input)
		switch {
		case seen[key] && polls.MatchString(key):
			polled++
			continue
		case seen[key]:
			again = append(again, c.Name)
		}
		seen[key] = true
		made++
	}
	slices.Sort(again)
	return made, polled, again
}

// TestCallsOfADeployment holds deployments to the number of calls that docs/aws-calls.md says, with some room for
// what EC2's lateness adds there.
func TestCallsOfADeployment(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, nil)
		for _, c := range []struct {
			what, version string
			most          int
		}{{"with the network", "1", 130}, {"of new images", "2", 110}, {"of nothing new", "2", 60}} {
			w.account.Forget()
			w.mustDeploy(c.version)
			made, polled, again := counted(w.account.Calls())
			t.Logf("a deployment %s: %d calls, %d polls; made more than once: %q", c.what, made, polled, again)
			if made > c.most || made < c.most/2 {
				t.Errorf("a deployment %s makes %d calls, want up to %d: %s", c.what, made, c.most, fmt.Sprint(again))
			}
			if tagged := len(w.account.Calls("AddTagsToResource")); tagged > 5 {
				t.Errorf("a deployment %s tags parameters %d times", c.what, tagged)
			}
		}
	})
}
