package deploy

import (
	"context"
	"fmt"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/quotas"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/data"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/service"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/login"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/parameters"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/release"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/roles"
)

// prepare finds and makes what a deployment needs, recovers what one left that was killed, and decides what happens to
// each tier. It changes nothing of what runs. all are the stack's instances.
func (r *rollout) prepare(ctx context.Context, all []stack.Instance) (err error) {
	if r.tiers, err = tiersOf(ctx, r.run, all); err != nil {
		return err
	}
	if err = r.findImages(ctx); err != nil {
		return err
	}
	s, act := r.stack, r.run.Act
	if r.run.Network, err = network.Ensure(ctx, s, act); err != nil {
		return err
	}
	if err = login.EnsureKey(ctx, s, act); err != nil {
		return err
	}
	if err = parameters.Ensure(ctx, s, act); err != nil {
		return err
	}
	if err = roles.Ensure(ctx, s, act); err != nil {
		return err
	}
	if err = r.recoverKilled(ctx); err != nil {
		return fmt.Errorf("put right what an earlier deployment left: %w; %w", err, ErrNeedsPerson)
	}
	if r.run.Instances, err = s.Instances(ctx); err != nil {
		return err
	}
	r.run.Instances = r.withKnown(r.run.Instances)
	for _, t := range r.tiers {
		if err := t.Plan(ctx); err != nil {
			return err
		}
	}
	r.compareQuotas(ctx)
	return nil
}

// compareQuotas warns where the account has no room for the instances that come beside those that run. A group that is
// refreshed gets them one by one, if the stack file does not say otherwise.
func (r *rollout) compareQuotas(ctx context.Context) {
	if r.run.Act.Dry() {
		return // a plan makes no calls that a deployment may not need
	}
	var launched []string
	for i, t := range r.tiers {
		o, wanted, count := t.Outcome(), r.stack.Tiers[i], 1
		if wanted.Service.Group && o.Old.ID == "" {
			count = int(wanted.Service.Count)
		}
		if o.Replaced || o.Old.ID == "" {
			launched = append(launched, slices.Repeat([]string{wanted.InstanceType}, count)...)
		}
	}
	for _, warning := range quotas.Open(r.stack.Config).ForInstances(ctx, "this deployment", launched) {
		r.stack.Logf("warning: %s", warning)
	}
}

// tiersOf are the stack's tiers in a deployment; it refuses what cannot come to a good end.
func tiersOf(ctx context.Context, run *tier.Run, all []stack.Instance) ([]tier.Tier, error) {
	var tiers []tier.Tier
	for _, t := range run.Stack.Tiers {
		var made tier.Tier
		var err error
		if t.Kind == stack.DataTier {
			made, err = data.New(run, t, all)
		} else {
			made, err = service.New(ctx, run, t, all)
		}
		if err != nil {
			return nil, err
		}
		tiers = append(tiers, made)
	}
	return tiers, nil
}

// findImages finds the image of each tier, and notes them in the record.
func (r *rollout) findImages(ctx context.Context) error {
	current, _, err := release.Current(ctx, r.stack)
	if err != nil {
		return err
	}
	for _, t := range r.stack.Tiers {
		image, err := release.FindImage(ctx, r.stack, t, r.d.Images[t.Name], current)
		if err != nil {
			return err
		}
		r.run.Images[t.Name] = image
	}
	to := record.Images{Tiers: r.run.Images}
	if to.Same(record.Images{Tiers: current.Images}) {
		to.Release = current.Name
	}
	r.run.Set(func(rec *record.Record) { rec.To = to })
	return nil
}

// recoverKilled ends what deployments left that were killed, and says so in their records.
func (r *rollout) recoverKilled(ctx context.Context) error {
	records, err := record.History(ctx, r.stack)
	if err != nil {
		return err
	}
	holder, active, err := record.ActiveHolder(ctx, r.stack)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(records, func(rec record.Record) bool { return rec.Result == record.Done }); i >= 0 {
		r.run.Last = records[i].ID
	}
	killed := slices.DeleteFunc(records, func(rec record.Record) bool {
		return rec.Result != record.Running || active && rec.ID == holder.ID
	})
	if err := r.converge(ctx, r.run.Act, len(killed) > 0); err != nil || r.run.Act.Dry() {
		return err
	}
	for _, rec := range killed {
		rec.Result, rec.Reason = record.RolledBack, "it ended without a word; "+r.run.ID+" put right what it left"
		if err := record.Write(ctx, r.stack, rec); err != nil {
			return err
		}
	}
	return nil
}

// converge brings the stack to what its tags say: each tier is served, with all that belongs to it, and there is no
// other instance. A failed deployment goes back this way, what a killed one left is put right this way, and the old
// instances of a good one end this way: what differs is only who has the role. stopped says that an instance which
// serves may have been stopped, also where nothing else shows it.
func (r *rollout) converge(ctx context.Context, act *plan.Actor, stopped bool) error {
	all, err := r.stack.Instances(ctx)
	if err != nil {
		return err
	}
	all = r.withKnown(all)
	for _, t := range r.tiers {
		if err := t.Converge(ctx, act, all, stopped); err != nil {
			return err
		}
	}
	return nil
}

// withKnown adds what is known of the instances that this deployment launched, and replaced, and of those that the last
// one did: EC2 may not list them yet, or with tags of before.
func (r *rollout) withKnown(all []stack.Instance) []stack.Instance {
	for i := range all {
		if all[i].Role == stack.Candidate && all[i].Detail.Deploy == r.run.Last {
			all[i].Role = stack.Serving
		}
	}
	for _, t := range r.tiers {
		o := t.Outcome()
		for _, launched := range o.Launched {
			role := stack.Candidate
			if r.committed {
				role = stack.Serving
				setKnownRole(all, o.Old.ID, stack.Retired)
			}
			if !setKnownRole(all, launched.ID, role) {
				launched.Role = role
				all = append(all, launched)
			}
		}
	}
	return all
}

func setKnownRole(all []stack.Instance, id, role string) bool {
	i := slices.IndexFunc(all, func(i stack.Instance) bool { return i.ID == id })
	if i >= 0 {
		all[i].Role = role
	}
	return i >= 0
}
