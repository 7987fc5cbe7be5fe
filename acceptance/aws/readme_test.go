//go:build acceptance

// Package aws has what the pages say of AWS be done as they say it, by a user who has the printed policy and no other
// right, on a cloud with EC2's manners.
package aws

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// manners are EC2's, with a twentieth of its times; the seed makes each run meet the same ones.
const manners = "ec2,time=0.05,seed=20261127"

// patience is the most that one line may take, on a busy machine.
const patience = 15 * time.Minute

var (
	onAWS   = regexp.MustCompile("(?s)\n## On AWS\n.*?```\n(.*?)```")
	serves  = regexp.MustCompile(`(?s)\bgood\b.*\bgood\b.*every \S+, last at`)
	confirm = regexp.MustCompile(`Type the stack's name, golden, to go on: `)
)

// TestReadmeOnAWS types the block "On AWS" of the README, line by line as it is printed. Its "…" is the user's profile,
// and its region the local cloud's.
func TestReadmeOnAWS(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(rig.Repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := onAWS.FindStringSubmatch(string(text))
	if block == nil {
		t.Fatal("README.md has no block under the heading On AWS")
	}
	t.Cleanup(func() { rig.Must(t, rig.Goldsmith(), "cloud", "manners", "none") })
	before, began := rig.Inventory(t), time.Now()
	newcomer := newUser(t, "newcomer")
	shell := newcomer.shell(t)
	done := map[string]bool{}
	for line := range strings.Lines(block[1]) {
		line = strings.TrimRight(line, "\n")
		command, _, _ := strings.Cut(line, "#")
		command = strings.TrimSpace(command)
		typed := time.Now()
		switch line = strings.NewReplacer("AWS_PROFILE=…", "AWS_PROFILE="+newcomer.name,
			"AWS_REGION=eu-central-1", "AWS_REGION="+region).Replace(line); command {
		case "goldsmith iam-policy":
			newcomer.allow(t, shell.Run(line, patience))
			// From here on: a policy that was attached a moment ago does not count at once.
			rig.Must(t, rig.Goldsmith(), "cloud", "manners", manners)
		case "goldsmith status --watch":
			shell.Type(line + "\n")
			shell.Await(serves, patience)
			shell.Type("\x03")
			shell.Succeeds(line, time.Minute)
		case "goldsmith destroy":
			shell.Type(line + "\n")
			shell.Await(confirm, patience)
			shell.Type(rig.StackName + "\n")
			shell.Succeeds(line, patience)
		default:
			shell.Run(line, patience)
		}
		t.Logf("%5.1f s  %s", time.Since(typed).Seconds(), command)
		done[command] = true
	}
	for _, command := range []string{"goldsmith iam-policy", "packer build -var stack=golden .", "goldsmith destroy"} {
		if !done[command] {
			t.Errorf("the block has no line %q", command)
		}
	}
	for command, row := range map[string]string{
		"network-up":    "`network up`",
		"goldsmith-ami": "`packer build` of both images",
		"stack-plan":    "`stack plan`",
		"deploy":        "`deploy` of a stack's first instances",
		"destroy":       "`destroy`",
	} {
		rig.AssertCalls(t, began, command, row)
	}
	rig.Must(t, rig.Goldsmith(), "cloud", "manners", "none") // an image's snapshot would be in use for a while
	assertOnlyImages(t, before)
}

// assertOnlyImages wants all but images and snapshots to be as before.
func assertOnlyImages(t *testing.T, before []string) {
	t.Helper()
	for _, image := range rig.OwnImages(t) {
		rig.DeregisterNow(t, image)
	}
	rig.AssertNothingLeft(t, before)
}
