//go:build acceptance

// Package policies holds what the other acceptance tests called to the policies that goldsmith iam-policy prints. It
// runs after them, and reads the trails of their clouds.
package policies

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/policyeval"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/iampolicy"
)

// recorded are Goldsmith's calls on all clouds of the run.
func recorded(t *testing.T) []rig.Call {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", ".build", "acceptance", "trails", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var all []rig.Call
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		calls, err := rig.ReadCalls(file)
		file.Close()
		if err != nil {
			t.Fatalf("read %s: %v", path, err)
		}
		t.Logf("%s has %d calls", filepath.Base(path), len(calls))
		all = append(all, calls...)
	}
	if len(all) == 0 {
		t.Fatal("there is no call in any trail: make acceptance leaves them in .build/acceptance/trails")
	}
	return all
}

// textOf is a policy as goldsmith iam-policy prints it.
func textOf(t *testing.T, purpose iampolicy.Purpose) []byte {
	t.Helper()
	text, err := iampolicy.Request{Purpose: purpose, Region: "us-east-1", Groups: true, Networks: true}.Policy()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func policyOf(t *testing.T, purpose iampolicy.Purpose) policyeval.Policies {
	t.Helper()
	document, err := policyeval.ParseIdentity(textOf(t, purpose))
	if err != nil {
		t.Fatal(err)
	}
	return policyeval.Policies{Identity: []*policyeval.Document{document}}
}

// readers are the commands for which the policy that only reads is enough.
var readers = []string{"status", "history", "images", "diff"}

// denied says which request of a call a policy refuses; empty is for none.
func denied(c rig.Call, policies policyeval.Policies) string {
	for _, r := range c.Authorization {
		if !policies.Decide(r).Allowed && !exempt(r) {
			return fmt.Sprintf("%s on %s", r.Action, r.Resource)
		}
	}
	return ""
}

// exempt are requests that docs/iam.md says are the user's to allow.
func exempt(r policyeval.Request) bool {
	switch r.Action {
	case "sts:AssumeRole", "sts:GetCallerIdentity":
		return true
	case "iam:PassRole": // of an instance profile of the user's own
		return !strings.Contains(r.Resource, ":role/goldsmith-")
	}
	return false
}

// TestNothingIsDenied: who has the policy of a purpose can do what its commands did.
func TestNothingIsDenied(t *testing.T) {
	all, read := policyOf(t, iampolicy.All), policyOf(t, iampolicy.Read)
	faults := map[string]int{}
	calls := recorded(t)
	for _, c := range calls {
		if what := denied(c, all); what != "" {
			faults[fmt.Sprintf("%s: %s: the policy for all denies %s", c.Command(), c.Action(), what)]++
		}
		if !slices.Contains(readers, c.Command()) {
			continue
		}
		if what := denied(c, read); what != "" {
			faults[fmt.Sprintf("%s: %s: the policy for read denies %s", c.Command(), c.Action(), what)]++
		}
	}
	for _, fault := range slices.Sorted(maps.Keys(faults)) {
		t.Errorf("%s (%d times)", fault, faults[fault])
	}
	none := policyeval.Policies{}
	if !slices.ContainsFunc(calls, func(c rig.Call) bool { return denied(c, none) != "" }) {
		t.Error("no policy at all is enough for all calls: this looks at nothing")
	}
}

// TestNothingIsUnused: each action that is granted was used, or stands in package iampolicy, or here, with its reason.
func TestNothingIsUnused(t *testing.T) {
	used := map[string]bool{}
	for _, c := range recorded(t) {
		if c.ErrorCode != "" {
			continue
		}
		for _, r := range c.Authorization {
			used[r.Action] = true
		}
	}
	all := granted(t)
	for _, action := range all {
		_, excused := untried[action]
		switch {
		case used[action] && excused: // in some runs, or where all cases are tried
			t.Logf("%s is used this time, though it has a reason", action)
		case !used[action] && !excused && iampolicy.Reason(action) == "":
			t.Errorf("%s is granted, and no test uses it; if none can, say why", action)
		}
	}
	for action := range untried {
		if !slices.Contains(all, action) {
			t.Errorf("%s has a reason, and is not granted", action)
		}
	}
}
