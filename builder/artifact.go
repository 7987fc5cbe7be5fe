package builder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	registryimage "github.com/hashicorp/packer-plugin-sdk/packer/registry/image"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

// artifact is the AMI, and its copies.
type artifact struct {
	all    []publication
	source string
	// reused says that the image was there before the build, proved that a release may have it.
	reused, proved bool
	state          map[string]any
}

func (b *bake) artifact(state map[string]any) *artifact {
	ofProof(state, b.job.config.Prove)
	return &artifact{
		all:    b.published(),
		source: b.source.id,
		reused: b.reused,
		proved: b.image.proved,
		state:  state,
	}
}

// BuilderId tells post-processors whose artifact it is.
func (*artifact) BuilderId() string { return builderID }

// Files are none: an AMI is not on this machine.
func (*artifact) Files() []string { return nil }

// Id is region and id of each AMI, by region, as amazon-ebs has it.
func (a *artifact) Id() string { return a.join(",", "%[1]s:%[2]s") }

// String is for people.
func (a *artifact) String() string { return a.join("\n", "AMI %[2]s in %[1]s") }

func (a *artifact) join(separator, format string) string {
	var parts []string
	for _, p := range a.all {
		parts = append(parts, fmt.Sprintf(format, p.region, p.image))
	}
	slices.Sort(parts)
	return strings.Join(parts, separator)
}

// State answers what Packer and its registry ask.
func (a *artifact) State(name string) any {
	if name != registryimage.ArtifactStateURI {
		return a.state[name]
	}
	var all []*registryimage.Image
	for _, p := range a.all {
		image, err := registryimage.FromArtifact(a, registryimage.WithID(p.image), registryimage.WithProvider("aws"),
			registryimage.WithRegion(p.region), registryimage.WithSourceID(a.source))
		if err != nil {
			return nil
		}
		all = append(all, image)
	}
	return all
}

// Destroy removes the AMIs and their snapshots, if they are of this build. Packer calls it also where a post-processor
// failed: an AMI that was proved stays then, as the current release has it.
func (a *artifact) Destroy() error {
	if a.reused || a.proved {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupDeadline)
	defer cancel()
	var errs []error
	for _, p := range a.all {
		found, err := ec2ops.Images(ctx, p.api, &ec2.DescribeImagesInput{ImageIds: []string{p.image}})
		if err != nil {
			errs = append(errs, fmt.Errorf("destroy %s in %s: %w", p.image, p.region, err))
			continue
		}
		for _, image := range found {
			errs = append(errs, ec2ops.Deregister(ctx, p.api, image))
		}
	}
	return errors.Join(errs...)
}
