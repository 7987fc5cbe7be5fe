package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/launch"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

// An instance refresh is EC2's own way to replace a group's instances. It goes on when the command that started it is
// gone, and the tag versionTag says whether what it led to was good.

// pauses are the checkpoints at which EC2 waits: it does not at the end.
func pauses(checkpoints []int32) []int32 {
	if n := len(checkpoints); n > 0 && checkpoints[n-1] == 100 {
		return checkpoints[:n-1]
	}
	return checkpoints
}

// refreshes are the instance refreshes of one group.
type refreshes struct {
	run     *tier.Run
	tier    stack.Tier
	scaling *autoscaling.Client
	group   string
}

// unknownBoot is how long instances may take to boot of which nobody has noted it: on AWS that is one to two minutes.
const unknownBoot = 120

// preferences are the stack file's wishes as EC2 takes them.
func (r *refreshes) preferences(found *scalingGroup, skipMatching bool) *astypes.RefreshPreferences {
	d, h := r.run.Stack.Settings.Deploy, r.tier.Service.Probe
	p := &astypes.RefreshPreferences{
		MinHealthyPercentage: aws.Int32(d.MinHealthyPercentage),
		// A tenth more than wanted, so that new instances come before old ones go; EC2 takes no wider range than 100.
		MaxHealthyPercentage: aws.Int32(min(110, 100+d.MinHealthyPercentage)),
		// EC2 counts it from the moment that an instance runs: as long as it takes to boot, and at least as long as the
		// load balancer takes to find it healthy.
		InstanceWarmup: aws.Int32(max(cmp.Or(found.boot, unknownBoot), interval(h)*threshold(h))),
		SkipMatching:   aws.Bool(skipMatching),
		AutoRollback:   aws.Bool(d.AutoRollback),
		BakeTime:       aws.Int32(seconds(d.BakeTime)),
	}
	if len(d.Checkpoints) > 0 {
		// The last one has to be 100, or EC2 replaces no more than that share.
		p.CheckpointPercentages = append(append([]int32{}, pauses(d.Checkpoints)...), 100)
		p.CheckpointDelay = aws.Int32(seconds(d.CheckpointDelay))
	}
	return p
}

// start has EC2 replace the group's instances by ones of a version of its launch template.
func (r *refreshes) start(
	ctx context.Context, found *scalingGroup, version string, preferences *astypes.RefreshPreferences,
) (string, error) {
	input := &autoscaling.StartInstanceRefreshInput{
		AutoScalingGroupName: aws.String(found.name),
		Strategy:             astypes.RefreshStrategyRolling,
		DesiredConfiguration: &astypes.DesiredConfiguration{LaunchTemplate: &astypes.LaunchTemplateSpecification{
			LaunchTemplateId: aws.String(found.template),
			Version:          aws.String(version),
		}},
		Preferences: preferences,
	}
	var out *autoscaling.StartInstanceRefreshOutput
	err := ec2ops.OnceKnown(ctx, func(ctx context.Context) (err error) {
		out, err = r.scaling.StartInstanceRefresh(ctx, input)
		return err
	})
	if awserr.Is(err, apierror.InstanceRefreshInProgress) {
		return "", fmt.Errorf("refresh group %s: somebody else is refreshing it, not Goldsmith\n"+
			"hint: when that has ended, or is cancelled with "+
			"aws autoscaling cancel-instance-refresh --auto-scaling-group-name %[1]s, deploy again: %w",
			found.name, err)
	}
	if err != nil {
		return "", fmt.Errorf("refresh group %s: %w", found.name, err)
	}
	return aws.ToString(out.InstanceRefreshId), nil
}

// last is the group's youngest refresh, or nil.
func (r *refreshes) last(ctx context.Context) (*astypes.InstanceRefresh, error) {
	out, err := r.scaling.DescribeInstanceRefreshes(ctx, &autoscaling.DescribeInstanceRefreshesInput{
		AutoScalingGroupName: aws.String(r.group),
		MaxRecords:           aws.Int32(1),
	})
	if err != nil {
		return nil, fmt.Errorf("look at the instance refreshes of group %s: %w", r.group, err)
	}
	if len(out.InstanceRefreshes) == 0 {
		return nil, nil
	}
	return &out.InstanceRefreshes[0], nil
}

// stepTime is how long an instance refresh may take from one percentage to the next: for an instance's launch, boot and
// registration, the load balancer's checks, and the end of the one before.
const stepTime = 10 * time.Minute

// follow waits for the end of a refresh and tells how far it is. beside is done between two looks, if it is given; its
// error ends the waiting, not the refresh. A refresh that gets on has the time of the deployment, and from each
// percentage on that it reaches stepTime and its pauses at least: nobody knows how long EC2 takes for an instance, and
// one that is given up is all to be done again.
func (r *refreshes) follow(ctx context.Context, id string, beside func() error) (*astypes.InstanceRefresh, error) {
	told, began, seen := "", time.Now(), int32(0)
	for {
		out, err := r.scaling.DescribeInstanceRefreshes(ctx, &autoscaling.DescribeInstanceRefreshesInput{
			AutoScalingGroupName: aws.String(r.group),
			InstanceRefreshIds:   []string{id},
		})
		late := err == nil && len(out.InstanceRefreshes) == 0 && time.Since(began) < await.Settle
		if (late || awserr.Transient(err)) && await.Sleep(ctx, launch.SlowPoll) == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at instance refresh %s of group %s: %w", id, r.group, err)
		}
		if len(out.InstanceRefreshes) == 0 {
			return nil, fmt.Errorf("look at instance refresh %s of group %s: there is none", id, r.group)
		}
		refresh := &out.InstanceRefreshes[0]
		if now := progress(refresh); now != told {
			told = now
			r.run.Stack.Logf("instance refresh: %s", now)
		}
		seen = r.giveTime(ctx, refresh, seen)
		if over(refresh) {
			return refresh, nil
		}
		if beside != nil {
			if err := beside(); err != nil && !awserr.Transient(err) {
				return refresh, err
			}
		}
		if err := await.Sleep(ctx, groupPoll); err != nil {
			return refresh, fmt.Errorf("wait for instance refresh %s of group %s, which is %s: %w", id, r.group,
				told, err)
		}
	}
}

// giveTime gives a refresh time from each percentage on that it reaches, and returns that percentage.
func (r *refreshes) giveTime(ctx context.Context, refresh *astypes.InstanceRefresh, seen int32) int32 {
	now := aws.ToInt32(refresh.PercentageComplete)
	if now != seen { // going back it falls
		d := r.run.Stack.Settings.Deploy
		await.Extend(ctx, stepTime+max(d.CheckpointDelay, d.BakeTime))
	}
	return now
}

func over(refresh *astypes.InstanceRefresh) bool {
	switch refresh.Status {
	case astypes.InstanceRefreshStatusSuccessful, astypes.InstanceRefreshStatusFailed,
		astypes.InstanceRefreshStatusCancelled, astypes.InstanceRefreshStatusRollbackSuccessful,
		astypes.InstanceRefreshStatusRollbackFailed:
		return true
	}
	return false
}

// progress is how far a refresh is, for people.
func progress(refresh *astypes.InstanceRefresh) string {
	text := fmt.Sprintf("%s, %d %%", refresh.Status, aws.ToInt32(refresh.PercentageComplete))
	if reason := aws.ToString(refresh.StatusReason); reason != "" {
		text += ": " + reason
	}
	return text
}

// ended is the error that the end of a refresh means, if it is one.
func ended(refresh *astypes.InstanceRefresh, name string) error {
	if refresh.Status == astypes.InstanceRefreshStatusSuccessful {
		return nil
	}
	err := fmt.Errorf("refresh group %s: %s", name, progress(refresh))
	if refresh.Status == astypes.InstanceRefreshStatusRollbackFailed {
		err = fmt.Errorf("%w; %w\nhint: aws autoscaling describe-scaling-activities --auto-scaling-group-name %s",
			err, tier.ErrNeedsPerson, name)
	}
	return err
}

// goBack replaces those of the group's instances that are not of the version that serves, and waits until that is done.
// Nobody watches a version that is known to be good.
func (r *refreshes) goBack(ctx context.Context, found *scalingGroup) error {
	preferences := r.preferences(found, true)
	preferences.CheckpointPercentages, preferences.CheckpointDelay = nil, nil
	preferences.BakeTime, preferences.AutoRollback = nil, nil
	id, err := r.start(ctx, found, found.serving, preferences)
	if err != nil {
		return err
	}
	refresh, err := r.follow(ctx, id, nil)
	if err != nil {
		return err
	}
	return ended(refresh, found.name)
}

// refresh replaces the instances and asks the page meanwhile, through the bake time too: a page that was healthy and
// then is not ends it.
func (g *group) refresh(ctx context.Context, version string) error {
	id, err := g.refreshes.start(ctx, g.found, version, g.refreshes.preferences(g.found, false))
	if err != nil {
		return err
	}
	g.run.Stack.Logf("instance refresh %s: group %s goes to version %s of its launch template", id, g.found.name,
		version)
	bad := int32(0)
	refresh, err := g.refreshes.follow(ctx, id, func() error {
		now, failed := g.find(ctx)
		if failed != nil || now == nil {
			return failed
		}
		for _, m := range now.members {
			if !m.inService {
				continue
			}
			if failed = g.trust(ctx, m.id); failed != nil {
				return failed
			}
		}
		return g.probe.StillHealthy(ctx, aws.ToString(g.address.PublicIp), &bad)
	})
	if err != nil {
		return err
	}
	return ended(refresh, g.found.name)
}

// takeBack ends a refresh that is under way, with the instances of before, and waits for that.
func (r *refreshes) takeBack(ctx context.Context, act *plan.Actor, found *scalingGroup) error {
	refresh, err := r.last(ctx)
	if err != nil || refresh == nil || over(refresh) {
		return err
	}
	change := plan.Change{
		Action: plan.Modify,
		What:   r.tier.Name + " group",
		ID:     found.name,
		Reason: "an instance refresh is under way",
	}
	return act.Do(change, func() (string, error) {
		if err := r.rollBack(ctx, found, refresh); err != nil {
			return "", err
		}
		return r.await(ctx, found, refresh)
	})
}

// rollBack has EC2 take a refresh back, or cancel one that cannot be, unless that is under way.
func (r *refreshes) rollBack(ctx context.Context, found *scalingGroup, refresh *astypes.InstanceRefresh) error {
	switch refresh.Status {
	case astypes.InstanceRefreshStatusCancelling, astypes.InstanceRefreshStatusRollbackInProgress:
		return nil
	}
	id, name := aws.ToString(refresh.InstanceRefreshId), aws.String(found.name)
	r.run.Stack.Logf("instance refresh %s goes back", id)
	_, err := r.scaling.RollbackInstanceRefresh(ctx,
		&autoscaling.RollbackInstanceRefreshInput{AutoScalingGroupName: name})
	var irreversible *astypes.IrreversibleInstanceRefreshFault
	if errors.As(err, &irreversible) {
		_, err = r.scaling.CancelInstanceRefresh(ctx,
			&autoscaling.CancelInstanceRefreshInput{AutoScalingGroupName: name})
	}
	var over *astypes.ActiveInstanceRefreshNotFoundFault
	if err != nil && !errors.As(err, &over) { // else it ended just now
		return fmt.Errorf("take back instance refresh %s of group %s: %w", id, found.name, err)
	}
	return nil
}

// await waits for the end of a refresh that goes back.
func (r *refreshes) await(
	ctx context.Context, found *scalingGroup, refresh *astypes.InstanceRefresh,
) (name string, err error) {
	if refresh, err = r.follow(ctx, aws.ToString(refresh.InstanceRefreshId), nil); err != nil {
		return "", err
	}
	if refresh.Status == astypes.InstanceRefreshStatusRollbackFailed {
		return "", ended(refresh, found.name)
	}
	return found.name, nil
}
