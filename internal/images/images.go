// Package images lists and removes the builder's resources in an account: finished images with the data of their tags,
// and leftovers of builds that were killed.
package images

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

// Tags that the builder gives.
const (
	// BuildTag is on everything that a build makes, with the build's id.
	BuildTag = "goldsmith:build"
	// StartedTag says when that build began, in RFC 3339: not everything in EC2 has a time of its own.
	StartedTag = "goldsmith:started"
	// UnfinishedTag is on an AMI until its build has come to its end.
	UnfinishedTag = "goldsmith:unfinished"
	// SeriesTag is the same on all images that replace each other, for example golden/db.
	SeriesTag = "goldsmith:series"
	// ProvedTag says when the image was proved, in RFC 3339.
	ProvedTag = "goldsmith:proved"
	// UnprovedTag says why an image that was kept is not.
	UnprovedTag = "goldsmith:unproved"
	// ReleaseTag names the release that the image was proved for.
	ReleaseTag = "goldsmith:release"
	// DigestTag is the digest of all that went into the image.
	DigestTag = "goldsmith:digest"
	// ManifestTag is the digest of the manifest that is in the image.
	ManifestTag = "goldsmith:manifest"
	// SourceTag is the AMI that the image was made from.
	SourceTag = "goldsmith:source-ami"
	// UserTag is the account that the build logged in as, which the launch's key opens.
	UserTag = "goldsmith:ssh-user"
	// RevisionTag is the git revision that it was built from.
	RevisionTag = "goldsmith:revision"
)

// Account is an account in one region.
type Account struct {
	EC2 *ec2.Client
	SSM *ssm.Client
	IAM *iam.Client
}

// Open is the account that a configuration is for.
func Open(conf aws.Config) *Account {
	return &Account{EC2: ec2.NewFromConfig(conf), SSM: ssm.NewFromConfig(conf), IAM: iam.NewFromConfig(conf)}
}

// Image is a finished image.
type Image struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Series   string    `json:"series"`
	Created  time.Time `json:"created"`
	Release  string    `json:"release,omitempty"`
	Proved   string    `json:"proved,omitempty"`
	Unproved string    `json:"unproved,omitempty"`
	Digest   string    `json:"digest,omitempty"`
	Manifest string    `json:"manifest,omitempty"`
	Source   string    `json:"source_ami,omitempty"`
	Revision string    `json:"revision,omitempty"`
	// Current says that the current release of a stack has it.
	Current bool `json:"current"`
	// Instances are those that run it, stopped ones too.
	Instances []string `json:"instances,omitempty"`

	image types.Image
}

// InUse says whether something needs the image.
func (i Image) InUse() bool { return i.Current || len(i.Instances) > 0 }

// List is all finished images that builds made, by series and the youngest first. current are the images of current
// releases.
func (a *Account) List(ctx context.Context, current []string) ([]Image, error) {
	found, err := ec2ops.OwnImages(ctx, a.EC2, ofBuilds()...)
	if err != nil {
		return nil, fmt.Errorf("list the images: %w", err)
	}
	running, err := a.running(ctx)
	if err != nil {
		return nil, err
	}
	var all []Image
	for _, i := range found {
		if ec2ops.TagValue(i.Tags, UnfinishedTag) != "" {
			continue
		}
		image := imageOf(i)
		image.Current = slices.Contains(current, image.ID)
		image.Instances = running[image.ID]
		all = append(all, image)
	}
	slices.SortFunc(all, func(x, y Image) int {
		return cmp.Or(cmp.Compare(x.Series, y.Series), y.Created.Compare(x.Created), cmp.Compare(y.Name, x.Name))
	})
	return all, nil
}

// imageOf makes an Image of an AMI and its tags.
func imageOf(i types.Image) Image {
	made, _ := time.Parse(time.RFC3339, aws.ToString(i.CreationDate))
	tag := func(key string) string { return ec2ops.TagValue(i.Tags, key) }
	return Image{
		ID:       aws.ToString(i.ImageId),
		Name:     aws.ToString(i.Name),
		Series:   tag(SeriesTag),
		Created:  made,
		Release:  tag(ReleaseTag),
		Proved:   tag(ProvedTag),
		Unproved: tag(UnprovedTag),
		Digest:   tag(DigestTag),
		Manifest: tag(ManifestTag),
		Source:   tag(SourceTag),
		Revision: tag(RevisionTag),
		image:    i,
	}
}

// ManifestDigest is the digest of the manifest that is in an image.
func (a *Account) ManifestDigest(ctx context.Context, id string) (string, error) {
	found, err := ec2ops.Images(ctx, a.EC2, &ec2.DescribeImagesInput{ImageIds: []string{id}})
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", id, err)
	}
	for _, image := range found {
		if digest := ec2ops.TagValue(image.Tags, ManifestTag); digest != "" {
			return digest, nil
		}
	}
	return "", fmt.Errorf("look at %s: it has no tag %s; was it made by goldsmith-ami?", id, ManifestTag)
}

// running are the instances by image, but for those that are terminated.
func (a *Account) running(ctx context.Context) (map[string][]string, error) {
	found, err := ec2ops.Instances(ctx, a.EC2, &ec2.DescribeInstancesInput{})
	if err != nil {
		return nil, fmt.Errorf("list the instances: %w", err)
	}
	by := map[string][]string{}
	for _, i := range found {
		if state, _ := ec2ops.StateOf(i); state != types.InstanceStateNameTerminated {
			by[aws.ToString(i.ImageId)] = append(by[aws.ToString(i.ImageId)], aws.ToString(i.InstanceId))
		}
	}
	return by, nil
}

// Superseded are the images that nobody would miss: of each series all but the youngest few, and never one in use.
// Images without a series are nobody's to judge.
func Superseded(all []Image, keep int) []Image {
	kept := map[string]int{}
	var old []Image
	for _, image := range all {
		if image.Series == "" {
			continue
		}
		if kept[image.Series]++; kept[image.Series] > keep && !image.InUse() {
			old = append(old, image)
		}
	}
	return old
}

// Remove deregisters an image and deletes its snapshots.
func (a *Account) Remove(ctx context.Context, image Image) error {
	return ec2ops.Deregister(ctx, a.EC2, image.image)
}
