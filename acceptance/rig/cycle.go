//go:build acceptance

package rig

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// Cycle is a stack's whole life on a cloud that has EC2's manners, by the commands that a user types: network up, a
// bake of both images, deploy, redeploy of both tiers, rollback, destroy.
type Cycle struct {
	Stack   string
	Manners string // as goldsmith cloud manners takes them
	// Images are deployed first; without them both are baked, and the release is deployed.
	Images *Release
	// Other are the images that both tiers are redeployed with, before the rollback.
	Other Release
	// Repeat is the command by which this cycle is run again.
	Repeat string
}

// Step is a step of a cycle that was done.
type Step struct {
	Name string
	Took time.Duration
}

// Run runs the cycle and wants nothing to be left in the account but images and snapshots. It returns what was done of
// it, also where the test failed; the cloud has no manners then, and the stack is gone.
func (c Cycle) Run(t testing.TB) (done []Step) {
	t.Helper()
	before := Account(t)
	Must(t, Goldsmith(), "cloud", "manners", c.Manners)
	for _, step := range c.steps(t) {
		began := time.Now()
		out, err := Output(step.argv[0], step.argv[1:]...)
		if err != nil {
			t.Errorf("%s, manners %s, after %s: %s: %v\nto repeat it: %s\n%s", step.name, c.Manners,
				time.Since(began).Round(time.Second), strings.Join(step.argv, " "), err, c.Repeat, End(t, out))
			c.abandon(t)
			return done
		}
		done = append(done, Step{step.name, time.Since(began)})
		if step.row != "" {
			AssertCalls(t, began, step.command, step.row)
		}
	}
	// What is there counts, not what EC2 shows of it so far.
	Must(t, Goldsmith(), "cloud", "manners", "none")
	for _, thing := range Account(t) {
		if !slices.Contains(before, thing) {
			t.Errorf("left after destroy, manners %s: %s\nto repeat it: %s", c.Manners, thing, c.Repeat)
		}
	}
	return done
}

type cycleStep struct {
	name string
	argv []string
	// row of docs/aws-calls.md is the one of this command; bakes are held to theirs elsewhere.
	command, row string
}

func (c Cycle) steps(t testing.TB) []cycleStep {
	t.Helper()
	goldsmith := func(name, command, row string, args ...string) cycleStep {
		return cycleStep{name, append([]string{Goldsmith()}, append(args, "--stack", c.Stack)...), command, row}
	}
	images := func(r *Release) []string {
		if r == nil {
			return []string{"deploy"}
		}
		return []string{"deploy", "--db-ami", r.DB, "--web-ami", r.Web}
	}
	all := []cycleStep{goldsmith("network up", "network-up", "`network up`", "network", "up")}
	if c.Images == nil {
		// An image of the same inputs may be there from the cycle before.
		bake := []string{Packer(t), "build", "-color=false", "-var", "stack=" + c.Stack, "-var", "force=true", "."}
		all = append(all, cycleStep{name: "bake both", argv: bake})
	}
	return append(all,
		goldsmith("deploy", "deploy", "`deploy` of a stack's first", images(c.Images)...),
		goldsmith("redeploy both", "deploy", "`deploy` of new images", images(&c.Other)...),
		goldsmith("rollback", "rollback", "`deploy` of new images", "rollback"),
		goldsmith("destroy", "destroy", "`destroy`", "destroy", "--yes"),
	)
}

// abandon removes what a cycle that failed has left, so that the next one begins as this one did.
func (c Cycle) abandon(t testing.TB) {
	t.Helper()
	for _, argv := range [][]string{
		{"cloud", "manners", "none"},
		{"gc", "--older-than", "0s", "--yes"},
		{"destroy", "--stack", c.Stack, "--yes"},
	} {
		if out, err := exec.Command(Goldsmith(), argv...).CombinedOutput(); err != nil {
			t.Errorf("after the failure: %s: %v\n%s", strings.Join(argv, " "), err, End(t, string(out)))
		}
	}
}

// Times are steps in a line.
func Times(done []Step) string {
	var all []string
	total := time.Duration(0)
	for _, step := range done {
		all = append(all, fmt.Sprintf("%s %.0f s", step.Name, step.Took.Seconds()))
		total += step.Took
	}
	return fmt.Sprintf("%s; all %.0f s", strings.Join(all, ", "), total.Seconds())
}
