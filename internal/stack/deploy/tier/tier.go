// Package tier has what the tiers of one deployment have in common: the interface of a tier under way, what they
// share, how it is decided whether an instance is replaced, and how one is launched or kept.
package tier

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deployreport"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/launch"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/login"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/probe"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
)

// ErrNeedsPerson says that a deployment failed and that the stack could not be brought back to what it was.
var ErrNeedsPerson = errors.New("a person is needed")

// ErrKept says that a deployment failed and that the stack file does not want it to go back by itself.
var ErrKept = errors.New("auto_rollback is off, so it stays as it is")

// Tier is a tier of a deployment under way. With an Actor that is dry, Plan, Bring and Converge only note what they
// would do, and the others are not called.
type Tier interface {
	// Plan makes what the tier keeps from one instance to the next, its volume or its address, and decides what happens
	// to it. The tiers that it needs were planned before.
	Plan(ctx context.Context) error
	// Bring has the tier's instances be ready: new ones, which take nothing from the old ones yet, or those that stay.
	Bring(ctx context.Context) error
	// Shift moves the data or the traffic to the new instances.
	Shift(ctx context.Context) error
	// Converge brings the tier to what the roles of its instances say: one serves, with all that belongs to it, and the
	// others end. stopped says that the one that serves may have been stopped, also where nothing else shows it.
	Converge(ctx context.Context, act *plan.Actor, all []stack.Instance, stopped bool) error
	// Remove removes the tier and all that it keeps.
	Remove(ctx context.Context, all []stack.Instance) error
	// Outcome is the tier's state in the deployment so far.
	Outcome() Outcome
}

// Committer is a tier where a tag of its own says what serves, beside the roles of instances.
type Committer interface {
	Commit(ctx context.Context) error
	Uncommit(ctx context.Context) error
}

// Holder is a tier whose instances AWS replaces when they are sick, as they are while what they need moves.
type Holder interface {
	// Hold does work while AWS replaces none of them.
	Hold(ctx context.Context, work func() error) error
}

// Watcher is a tier that is watched once its traffic moved.
type Watcher interface {
	Watch(ctx context.Context) error
}

// Outcome is the state of a tier in a deployment.
type Outcome struct {
	// Old served when the deployment began; without an id nothing did.
	Old stack.Instance
	// Replaced says that the deployment was to replace it.
	Replaced bool
	// Launched are instances that the deployment launched one by one.
	Launched []stack.Instance
	// Serving are those that serve now.
	Serving []stack.Instance
	// Stopped says that the old instance was told to stop.
	Stopped bool
	// URL and Fingerprint, the SHA-256 of a certificate, are of a service tier.
	URL, Fingerprint string
	// Snapshot and Interruption are of a data tier whose data moved.
	Snapshot     string
	Interruption time.Duration
}

// Reach has the ways to reach instances other than AWS's API.
type Reach struct {
	// Command runs a command on an instance.
	Command func(ctx context.Context, s *stack.Stack, i stack.Instance, command string) error
	// Get asks a question; whoever answers by TLS has a certificate with one of the fingerprints.
	Get func(ctx context.Context, q probe.Question, fingerprints ...string) error
}

// DirectReach reaches them over SSH and HTTPS.
var DirectReach = Reach{Command: login.Run, Get: probe.Get}

// Run is the data that the tiers of one deployment share. It is complete before any of them is brought.
type Run struct {
	Stack *stack.Stack
	// ID is the deployment's.
	ID    string
	Act   *plan.Actor
	Reach Reach
	// Journal and Observer are nil in a plan.
	Journal  *record.Journal
	Observer *deployreport.Observer
	// Images are those that the tiers are to run, by tier.
	Images map[string]string
	// Replace are tiers whose instance is replaced though its image is the wanted one; all is every tier.
	Replace []string
	// Snapshot is the id of the snapshot to restore a data volume from; empty leaves the data as it is.
	Snapshot string
	Network  network.Network
	// Instances are those of the stack as they were when the tiers were planned.
	Instances []stack.Instance
	// Addresses are the IP addresses or host names by which other tiers reach each tier, by tier.
	Addresses map[string]string
	// Last is the last deployment that came to a good end before this one, by its id: what it launched serves, also
	// where a tag does not say so yet.
	Last string
}

// Timed runs a step and notes it in the journal.
func (r *Run) Timed(step plan.Step, run func() error) error {
	if r.Journal == nil {
		return run()
	}
	return r.Journal.Timed(step, run)
}

// Set changes the deployment's record.
func (r *Run) Set(change func(*record.Record)) {
	if r.Journal != nil {
		r.Journal.Set(change)
	}
}

// StepOf is a step of a tier.
func StepOf(t stack.Tier, id, title string) plan.Step {
	return plan.Step{ID: id, Title: title, Tier: t.Name}
}

// ready is the step in which an instance of a tier becomes ready.
func ready(t stack.Tier) plan.Step { return StepOf(t, "ready", t.Name+" ready") }

// Ready runs the step in which a tier's instances become ready.
func (r *Run) Ready(t stack.Tier, wait func() error) error { return r.Timed(ready(t), wait) }

// Launch launches an instance as a candidate; more are tags of its own, as keys and values in turn.
func (r *Run) Launch(ctx context.Context, t stack.Tier, d Decision, more ...string) (stack.Instance, error) {
	var launched stack.Instance
	err := r.Timed(StepOf(t, "launch", "launch "+t.Name), func() (err error) {
		tags := append(t.TagPairs(), stack.TierTag, t.Name, stack.DeployTag, r.ID)
		own := append(slices.Clone(tags), stack.RoleTag, stack.Candidate, stack.SettingsTag, d.Settings)
		l, name := d.Launch, r.Stack.Name+"-"+t.Name
		l.Key = login.KeyName(r.Stack)
		l.Tags = slices.Concat(
			r.Stack.TagsFor(types.ResourceTypeInstance, name, append(own, more...)...),
			r.Stack.TagsFor(types.ResourceTypeVolume, name, tags...),
			r.Stack.TagsFor(types.ResourceTypeNetworkInterface, name, tags...), // by which policies let addresses move
		)
		launched, err = launch.Run(ctx, r.Stack, r.Network, l)
		return err
	})
	if err != nil {
		return stack.Instance{}, err
	}
	launched.Role, launched.Detail.Deploy = stack.Candidate, r.ID
	if t.Kind == stack.DataTier {
		launched.Detail.Service, launched.Detail.Volume = d.Launch.Service, d.Launch.Volume
	}
	r.Stack.Logf("launched %s %s of %s", t.Name, launched.ID, d.Launch.Image)
	return launched, nil
}

// Keep has an instance that stays have its tags, run, and be ready. Of one that was stopped the console may still show
// the report of its last boot: another is waited for.
func (r *Run) Keep(ctx context.Context, t stack.Tier, kept stack.Instance) (report instance.Report, err error) {
	if err = r.Tag(ctx, t, t.Name+" instance", "its", kept, kept.ID); err != nil {
		return report, err
	}
	var last time.Time
	if kept.State == "running" || kept.State == "pending" {
		if !r.Act.Dry() {
			r.Stack.Logf("%s %s runs %s already", t.Name, kept.ID, kept.Image)
		}
	} else {
		c := plan.Change{
			Action: plan.Modify,
			What:   t.Name + " instance",
			ID:     kept.ID,
			Reason: "it is " + kept.State,
		}
		err = r.Act.Do(c, func() (_ string, err error) {
			r.Stack.Logf("starting %s %s", t.Name, kept.ID)
			last, err = launch.Start(ctx, r.Stack, kept.ID)
			return kept.ID, err
		})
		if err != nil {
			return report, err
		}
	}
	if r.Act.Dry() {
		return report, nil
	}
	err = r.Ready(t, func() (err error) { report, err = launch.WaitReady(ctx, r.Stack, kept.ID, last); return err })
	return report, err
}

// Tag gives instances that stay the tags that the stack file adds; like is one of them as it is now.
func (r *Run) Tag(ctx context.Context, t stack.Tier, what, whose string, like stack.Instance, ids ...string) error {
	wanted := ec2ops.TagPairs(t.TagPairs()...)
	missing := stack.MissingTags(like.Detail.Tags, wanted)
	if len(missing) == 0 {
		return nil
	}
	c := plan.Change{
		Action: plan.Modify,
		What:   what,
		ID:     like.ID,
		Reason: whose + " tags differ: " + strings.Join(missing, ", "),
	}
	return r.Act.Do(c, func() (string, error) {
		if _, err := r.Stack.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: wanted}); err != nil {
			return "", fmt.Errorf("tag %s %s: %w", t.Name, like.ID, err)
		}
		return like.ID, nil
	})
}

// End ends the instances of a tier beside the one that serves.
func (r *Run) End(ctx context.Context, act *plan.Actor, rest []stack.Instance) error {
	var ids []string
	for _, i := range rest {
		c := plan.Change{
			Action: plan.Remove,
			What:   i.Tier + " instance",
			ID:     i.ID,
			Reason: "an earlier deployment left it: it is " + i.Role,
		}
		err := act.Do(c, func() (string, error) {
			r.Stack.Logf("ending %s %s, which is %s", i.Tier, i.ID, i.Role)
			ids = append(ids, i.ID)
			return i.ID, nil
		})
		if err != nil {
			return err
		}
	}
	return launch.Terminate(ctx, r.Stack, ids...)
}
