package service

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/launch"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/probe"
)

// single is a service tier of one instance, in one deployment.
type single struct {
	run          *tier.Run
	tier         stack.Tier
	certificates *certificates
	probe        probe.Probe
	address      types.Address // the elastic one
	decision     tier.Decision
	serving      stack.Instance
	answers      []instance.Answer // of its image
	outcome      tier.Outcome
}

func newSingle(run *tier.Run, t stack.Tier) *single {
	known := &certificates{}
	return &single{
		run:          run,
		tier:         t,
		certificates: known,
		probe:        newProbe(run, t, known),
	}
}

// Outcome implements tier.Tier.
func (s *single) Outcome() tier.Outcome {
	if s.serving.ID != "" {
		s.outcome.Serving = []stack.Instance{s.serving}
	}
	return s.outcome
}

// Plan implements tier.Tier.
func (s *single) Plan(ctx context.Context) (err error) {
	if s.address, err = ensureAddress(ctx, s.run, s.tier); err != nil {
		return err
	}
	subnet, err := s.run.Network.SubnetOf(s.run.Stack, s.tier, "")
	if err != nil {
		return err
	}
	old := stack.ServingOf(s.run.Instances, s.tier.Name)
	s.decision, err = s.run.Decide(s.tier, old, launch.Launch{
		Subnet:    subnet,
		Service:   aws.ToString(s.address.PublicIp),
		Addresses: maps.Clone(s.run.Addresses),
	})
	s.run.Addresses[s.tier.Name] = aws.ToString(s.address.PublicIp)
	s.outcome.Old, s.outcome.Replaced = old, s.decision.Replace
	return err
}

// Bring implements tier.Tier: a new instance is ready by its own address.
func (s *single) Bring(ctx context.Context) error {
	if !s.decision.Replace {
		report, err := s.run.Keep(ctx, s.tier, s.decision.Old)
		if err != nil || s.run.Act.Dry() {
			return err
		}
		return s.noteReady(ctx, s.decision.Old.ID, report)
	}
	return s.run.Act.Do(s.decision.Change(), func() (string, error) {
		launched, err := s.run.Launch(ctx, s.tier, s.decision)
		if err != nil {
			return "", err
		}
		s.outcome.Launched = append(s.outcome.Launched, launched)
		var report instance.Report
		err = s.run.Ready(s.tier, func() (err error) {
			limited, cancel := context.WithTimeout(ctx, s.tier.Service.Probe.Deadline)
			defer cancel()
			report, err = launch.WaitReady(limited, s.run.Stack, launched.ID, time.Time{})
			return err
		})
		if err != nil {
			return "", err
		}
		return launched.ID, s.noteReady(ctx, launched.ID, report)
	})
}

// noteReady notes an instance that is ready, as it is now, and the certificate that it reported.
func (s *single) noteReady(ctx context.Context, id string, report instance.Report) (err error) {
	if s.serving, err = launch.Latest(ctx, s.run.Stack, id); err != nil {
		return err
	}
	s.answers = report.Answers
	if s.outcome.Fingerprint = launch.CertificateOf(report); s.outcome.Fingerprint != "" {
		s.certificates.add(id, s.outcome.Fingerprint)
	}
	return nil
}

// Shift implements tier.Tier: it asks the instance from outside, by its own address and several times in a row, and
// gives it the elastic address if it has not got it.
func (s *single) Shift(ctx context.Context) error {
	own, run := aws.ToString(s.address.PublicIp), s.run
	setURL(&s.outcome, s.address)
	if s.outcome.Fingerprint == "" || s.serving.Public == "" {
		return fmt.Errorf("ask %s from outside: it has no public address, or its report no certificate", s.serving.ID)
	}
	err := run.Timed(tier.StepOf(s.tier, "probe", "https from outside"), func() error {
		if err := s.healthy(ctx, s.serving.Public, s.tier.Service.Probe.HealthyThreshold); err != nil {
			return err
		}
		if err := s.probe.Answers(ctx, s.serving.Public, s.answers); err != nil {
			return fmt.Errorf("ask %s from outside for what its image describes: %w", s.serving.ID, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	run.Observer.Trust(s.outcome.Fingerprint)
	if s.serving.Public == own {
		run.Observer.Ask(own)
		return nil
	}
	err = run.Timed(tier.StepOf(s.tier, "address", "move the "+s.tier.Name+" address"), func() error {
		if failed := giveAddress(ctx, run, s.tier, s.address, s.serving.ID); failed != nil {
			return failed
		}
		s.serving.Public = own
		return s.healthy(ctx, own, 1)
	})
	if err == nil {
		run.Observer.Ask(own)
		run.Stack.Logf("the traffic goes to %s", s.serving.ID)
	}
	return err
}

// healthy waits until an address answers so many times in a row.
func (s *single) healthy(ctx context.Context, address string, times int32) error {
	if err := s.probe.Healthy(ctx, address, times); err != nil {
		return fmt.Errorf("ask %s from outside, at %s: %w", s.serving.ID, address, err)
	}
	return nil
}

// Watch implements tier.Watcher.
func (s *single) Watch(ctx context.Context) error {
	return watch(ctx, s.run, s.tier, s.probe, s.address)
}

// Converge implements tier.Tier: one instance serves, with the elastic address.
func (s *single) Converge(ctx context.Context, act *plan.Actor, all []stack.Instance, _ bool) error {
	keeper := stack.ServingOf(all, s.tier.Name)
	address, err := s.run.Stack.ElasticAddress(ctx, s.tier)
	if err != nil {
		return err
	}
	if address != nil && aws.ToString(address.AssociationId) != "" && aws.ToString(address.InstanceId) == "" {
		// What is left of a group that somebody deleted: its load balancer has the address.
		if err := newGroup(s.run, s.tier).removeAll(ctx, act, "the stack file wants a single instance"); err != nil {
			return err
		}
	}
	if keeper.ID != "" && address != nil && aws.ToString(address.InstanceId) != keeper.ID {
		if err := s.returnAddress(ctx, act, *address, keeper); err != nil {
			return err
		}
	}
	return s.run.End(ctx, act, stack.Others(all, s.tier.Name, keeper))
}

func (s *single) returnAddress(ctx context.Context, act *plan.Actor, address types.Address,
	keeper stack.Instance) error {
	ip := aws.ToString(address.PublicIp)
	change := plan.Change{
		Action: plan.Modify,
		What:   "elastic IP",
		ID:     ip,
		Reason: keeper.ID + ", which serves, does not have it",
	}
	return act.Do(change, func() (string, error) {
		s.run.Stack.Logf("%s goes to %s", ip, keeper.ID)
		return ip, giveAddress(ctx, s.run, s.tier, address, keeper.ID)
	})
}

// Remove implements tier.Tier.
func (s *single) Remove(ctx context.Context, all []stack.Instance) error {
	// A group first: it would launch others in place of instances that end.
	if err := newGroup(s.run, s.tier).removeAll(ctx, plan.NewActor(false), "the stack is removed"); err != nil {
		return err
	}
	if err := s.run.End(ctx, s.run.Act, stack.Others(all, s.tier.Name, stack.Instance{})); err != nil {
		return err
	}
	return releaseAddresses(ctx, s.run.Stack, s.tier.Name)
}
