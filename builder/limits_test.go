package builder

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
)

func manyTags(prefix string, count int) map[string]string {
	all := map[string]string{}
	for i := range count {
		all[fmt.Sprint(prefix, i)] = "x"
	}
	return all
}

// TestMostTags has what is just taken be no more than EC2 takes, at the time when an AMI has the most.
func TestMostTags(t *testing.T) {
	change := map[string]any{
		"tags":            manyTags("a", tagsMax-ownImageTags),
		"snapshot_tags":   manyTags("b", tagsMax-ownRunTags-(tagsMax-ownImageTags)),
		"run_tags":        manyTags("c", tagsMax-ownRunTags-1),
		"run_volume_tags": map[string]string{"Name": "x", "d": "x"},
	}
	b := bakeOf(t, newAccount(t), "b1", change)
	in := inputs.Inputs{}
	for i := range 200 {
		in.Add(strings.Repeat("n", 100)+fmt.Sprint(i), []byte("x"))
	}
	image := builtImage{name: "db-1", owner: "b1", manifest: "m", description: "d"}
	origin := provenance(b.job, sourceImage{id: "ami-1"}, image, in)
	origin[images.RevisionTag] = "r" // which is not known outside of git
	specs := imageSpecs(b.job, image, origin)
	proof := 2 // goldsmith:proved and goldsmith:release
	run, volumes := b.job.config.RunTags, b.job.config.RunVolumeTags
	for i, got := range []int{len(specs[0].Tags) + proof, len(specs[1].Tags), len(b.job.tags("n", run)),
		len(b.job.tags("n", run, volumes))} {
		if want := []int{tagsMax, tagsMax, tagsMax - 1, tagsMax}[i]; got != want {
			t.Errorf("%d: there are %d tags, want %d", i, got, want)
		}
	}
}

// TestNameWithAQuote has an AMI's name that no description of a security group may have.
func TestNameWithAQuote(t *testing.T) {
	if _, err := launchOne(t, newAccount(t), map[string]any{"ami_name": "it's (1) [2] @3"}); err != nil {
		t.Error(err)
	}
}

// TestNoDescription has none be asked for where there is none.
func TestNoDescription(t *testing.T) {
	a := newAccount(t)
	b := bakeOf(t, a, "b1", map[string]any{"ami_regions": []string{"eu-west-1"}})
	if err := b.try(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, call := range a.Calls("CreateImage", "CopyImage") {
		found++
		switch in := call.Input.(type) {
		case *ec2.CreateImageInput:
			if in.Description != nil {
				t.Errorf("the description of the AMI is %q", *in.Description)
			}
		case *ec2.CopyImageInput:
			if in.Description != nil {
				t.Errorf("the description of the copy is %q", *in.Description)
			}
		}
	}
	if found == 0 {
		t.Error("no AMI was asked for")
	}
}
