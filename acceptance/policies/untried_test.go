//go:build acceptance

package policies

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/iampolicy"
)

// reason is why no test on a local cloud uses an action, and the unit test that does where there is one.
type reason struct{ why, test string }

// untried are actions that are granted, and that no test on a local cloud uses.
var untried = map[string]reason{
	"autoscaling:CancelInstanceRefresh": {"it is for a refresh that cannot be rolled back", "TestRefreshGoesBack"},
	"autoscaling:DescribeScalingActivities": {
		why: "it says why a group launches nothing, and the local cloud's groups launch",
	},
	"ec2:CopyImage":                            {"the local cloud has one region", "TestPublished"},
	"ec2:DescribeSpotPriceHistory":             {"the local cloud has no spot instances", "TestSpot"},
	"ec2:DisableImageDeregistrationProtection": {"it is for a build that failed after its image was protected", ""},
	"ec2:DisassociateAddress":                  {"it is for an address whose instance is not gone yet", ""},
	"ec2:ModifyVolume":                         {"a volume of the local cloud keeps its size", "TestChangedVolume"},
	"ec2:RegisterImage": {
		why:  "it is for an image that is replaced by a build that failed",
		test: "TestReplacedIsThereAgain",
	},
	"iam:ListInstanceProfilesForRole": {"it is for roles that a killed build left", "TestLeftovers"},
	"iam:ListRolePolicies":            {"it is for roles that a killed build left", "TestLeftovers"},
}

// TestReasonsNameTests holds the reasons to the tests that there are.
func TestReasonsNameTests(t *testing.T) {
	var tests strings.Builder
	for _, pattern := range []string{"builder/*_test.go", "internal/*/*_test.go", "internal/*/*/*/*_test.go"} {
		files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pattern)))
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
	for action, r := range untried {
		if r.test != "" && !strings.Contains(tests.String(), "\nfunc "+r.test+"(") {
			t.Errorf("%s: there is no test %s", action, r.test)
		}
	}
}

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
