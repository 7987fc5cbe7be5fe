package release

import (
	"context"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
)

// What the artifact of a build says of its part in a release: keys of its state.
const (
	ArtifactStack   = "goldsmith.stack"
	ArtifactTier    = "goldsmith.tier"
	ArtifactRelease = "goldsmith.release"
)

// ClaimDeployment makes one of the builds of a run, which share the name of a release, the one that deploys; it is the
// one for which this returns true. That waits until the builds of the other tiers have come to their end, since what
// they make may be part of the current release then. Nobody deploys a release that the image is not in.
func ClaimDeployment(ctx context.Context, s *stack.Stack, run, tier, image string) (bool, error) {
	for _, other := range othersOf(s, tier) {
		if err := awaitEnd(ctx, s, run, other); err != nil {
			return false, err
		}
	}
	r, ok, err := Current(ctx, s)
	switch {
	case err != nil:
		return false, err
	case !ok:
		s.Logf("stack %s has no release yet: nothing to deploy", s.Name)
		return false, nil
	case r.Images[tier] != image:
		s.Logf("release %s of stack %s has %s and not %s: nothing to deploy", r.Name, s.Name, r.Images[tier], image)
		return false, nil
	}
	// A run whose builds come one after the other may complete two releases, each with its own deployment.
	part := "deployment-" + strings.Join(r.ids(), "-")
	elected, err := claim(ctx, s, run, part, Candidate{Image: image})
	if err == nil && !elected {
		s.Logf("another build of the run deploys release %s", r.Name)
	}
	return elected, err
}

// awaitEnd waits for the end of the build of a tier's image, if it is at work.
func awaitEnd(ctx context.Context, s *stack.Stack, run, tier string) error {
	for told := false; ; told = true {
		c, ok, err := readCandidate(ctx, s, run, tier)
		if err != nil || !ok || c.State != Baking && c.State != Baked {
			return err
		}
		if !told {
			s.Logf("waiting for the end of the build of the %s image: one deployment does for both", tier)
		}
		if err := await.Sleep(ctx, poll); err != nil {
			return err
		}
	}
}

// othersOf are the names of the other tiers.
func othersOf(s *stack.Stack, tier string) []string {
	var names []string
	for _, t := range s.Tiers {
		if t.Name != tier {
			names = append(names, t.Name)
		}
	}
	return names
}
