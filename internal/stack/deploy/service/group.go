package stack

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// The web tier as an Auto Scaling group behind a network load balancer. Its instances are launched and ended by EC2; what
// serves is the version of the launch template that the group's tag names. So a deployment that fails, or is killed, is
// put right by bringing the group back to that version.

const (
	// versionTag is on the group: the version of the launch template that serves. A group without it never did.
	versionTag = "goldsmith:version"
	// groupTag is on what an Auto Scaling group launched.
	groupTag = "aws:autoscaling:groupName"
)

// webGroup is the web tier's Auto Scaling group as it is now.
type webGroup struct {
	name              string
	template, version string // what it launches
	serving           string // the version that serves; empty if none ever did
	desired           int32
	held              bool     // EC2 was told not to replace instances that are not healthy
	targets           []string // ARNs of target groups
	members           []member
}

// member is an instance of the group.
type member struct {
	id, version string
	inService   bool
}

// scaled tells whether the web tier is to be an Auto Scaling group.
func (s *Stack) scaled() bool { return s.file.Web.Scaling == "asg" }

func (s *Stack) groupName() string { return "goldsmith-" + s.name + "-web" }

// balancerName names the load balancer and, with a suffix, its target groups: 32 characters at most, and no two dashes
// in a row.
func (s *Stack) balancerName(suffix string) string {
	name := "goldsmith-" + s.name
	if len(name) > 27 || strings.Contains(name, "--") || strings.HasSuffix(name, "-") {
		sum := sha256.Sum256([]byte(s.name))
		name = "goldsmith-" + hex.EncodeToString(sum[:8])
	}
	return name + suffix
}

// findGroup is the stack's Auto Scaling group, or nil.
func (s *Stack) findGroup(ctx context.Context) (*webGroup, error) {
	out, err := s.scaling.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{s.groupName()}})
	if err != nil {
		return nil, fmt.Errorf("find the Auto Scaling group %s: %w", s.groupName(), err)
	}
	for _, found := range out.AutoScalingGroups {
		if aws.ToString(found.Status) != "" {
			continue // it is being deleted
		}
		g := &webGroup{name: s.groupName(), desired: aws.ToInt32(found.DesiredCapacity), held: len(found.SuspendedProcesses) > 0, targets: found.TargetGroupARNs}
		if found.LaunchTemplate != nil {
			g.template, g.version = aws.ToString(found.LaunchTemplate.LaunchTemplateId), aws.ToString(found.LaunchTemplate.Version)
		}
		for _, tag := range found.Tags {
			if aws.ToString(tag.Key) == versionTag {
				g.serving = aws.ToString(tag.Value)
			}
		}
		for _, i := range found.Instances {
			if strings.HasPrefix(string(i.LifecycleState), "Terminat") {
				continue
			}
			m := member{id: aws.ToString(i.InstanceId), inService: i.LifecycleState == astypes.LifecycleStateInService && aws.ToString(i.HealthStatus) == "Healthy"}
			if i.LaunchTemplate != nil {
				m.version = aws.ToString(i.LaunchTemplate.Version)
			}
			g.members = append(g.members, m)
		}
		return g, nil
	}
	return nil, nil
}

// templateImage is the image of a version of the group's launch template.
func (s *Stack) templateImage(ctx context.Context, g *webGroup, version string) (string, error) {
	out, err := s.ec2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: aws.String(g.template), Versions: []string{version}})
	if err != nil {
		return "", fmt.Errorf("look at version %s of launch template %s: %w", version, g.template, err)
	}
	for _, found := range out.LaunchTemplateVersions {
		if found.LaunchTemplateData != nil {
			return aws.ToString(found.LaunchTemplateData.ImageId), nil
		}
	}
	return "", fmt.Errorf("look at version %s of launch template %s: it is not described", version, g.template)
}

// groupRuns is the image that serves, empty where none does.
func (s *Stack) groupRuns(ctx context.Context) (string, error) {
	g, err := s.findGroup(ctx)
	if err != nil || g == nil || g.serving == "" {
		return "", err
	}
	return s.templateImage(ctx, g, g.serving)
}

// checkScaling refuses, before anything is changed, what a deployment could not bring to a good end: another kind of web
// tier than the one that serves, checkpoints that take longer than it may, an API without instance refreshes.
func (s *Stack) checkScaling(ctx context.Context) error {
	all, err := s.Instances(ctx)
	if err != nil {
		return err
	}
	const gap = "an elastic IP cannot be moved onto a load balancer that is there, so that the page would be away for as long as AWS needs to make one, some minutes"
	if !s.scaled() {
		if i := slices.IndexFunc(all, func(i Instance) bool { return i.group != "" }); i >= 0 {
			return fmt.Errorf("deploy stack %s: its web tier is the Auto Scaling group %s, and the stack file wants a single instance; Goldsmith does not change one into the other: %s\nhint: to do it with that gap: aws autoscaling delete-auto-scaling-group --auto-scaling-group-name %[2]s --force-delete, then goldsmith deploy",
				s.name, all[i].group, gap)
		}
		return nil
	}
	if single := servingOf(all, "web"); single.ID != "" {
		return fmt.Errorf("deploy stack %s: its web tier is the single instance %s, and the stack file wants an Auto Scaling group; Goldsmith does not change one into the other: %s\nhint: to do it with that gap: aws ec2 terminate-instances --instance-ids %[2]s, then goldsmith deploy",
			s.name, single.ID, gap)
	}
	d := s.file.Deploy
	if pauses := time.Duration(len(pauses(d.Checkpoints))) * d.CheckpointDelay; pauses+d.BakeTime >= d.Timeout {
		return fmt.Errorf("deploy stack %s: it waits %v at its checkpoints and %v at the end, and may take %v; timeout should be longer", s.name, pauses, d.BakeTime, d.Timeout)
	}
	if g, err := s.findGroup(ctx); err != nil || g == nil {
		return err
	}
	if _, err := s.lastRefresh(ctx); err != nil {
		return fmt.Errorf("deploy stack %s: its API answers no question about instance refreshes, by which an Auto Scaling group is redeployed; nothing was changed: %w", s.name, err)
	}
	return nil
}

// groupAsOld is the group and, in place of single, an instance of it that stands for all: with the image, type, subnet and
// user-data of the version that serves. Without a group single stays.
func (s *Stack) groupAsOld(ctx context.Context, all []Instance, single Instance) (*webGroup, Instance, error) {
	if !s.scaled() {
		return nil, single, nil
	}
	g, err := s.findGroup(ctx)
	if err != nil || g == nil || g.serving == "" {
		return g, single, err
	}
	old := Instance{ID: g.name, Tier: "web", State: "running", Role: serving, group: g.name}
	for _, i := range all {
		if slices.ContainsFunc(g.members, func(m member) bool { return m.id == i.ID && m.version == g.serving }) {
			old = i
			old.ID, old.State = g.name, "running"
		}
	}
	old.Image, err = s.templateImage(ctx, g, g.serving)
	return g, old, err
}

func (g *webGroup) ids() []string {
	var ids []string
	for _, m := range g.members {
		ids = append(ids, m.id)
	}
	return ids
}

// bringGroup makes the group where there is none, and has one that stays be of the right size; of one that is to be
// replaced it makes the new version of the launch template only, and moves no traffic.
func (r *rollout) bringGroup(ctx context.Context, c change) error {
	if !c.replace {
		return r.keepGroup(ctx, c)
	}
	template, version, err := r.newVersion(ctx, c)
	if err != nil {
		return err
	}
	r.version = version
	if r.group != nil {
		return r.resizeGroup(ctx)
	}
	if err := r.timed("load balancer and group", func() error { return r.makeGroup(ctx, template, version) }); err != nil {
		return err
	}
	return r.timed("web ready", func() error { return r.untilServing(ctx, version) })
}

// keepGroup has a group that stays have as many instances as it should.
func (r *rollout) keepGroup(ctx context.Context, c change) error {
	r.say("group %s runs %s already", r.group.name, c.image)
	if err := r.resizeGroup(ctx); err != nil {
		return err
	}
	return r.timed("web ready", func() error { return r.untilServing(ctx, r.group.serving) })
}

func (r *rollout) resizeGroup(ctx context.Context) error {
	count := r.file.Web.Count
	if r.group.desired == count {
		return nil
	}
	r.say("group %s: %d instances in place of %d", r.group.name, count, r.group.desired)
	input := &autoscaling.UpdateAutoScalingGroupInput{AutoScalingGroupName: aws.String(r.group.name),
		MinSize: aws.Int32(count), MaxSize: aws.Int32(count), DesiredCapacity: aws.Int32(count)}
	err := onceKnown(ctx, func(ctx context.Context) error { _, err := r.scaling.UpdateAutoScalingGroup(ctx, input); return err })
	if err != nil {
		return fmt.Errorf("give group %s %d instances: %w", r.group.name, count, err)
	}
	return nil
}

// newVersion makes a version of the launch template, and the template with the first one.
func (r *rollout) newVersion(ctx context.Context, c change) (template, version string, err error) {
	l := c.launch
	l.key = r.keyName()
	input, err := r.runInput(r.network, l)
	if err != nil {
		return "", "", err
	}
	data := templateData(input)
	tags := append(r.moreTags("web"), "Name", r.name+"-web", stackTag, r.name, tierTag, "web", deployTag, r.result.ID, settingsTag, c.settings)
	for _, kind := range []types.ResourceType{types.ResourceTypeInstance, types.ResourceTypeVolume} {
		data.TagSpecifications = append(data.TagSpecifications, types.LaunchTemplateTagSpecificationRequest{ResourceType: kind, Tags: tagList(tags...)})
	}
	made, err := r.ec2.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{LaunchTemplateName: aws.String(r.groupName()), LaunchTemplateData: data,
		VersionDescription: aws.String("deployment " + r.result.ID), ClientToken: aws.String(r.name + "-" + r.result.ID)})
	if err == nil && made.LaunchTemplateVersion != nil {
		v := made.LaunchTemplateVersion
		return aws.ToString(v.LaunchTemplateId), fmt.Sprint(aws.ToInt64(v.VersionNumber)), nil
	}
	if !strings.HasPrefix(code(err), "InvalidLaunchTemplateName.NotFound") {
		return "", "", fmt.Errorf("make a version of launch template %s: %w", r.groupName(), err)
	}
	first, err := r.ec2.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{LaunchTemplateName: aws.String(r.groupName()), LaunchTemplateData: data,
		VersionDescription: aws.String("deployment " + r.result.ID), ClientToken: aws.String(r.name + "-" + r.result.ID), TagSpecifications: r.tagged(types.ResourceTypeLaunchTemplate, r.groupName())})
	if err != nil {
		return "", "", fmt.Errorf("make launch template %s: %w", r.groupName(), err)
	}
	return aws.ToString(first.LaunchTemplate.LaunchTemplateId), "1", nil
}

// templateData is a launch as a template takes it; the subnet is the group's to choose.
func templateData(input *ec2.RunInstancesInput) *types.RequestLaunchTemplateData {
	eni := input.NetworkInterfaces[0]
	return &types.RequestLaunchTemplateData{
		ImageId: input.ImageId, InstanceType: input.InstanceType, UserData: input.UserData, KeyName: input.KeyName,
		NetworkInterfaces: []types.LaunchTemplateInstanceNetworkInterfaceSpecificationRequest{{DeviceIndex: eni.DeviceIndex, DeleteOnTermination: eni.DeleteOnTermination,
			Groups: eni.Groups, AssociatePublicIpAddress: eni.AssociatePublicIpAddress}},
		IamInstanceProfile: &types.LaunchTemplateIamInstanceProfileSpecificationRequest{Name: input.IamInstanceProfile.Name},
		MetadataOptions: &types.LaunchTemplateInstanceMetadataOptionsRequest{HttpTokens: types.LaunchTemplateHttpTokensState(input.MetadataOptions.HttpTokens),
			HttpPutResponseHopLimit: input.MetadataOptions.HttpPutResponseHopLimit, HttpEndpoint: types.LaunchTemplateInstanceMetadataEndpointState(input.MetadataOptions.HttpEndpoint)},
	}
}

// makeGroup makes the load balancer and the group.
func (r *rollout) makeGroup(ctx context.Context, template, version string) error {
	targets, err := r.makeBalancer(ctx)
	if err != nil {
		return err
	}
	count := r.file.Web.Count
	tag := func(key, value string) astypes.Tag {
		return astypes.Tag{ResourceId: aws.String(r.groupName()), ResourceType: aws.String("auto-scaling-group"), Key: aws.String(key), Value: aws.String(value), PropagateAtLaunch: aws.Bool(false)}
	}
	input := &autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: aws.String(r.groupName()), MinSize: aws.Int32(count), MaxSize: aws.Int32(count), DesiredCapacity: aws.Int32(count),
		LaunchTemplate:    &astypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String(template), Version: aws.String(version)},
		VPCZoneIdentifier: aws.String(strings.Join(subnetIDs(r.network.Subnets[r.file.Web.Subnet]), ",")), TargetGroupARNs: targets,
		HealthCheckType: aws.String("ELB"), HealthCheckGracePeriod: aws.Int32(seconds(r.file.HealthCheck.Deadline)),
		Tags: []astypes.Tag{tag("Name", r.groupName()), tag(stackTag, r.name)},
	}
	err = onceKnown(ctx, func(ctx context.Context) error { _, err := r.scaling.CreateAutoScalingGroup(ctx, input); return err })
	if err != nil {
		return fmt.Errorf("make the Auto Scaling group %s: %w", r.groupName(), err)
	}
	r.say("made Auto Scaling group %s of %d", r.groupName(), count)
	return nil
}

// seconds rounds up: AWS takes whole ones.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) }

// askGroupEvery is the time between two looks at a group.
const askGroupEvery = time.Second

// untilServing waits until the group has its instances, all of this version, and each says on its console that it is
// ready and is healthy for the load balancer. The certificates that they made are trusted from then on.
func (r *rollout) untilServing(whole context.Context, version string) error {
	ctx, cancel := context.WithTimeout(whole, r.file.HealthCheck.Deadline)
	defer cancel()
	last, began := "EC2 does not show it yet", time.Now()
	for round := 0; ; round++ {
		g, err := r.findGroup(ctx)
		if err == nil && g == nil && time.Since(began) > await.Settle {
			return fmt.Errorf("wait for group %s: it is gone", r.groupName())
		}
		var well bool
		if err == nil && g != nil {
			well, last, err = r.lookAt(ctx, g, version, round%5 == 4)
		}
		if err != nil && ctx.Err() == nil && !awserr.Transient(err) {
			return err
		}
		if well && ctx.Err() == nil {
			r.group = g
			return nil
		}
		if err := sleep(ctx, askGroupEvery); err != nil {
			return fmt.Errorf("wait for group %s: %w; %s%s", r.groupName(), err, last, r.lastActivity(context.WithoutCancel(ctx)))
		}
	}
}

// lookAt tells whether the group is as it should be, or what is missing. The console of an instance is read when it is
// healthy; those of others only if all is set: AWS limits such calls.
func (r *rollout) lookAt(ctx context.Context, g *webGroup, version string, all bool) (well bool, missing string, err error) {
	states, err := r.targetStates(ctx, g)
	if err != nil {
		return false, "", err
	}
	if len(g.members) != int(r.file.Web.Count) {
		missing = fmt.Sprintf("it has %d instances of %d", len(g.members), r.file.Web.Count)
	}
	for _, m := range g.members {
		healthy := states[m.id] == ""
		if m.version != version {
			missing = cmp.Or(missing, fmt.Sprintf("%s is of version %s of the launch template, not %s", m.id, m.version, version))
			continue
		}
		if healthy || all {
			if err := r.trust(ctx, m.id); err != nil {
				return false, "", err
			}
		}
		switch {
		case !healthy:
			missing = cmp.Or(missing, m.id+" is "+states[m.id])
		case !m.inService || r.trusted(m.id) == "":
			missing = cmp.Or(missing, m.id+" has not said that it is ready")
		}
	}
	return missing == "", missing, nil
}

// trust reads an instance's report, if it was not read before, and trusts its certificate. An instance that says that it
// is not ready is an error.
func (r *rollout) trust(ctx context.Context, id string) error {
	if r.trusted(id) != "" {
		return nil
	}
	console, err := r.console(ctx, id)
	if err != nil {
		if awserr.NotFound(err) {
			return nil // it has ended, or is not known everywhere yet
		}
		return err
	}
	report, ok := instance.FindReport(console)
	if !ok {
		return nil
	}
	if !report.Ready {
		return fmt.Errorf("wait for %s: it says that it is not ready: %s", id, failures(report))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.certificates == nil {
		r.certificates = map[string]string{}
	}
	r.certificates[id] = certificateOf(report)
	r.observer.trust(r.certificates[id])
	return nil
}

func (r *rollout) trusted(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.certificates[id]
}

// lastActivity is what the group could not do last, for people.
func (r *rollout) lastActivity(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := r.scaling.DescribeScalingActivities(ctx, &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: aws.String(r.groupName()), MaxRecords: aws.Int32(10)})
	if err != nil {
		return ""
	}
	for _, activity := range out.Activities {
		if activity.StatusCode == astypes.ScalingActivityStatusCodeFailed {
			return fmt.Sprintf("\nits last failure: %s: %s", aws.ToString(activity.Description), aws.ToString(activity.StatusMessage))
		}
	}
	return ""
}

// serveGroup has the new version take the traffic: of a group that was made just now it already has.
func (r *rollout) serveGroup(ctx context.Context, c change) error {
	r.result.URL = "https://" + aws.ToString(r.address.PublicIp) + "/"
	r.observer.ask(aws.ToString(r.address.PublicIp))
	if c.replace && r.group.serving != "" {
		if err := r.timed("instance refresh", func() error { return r.refresh(ctx, r.group, r.version) }); err != nil {
			return r.keptBroken(err)
		}
		r.baked = true
		if err := r.untilServing(ctx, r.version); err != nil {
			return err
		}
	}
	all, err := r.Instances(ctx)
	if err != nil {
		return err
	}
	for _, i := range all {
		if i.group == r.groupName() && slices.ContainsFunc(r.group.members, func(m member) bool { return m.id == i.ID }) {
			r.result.WebGroup = append(r.result.WebGroup, i)
		}
	}
	if len(r.result.WebGroup) == 0 {
		return fmt.Errorf("look at group %s: none of its instances is described", r.groupName())
	}
	r.result.Web = r.result.WebGroup[0]
	r.result.Fingerprint = r.trusted(r.result.Web.ID)
	return r.timed("https from outside", func() error {
		return r.healthy(ctx, aws.ToString(r.address.PublicIp), r.file.HealthCheck.HealthyThreshold)
	})
}

// errKept says that a deployment failed and that the stack file does not want it to go back by itself.
var errKept = errors.New("auto_rollback is off, so it stays as it is")

func (r *rollout) keptBroken(err error) error {
	if r.file.Deploy.AutoRollback {
		return err
	}
	return fmt.Errorf("%w; %w; %w\nhint: goldsmith rollback brings back what served", err, errKept, ErrNeedsPerson)
}

// setServing notes on the group which version serves.
func (r *rollout) setServing(ctx context.Context, version string) error {
	_, err := r.scaling.CreateOrUpdateTags(ctx, &autoscaling.CreateOrUpdateTagsInput{Tags: []astypes.Tag{{ResourceId: aws.String(r.groupName()), ResourceType: aws.String("auto-scaling-group"),
		Key: aws.String(versionTag), Value: aws.String(version), PropagateAtLaunch: aws.Bool(false)}}})
	if err != nil {
		return fmt.Errorf("tag group %s with the version that serves: %w", r.groupName(), err)
	}
	return nil
}

// unhealthy are what EC2 does with instances that their load balancer finds sick.
var unhealthy = []string{"HealthCheck", "ReplaceUnhealthy"}

// withoutReplacing does what takes the database from the web tier for a while: the pages of all instances are sick then,
// and EC2 would replace every one.
func (r *rollout) withoutReplacing(ctx context.Context, work func() error) error {
	if r.group == nil {
		return work()
	}
	if _, err := r.scaling.SuspendProcesses(ctx, &autoscaling.SuspendProcessesInput{AutoScalingGroupName: aws.String(r.group.name), ScalingProcesses: unhealthy}); err != nil {
		return fmt.Errorf("have group %s keep its instances while the database moves: %w", r.group.name, err)
	}
	// What fails is settled, and that lets the group go on.
	if err := work(); err != nil {
		return err
	}
	return r.resumeReplacing(ctx, r.group)
}

// resumeReplacing lets EC2 replace instances again, when they are healthy or have had the time for it.
func (s *Stack) resumeReplacing(ctx context.Context, g *webGroup) error {
	h := s.file.HealthCheck
	for until := time.Now().Add(2 * time.Duration(interval(h)*threshold(h)) * time.Second); time.Now().Before(until); {
		states, err := s.targetStates(ctx, g)
		if err != nil {
			return err
		}
		sick := slices.ContainsFunc(g.ids(), func(id string) bool { return states[id] != "" })
		if !sick {
			break
		}
		if err := sleep(ctx, askGroupEvery); err != nil {
			return err
		}
	}
	if _, err := s.scaling.ResumeProcesses(ctx, &autoscaling.ResumeProcessesInput{AutoScalingGroupName: aws.String(g.name), ScalingProcesses: unhealthy}); err != nil {
		return fmt.Errorf("have group %s replace sick instances again: %w", g.name, err)
	}
	return nil
}

// settleGroup brings the group to the version that serves; one that never served goes, with all that belongs to it.
func (s *Stack) settleGroup(ctx context.Context) error {
	g, err := s.findGroup(ctx)
	if err != nil {
		return err
	}
	if g == nil || g.serving == "" {
		return s.removeGroup(ctx)
	}
	if g.held {
		if err := s.resumeReplacing(ctx, g); err != nil {
			return err
		}
	}
	if err := s.takeBackRefresh(ctx, g); err != nil {
		return err
	}
	if g, err = s.findGroup(ctx); err != nil || g == nil {
		return err
	}
	other := slices.IndexFunc(g.members, func(m member) bool { return m.version != g.serving })
	if g.version == g.serving && other < 0 {
		return nil
	}
	s.say("group %s goes back to version %s of its launch template", g.name, g.serving)
	return s.goBack(ctx, g)
}

// removeGroup ends the group and its instances, and removes the load balancer and the launch template.
func (s *Stack) removeGroup(ctx context.Context) error {
	g, err := s.findGroup(ctx)
	if err != nil {
		return err
	}
	if g != nil {
		s.say("ending group %s and its %d instances", g.name, len(g.members))
		_, err := s.scaling.DeleteAutoScalingGroup(ctx, &autoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: aws.String(g.name), ForceDelete: aws.Bool(true)})
		if err != nil {
			return fmt.Errorf("delete group %s: %w", g.name, err)
		}
		if err := s.terminate(ctx, g.ids()...); err != nil {
			return err
		}
	}
	if err := s.removeBalancer(ctx); err != nil {
		return err
	}
	_, err = s.ec2.DeleteLaunchTemplate(ctx, &ec2.DeleteLaunchTemplateInput{LaunchTemplateName: aws.String(s.groupName())})
	if err != nil && !strings.HasPrefix(code(err), "InvalidLaunchTemplateName.NotFound") {
		return fmt.Errorf("delete launch template %s: %w", s.groupName(), err)
	}
	return s.untilGroupGone(ctx)
}

// untilGroupGone waits until the group is gone: another of its name cannot be made before.
func (s *Stack) untilGroupGone(ctx context.Context) error {
	input := &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{s.groupName()}}
	err := await.Until(ctx, goneLimit, func(ctx context.Context) (bool, error) {
		out, err := s.scaling.DescribeAutoScalingGroups(ctx, input)
		return err == nil && len(out.AutoScalingGroups) == 0, err
	})
	if err != nil {
		return fmt.Errorf("wait until group %s is gone: %w", s.groupName(), err)
	}
	return nil
}

// goneLimit is how long a group may take to end its instances, or a load balancer to give its interfaces back.
const goneLimit = 15 * time.Minute

// commitGroup notes that a version serves in place of another, if there is a new one.
func (r *rollout) commitGroup(ctx context.Context, from, to string) error {
	if from == to || r.version == "" {
		return nil
	}
	return r.setServing(ctx, to)
}

// planGroup tells what a deployment would do to a web tier that is a group.
func (s *Stack) planGroup(p *Plan, g *webGroup, c change) {
	what := fmt.Sprintf("web group of %d × %s", s.file.Web.Count, c.image)
	if g == nil || g.serving == "" {
		p.Changes = append(p.Changes, Change{Action: "create", What: "load balancer of the page", Reason: missing}, Change{Action: "create", What: what, Reason: c.reason})
		return
	}
	if c.replace {
		p.Changes = append(p.Changes, Change{Action: "replace", What: what + ", by an instance refresh", ID: g.name, Reason: c.reason})
	} else if missing := missingTags(c.old.tags, tagList(s.moreTags("web")...)); len(missing) > 0 {
		p.Changes = append(p.Changes, Change{Action: "change", What: "web instances", ID: g.name, Reason: "their tags differ: " + strings.Join(missing, ", ")})
	}
	if g.desired != s.file.Web.Count {
		p.Changes = append(p.Changes, Change{Action: "change", What: "web group", ID: g.name, Reason: fmt.Sprintf("it has %d instances and not %d", g.desired, s.file.Web.Count)})
	}
}
