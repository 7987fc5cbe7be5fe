package deploy

import (
	"context"
	"fmt"
	"slices"

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

// Destroy removes the stack's instances, roles, parameters, release, key pair and network. Images and snapshots stay.
func Destroy(ctx context.Context, s *stack.Stack) error {
	return record.WithLastLock(ctx, s, func(ctx context.Context) error { return destroy(ctx, s) })
}

func destroy(ctx context.Context, s *stack.Stack) error {
	all, err := s.Instances(ctx)
	if err != nil {
		return err
	}
	run := newRollout(s, Deployment{}, record.NewID(), plan.NewActor(false)).run
	for _, t := range slices.Backward(s.Tiers) { // who needs another goes first
		if err := removable(run, t).Remove(ctx, all); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		what   string
		remove func(context.Context, *stack.Stack) error
	}{
		{"roles", roles.Remove},
		{"history", record.Remove},
		{"parameters", parameters.Remove},
		{"release", release.Remove},
		{"key pair", login.RemoveKey},
	} {
		if err := part.remove(ctx, s); err != nil {
			return fmt.Errorf("remove the %s of stack %s: %w", part.what, s.Name, err)
		}
		s.Logf("removed the %s of stack %s", part.what, s.Name)
	}
	return network.Remove(ctx, s)
}

// removable is a tier that is only to be removed, whatever serves it.
func removable(run *tier.Run, t stack.Tier) tier.Tier {
	if t.Kind == stack.DataTier {
		return data.Removable(run, t)
	}
	return service.Removable(run, t)
}
