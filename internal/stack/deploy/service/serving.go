package service

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/launch"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

// groupPoll is the time between two looks at a group.
const groupPoll = time.Second

// untilServing waits until the group has its instances, all of this version, and each says on its console that it is
// ready and is healthy for the load balancer. The certificates that they made are trusted from then on.
func (g *group) untilServing(whole context.Context, version string) error {
	ctx, cancel := context.WithTimeout(whole, g.tier.Service.Probe.Deadline)
	defer cancel()
	last, began := "EC2 does not show it yet", time.Now()
	for round := 0; ; round++ {
		found, err := g.find(ctx)
		if err == nil && found == nil && time.Since(began) > await.Settle {
			return fmt.Errorf("wait for group %s: it is gone", g.name())
		}
		var well bool
		if err == nil && found != nil {
			well, last, err = g.inspect(ctx, found, version, round%5 == 4)
		}
		if err != nil && ctx.Err() == nil && !awserr.Transient(err) {
			return err
		}
		if well && ctx.Err() == nil {
			g.found = found
			return nil
		}
		if err := await.Sleep(ctx, groupPoll); err != nil {
			return fmt.Errorf("wait for group %s: %w; %s%s", g.name(), err, last,
				g.lastActivity(context.WithoutCancel(ctx)))
		}
	}
}

// inspect tells whether the group is as it should be, or what is missing. The console of an instance is read when it is
// healthy; those of others only if all is set: AWS limits such calls.
func (g *group) inspect(
	ctx context.Context, found *scalingGroup, version string, all bool,
) (well bool, missing string, err error) {
	states, err := g.balancer.targetStates(ctx, found)
	if err != nil {
		return false, "", err
	}
	if count := int(g.tier.Service.Count); len(found.members) != count {
		missing = fmt.Sprintf("it has %d instances of %d", len(found.members), count)
	}
	for _, m := range found.members {
		healthy := states[m.id] == ""
		if m.version != version {
			other := fmt.Sprintf("%s is of version %s of the launch template, not %s", m.id, m.version, version)
			missing = cmp.Or(missing, other)
			continue
		}
		if healthy || all {
			if err := g.trust(ctx, m.id); err != nil {
				return false, "", err
			}
		}
		switch {
		case !healthy:
			missing = cmp.Or(missing, m.id+" is "+states[m.id])
		case !m.inService || g.certificates.of(m.id) == "":
			missing = cmp.Or(missing, m.id+" has not said that it is ready")
		}
	}
	return missing == "", missing, nil
}

// trust reads an instance's report, if it was not read before, and trusts its certificate. An instance that says that
// it is not ready is an error.
func (g *group) trust(ctx context.Context, id string) error {
	if g.certificates.of(id) != "" {
		return nil
	}
	text, err := launch.Console(ctx, g.run.Stack, id)
	if err != nil {
		if awserr.NotFound(err) {
			return nil // it has ended, or is not known everywhere yet
		}
		return err
	}
	report, ok := instance.FindReport(text)
	if !ok {
		return nil
	}
	if !report.Ready {
		return fmt.Errorf("wait for %s: it says that it is not ready: %s", id, launch.Failures(report))
	}
	digest := launch.CertificateOf(report)
	g.certificates.add(id, digest)
	g.certificates.booted(time.Duration(report.Uptime * float64(time.Second)))
	g.answers = report.Answers
	g.run.Observer.Trust(digest)
	return nil
}

// healthProcesses are the scaling processes that find and replace instances which their load balancer calls unhealthy.
var healthProcesses = []string{"HealthCheck", "ReplaceUnhealthy"}

// Hold implements tier.Holder: while its data tier moves the pages of all instances are sick, and EC2 would replace
// every one.
func (g *group) Hold(ctx context.Context, work func() error) error {
	if g.found == nil {
		return work()
	}
	_, err := g.scaling.SuspendProcesses(ctx, &autoscaling.SuspendProcessesInput{
		AutoScalingGroupName: aws.String(g.found.name),
		ScalingProcesses:     healthProcesses,
	})
	if err != nil {
		return fmt.Errorf("have group %s keep its instances while its data tier moves: %w", g.found.name, err)
	}
	// Of what fails the stack converges, and that lets the group go on.
	if err := work(); err != nil {
		return err
	}
	return g.resumeReplacing(ctx, g.found)
}

// resumeReplacing lets EC2 replace instances again, when they are healthy or have had the time for it.
func (g *group) resumeReplacing(ctx context.Context, found *scalingGroup) error {
	check := g.tier.Service.Probe
	limit := 2 * time.Duration(interval(check)*threshold(check)) * time.Second
	for until := time.Now().Add(limit); time.Now().Before(until); {
		states, err := g.balancer.targetStates(ctx, found)
		if err != nil && !awserr.Transient(err) {
			return err
		}
		if err == nil && !slices.ContainsFunc(found.ids(), func(id string) bool { return states[id] != "" }) {
			break
		}
		if err := await.Sleep(ctx, groupPoll); err != nil {
			return err
		}
	}
	_, err := g.scaling.ResumeProcesses(ctx, &autoscaling.ResumeProcessesInput{
		AutoScalingGroupName: aws.String(found.name),
		ScalingProcesses:     healthProcesses,
	})
	if err != nil {
		return fmt.Errorf("have group %s replace sick instances again: %w", found.name, err)
	}
	return nil
}

// removeAll ends the group and its instances, and removes the load balancer and the launch template; what is not there
// is no error.
func (g *group) removeAll(ctx context.Context, act *plan.Actor, reason string) error {
	found, err := g.find(ctx)
	if err != nil {
		return err
	}
	if found != nil {
		change := plan.Change{
			Action: plan.Remove,
			What:   g.tier.Name + " group",
			ID:     found.name,
			Reason: reason,
		}
		if err = act.Do(change, func() (string, error) { return found.name, g.deleteGroup(ctx, found) }); err != nil {
			return err
		}
	}
	if err = g.balancer.remove(ctx, act, reason); err != nil || act.Dry() {
		return err
	}
	if err = g.deleteTemplate(ctx); err != nil {
		return err
	}
	return g.untilGone(ctx)
}

// deleteTemplate deletes the launch template, if there is one.
func (g *group) deleteTemplate(ctx context.Context) error {
	there, err := g.hasTemplate(ctx)
	if there {
		input := &ec2.DeleteLaunchTemplateInput{LaunchTemplateName: aws.String(g.name())}
		_, err = g.run.Stack.EC2.DeleteLaunchTemplate(ctx, input)
	}
	if err != nil && !awserr.Is(err, apierror.InvalidLaunchTemplateNameNotFound) {
		return fmt.Errorf("delete launch template %s: %w", g.name(), err)
	}
	return nil
}

func (g *group) deleteGroup(ctx context.Context, found *scalingGroup) error {
	g.run.Stack.Logf("ending group %s and its %d instances", found.name, len(found.members))
	_, err := g.scaling.DeleteAutoScalingGroup(ctx, &autoscaling.DeleteAutoScalingGroupInput{
		AutoScalingGroupName: aws.String(found.name),
		ForceDelete:          aws.Bool(true),
	})
	if err != nil {
		return fmt.Errorf("delete group %s: %w", found.name, err)
	}
	return launch.Terminate(ctx, g.run.Stack, found.ids()...)
}

// untilGone waits until the group is gone: another of its name cannot be made before.
func (g *group) untilGone(ctx context.Context) error {
	input := &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{g.name()}}
	err := await.Until(ctx, goneLimit, func(ctx context.Context) (bool, error) {
		out, err := g.scaling.DescribeAutoScalingGroups(ctx, input)
		return err == nil && len(out.AutoScalingGroups) == 0, err
	})
	if err != nil {
		return fmt.Errorf("wait until group %s is gone: %w", g.name(), err)
	}
	return nil
}

// goneLimit is how long a group may take to end its instances, or a load balancer to give its interfaces back.
const goneLimit = 15 * time.Minute
