package stack

import (
	"context"
	"time"
)

// What the artifact of a build says of its part in a release: keys of its state.
const (
	ArtifactStack   = "goldsmith.stack"
	ArtifactTier    = "goldsmith.tier"
	ArtifactRelease = "goldsmith.release"
)

// ClaimDeployment makes one of the builds of a run, which share the name of a release, the one that deploys; it is the one
// for which this returns true. That waits until the build of the other tier has come to its end, since what it makes
// may be part of the current release then. Nobody deploys a release that the image is not in.
func (s *Stack) ClaimDeployment(ctx context.Context, run, tier, image string) (bool, error) {
	other := map[string]string{"db": "web", "web": "db"}[tier]
	for told := false; ; told = true {
		c, ok, err := s.candidate(ctx, run, other)
		if err != nil {
			return false, err
		}
		if !ok || c.State != Baking && c.State != Baked {
			break
		}
		if !told {
			s.say("waiting for the end of the build of the %s image: one deployment does for both", other)
		}
		if err := sleep(ctx, 300*time.Millisecond); err != nil {
			return false, err
		}
	}
	r, ok, err := s.CurrentRelease(ctx)
	switch {
	case err != nil:
		return false, err
	case !ok:
		s.say("stack %s has no release yet: nothing to deploy", s.name)
		return false, nil
	case r.image(tier) != image:
		s.say("release %s of stack %s has %s and not %s: nothing to deploy", r.Name, s.name, r.image(tier), image)
		return false, nil
	}
	// A run whose builds come one after the other may complete two releases, each with its own deployment.
	mine, err := s.claim(ctx, run, "deployment-"+r.Database+"-"+r.Web, Candidate{Image: image})
	if err == nil && !mine {
		s.say("the build of the %s image deploys release %s", other, r.Name)
	}
	return mine, err
}
