package builder

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	registryimage "github.com/hashicorp/packer-plugin-sdk/packer/registry/image"
)

// artifact is the AMI.
type artifact struct {
	region, image, source string
	ec2                   ec2API
	// reused says that the image was there before the build.
	reused bool
	state  map[string]any
}

// BuilderId tells post-processors whose artifact it is.
func (*artifact) BuilderId() string { return builderID }

// Files are none: an AMI is not on this machine.
func (*artifact) Files() []string { return nil }

// Id is the region and the AMI's id, as amazon-ebs has it.
func (a *artifact) Id() string { return a.region + ":" + a.image }

// String is for people.
func (a *artifact) String() string { return fmt.Sprintf("AMI %s in %s", a.image, a.region) }

// State answers what Packer and its registry ask.
func (a *artifact) State(name string) any {
	if name != registryimage.ArtifactStateURI {
		return a.state[name]
	}
	image, err := registryimage.FromArtifact(a, registryimage.WithID(a.image), registryimage.WithProvider("aws"), registryimage.WithRegion(a.region), registryimage.WithSourceID(a.source))
	if err != nil {
		return nil
	}
	return image
}

// Destroy removes the AMI and its snapshots, if it is of this build.
func (a *artifact) Destroy() error {
	if a.reused {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupDeadline)
	defer cancel()
	out, err := a.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{a.image}})
	if err != nil {
		return fmt.Errorf("destroy %s: %w", a.image, err)
	}
	for _, image := range out.Images {
		if err := deregister(ctx, a.ec2, image); err != nil {
			return err
		}
	}
	return nil
}
