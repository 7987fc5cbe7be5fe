//go:build acceptance

package cycles

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// stack is the one of all cycles: what one of them leaves is in the way of the next.
const stack = "cycle"

// TestCycles runs CYCLES cycles, each with a seed of its own: those in SEEDS, apart by commas, and others drawn anew.
// TIME is how much of EC2's time things take.
func TestCycles(t *testing.T) {
	count, scale := number(t, "CYCLES", 1), fromEnvironment("TIME", "0.05")
	var given []string
	if text := os.Getenv("SEEDS"); text != "" {
		given = strings.Split(text, ",")
		count = max(count, len(given))
	}
	other := firstPair(t)
	for n := range count {
		seed := strconv.FormatUint(uint64(rand.Uint32()), 10)
		if n < len(given) {
			seed = given[n]
		}
		name := fmt.Sprintf("%d of %d, seed %s", n+1, count, seed)
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			done := rig.Cycle{
				Stack:   stack,
				Manners: fmt.Sprintf("ec2,time=%s,seed=%s", scale, seed),
				Other:   other,
				Repeat:  fmt.Sprintf("make cycles CYCLES=1 TIME=%s SEEDS=%s", scale, seed),
			}.Run(t)
			t.Log(rig.Times(done))
			if made, ok := youngestPair(t, began); ok {
				other = made
			}
		})
		rig.Must(t, rig.Goldsmith(), "images", "prune", "--keep", "1", "--yes")
	}
}

// firstPair is a pair of images for the first cycle to redeploy with; each other cycle takes those of the one before.
func firstPair(t *testing.T) rig.Release {
	t.Helper()
	began := time.Now()
	rig.Must(t, rig.Goldsmith(), "network", "up", "--stack", stack)
	rig.Must(t, rig.Packer(t), "build", "-color=false", "-var", "stack="+stack, "-var", "force=true", ".")
	pair, ok := youngestPair(t, began)
	if !ok {
		t.Fatal("the bake left no pair of proved images")
	}
	rig.Must(t, rig.Goldsmith(), "destroy", "--stack", stack, "--yes")
	return pair
}

// youngestPair is a proved image of each tier that was made since then, the youngest.
func youngestPair(t *testing.T, since time.Time) (pair rig.Release, ok bool) {
	t.Helper()
	youngest := func(tier string) string {
		out, err := rig.API.DescribeImages(t.Context(), &ec2.DescribeImagesInput{
			Owners: []string{"self"},
			Filters: []types.Filter{
				{Name: aws.String("tag:goldsmith:stack"), Values: []string{stack}},
				{Name: aws.String("tag:goldsmith:tier"), Values: []string{tier}},
				{Name: aws.String("tag-key"), Values: []string{"goldsmith:proved"}},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		id, last := "", since.UTC().Format(time.RFC3339)
		for _, image := range out.Images {
			if made := aws.ToString(image.CreationDate); made >= last {
				id, last = aws.ToString(image.ImageId), made
			}
		}
		return id
	}
	pair = rig.Release{DB: youngest("db"), Web: youngest("web")}
	return pair, pair.DB != "" && pair.Web != ""
}

func fromEnvironment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func number(t *testing.T, name string, otherwise int) int {
	t.Helper()
	n, err := strconv.Atoi(fromEnvironment(name, strconv.Itoa(otherwise)))
	if err != nil || n < 1 {
		t.Fatalf("%s should be a number from 1 on: %v", name, err)
	}
	return n
}
