package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// An instance refresh of the local cloud replaces a group's instances some at a time: new ones are launched, and when
// they are healthy as many old ones are drained and ended. It always launches first, whatever the maximum percentage
// says. It knows checkpoints, bake time, warm-up, skipped matches, cancellation and rollback. It does not know alarms,
// warm pools and standby, and fails where EC2's tries for an hour: when an instance is not healthy within the group's
// grace period. A refresh that is under way when the cloud goes down has failed.

func (s *Server) startRefresh(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	name := c.Get("AutoScalingGroupName")
	group, err := s.group(name)
	if err != nil {
		return nil, err
	}
	if r := active(group.Refreshes); r != nil {
		return nil, awsquery.Fault("InstanceRefreshInProgress", "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.")
	}
	id := make([]byte, 16)
	rand.Read(id) // never fails
	text16 := hex.EncodeToString(id)
	r := &refreshState{ID: fmt.Sprintf("%s-%s-%s-%s-%s", text16[:8], text16[8:12], text16[12:16], text16[16:20], text16[20:]), Status: "Pending", Started: time.Now(),
		Before: group.Template, Wanted: group.Template, MinHealthy: 90, Delay: 3600, Warmup: group.Grace, Left: group.Desired,
		AutoRollback: c.Get("Preferences.AutoRollback") == "true", SkipMatching: c.Get("Preferences.SkipMatching") == "true"}
	const desired = "DesiredConfiguration.LaunchTemplate."
	wanted := c.Get(desired+"LaunchTemplateId") != "" || c.Get(desired+"LaunchTemplateName") != ""
	if wanted {
		if r.Wanted, err = s.findTemplate(ctx, c, desired); err != nil {
			return nil, err
		}
	}
	if r.AutoRollback && !wanted {
		return nil, awsquery.Fault("ValidationError", "AutoRollback is not supported without a desired configuration.")
	}
	for parameter, into := range map[string]*int{"MinHealthyPercentage": &r.MinHealthy, "CheckpointDelay": &r.Delay, "InstanceWarmup": &r.Warmup, "BakeTime": &r.Bake} {
		if given := c.Get("Preferences." + parameter); given != "" {
			if *into, err = strconv.Atoi(given); err != nil || *into < 0 {
				return nil, awsquery.Fault("ValidationError", "%s %s should be a number of 0 or more", parameter, given)
			}
		}
	}
	for _, given := range c.List("Preferences.CheckpointPercentages.member") {
		percent, err := strconv.Atoi(given)
		if err != nil || percent < 1 || percent > 100 || len(r.Checkpoints) > 0 && percent <= r.Checkpoints[len(r.Checkpoints)-1] {
			return nil, awsquery.Fault("ValidationError", "CheckpointPercentages should ascend, from 1 to 100")
		}
		r.Checkpoints = append(r.Checkpoints, percent)
	}
	if n := len(r.Checkpoints); n > 0 && r.Checkpoints[n-1] != 100 {
		return nil, awsquery.Fault("ValidationError", "The last value of CheckpointPercentages must be 100 to replace all instances in the group.")
	}
	err = s.changeGroup(name, func(group *groupRecord) { group.Refreshes = append([]*refreshState{r}, group.Refreshes...) })
	if err != nil {
		return nil, err
	}
	s.queue.Go(func(ctx context.Context) { s.runRefresh(ctx, name, r.ID) })
	return awsquery.QueryReply(groupSpace, c, awsquery.Text("InstanceRefreshId", r.ID)), nil
}

func (s *Server) describeRefreshes(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	group, err := s.group(c.Get("AutoScalingGroupName"))
	if err != nil {
		return nil, err
	}
	wanted := c.List("InstanceRefreshIds.member")
	list := awsquery.Element("InstanceRefreshes")
	for _, r := range group.Refreshes {
		if len(wanted) > 0 && !slices.Contains(wanted, r.ID) {
			continue
		}
		member := awsquery.Element("member", awsquery.Text("InstanceRefreshId", r.ID), awsquery.Text("AutoScalingGroupName", c.Get("AutoScalingGroupName")), awsquery.Text("Status", r.Status), awsquery.Text("StartTime", awsquery.Timestamp(r.Started)),
			awsquery.Text("PercentageComplete", strconv.Itoa(r.Percent)), awsquery.Text("InstancesToUpdate", strconv.Itoa(r.Left)),
			awsquery.Element("DesiredConfiguration", awsquery.Element("LaunchTemplate", awsquery.Text("LaunchTemplateId", r.Wanted.ID), awsquery.Text("Version", r.Wanted.Version))))
		if r.Reason != "" {
			member.Children = append(member.Children, awsquery.Text("StatusReason", r.Reason))
		}
		if !r.Ended.IsZero() {
			member.Children = append(member.Children, awsquery.Text("EndTime", awsquery.Timestamp(r.Ended)))
		}
		list.Children = append(list.Children, member)
	}
	return awsquery.QueryReply(groupSpace, c, list), nil
}

// endRefresh cancels a refresh that is under way, or has it go back.
func (s *Server) endRefresh(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	name := c.Get("AutoScalingGroupName")
	group, err := s.group(name)
	if err != nil {
		return nil, err
	}
	r := active(group.Refreshes)
	if r == nil || r.Status == "RollbackInProgress" || r.Status == "Cancelling" {
		return nil, awsquery.Fault("ActiveInstanceRefreshNotFound", "No in progress or pending Instance Refresh found for Auto Scaling group %s", name)
	}
	err = s.setRefresh(name, r.ID, func(r *refreshState) {
		if r.Ending, r.Status = "Cancelled", "Cancelling"; c.Action() == "RollbackInstanceRefresh" {
			r.Ending, r.Status = "RollbackSuccessful", "RollbackInProgress"
		}
	})
	return awsquery.QueryReply(groupSpace, c, awsquery.Text("InstanceRefreshId", r.ID)), err
}

// errEnding is that somebody asked for the end of a refresh.
var errEnding = errors.New("it was told to end")

// runRefresh brings a refresh to its end.
func (s *Server) runRefresh(ctx context.Context, name, id string) {
	r := s.refreshNow(name, id)
	err := s.setRefresh(name, id, func(r *refreshState) {
		if r.Status == "Pending" {
			r.Status = "InProgress"
		}
	})
	if err == nil {
		err = s.replaceAll(ctx, name, r, r.Wanted)
	}
	if err == nil && r.Bake > 0 {
		_ = s.setRefresh(name, id, func(r *refreshState) { r.Status = "Baking" })
		err = s.pause(ctx, name, id, r.Bake)
	}
	status, reason := "Successful", ""
	ending := s.refreshNow(name, id).Ending
	switch {
	case ctx.Err() != nil:
		return // Start of the next cloud says so
	case err == nil:
		err = s.changeGroup(name, func(group *groupRecord) { group.Template = r.Wanted })
	case ending == "Cancelled":
		status, err = "Cancelled", nil
	case ending != "" || r.AutoRollback:
		reason = "Rolled back: " + err.Error()
		_ = s.setRefresh(name, id, func(r *refreshState) { r.Status, r.Reason, r.Ending = "RollbackInProgress", reason, "" })
		back := r
		back.SkipMatching, back.Checkpoints, back.Ending = true, nil, "back"
		status, err = "RollbackSuccessful", nil
		if failed := s.replaceAll(ctx, name, back, r.Before); failed != nil {
			status, reason = "RollbackFailed", failed.Error()
		}
	default:
		status, reason, err = "Failed", err.Error(), nil
	}
	err = errors.Join(err, s.setRefresh(name, id, func(r *refreshState) { r.Status, r.Reason, r.Ended = status, reason, time.Now() }))
	if err != nil {
		s.config.Log.Error("refresh a group", "group", name, "error", err)
	}
	s.reconcileGroup(name)
}

// replaceAll replaces a group's instances by ones of a template, some at a time.
func (s *Server) replaceAll(ctx context.Context, name string, r refreshState, template templateRef) error {
	var old []string
	for _, id := range s.members(name) {
		if record, _ := s.instance(id); !s.isDraining(id) && !(r.SkipMatching && record.Template == template) {
			old = append(old, id)
		}
	}
	total := len(old)
	for len(old) > 0 {
		if err := s.mayGoOn(ctx, name, r); err != nil {
			return err
		}
		left, err := s.replaceSome(ctx, name, r, template, old)
		if err != nil {
			return err
		}
		old = left
		if r.Ending == "back" {
			continue
		}
		percent := 100 * (total - len(old)) / total
		if err := s.setRefresh(name, r.ID, func(r *refreshState) { r.Percent, r.Left = percent, len(old) }); err != nil {
			return err
		}
		if r.Checkpoints, err = s.checkpoints(ctx, name, r, percent, len(old) == 0); err != nil {
			return err
		}
	}
	return nil
}

// replaceSome launches as many instances as may be replaced at a time and, once they are healthy, ends as many old ones. It
// returns the old ones that are left.
func (s *Server) replaceSome(ctx context.Context, name string, r refreshState, template templateRef, old []string) ([]string, error) {
	fresh, group, err := s.launchBatch(ctx, name, r, template, len(old))
	if err == nil {
		err = s.untilHealthy(ctx, name, r, fresh, time.Duration(group.Grace)*time.Second)
	}
	if err != nil {
		return nil, errors.Join(err, s.retire(ctx, name, fresh))
	}
	batch := min(len(old), len(fresh))
	return old[batch:], s.retire(ctx, name, old[:batch])
}

// launchBatch launches at most so many instances as the group's size and the refresh let it. A group that is deleted
// meanwhile gets none.
func (s *Server) launchBatch(ctx context.Context, name string, r refreshState, template templateRef, most int) ([]string, groupRecord, error) {
	s.change.Lock()
	defer s.change.Unlock()
	group, err := s.group(name)
	if err != nil {
		return nil, group, err
	}
	// What goes back may have fewer than it should: then as many are launched at once.
	batch := min(most, max(1, group.Desired*(100-r.MinHealthy)/100))
	fresh, err := s.launchMembers(ctx, name, group, template, batch)
	return fresh, group, err
}

// checkpoints waits at those that have been reached, and returns the others.
func (s *Server) checkpoints(ctx context.Context, name string, r refreshState, percent int, last bool) ([]int, error) {
	due := r.Checkpoints
	for len(due) > 0 && percent >= due[0] {
		if due = due[1:]; last || len(due) > 0 && percent >= due[0] {
			continue
		}
		_ = s.setRefresh(name, r.ID, func(r *refreshState) {
			r.Reason = fmt.Sprintf("Reached checkpoint at %d%%. Waiting for %d seconds.", percent, r.Delay)
		})
		if err := s.pause(ctx, name, r.ID, r.Delay); err != nil {
			return nil, err
		}
		_ = s.setRefresh(name, r.ID, func(r *refreshState) { r.Reason = "" })
	}
	return due, nil
}

// mayGoOn is an error when the cloud goes down or the refresh has been told to end.
func (s *Server) mayGoOn(ctx context.Context, name string, r refreshState) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.Ending != "back" && s.refreshNow(name, r.ID).Ending != "" {
		return errEnding
	}
	return nil
}

// pause waits, and looks meanwhile whether the refresh is to end.
func (s *Server) pause(ctx context.Context, name, id string, seconds int) error {
	for until := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(until); {
		if err := s.mayGoOn(ctx, name, refreshState{ID: id}); err != nil {
			return err
		}
		if err := wait(ctx, min(checkEvery, time.Until(until))); err != nil {
			return err
		}
	}
	return nil
}

// untilHealthy waits until instances run, are healthy in all target groups, and have warmed up.
func (s *Server) untilHealthy(ctx context.Context, name string, r refreshState, ids []string, limit time.Duration) error {
	for until := time.Now().Add(limit); ; {
		if err := s.mayGoOn(ctx, name, r); err != nil {
			return err
		}
		sick := ""
		for _, id := range ids {
			record, _ := s.instance(id)
			if record.State != "running" && record.State != "pending" {
				return fmt.Errorf("instance %s is %s: %s", id, record.State, record.Reason)
			}
			if record.State != "running" || !s.isHealthy(id) {
				sick = id
			}
		}
		if sick == "" {
			break
		}
		if time.Now().After(until) {
			return fmt.Errorf("instance %s was not healthy within %s", sick, limit)
		}
		if err := wait(ctx, checkEvery/2); err != nil {
			return err
		}
	}
	if r.Ending == "back" {
		return nil
	}
	return s.pause(ctx, name, r.ID, r.Warmup)
}

// retire drains instances and ends them.
func (s *Server) retire(ctx context.Context, name string, ids []string) error {
	s.drain(ids)
	defer s.undrain(ids)
	if err := s.applyNetwork(ctx); err != nil {
		return err
	}
	if err := wait(ctx, s.drainTime(name)); err != nil {
		return err
	}
	s.change.Lock()
	defer s.change.Unlock()
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		record, _ := s.instance(id)
		return record.State == "terminated" || record.State == "shutting-down"
	})
	return s.endMembers(ctx, ids)
}

// drainTime is how long the group's target groups let an instance end its connections.
func (s *Server) drainTime(name string) time.Duration {
	longest := 0
	s.view(func(o *overlay) {
		group := o.Groups[name]
		if group == nil {
			return // it was deleted
		}
		for _, arn := range group.TargetGroups {
			if record := o.TargetGroups[arn]; record != nil {
				longest = max(longest, record.Delay)
			}
		}
	})
	return time.Duration(longest) * time.Second
}

// resumeGroups has groups get what they should have after a start of the cloud, and ends the refreshes of before.
func (s *Server) resumeGroups() error {
	var names []string
	err := s.update(func(o *overlay) {
		for name, group := range o.Groups {
			names = append(names, name)
			if r := active(group.Refreshes); r != nil {
				r.Status, r.Reason, r.Ended = "Failed", "the local cloud went down meanwhile", time.Now()
			}
		}
	})
	for _, name := range names {
		s.reconcileGroup(name)
	}
	return err
}
