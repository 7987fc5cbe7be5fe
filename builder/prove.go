package builder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/release"
)

// beginProof tells the build of the other tier that this one is at work.
func (b *bake) beginProof(ctx context.Context) (err error) {
	p := b.config.Prove
	if p == nil {
		return nil
	}
	b.proof, err = release.Begin(ctx, b.stack, release.Proof{Release: p.Release, Tier: p.Tier, BuildTag: buildTag, Build: b.id, InstanceType: p.InstanceType, Revision: revision(), Timeout: p.timeout,
		Step: func(string, time.Duration) {}})
	return err
}

// endProof tells the build of the other tier when this one has no image to prove.
func (b *bake) endProof(ctx context.Context) error {
	if b.proof == nil || b.proved || b.reused {
		return nil
	}
	reason := b.failure
	if reason == nil {
		reason = errors.New("the build was interrupted")
	}
	return b.proof.End(ctx, reason)
}

// prove has a fresh instance of the AMI, in its target subnet, report itself ready.
func (b *bake) prove(ctx context.Context) error {
	if b.proof == nil {
		return nil
	}
	b.ui.Say(fmt.Sprintf("Proving %s in the %s subnet of stack %s...", b.image, map[string]string{"db": "private", "web": "public"}[b.config.Prove.Tier], b.config.Prove.Stack))
	if err := b.proof.Prove(ctx, b.image); err != nil {
		return err
	}
	b.proved = true
	return nil
}

// keepsUnproved says whether the AMI stays although it is not proved.
func (b *bake) keepsUnproved() bool {
	return b.image != "" && b.config.Prove != nil && b.config.Prove.OnUnproved == "keep" && errors.Is(b.failure, release.ErrUnproved)
}

func (b *bake) markUnproved(ctx context.Context) error {
	reason, _, _ := strings.Cut(b.failure.Error(), "\n")
	const longest = 255 // of a tag's value, in characters
	if runes := []rune(reason); len(runes) > longest {
		reason = string(runes[:longest])
	}
	b.ui.Say(fmt.Sprintf("Keeping the AMI %s, which is not proved (on_unproved = \"keep\")", b.image))
	_, err := b.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{b.image}, Tags: []types.Tag{{Key: aws.String(images.UnprovedTag), Value: aws.String(reason)}}})
	return err
}

// provenance are the AMI's tags that say where it comes from.
func (b *bake) provenance() map[string]string {
	tags := map[string]string{images.SourceTag: b.source.id}
	for tag, value := range map[string]string{images.ManifestTag: b.manifest, images.RevisionTag: revision()} {
		if value != "" {
			tags[tag] = value
		}
	}
	maps.Copy(tags, b.inputTags())
	return tags
}

// revision is the git revision of the working directory, with -dirty where something is not committed; empty where there
// is no git.
func revision() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
