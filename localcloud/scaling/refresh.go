package scaling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// An instance refresh of the local cloud replaces a group's instances some at a time: new ones are launched, and when
// they are healthy as many old ones are drained and ended. It always launches first, whatever the maximum percentage
// says. It knows checkpoints, bake time, warm-up, skipped matches, cancellation and rollback. It does not know alarms,
// warm pools and standby, and fails where EC2's tries for an hour: when an instance is not healthy within the group's
// grace period. A refresh that is under way when the cloud goes down has failed.

func (g *Groups) startRefresh(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	name := c.Get("AutoScalingGroupName")
	group, err := g.records.Group(name)
	if err != nil {
		return nil, err
	}
	if r := records.ActiveRefresh(group.Refreshes); r != nil {
		return nil, awsquery.Fault(apierror.InstanceRefreshInProgress)
	}
	r, err := g.newRefresh(ctx, c, group)
	if err != nil {
		return nil, err
	}
	err = g.records.ChangeGroup(name,
		func(group *records.Group) { group.Refreshes = append([]*records.Refresh{r}, group.Refreshes...) })
	if err != nil {
		return nil, err
	}
	g.queue.Go(func(ctx context.Context) { g.runRefresh(ctx, name, r.ID) })
	return awsquery.QueryReply(groupSpace, c, awsquery.Text("InstanceRefreshId", r.ID)), nil
}

// newRefresh reads what a call asks for.
func (g *Groups) newRefresh(ctx context.Context, c *awsquery.Call, group records.Group) (*records.Refresh, error) {
	r := &records.Refresh{
		ID:      uuid.NewString(),
		Status:  "Pending",
		Started: time.Now(),
		Before:  group.Template,
		Wanted:  group.Template,
		Left:    group.Desired,
	}
	const desired = "DesiredConfiguration.LaunchTemplate."
	wanted := c.Get(desired+"LaunchTemplateId") != "" || c.Get(desired+"LaunchTemplateName") != ""
	if wanted {
		var err error
		if r.Wanted, err = g.templates.find(ctx, c, desired); err != nil {
			return nil, err
		}
	}
	r.Preferences = records.Preferences{
		MinHealthy:   90,
		Delay:        3600,
		Warmup:       group.Grace,
		AutoRollback: c.Get("Preferences.AutoRollback") == "true",
		SkipMatching: c.Get("Preferences.SkipMatching") == "true",
	}
	if r.AutoRollback && !wanted {
		return nil, awsquery.Faultf(apierror.ValidationError,
			"AutoRollback is not supported without a desired configuration.")
	}
	for _, number := range []struct {
		parameter string
		into      *int
	}{
		{"MinHealthyPercentage", &r.MinHealthy},
		{"CheckpointDelay", &r.Delay},
		{"InstanceWarmup", &r.Warmup},
		{"BakeTime", &r.Bake},
	} {
		if err := readNumber(c, "Preferences.", number.parameter, number.into); err != nil {
			return nil, err
		}
	}
	var err error
	r.Checkpoints, err = readCheckpoints(c)
	return r, err
}

// readNumber reads a parameter, if it is there.
func readNumber(c *awsquery.Call, prefix, parameter string, into *int) error {
	given := c.Get(prefix + parameter)
	if given == "" {
		return nil
	}
	number, err := strconv.Atoi(given)
	if err != nil || number < 0 {
		return awsquery.Faultf(apierror.ValidationError, "%s %s should be a number of 0 or more", parameter, given)
	}
	*into = number
	return nil
}

func readCheckpoints(c *awsquery.Call) (checkpoints []int, err error) {
	last := 0
	for _, given := range c.List("Preferences.CheckpointPercentages.member") {
		percent, err := strconv.Atoi(given)
		if err != nil || percent < 1 || percent > 100 || percent <= last {
			return nil, awsquery.Faultf(apierror.ValidationError, "CheckpointPercentages should ascend, from 1 to 100")
		}
		last = percent
		checkpoints = append(checkpoints, percent)
	}
	if len(checkpoints) > 0 && last != 100 {
		return nil, awsquery.Faultf(apierror.ValidationError,
			"The last value of CheckpointPercentages must be 100 to replace all instances in the group.")
	}
	return checkpoints, nil
}

func (g *Groups) describeRefreshes(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	group, err := g.records.Group(c.Get("AutoScalingGroupName"))
	if err != nil {
		return nil, err
	}
	wanted := c.List("InstanceRefreshIds.member")
	list := awsquery.Element("InstanceRefreshes")
	for _, r := range group.Refreshes {
		if len(wanted) > 0 && !slices.Contains(wanted, r.ID) {
			continue
		}
		member := awsquery.Element("member", awsquery.Text("InstanceRefreshId", r.ID),
			awsquery.Text("AutoScalingGroupName", c.Get("AutoScalingGroupName")), awsquery.Text("Status", r.Status),
			awsquery.Text("StartTime", awsquery.Timestamp(r.Started)),
			awsquery.Text("PercentageComplete", strconv.Itoa(r.Percent)),
			awsquery.Text("InstancesToUpdate", strconv.Itoa(r.Left)),
			awsquery.Element("DesiredConfiguration",
				awsquery.Element("LaunchTemplate", awsquery.Text("LaunchTemplateId", r.Wanted.ID),
					awsquery.Text("Version", r.Wanted.Version))))
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
func (g *Groups) endRefresh(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	name := c.Get("AutoScalingGroupName")
	group, err := g.records.Group(name)
	if err != nil {
		return nil, err
	}
	r := records.ActiveRefresh(group.Refreshes)
	if r == nil || r.Status == "RollbackInProgress" || r.Status == "Cancelling" {
		return nil, awsquery.Fault(apierror.ActiveInstanceRefreshAbsent, name)
	}
	err = g.records.ChangeRefresh(name, r.ID, func(r *records.Refresh) {
		if r.Ending, r.Status = "Cancelled", "Cancelling"; c.Action() == "RollbackInstanceRefresh" {
			r.Ending, r.Status = "RollbackSuccessful", "RollbackInProgress"
		}
	})
	return awsquery.QueryReply(groupSpace, c, awsquery.Text("InstanceRefreshId", r.ID)), err
}

// errEnding ends a refresh that somebody cancelled or rolled back.
var errEnding = errors.New("it was told to end")

// runRefresh brings a refresh to its end.
func (g *Groups) runRefresh(ctx context.Context, name, id string) {
	r := g.records.Refresh(name, id)
	err := g.records.ChangeRefresh(name, id, func(r *records.Refresh) {
		if r.Status == "Pending" {
			r.Status = "InProgress"
		}
	})
	if err == nil {
		err = g.replaceAll(ctx, name, r, r.Wanted)
	}
	if err == nil && r.Bake > 0 {
		g.note(name, id, func(r *records.Refresh) { r.Status = "Baking" })
		err = g.pause(ctx, name, id, time.Duration(r.Bake)*time.Second)
	}
	status, reason := "Successful", ""
	ending := g.records.Refresh(name, id).Ending
	switch {
	case ctx.Err() != nil:
		return // Start of the next cloud says so
	case err == nil:
		err = g.records.ChangeGroup(name, func(group *records.Group) { group.Template = r.Wanted })
	case ending == "Cancelled":
		status, err = "Cancelled", nil
	case ending != "" || r.AutoRollback:
		reason = "Rolled back: " + err.Error()
		g.note(name, id,
			func(r *records.Refresh) { r.Status, r.Reason, r.Ending = "RollbackInProgress", reason, "" })
		back := r
		back.SkipMatching, back.Checkpoints, back.Ending = true, nil, "back"
		status, err = "RollbackSuccessful", nil
		if failed := g.replaceAll(ctx, name, back, r.Before); failed != nil {
			status, reason = "RollbackFailed", failed.Error()
		}
	default:
		status, reason, err = "Failed", err.Error(), nil
	}
	err = errors.Join(err,
		g.records.ChangeRefresh(name, id,
			func(r *records.Refresh) { r.Status, r.Reason, r.Ended = status, reason, time.Now() }))
	if err != nil {
		g.log.Error("refresh a group", "group", name, "error", err)
	}
	g.reconcile(name)
}

// replaceAll replaces a group's instances by ones of a template, some at a time.
func (g *Groups) replaceAll(ctx context.Context, name string, r records.Refresh, template records.Template) error {
	var old []string
	for _, id := range g.records.Members(name) {
		record, _ := g.records.Instance(id)
		matches := r.SkipMatching && record.Template == template
		if !g.targets.IsDraining(id) && !matches {
			old = append(old, id)
		}
	}
	total := len(old)
	for len(old) > 0 {
		if err := g.mayGoOn(ctx, name, r); err != nil {
			return err
		}
		left, err := g.replaceSome(ctx, name, r, template, old)
		if err != nil {
			return err
		}
		old = left
		if r.Ending == "back" {
			continue
		}
		percent := 100 * (total - len(old)) / total
		if err = g.records.ChangeRefresh(name, r.ID,
			func(r *records.Refresh) { r.Percent, r.Left = percent, len(old) }); err != nil {
			return err
		}
		if r.Checkpoints, err = g.checkpoints(ctx, name, r, percent, len(old) == 0); err != nil {
			return err
		}
	}
	return nil
}

// replaceSome launches as many instances as may be replaced at a time and, once they are healthy, ends as many old
// ones. It returns the old ones that are left.
func (g *Groups) replaceSome(ctx context.Context, name string, r records.Refresh, template records.Template,
	old []string) ([]string, error) {
	fresh, group, err := g.launchBatch(ctx, name, r, template, len(old))
	if err == nil {
		err = g.untilHealthy(ctx, name, r, fresh, time.Duration(group.Grace)*time.Second)
	}
	if err != nil {
		return nil, errors.Join(err, g.retire(ctx, name, fresh))
	}
	batch := min(len(old), len(fresh))
	return old[batch:], g.retire(ctx, name, old[:batch])
}

// launchBatch launches at most so many instances as the group's size and the refresh let it. A group that is deleted
// meanwhile gets none.
func (g *Groups) launchBatch(ctx context.Context, name string, r records.Refresh, template records.Template,
	most int) ([]string, records.Group, error) {
	g.change.Lock()
	defer g.change.Unlock()
	group, err := g.records.Group(name)
	if err != nil {
		return nil, group, err
	}
	// What goes back may have fewer than it should: then as many are launched at once.
	batch := min(most, max(1, group.Desired*(100-r.MinHealthy)/100))
	fresh, err := g.launchMembers(ctx, name, group, template, batch)
	return fresh, group, err
}

// note changes what is known of a refresh, which goes on also where that cannot be written to the disk.
func (g *Groups) note(name, id string, change func(*records.Refresh)) {
	if err := g.records.ChangeRefresh(name, id, change); err != nil {
		g.log.Error("keep how far a refresh is", "group", name, "refresh", id, "error", err)
	}
}

// checkpoints waits at those that have been reached, and returns the others.
func (g *Groups) checkpoints(ctx context.Context, name string, r records.Refresh, percent int,
	last bool) ([]int, error) {
	due := r.Checkpoints
	for len(due) > 0 && percent >= due[0] {
		if due = due[1:]; last || len(due) > 0 && percent >= due[0] {
			continue
		}
		g.note(name, r.ID, func(r *records.Refresh) {
			r.Reason = fmt.Sprintf("Reached checkpoint at %d%%. Waiting for %d seconds.", percent, r.Delay)
		})
		if err := g.pause(ctx, name, r.ID, time.Duration(r.Delay)*time.Second); err != nil {
			return nil, err
		}
		g.note(name, r.ID, func(r *records.Refresh) { r.Reason = "" })
	}
	return due, nil
}

// mayGoOn is an error when the cloud goes down or the refresh has been told to end.
func (g *Groups) mayGoOn(ctx context.Context, name string, r records.Refresh) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.Ending != "back" && g.records.Refresh(name, r.ID).Ending != "" {
		return errEnding
	}
	return nil
}

// pause waits, and looks meanwhile whether the refresh is to end.
func (g *Groups) pause(ctx context.Context, name, id string, length time.Duration) error {
	for until := time.Now().Add(length); time.Now().Before(until); {
		if err := g.mayGoOn(ctx, name, records.Refresh{ID: id}); err != nil {
			return err
		}
		if err := wait(ctx, min(checkEvery, time.Until(until))); err != nil {
			return err
		}
	}
	return nil
}

// untilHealthy waits until instances run, are healthy in all target groups, and have warmed up.
func (g *Groups) untilHealthy(ctx context.Context, name string, r records.Refresh, ids []string,
	limit time.Duration) error {
	for until := time.Now().Add(limit); ; {
		if err := g.mayGoOn(ctx, name, r); err != nil {
			return err
		}
		sick := ""
		for _, id := range ids {
			record, _ := g.records.Instance(id)
			if record.State != "running" && record.State != "pending" {
				return fmt.Errorf("instance %s is %s: %s", id, record.State, record.Reason)
			}
			if record.State != "running" || !g.targets.IsHealthy(id) {
				sick = id
			}
		}
		if sick == "" {
			break
		}
		if g.targets.Settling(sick) { // which is no fault of the instance
			until = time.Now().Add(limit)
		}
		if time.Now().After(until) {
			return fmt.Errorf("instance %s was not healthy within %s", sick, limit)
		}
		if err := wait(ctx, checkEvery/2); err != nil {
			return err
		}
	}
	if err := g.pause(ctx, name, r.ID, g.pace.RefreshTakes(name)); err != nil || r.Ending == "back" {
		return err
	}
	return g.pause(ctx, name, r.ID, time.Duration(r.Warmup)*time.Second)
}

// retire drains instances and ends them.
func (g *Groups) retire(ctx context.Context, name string, ids []string) error {
	g.targets.Drain(ids)
	defer g.targets.Undrain(ids)
	if err := g.network.Apply(ctx); err != nil {
		return err
	}
	if err := wait(ctx, g.drainTime(name)); err != nil {
		return err
	}
	g.change.Lock()
	defer g.change.Unlock()
	ids = slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		record, _ := g.records.Instance(id)
		return record.State == "terminated" || record.State == "shutting-down"
	})
	return g.endMembers(ctx, ids)
}

// drainTime is the longest deregistration delay of the group's target groups.
func (g *Groups) drainTime(name string) time.Duration {
	longest := 0
	g.records.View(func(o *records.State) {
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

// Resume has groups get what they should have after a start of the cloud, and ends the refreshes of before.
func (g *Groups) Resume() error {
	var names []string
	err := g.records.Update(func(o *records.State) {
		for name, group := range o.Groups {
			names = append(names, name)
			if r := records.ActiveRefresh(group.Refreshes); r != nil {
				r.Status, r.Reason, r.Ended = "Failed", "the local cloud went down meanwhile", time.Now()
			}
		}
	})
	for _, name := range names {
		g.reconcile(name)
	}
	return err
}
