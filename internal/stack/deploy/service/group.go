package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/launch"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/probe"
)

// The instances of an Auto Scaling group are launched and ended by EC2; what serves is the version of the launch
// template that the group's tag names. So a deployment that fails, or is killed, is put right by bringing the group
// back to that version. What a deployment decided itself is known, and not read back: tags lag behind.

// versionTag is on the group: the version of the launch template that serves. A group without it never did.
const versionTag = "goldsmith:version"

// bootTag is on the group: how many seconds its instances took from their start to their report.
const bootTag = "goldsmith:boot-seconds"

// describedAs begins the description of a version of the launch template; the id of the deployment that made it
// follows.
const describedAs = "deployment "

// group is a service tier that is an Auto Scaling group, in one deployment.
type group struct {
	run          *tier.Run
	tier         stack.Tier
	scaling      *autoscaling.Client
	balancer     *balancer
	refreshes    *refreshes
	certificates *certificates
	probe        probe.Probe
	address      types.Address // the elastic one
	decision     tier.Decision
	answers      []instance.Answer // of the image of its instances
	found        *scalingGroup     // nil before it is made
	version      string            // of the launch template, that is to serve
	known        *string           // the version that serves, where the tag is not needed to know it
	baked        bool              // EC2 waited for the bake time, and the page was asked meanwhile
	outcome      tier.Outcome
}

func newGroup(run *tier.Run, t stack.Tier) *group {
	known := &certificates{}
	scaling := clientOf(run.Stack)
	return &group{
		run:     run,
		tier:    t,
		scaling: scaling,
		refreshes: &refreshes{
			run:     run,
			tier:    t,
			scaling: scaling,
			group:   groupName(run.Stack, t),
		},
		balancer:     newBalancer(run, t),
		certificates: known,
		probe:        newProbe(run, t, known),
	}
}

// scalingGroup is the Auto Scaling group as it is now.
type scalingGroup struct {
	name              string
	template, version string // what it launches
	serving           string // the version that serves; empty if none ever did
	boot              int32  // seconds that its instances took to boot; 0 if nobody noted it
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

func (g *scalingGroup) ids() []string {
	var ids []string
	for _, m := range g.members {
		ids = append(ids, m.id)
	}
	return ids
}

// name is that of the group and of its launch template.
func (g *group) name() string { return groupName(g.run.Stack, g.tier) }

func groupName(s *stack.Stack, t stack.Tier) string { return "goldsmith-" + s.Name + "-" + t.Name }

// Outcome implements tier.Tier.
func (g *group) Outcome() tier.Outcome { return g.outcome }

// check refuses checkpoints that take longer than a deployment may, and an API without instance refreshes.
func (g *group) check(ctx context.Context) error {
	s, d := g.run.Stack, g.run.Stack.Settings.Deploy
	if waits := time.Duration(len(pauses(d.Checkpoints))) * d.CheckpointDelay; waits+d.BakeTime >= d.Timeout {
		return fmt.Errorf("deploy stack %s: it waits %v at its checkpoints and %v at the end, and may take %v; "+
			"timeout should be longer", s.Name, waits, d.BakeTime, d.Timeout)
	}
	if found, err := g.find(ctx); err != nil || found == nil {
		return err
	}
	if _, err := g.refreshes.last(ctx); err != nil {
		return fmt.Errorf("deploy stack %s: its API answers no question about instance refreshes, by which an Auto "+
			"Scaling group is redeployed; nothing was changed: %w", s.Name, err)
	}
	return nil
}

// find is the stack's Auto Scaling group, or nil.
func (g *group) find(ctx context.Context) (*scalingGroup, error) {
	input := &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{g.name()}}
	out, err := g.scaling.DescribeAutoScalingGroups(ctx, input)
	if err != nil {
		return nil, fmt.Errorf("find the Auto Scaling group %s: %w", g.name(), err)
	}
	for _, described := range out.AutoScalingGroups {
		if aws.ToString(described.Status) == "" { // else it is being deleted
			found := groupOf(g.name(), described)
			if g.known != nil {
				found.serving = *g.known
			}
			return found, nil
		}
	}
	return nil, nil
}

func groupOf(name string, described astypes.AutoScalingGroup) *scalingGroup {
	found := &scalingGroup{
		name:    name,
		desired: aws.ToInt32(described.DesiredCapacity),
		held:    len(described.SuspendedProcesses) > 0,
		targets: described.TargetGroupARNs,
	}
	if launches := described.LaunchTemplate; launches != nil {
		found.template, found.version = aws.ToString(launches.LaunchTemplateId), aws.ToString(launches.Version)
	}
	for _, tag := range described.Tags {
		switch aws.ToString(tag.Key) {
		case versionTag:
			found.serving = aws.ToString(tag.Value)
		case bootTag:
			if n, err := strconv.ParseInt(aws.ToString(tag.Value), 10, 32); err == nil {
				found.boot = int32(n)
			}
		}
	}
	for _, i := range described.Instances {
		if strings.HasPrefix(string(i.LifecycleState), "Terminat") {
			continue
		}
		well := i.LifecycleState == astypes.LifecycleStateInService && aws.ToString(i.HealthStatus) == "Healthy"
		m := member{id: aws.ToString(i.InstanceId), inService: well}
		if i.LaunchTemplate != nil {
			m.version = aws.ToString(i.LaunchTemplate.Version)
		}
		found.members = append(found.members, m)
	}
	return found
}

// templateImage is the image of a version of the group's launch template.
func (g *group) templateImage(ctx context.Context, found *scalingGroup, version string) (string, error) {
	described, err := g.templateVersion(ctx, found, version)
	if err != nil {
		return "", err
	}
	return aws.ToString(described.LaunchTemplateData.ImageId), nil
}

func (g *group) templateVersion(
	ctx context.Context, found *scalingGroup, version string,
) (types.LaunchTemplateVersion, error) {
	out, err := g.run.Stack.EC2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: aws.String(found.template),
		Versions:         []string{version},
	})
	none := types.LaunchTemplateVersion{}
	if err != nil {
		return none, fmt.Errorf("look at version %s of launch template %s: %w", version, found.template, err)
	}
	for _, described := range out.LaunchTemplateVersions {
		if described.LaunchTemplateData != nil {
			return described, nil
		}
	}
	return none, fmt.Errorf("look at version %s of launch template %s: it is not described", version, found.template)
}

// findSettled is the stack's Auto Scaling group, or nil. Where the last deployment made the version that the group is
// of, that version serves: the deployment came to a good end, and only its tag is not shown yet.
func (g *group) findSettled(ctx context.Context) (*scalingGroup, error) {
	found, err := g.find(ctx)
	if err != nil || found == nil || found.version == found.serving || g.known != nil || g.run.Last == "" {
		return found, err
	}
	described, err := g.templateVersion(ctx, found, found.version)
	if err != nil {
		return nil, err
	}
	if aws.ToString(described.VersionDescription) == describedAs+g.run.Last {
		serving := found.version
		found.serving, g.known = serving, &serving
	}
	return found, nil
}

// Plan implements tier.Tier.
func (g *group) Plan(ctx context.Context) (err error) {
	if g.address, err = ensureAddress(ctx, g.run, g.tier); err != nil {
		return err
	}
	if g.found, err = g.find(ctx); err != nil {
		return err
	}
	if g.found != nil && g.found.serving == "" { // to converge removes it
		g.found = nil
	}
	old, err := g.standIn(ctx)
	if err != nil {
		return err
	}
	subnet, err := g.run.Network.SubnetOf(g.run.Stack, g.tier, "")
	if err != nil {
		return err
	}
	g.decision, err = g.run.Decide(g.tier, old, launch.Launch{
		Subnet:    subnet,
		Service:   aws.ToString(g.address.PublicIp),
		Addresses: maps.Clone(g.run.Addresses),
	})
	g.run.Addresses[g.tier.Name] = aws.ToString(g.address.PublicIp)
	g.outcome.Old, g.outcome.Replaced = old, g.decision.Replace
	return err
}

// standIn is an instance that stands for all of the group: with the image, type, subnet and user-data of the version
// that serves. Without a group it is empty.
func (g *group) standIn(ctx context.Context) (old stack.Instance, err error) {
	if g.found == nil {
		return old, nil
	}
	old = stack.Instance{Tier: g.tier.Name, Role: stack.Serving}
	for _, i := range g.run.Instances {
		serves := func(m member) bool { return m.id == i.ID && m.version == g.found.serving }
		if slices.ContainsFunc(g.found.members, serves) {
			old = i
		}
	}
	old.ID, old.State, old.Detail.Group = g.found.name, "running", g.found.name
	old.Image, err = g.templateImage(ctx, g.found, g.found.serving)
	return old, err
}

// Bring implements tier.Tier: it makes the group where there is none, and has one that stays be of the right size; of
// one that is to be replaced it makes the new version of the launch template only, and moves no traffic.
func (g *group) Bring(ctx context.Context) error {
	switch {
	case g.found == nil:
		return g.create(ctx)
	case !g.decision.Replace:
		return g.keep(ctx)
	}
	change := plan.Change{
		Action: plan.Replace,
		What:   g.title() + ", by an instance refresh",
		ID:     g.found.name,
		Reason: g.decision.Reason,
	}
	err := g.run.Act.Do(change, func() (_ string, err error) {
		_, g.version, err = g.newVersion(ctx)
		return g.found.name, err
	})
	if err != nil {
		return err
	}
	return g.resize(ctx)
}

// title is the group for people.
func (g *group) title() string {
	return fmt.Sprintf("%s group of %d × %s", g.tier.Name, g.tier.Service.Count, g.decision.Launch.Image)
}

// keep has a group that stays have its tags and as many instances as it should.
func (g *group) keep(ctx context.Context) error {
	err := g.run.Tag(ctx, g.tier, g.tier.Name+" instances", "their", g.decision.Old, g.found.ids()...)
	if err != nil {
		return err
	}
	if err := g.resize(ctx); err != nil || g.run.Act.Dry() {
		return err
	}
	g.run.Stack.Logf("group %s runs %s already", g.found.name, g.decision.Launch.Image)
	return g.run.Ready(g.tier, func() error { return g.untilServing(ctx, g.found.serving) })
}

func (g *group) resize(ctx context.Context) error {
	count := g.tier.Service.Count
	if g.found.desired == count {
		return nil
	}
	change := plan.Change{
		Action: plan.Modify,
		What:   g.tier.Name + " group",
		ID:     g.found.name,
		Reason: fmt.Sprintf("it has %d instances and not %d", g.found.desired, count),
	}
	return g.run.Act.Do(change, func() (string, error) {
		g.run.Stack.Logf("group %s: %d instances in place of %d", g.found.name, count, g.found.desired)
		input := &autoscaling.UpdateAutoScalingGroupInput{
			AutoScalingGroupName: aws.String(g.found.name),
			MinSize:              aws.Int32(count),
			MaxSize:              aws.Int32(count),
			DesiredCapacity:      aws.Int32(count),
		}
		err := ec2ops.OnceKnown(ctx, func(ctx context.Context) error {
			_, err := g.scaling.UpdateAutoScalingGroup(ctx, input)
			return err
		})
		if err != nil {
			return "", fmt.Errorf("give group %s %d instances: %w", g.found.name, count, err)
		}
		return g.found.name, nil
	})
}

// create makes the load balancer and the group, and waits until it serves.
func (g *group) create(ctx context.Context) error {
	err := g.run.Timed(tier.StepOf(g.tier, "group", "load balancer and group"), func() error {
		var targets []string
		what := "load balancer of the " + g.tier.Name + " tier"
		change := plan.Change{Action: plan.Create, What: what, Reason: plan.Missing}
		err := g.run.Act.Do(change, func() (_ string, err error) {
			targets, err = g.balancer.create(ctx, g.run.Network, g.address)
			return g.balancer.name(""), err
		})
		if err != nil {
			return err
		}
		change = plan.Change{Action: plan.Create, What: g.title(), Reason: g.decision.Reason}
		return g.run.Act.Do(change, func() (string, error) { return g.name(), g.createGroup(ctx, targets) })
	})
	if err != nil || g.run.Act.Dry() {
		return err
	}
	return g.run.Ready(g.tier, func() error { return g.untilServing(ctx, g.version) })
}

// newVersion makes a version of the launch template, and the template with the first one.
func (g *group) newVersion(ctx context.Context) (template, version string, err error) {
	s := g.run.Stack
	data, err := g.templateData()
	if err != nil {
		return "", "", err
	}
	there, err := g.hasTemplate(ctx)
	if err == nil && !there {
		template, err = g.makeTemplate(ctx, data)
		if err == nil {
			return template, "1", nil
		}
		there = awserr.Is(err, apierror.InvalidTemplateNameExists) // made a moment ago, and not shown yet
	}
	if !there {
		return "", "", fmt.Errorf("make launch template %s: %w", g.name(), err)
	}
	next := &ec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateName: aws.String(g.name()),
		LaunchTemplateData: data,
		VersionDescription: aws.String(describedAs + g.run.ID),
		ClientToken:        aws.String(s.Name + "-" + g.run.ID),
	}
	var made *ec2.CreateLaunchTemplateVersionOutput
	err = ec2ops.OnceKnown(ctx, func(ctx context.Context) (err error) {
		made, err = s.EC2.CreateLaunchTemplateVersion(ctx, next)
		return err
	})
	if err == nil && made.LaunchTemplateVersion == nil {
		err = errors.New("EC2 does not say which")
	}
	if err != nil {
		return "", "", fmt.Errorf("make a version of launch template %s: %w", g.name(), err)
	}
	v := made.LaunchTemplateVersion
	return aws.ToString(v.LaunchTemplateId), fmt.Sprint(aws.ToInt64(v.VersionNumber)), nil
}

// hasTemplate tells whether there is the launch template. What is done to it by its name begins with that question: who
// may change and delete what has Goldsmith's tags is refused where there is nothing, as that has no tags.
func (g *group) hasTemplate(ctx context.Context) (bool, error) {
	_, err := g.run.Stack.EC2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateName: aws.String(g.name()),
		Versions:           []string{"$Latest"},
	})
	if awserr.Is(err, apierror.InvalidLaunchTemplateNameNotFound) {
		return false, nil
	}
	return err == nil, err
}

// makeTemplate makes the launch template, with its first version.
func (g *group) makeTemplate(ctx context.Context, data *types.RequestLaunchTemplateData) (id string, err error) {
	s := g.run.Stack
	first := &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String(g.name()),
		LaunchTemplateData: data,
		VersionDescription: aws.String(describedAs + g.run.ID),
		ClientToken:        aws.String(s.Name + "-" + g.run.ID),
		TagSpecifications:  s.TagsFor(types.ResourceTypeLaunchTemplate, g.name()),
	}
	err = ec2ops.OnceKnown(ctx, func(ctx context.Context) error {
		out, failed := s.EC2.CreateLaunchTemplate(ctx, first)
		if failed == nil {
			id = aws.ToString(out.LaunchTemplate.LaunchTemplateId)
		}
		return failed
	})
	return id, err
}

// templateData is the deployment's launch as a template takes it, with the tags of what is launched.
func (g *group) templateData() (*types.RequestLaunchTemplateData, error) {
	s, l := g.run.Stack, g.decision.Launch
	l.Key = "goldsmith-" + s.Name
	input, err := l.Input(s, g.run.Network)
	if err != nil {
		return nil, err
	}
	data := templateOf(input)
	tags := ec2ops.TagPairs(append(g.tier.TagPairs(),
		stack.NameTag, s.Name+"-"+g.tier.Name,
		stack.StackTag, s.Name,
		stack.TierTag, g.tier.Name,
		stack.DeployTag, g.run.ID,
		stack.SettingsTag, g.decision.Settings)...)
	for _, kind := range []types.ResourceType{
		types.ResourceTypeInstance,
		types.ResourceTypeVolume,
		types.ResourceTypeNetworkInterface,
	} {
		spec := types.LaunchTemplateTagSpecificationRequest{ResourceType: kind, Tags: tags}
		data.TagSpecifications = append(data.TagSpecifications, spec)
	}
	return data, nil
}

// templateOf is a launch as a template takes it; the subnet is the group's to choose.
func templateOf(input *ec2.RunInstancesInput) *types.RequestLaunchTemplateData {
	eni, metadata := input.NetworkInterfaces[0], input.MetadataOptions
	return &types.RequestLaunchTemplateData{
		ImageId:      input.ImageId,
		InstanceType: input.InstanceType,
		UserData:     input.UserData,
		KeyName:      input.KeyName,
		NetworkInterfaces: []types.LaunchTemplateInstanceNetworkInterfaceSpecificationRequest{{
			DeviceIndex:              eni.DeviceIndex,
			DeleteOnTermination:      eni.DeleteOnTermination,
			Groups:                   eni.Groups,
			AssociatePublicIpAddress: eni.AssociatePublicIpAddress,
		}},
		IamInstanceProfile: &types.LaunchTemplateIamInstanceProfileSpecificationRequest{
			Name: input.IamInstanceProfile.Name,
		},
		MetadataOptions: &types.LaunchTemplateInstanceMetadataOptionsRequest{
			HttpTokens:              types.LaunchTemplateHttpTokensState(metadata.HttpTokens),
			HttpPutResponseHopLimit: metadata.HttpPutResponseHopLimit,
			HttpEndpoint:            types.LaunchTemplateInstanceMetadataEndpointState(metadata.HttpEndpoint),
		},
	}
}

// createGroup makes the group, of the first version of its launch template.
func (g *group) createGroup(ctx context.Context, targets []string) error {
	template, version, err := g.newVersion(ctx)
	if err != nil {
		return err
	}
	g.version = version
	count, s := g.tier.Service.Count, g.run.Stack
	input := &autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: aws.String(g.name()),
		MinSize:              aws.Int32(count),
		MaxSize:              aws.Int32(count),
		DesiredCapacity:      aws.Int32(count),
		LaunchTemplate: &astypes.LaunchTemplateSpecification{
			LaunchTemplateId: aws.String(template),
			Version:          aws.String(version),
		},
		VPCZoneIdentifier:      aws.String(strings.Join(network.SubnetIDs(g.run.Network.Subnets[g.tier.Subnet]), ",")),
		TargetGroupARNs:        targets,
		HealthCheckType:        aws.String("ELB"),
		HealthCheckGracePeriod: aws.Int32(seconds(g.tier.Service.Probe.Deadline)),
		Tags:                   []astypes.Tag{g.tag(stack.NameTag, g.name()), g.tag(stack.StackTag, s.Name)},
	}
	err = ec2ops.OnceKnown(ctx, func(ctx context.Context) error {
		_, failed := g.scaling.CreateAutoScalingGroup(ctx, input)
		return failed
	})
	if err != nil {
		return fmt.Errorf("make the Auto Scaling group %s: %w", g.name(), err)
	}
	s.Logf("made Auto Scaling group %s of %d", g.name(), count)
	return nil
}

// tag is a tag of the group that its instances do not get.
func (g *group) tag(key, value string) astypes.Tag {
	return astypes.Tag{
		ResourceId:        aws.String(g.name()),
		ResourceType:      aws.String("auto-scaling-group"),
		Key:               aws.String(key),
		Value:             aws.String(value),
		PropagateAtLaunch: aws.Bool(false),
	}
}

// Shift implements tier.Tier: the new version takes the traffic; of a group that was made just now it already has.
func (g *group) Shift(ctx context.Context) error {
	own, run := aws.ToString(g.address.PublicIp), g.run
	setURL(&g.outcome, g.address)
	run.Observer.Ask(own)
	if g.decision.Replace && g.found.serving != "" {
		err := run.Timed(tier.StepOf(g.tier, "refresh", "instance refresh"),
			func() error { return g.refresh(ctx, g.version) })
		if err != nil {
			return g.keptBroken(err)
		}
		g.baked = true
		if err := g.untilServing(ctx, g.version); err != nil {
			return err
		}
	}
	all, err := run.Stack.Instances(ctx)
	if err != nil {
		return err
	}
	members := g.found.ids()
	for _, i := range all {
		if i.Detail.Group == g.name() && slices.Contains(members, i.ID) {
			g.outcome.Serving = append(g.outcome.Serving, i)
		}
	}
	if len(g.outcome.Serving) == 0 {
		return fmt.Errorf("look at group %s: none of its instances is described", g.name())
	}
	first := g.outcome.Serving[0].ID
	g.outcome.Fingerprint = g.certificates.of(first)
	return run.Timed(tier.StepOf(g.tier, "probe", "https from outside"), func() error {
		if err := g.probe.Healthy(ctx, own, g.tier.Service.Probe.HealthyThreshold); err != nil {
			return fmt.Errorf("ask %s from outside, at %s: %w", first, own, err)
		}
		if err := g.probe.Answers(ctx, own, g.answers); err != nil {
			return fmt.Errorf("ask %s from outside, at %s, for what its image describes: %w", first, own, err)
		}
		return nil
	})
}

// Watch implements tier.Watcher; during a refresh EC2 has waited for the bake time, and the page was asked meanwhile.
func (g *group) Watch(ctx context.Context) error {
	if g.baked {
		return nil
	}
	return watch(ctx, g.run, g.tier, g.probe, g.address)
}

func (g *group) keptBroken(err error) error {
	if g.run.Stack.Settings.Deploy.AutoRollback {
		return err
	}
	return fmt.Errorf("%w; %w; %w\nhint: goldsmith rollback brings back what served", err, tier.ErrKept,
		tier.ErrNeedsPerson)
}

// Commit implements tier.Committer: it notes on the group that the new version serves, if there is one.
func (g *group) Commit(ctx context.Context) error {
	if g.version == "" {
		return nil
	}
	return g.setServing(ctx, g.version)
}

// Uncommit implements tier.Committer.
func (g *group) Uncommit(ctx context.Context) error {
	if g.version == "" {
		return nil
	}
	return g.setServing(ctx, g.found.serving)
}

func (g *group) setServing(ctx context.Context, version string) error {
	tags := []astypes.Tag{g.tag(versionTag, version)}
	if boot := g.certificates.shortestBoot(); boot > 0 {
		tags = append(tags, g.tag(bootTag, strconv.Itoa(int(seconds(boot)))))
	}
	if _, err := g.scaling.CreateOrUpdateTags(ctx, &autoscaling.CreateOrUpdateTagsInput{Tags: tags}); err != nil {
		return fmt.Errorf("tag group %s with the version that serves: %w", g.name(), err)
	}
	g.known = &version
	return nil
}

// Converge implements tier.Tier: the group is brought to the version that serves; one that never served goes, with all
// that belongs to it.
func (g *group) Converge(ctx context.Context, act *plan.Actor, all []stack.Instance, _ bool) error {
	if err := g.convergeGroup(ctx, act); err != nil {
		return err
	}
	keeper := stack.ServingOf(all, g.tier.Name)
	return g.run.End(ctx, act, stack.Others(all, g.tier.Name, keeper))
}

func (g *group) convergeGroup(ctx context.Context, act *plan.Actor) error {
	found, err := g.findSettled(ctx)
	if err != nil {
		return err
	}
	if found == nil && g.known != nil && *g.known != "" {
		return nil // EC2 does not show it yet
	}
	if found == nil || found.serving == "" {
		return g.removeAll(ctx, act, "it never served")
	}
	change := plan.Change{Action: plan.Modify, What: g.tier.Name + " group", ID: found.name}
	if found.held {
		change.Reason = "EC2 does not replace its sick instances"
		err = act.Do(change, func() (string, error) { return found.name, g.resumeReplacing(ctx, found) })
		if err != nil {
			return err
		}
	}
	if err = g.refreshes.takeBack(ctx, act, found); err != nil {
		return err
	}
	if !act.Dry() {
		if found, err = g.find(ctx); err != nil || found == nil {
			return err
		}
	}
	other := slices.IndexFunc(found.members, func(m member) bool { return m.version != found.serving })
	if found.version == found.serving && other < 0 {
		return nil
	}
	change.Reason = "it is not of the version of its launch template that serves"
	return act.Do(change, func() (string, error) {
		g.run.Stack.Logf("group %s goes back to version %s of its launch template", found.name, found.serving)
		return found.name, g.refreshes.goBack(ctx, found)
	})
}

// Remove implements tier.Tier.
func (g *group) Remove(ctx context.Context, all []stack.Instance) error {
	return newSingle(g.run, g.tier).Remove(ctx, all)
}

// lastActivity describes the group's last failed scaling activity, as a line for an error; empty if there is none.
func (g *group) lastActivity(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	input := &autoscaling.DescribeScalingActivitiesInput{
		AutoScalingGroupName: aws.String(g.name()),
		MaxRecords:           aws.Int32(10),
	}
	out, err := g.scaling.DescribeScalingActivities(ctx, input)
	if err != nil {
		return ""
	}
	for _, a := range out.Activities {
		if a.StatusCode == astypes.ScalingActivityStatusCodeFailed {
			said := aws.ToString(a.StatusMessage)
			return fmt.Sprintf("\nits last failure: %s: %s%s", aws.ToString(a.Description), said, keyHint(said))
		}
	}
	return ""
}

// keyHint is the hint for the most frequent cause of a group's instances not starting although single ones do: the KMS
// key of their image. "Required AWS KMS key policy for use with encrypted volumes",
// https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html
func keyHint(said string) string {
	if !strings.Contains(said, "Client.InternalError") {
		return ""
	}
	return "\nhint: if the image is encrypted with a KMS key of your own, the key's policy has to let the role " +
		"AWSServiceRoleForAutoScaling use it, and make grants"
}
