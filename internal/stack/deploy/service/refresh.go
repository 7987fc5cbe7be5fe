package stack

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
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

// preferences are the stack file's wishes as EC2 takes them.
func (s *Stack) preferences(skipMatching bool) *astypes.RefreshPreferences {
	d, h := s.file.Deploy, s.file.HealthCheck
	p := &astypes.RefreshPreferences{
		MinHealthyPercentage: aws.Int32(d.MinHealthyPercentage),
		// A tenth more than wanted, so that new instances come before old ones go; EC2 takes no wider range than 100.
		MaxHealthyPercentage: aws.Int32(min(110, 100+d.MinHealthyPercentage)),
		InstanceWarmup:       aws.Int32(interval(h) * threshold(h)), // as long as the load balancer takes to find it healthy
		SkipMatching:         aws.Bool(skipMatching),
		AutoRollback:         aws.Bool(d.AutoRollback),
		BakeTime:             aws.Int32(seconds(d.BakeTime)),
	}
	if len(d.Checkpoints) > 0 {
		// The last one has to be 100, or EC2 replaces no more than that share.
		p.CheckpointPercentages = append(append([]int32{}, pauses(d.Checkpoints)...), 100)
		p.CheckpointDelay = aws.Int32(seconds(d.CheckpointDelay))
	}
	return p
}

// startRefresh has EC2 replace the group's instances by ones of a version of its launch template.
func (s *Stack) startRefresh(ctx context.Context, g *webGroup, version string, preferences *astypes.RefreshPreferences) (string, error) {
	input := &autoscaling.StartInstanceRefreshInput{AutoScalingGroupName: aws.String(g.name), Strategy: astypes.RefreshStrategyRolling,
		DesiredConfiguration: &astypes.DesiredConfiguration{LaunchTemplate: &astypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String(g.template), Version: aws.String(version)}},
		Preferences:          preferences}
	var out *autoscaling.StartInstanceRefreshOutput
	err := onceKnown(ctx, func(ctx context.Context) (err error) {
		out, err = s.scaling.StartInstanceRefresh(ctx, input)
		return err
	})
	if code(err) == "InstanceRefreshInProgress" {
		return "", fmt.Errorf("refresh group %s: somebody else is refreshing it, not Goldsmith\nhint: when that has ended, or is cancelled with aws autoscaling cancel-instance-refresh --auto-scaling-group-name %[1]s, deploy again: %w", g.name, err)
	}
	if err != nil {
		return "", fmt.Errorf("refresh group %s: %w", g.name, err)
	}
	return aws.ToString(out.InstanceRefreshId), nil
}

// lastRefresh is the group's youngest refresh, or nil.
func (s *Stack) lastRefresh(ctx context.Context) (*astypes.InstanceRefresh, error) {
	out, err := s.scaling.DescribeInstanceRefreshes(ctx, &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: aws.String(s.groupName()), MaxRecords: aws.Int32(1)})
	if err != nil {
		return nil, fmt.Errorf("look at the instance refreshes of group %s: %w", s.groupName(), err)
	}
	if len(out.InstanceRefreshes) == 0 {
		return nil, nil
	}
	return &out.InstanceRefreshes[0], nil
}

// follow waits for the end of a refresh and tells how far it is. beside is done between two looks, if it is given; its
// error ends the waiting, not the refresh.
func (s *Stack) follow(ctx context.Context, id string, beside func() error) (*astypes.InstanceRefresh, error) {
	told := ""
	for {
		out, err := s.scaling.DescribeInstanceRefreshes(ctx, &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: aws.String(s.groupName()), InstanceRefreshIds: []string{id}})
		if awserr.Transient(err) && sleep(ctx, slowPoll) == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at instance refresh %s of group %s: %w", id, s.groupName(), err)
		}
		if len(out.InstanceRefreshes) == 0 {
			return nil, fmt.Errorf("look at instance refresh %s of group %s: there is none", id, s.groupName())
		}
		refresh := &out.InstanceRefreshes[0]
		if now := progress(refresh); now != told {
			told = now
			s.say("instance refresh: %s", now)
		}
		switch refresh.Status {
		case astypes.InstanceRefreshStatusSuccessful, astypes.InstanceRefreshStatusFailed, astypes.InstanceRefreshStatusCancelled,
			astypes.InstanceRefreshStatusRollbackSuccessful, astypes.InstanceRefreshStatusRollbackFailed:
			return refresh, nil
		}
		if beside != nil {
			if err := beside(); err != nil {
				return refresh, err
			}
		}
		if err := sleep(ctx, askGroupEvery); err != nil {
			return refresh, fmt.Errorf("wait for instance refresh %s of group %s, which is %s: %w", id, s.groupName(), told, err)
		}
	}
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
func ended(refresh *astypes.InstanceRefresh, group string) error {
	if refresh.Status == astypes.InstanceRefreshStatusSuccessful {
		return nil
	}
	err := fmt.Errorf("refresh group %s: %s", group, progress(refresh))
	if refresh.Status == astypes.InstanceRefreshStatusRollbackFailed {
		err = fmt.Errorf("%w; %w\nhint: aws autoscaling describe-scaling-activities --auto-scaling-group-name %s", err, ErrNeedsPerson, group)
	}
	return err
}

// goBack replaces those of the group's instances that are not of the version that serves, and waits until that is done.
// Nobody watches a version that is known to be good.
func (s *Stack) goBack(ctx context.Context, g *webGroup) error {
	preferences := s.preferences(true)
	preferences.CheckpointPercentages, preferences.CheckpointDelay, preferences.BakeTime, preferences.AutoRollback = nil, nil, nil, nil
	id, err := s.startRefresh(ctx, g, g.serving, preferences)
	if err != nil {
		return err
	}
	refresh, err := s.follow(ctx, id, nil)
	if err != nil {
		return err
	}
	return ended(refresh, g.name)
}

// refresh replaces the instances and asks the page meanwhile, through the bake time too: a page that was healthy and then
// is not ends it.
func (r *rollout) refresh(ctx context.Context, g *webGroup, version string) error {
	id, err := r.startRefresh(ctx, g, version, r.preferences(false))
	if err != nil {
		return err
	}
	r.say("instance refresh %s: group %s goes to version %s of its launch template", id, g.name, version)
	bad := int32(0)
	refresh, err := r.follow(ctx, id, func() error {
		now, err := r.findGroup(ctx)
		if err != nil || now == nil {
			return err
		}
		for _, m := range now.members {
			if !m.inService {
				continue
			}
			if err := r.trust(ctx, m.id); err != nil {
				return err
			}
		}
		if err := r.getHealth(ctx, aws.ToString(r.address.PublicIp)); err == nil {
			bad = 0
		} else if bad++; bad >= r.file.HealthCheck.HealthyThreshold {
			return fmt.Errorf("the page was healthy and then was not: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return ended(refresh, g.name)
}

// takeBackRefresh ends a refresh that is under way, with the instances of before, and waits for that.
func (s *Stack) takeBackRefresh(ctx context.Context, g *webGroup) error {
	refresh, err := s.lastRefresh(ctx)
	if err != nil || refresh == nil {
		return err
	}
	name := aws.String(g.name)
	switch refresh.Status {
	case astypes.InstanceRefreshStatusPending, astypes.InstanceRefreshStatusInProgress, astypes.InstanceRefreshStatusBaking:
		s.say("instance refresh %s goes back", aws.ToString(refresh.InstanceRefreshId))
		_, err := s.scaling.RollbackInstanceRefresh(ctx, &autoscaling.RollbackInstanceRefreshInput{AutoScalingGroupName: name})
		var irreversible *astypes.IrreversibleInstanceRefreshFault
		if errors.As(err, &irreversible) {
			_, err = s.scaling.CancelInstanceRefresh(ctx, &autoscaling.CancelInstanceRefreshInput{AutoScalingGroupName: name})
		}
		var over *astypes.ActiveInstanceRefreshNotFoundFault
		if err != nil && !errors.As(err, &over) { // it ended just now
			return fmt.Errorf("take back instance refresh %s of group %s: %w", aws.ToString(refresh.InstanceRefreshId), g.name, err)
		}
	case astypes.InstanceRefreshStatusCancelling, astypes.InstanceRefreshStatusRollbackInProgress:
	default:
		return nil
	}
	refresh, err = s.follow(ctx, aws.ToString(refresh.InstanceRefreshId), nil)
	if err != nil {
		return err
	}
	if refresh.Status == astypes.InstanceRefreshStatusRollbackFailed {
		return ended(refresh, g.name)
	}
	return nil
}

// takeBackTime is how long a deployment of this stack may take to go back. A group is refreshed for that.
func (s *Stack) takeBackTime() time.Duration {
	if s.scaled() {
		return max(takeBackLimit, s.file.Deploy.Timeout)
	}
	return takeBackLimit
}
