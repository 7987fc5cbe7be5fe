package builder

import (
	"context"
	"slices"
)

// compareQuotas warns where the account has no room for the build's instances: the one that is baked on and, after it,
// those of the proof. What builds at its side launch is not counted before it runs.
func (b *bake) compareQuotas(ctx context.Context) error {
	c := b.job.config
	var sets [][]string
	if c.InstanceType != "" && len(c.SpotInstanceTypes) == 0 { // spot instances have a quota of their own
		sets = append(sets, []string{c.InstanceType})
	}
	if c.Prove != nil {
		sets = append(sets, slices.Repeat([]string{c.Prove.InstanceType}, len(tierNames())))
	}
	for _, warning := range b.job.quotas.ForInstances(ctx, "this build", sets...) {
		b.job.ui.Message("warning: " + warning)
	}
	return nil
}
