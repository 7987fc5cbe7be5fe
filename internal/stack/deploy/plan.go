package deploy

import (
	"context"
	"fmt"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
)

// Plan returns the changes that a deployment would make, and makes none: it is a deployment whose Actor is dry. It
// fails where the deployment would, as far as that can be known before.
func Plan(ctx context.Context, s *stack.Stack, d Deployment) (plan.Plan, error) {
	r := newRollout(s, d, record.NewID(), plan.NewActor(true))
	all, err := s.Instances(ctx)
	if err != nil {
		return plan.Plan{Changes: []plan.Change{}}, err
	}
	err = r.prepare(ctx, all)
	for _, t := range r.tiers {
		if err == nil {
			err = t.Bring(ctx)
		}
	}
	replaced := slices.ContainsFunc(r.tiers, func(t tier.Tier) bool { return t.Outcome().Replaced })
	if err == nil && replaced {
		err = r.prune(ctx)
	}
	p := plan.Plan{Changes: r.run.Act.Changes()}
	if err != nil {
		return p, err
	}
	p.Notes, err = notes(ctx, s)
	return p, err
}

// notes are the plan's notes: a deployment that is under way, and those that were killed.
func notes(ctx context.Context, s *stack.Stack) ([]string, error) {
	now, active, err := record.ActiveHolder(ctx, s)
	if err != nil {
		return nil, err
	}
	if active {
		since := now.Since.Format("2006-01-02 15:04:05 MST")
		note := fmt.Sprintf("another deployment is under way: by %s on %s since %s", now.Who, now.Host, since)
		return []string{note}, nil
	}
	records, err := record.History(ctx, s)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, r := range records {
		if r.Result == record.Running {
			all = append(all, "deployment "+r.ID+" ended without a word; what it left would be put right first")
		}
	}
	return all, nil
}
