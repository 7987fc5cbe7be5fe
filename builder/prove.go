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
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/release"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// proof is a build's proof of its AMI in a stack. Only this file knows of stacks.
type proof struct {
	stack *stack.Stack
	// begun is nil until the build has said that it is at work.
	begun *release.Proof
}

// newProof is the proof that a prove block asks for.
func newProof(conf aws.Config, j *job) (*proof, error) {
	say := func(format string, args ...any) { j.ui.Message(fmt.Sprintf(format, args...)) }
	found, err := defaultstack.Named(conf, j.config.Prove.Stack, say)
	if err != nil {
		return nil, err
	}
	found.Settings.PermissionsBoundary = j.config.PermissionsBoundary
	return &proof{stack: found}, nil
}

// tierNames are the tiers that an AMI can be proved for.
func tierNames() []string {
	var names []string
	for _, tier := range defaultstack.Tiers(stackfile.Default()) {
		names = append(names, tier.Name)
	}
	return names
}

// beginProof tells the builds of the other tiers that this one is at work.
func (b *bake) beginProof(ctx context.Context) (err error) {
	p := b.job.config.Prove
	if p == nil {
		return nil
	}
	b.proof.begun, err = release.Begin(ctx, b.proof.stack, release.Proof{
		Release:       p.Release,
		Tier:          p.Tier,
		BuildTag:      buildTag,
		Build:         b.image.owner,
		InstanceTypes: p.types,
		Revision:      revision(),
		Timeout:       p.timeout,
		Step:          func(string, time.Duration) {},
	})
	return err
}

// endProof tells the builds of the other tiers when this one has no image to prove.
func (b *bake) endProof(ctx context.Context) error {
	if b.proof == nil || b.proof.begun == nil || b.image.proved || b.reused {
		return nil
	}
	reason := b.failure
	if reason == nil {
		reason = errors.New("the build was interrupted")
	}
	return b.proof.begun.End(ctx, reason)
}

// prove has a fresh instance of the AMI, where its tier's instances run, report itself ready.
func (b *bake) prove(ctx context.Context) error {
	if b.proof == nil {
		return nil
	}
	p := b.job.config.Prove
	b.job.ui.Say(fmt.Sprintf("Proving %s in stack %s, tier %s...", b.image.id, p.Stack, p.Tier))
	err := b.proof.begun.Prove(ctx, b.image.id)
	b.image.proved = err == nil
	return err
}

// proveReused has an AMI that was there before the build be proved again, unless the current release has it.
func (b *bake) proveReused(ctx context.Context) error {
	if b.proof == nil {
		return nil
	}
	released, ok, err := release.Current(ctx, b.proof.stack)
	if err != nil {
		return err
	}
	if current := released.Images[b.job.config.Prove.Tier]; ok && current != b.image.id {
		b.job.ui.Say(fmt.Sprintf("The current release has %s: proving %s anew", current, b.image.id))
		return b.proof.begun.Prove(ctx, b.image.id)
	}
	return b.proof.begun.Unchanged(ctx, b.image.id)
}

// keepsUnproved says whether the AMI stays although it is not proved.
func (b *bake) keepsUnproved() bool {
	p := b.job.config.Prove
	return b.image.id != "" && p != nil && p.OnUnproved == "keep" && errors.Is(b.failure, release.ErrUnproved)
}

// markUnproved says on the AMI why it is not proved.
func markUnproved(ctx context.Context, j *job, image string, failure error) error {
	reason, _, _ := strings.Cut(failure.Error(), "\n")
	const longest = 255 // of a tag's value, in characters
	if runes := []rune(reason); len(runes) > longest {
		reason = string(runes[:longest])
	}
	j.ui.Say(fmt.Sprintf("Keeping the AMI %s, which is not proved (on_unproved = \"keep\")", image))
	_, err := j.ec2.CreateTags(ctx, &ec2.CreateTagsInput{
		Resources: []string{image},
		Tags:      []types.Tag{{Key: aws.String(images.UnprovedTag), Value: aws.String(reason)}},
	})
	return err
}

// provenance are the AMI's tags that say where it comes from.
func provenance(j *job, source sourceImage, image builtImage, in inputs.Inputs) map[string]string {
	tags := map[string]string{images.SourceTag: source.id, images.UserTag: j.config.Comm.SSHUsername}
	if image.manifest != "" {
		tags[images.ManifestTag] = image.manifest
	}
	if image.description != "" {
		tags[imagespec.Tag] = image.description
	}
	if at := revision(); at != "" {
		tags[images.RevisionTag] = at
	}
	maps.Copy(tags, inputTags(j.config.series(), in))
	return tags
}

// revision is the git revision of the working directory, with -dirty where something is not committed; empty where
// there is no git.
func revision() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// ofProof says in an artifact which part of which release it is.
func ofProof(state map[string]any, p *Prove) {
	if p == nil {
		return
	}
	state[release.ArtifactStack] = p.Stack
	state[release.ArtifactTier] = p.Tier
	state[release.ArtifactRelease] = p.Release
}
