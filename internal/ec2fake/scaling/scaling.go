// Package scaling is Auto Scaling of the fake account, in one region: groups, which fill themselves when they are
// looked at, and instance refreshes.
package scaling

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
)

// Fleet launches and ends the instances of groups.
type Fleet interface {
	// Launch launches an instance for a group, and returns its id and its launch template with the version.
	Launch(from types.LaunchTemplateSpecification, subnet, group string) (
		id string, launched types.LaunchTemplateSpecification, err error,
	)
	Terminate(id string) error
	Terminated(id string) bool
	Healthy(id string) bool
}

// State are Auto Scaling groups, by name, and their refreshes.
type State struct {
	store     *resource.Store
	fleet     Fleet
	groups    map[string]*types.AutoScalingGroup
	refreshes map[string][]*refresh // the youngest first
	late      map[string][]lateTag  // by group: those that callers may not see yet
}

// lateTag is a tag with the time when it was set.
type lateTag struct {
	types.TagDescription
	set time.Time
}

// refresh is an instance refresh with the group's template of before.
type refresh struct {
	types.InstanceRefresh
	from string // the version of the launch template
	ends time.Time
}

// New is a region without groups.
func New(store *resource.Store, fleet Fleet) *State {
	return &State{
		store:     store,
		fleet:     fleet,
		groups:    map[string]*types.AutoScalingGroup{},
		refreshes: map[string][]*refresh{},
		late:      map[string][]lateTag{},
	}
}

// Things are the names of the groups.
func (s *State) Things() []string {
	var all []string
	for name := range s.groups {
		all = append(all, "autoScalingGroup/"+name)
	}
	return all
}

// Operations are those of Auto Scaling.
var Operations = resource.Join(
	resource.Op(createAutoScalingGroup), resource.Op(describeAutoScalingGroups),
	resource.Op(updateAutoScalingGroup), resource.Op(deleteAutoScalingGroup), resource.Op(createOrUpdateTags),
	resource.Op(suspendProcesses), resource.Op(resumeProcesses), resource.Op(describeScalingActivities),
	resource.Op(startInstanceRefresh), resource.Op(describeInstanceRefreshes), resource.Op(rollbackInstanceRefresh),
	resource.Op(cancelInstanceRefresh),
)

func (s *State) scalingGroup(name *string) (*types.AutoScalingGroup, error) {
	if group := s.groups[aws.ToString(name)]; group != nil {
		return group, nil
	}
	return nil, resource.Err(apierror.GroupNotFound, aws.ToString(name))
}

func createAutoScalingGroup(
	s *State, in *autoscaling.CreateAutoScalingGroupInput,
) (*autoscaling.CreateAutoScalingGroupOutput, error) {
	name := aws.ToString(in.AutoScalingGroupName)
	if s.groups[name] != nil {
		return nil, &types.AlreadyExistsFault{Message: aws.String(apierror.GroupAlreadyExists.Text(name))}
	}
	group := &types.AutoScalingGroup{
		AutoScalingGroupName:   in.AutoScalingGroupName,
		MinSize:                in.MinSize,
		MaxSize:                in.MaxSize,
		DesiredCapacity:        in.DesiredCapacity,
		LaunchTemplate:         in.LaunchTemplate,
		VPCZoneIdentifier:      in.VPCZoneIdentifier,
		TargetGroupARNs:        in.TargetGroupARNs,
		HealthCheckType:        in.HealthCheckType,
		HealthCheckGracePeriod: in.HealthCheckGracePeriod,
		CreatedTime:            aws.Time(time.Now()),
	}
	if group.DesiredCapacity == nil {
		group.DesiredCapacity = in.MinSize
	}
	for _, tag := range in.Tags {
		group.Tags = append(group.Tags, describedTag(tag))
	}
	if err := s.fill(group); err != nil {
		return nil, err
	}
	s.groups[name] = group
	return nil, nil
}

func describedTag(tag types.Tag) types.TagDescription {
	return types.TagDescription{
		Key:               tag.Key,
		Value:             tag.Value,
		ResourceId:        tag.ResourceId,
		ResourceType:      tag.ResourceType,
		PropagateAtLaunch: tag.PropagateAtLaunch,
	}
}

// fill has a group have as many instances as it should.
func (s *State) fill(group *types.AutoScalingGroup) error {
	group.Instances = slices.DeleteFunc(group.Instances, func(i types.Instance) bool {
		return s.fleet.Terminated(*i.InstanceId)
	})
	wanted := int(aws.ToInt32(group.DesiredCapacity))
	for len(group.Instances) > wanted {
		last := group.Instances[len(group.Instances)-1]
		group.Instances = group.Instances[:len(group.Instances)-1]
		if err := s.fleet.Terminate(*last.InstanceId); err != nil {
			return err
		}
	}
	for len(group.Instances) < wanted {
		if err := s.addMember(group, aws.ToString(group.LaunchTemplate.Version)); err != nil {
			return err
		}
	}
	return nil
}

// addMember launches an instance of a version of the group's launch template.
func (s *State) addMember(group *types.AutoScalingGroup, version string) error {
	subnets := strings.Split(aws.ToString(group.VPCZoneIdentifier), ",")
	template := *group.LaunchTemplate
	template.Version = aws.String(version)
	id, launched, err := s.fleet.Launch(template, subnets[len(group.Instances)%len(subnets)],
		*group.AutoScalingGroupName)
	if err != nil {
		return err
	}
	group.Instances = append(group.Instances, types.Instance{
		InstanceId:     aws.String(id),
		LifecycleState: types.LifecycleStateInService,
		HealthStatus:   aws.String("Healthy"),
		LaunchTemplate: &launched,
	})
	return nil
}

func describeAutoScalingGroups(
	s *State, in *autoscaling.DescribeAutoScalingGroupsInput,
) (*autoscaling.DescribeAutoScalingGroupsOutput, error) {
	out := &autoscaling.DescribeAutoScalingGroupsOutput{}
	for name, group := range s.groups {
		if len(in.AutoScalingGroupNames) > 0 && !slices.Contains(in.AutoScalingGroupNames, name) {
			continue
		}
		if err := s.refreshOn(name); err != nil {
			return nil, err
		}
		if err := s.fill(group); err != nil {
			return nil, err
		}
		copied := *group
		copied.Instances, copied.Tags = slices.Clone(group.Instances), s.tagsOf(group, s.store.Behaviour.Visible)
		out.AutoScalingGroups = append(out.AutoScalingGroups, copied)
	}
	slices.SortFunc(out.AutoScalingGroups, func(x, y types.AutoScalingGroup) int {
		return strings.Compare(*x.AutoScalingGroupName, *y.AutoScalingGroupName)
	})
	return out, nil
}

func updateAutoScalingGroup(
	s *State, in *autoscaling.UpdateAutoScalingGroupInput,
) (*autoscaling.UpdateAutoScalingGroupOutput, error) {
	group, err := s.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	if in.MinSize != nil {
		group.MinSize = in.MinSize
	}
	if in.MaxSize != nil {
		group.MaxSize = in.MaxSize
	}
	if in.DesiredCapacity != nil {
		group.DesiredCapacity = in.DesiredCapacity
	}
	if in.LaunchTemplate != nil {
		group.LaunchTemplate = in.LaunchTemplate
	}
	return nil, s.fill(group)
}

func deleteAutoScalingGroup(
	s *State, in *autoscaling.DeleteAutoScalingGroupInput,
) (*autoscaling.DeleteAutoScalingGroupOutput, error) {
	group, err := s.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	if len(group.Instances) > 0 && !aws.ToBool(in.ForceDelete) {
		return nil, &types.ResourceInUseFault{Message: aws.String(apierror.GroupInUse.Text())}
	}
	for _, member := range group.Instances {
		if err := s.fleet.Terminate(*member.InstanceId); err != nil {
			return nil, err
		}
	}
	delete(s.groups, *in.AutoScalingGroupName)
	delete(s.refreshes, *in.AutoScalingGroupName)
	delete(s.late, *in.AutoScalingGroupName)
	return nil, nil
}

func createOrUpdateTags(
	s *State, in *autoscaling.CreateOrUpdateTagsInput,
) (*autoscaling.CreateOrUpdateTagsOutput, error) {
	for _, tag := range in.Tags {
		group, err := s.scalingGroup(tag.ResourceId)
		if err != nil {
			return nil, err
		}
		name := *group.AutoScalingGroupName
		s.late[name] = append(s.late[name], lateTag{describedTag(tag), time.Now()})
	}
	return nil, nil
}

// tagsOf are a group's tags, of which those that were set later count once they are visible.
func (s *State) tagsOf(group *types.AutoScalingGroup, visible func(set time.Time) bool) []types.TagDescription {
	all := slices.Clone(group.Tags)
	for _, late := range s.late[*group.AutoScalingGroupName] {
		if visible(late.set) {
			all = slices.DeleteFunc(all, func(old types.TagDescription) bool { return *old.Key == *late.Key })
			all = append(all, late.TagDescription)
		}
	}
	return all
}

func suspendProcesses(
	s *State, in *autoscaling.SuspendProcessesInput,
) (*autoscaling.SuspendProcessesOutput, error) {
	group, err := s.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	for _, name := range in.ScalingProcesses {
		group.SuspendedProcesses = append(group.SuspendedProcesses,
			types.SuspendedProcess{ProcessName: aws.String(name)})
	}
	return nil, nil
}

func resumeProcesses(
	s *State, in *autoscaling.ResumeProcessesInput,
) (*autoscaling.ResumeProcessesOutput, error) {
	group, err := s.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	group.SuspendedProcesses = slices.DeleteFunc(slices.Clone(group.SuspendedProcesses),
		func(p types.SuspendedProcess) bool {
			return len(in.ScalingProcesses) == 0 || slices.Contains(in.ScalingProcesses, *p.ProcessName)
		})
	return nil, nil
}

func describeScalingActivities(
	*State, *autoscaling.DescribeScalingActivitiesInput,
) (*autoscaling.DescribeScalingActivitiesOutput, error) {
	return nil, nil
}

func startInstanceRefresh(
	s *State, in *autoscaling.StartInstanceRefreshInput,
) (*autoscaling.StartInstanceRefreshOutput, error) {
	group, err := s.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	name := *in.AutoScalingGroupName
	if err := s.refreshOn(name); err != nil {
		return nil, err
	}
	if s.activeRefresh(name) != nil {
		return nil, &types.InstanceRefreshInProgressFault{
			Message: aws.String(apierror.InstanceRefreshInProgress.Text()),
		}
	}
	started := &refresh{from: aws.ToString(group.LaunchTemplate.Version), ends: time.Now().Add(s.store.Behaviour.Pace)}
	started.InstanceRefreshId = aws.String(s.store.Numbers.ID("refresh"))
	started.AutoScalingGroupName, started.Status = in.AutoScalingGroupName, types.InstanceRefreshStatusInProgress
	started.DesiredConfiguration, started.Preferences = in.DesiredConfiguration, in.Preferences
	started.StartTime = aws.Time(time.Now())
	s.refreshes[name] = append([]*refresh{started}, s.refreshes[name]...)
	return &autoscaling.StartInstanceRefreshOutput{InstanceRefreshId: started.InstanceRefreshId}, nil
}

func (s *State) activeRefresh(group string) *refresh {
	all := s.refreshes[group]
	if len(all) == 0 || all[0].EndTime != nil {
		return nil
	}
	return all[0]
}

// refreshOn has a refresh end whose time has come: well if the new instances are healthy.
func (s *State) refreshOn(name string) error {
	active := s.activeRefresh(name)
	if active == nil || time.Now().Before(active.ends) {
		return nil
	}
	active.EndTime, active.PercentageComplete = aws.Time(time.Now()), aws.Int32(100)
	group := s.groups[name]
	to := group.LaunchTemplate
	if active.DesiredConfiguration != nil {
		to = active.DesiredConfiguration.LaunchTemplate
	}
	if active.Status == types.InstanceRefreshStatusRollbackInProgress {
		active.Status = types.InstanceRefreshStatusRollbackSuccessful
		return s.replaceMembers(group, active.from)
	}
	if active.Status == types.InstanceRefreshStatusCancelling {
		active.Status = types.InstanceRefreshStatusCancelled
		return nil
	}
	old := group.LaunchTemplate
	group.LaunchTemplate = to
	if err := s.replaceMembers(group, aws.ToString(to.Version)); err != nil {
		return err
	}
	active.Status = types.InstanceRefreshStatusSuccessful
	if !slices.ContainsFunc(group.Instances, func(i types.Instance) bool { return !s.fleet.Healthy(*i.InstanceId) }) {
		return nil
	}
	active.Status, active.StatusReason = types.InstanceRefreshStatusFailed, aws.String("instances are not healthy")
	if active.Preferences != nil && aws.ToBool(active.Preferences.AutoRollback) {
		active.Status, group.LaunchTemplate = types.InstanceRefreshStatusRollbackSuccessful, old
		return s.replaceMembers(group, active.from)
	}
	return nil
}

// replaceMembers has all instances of a group be of a version.
func (s *State) replaceMembers(group *types.AutoScalingGroup, version string) error {
	for _, member := range slices.Clone(group.Instances) {
		if aws.ToString(member.LaunchTemplate.Version) == version {
			continue
		}
		if err := s.fleet.Terminate(*member.InstanceId); err != nil {
			return err
		}
		group.Instances = slices.DeleteFunc(group.Instances, func(i types.Instance) bool {
			return *i.InstanceId == *member.InstanceId
		})
		if err := s.addMember(group, version); err != nil {
			return err
		}
	}
	return nil
}

func describeInstanceRefreshes(
	s *State, in *autoscaling.DescribeInstanceRefreshesInput,
) (*autoscaling.DescribeInstanceRefreshesOutput, error) {
	if _, err := s.scalingGroup(in.AutoScalingGroupName); err != nil {
		return nil, err
	}
	if err := s.refreshOn(*in.AutoScalingGroupName); err != nil {
		return nil, err
	}
	out := &autoscaling.DescribeInstanceRefreshesOutput{}
	for _, found := range s.refreshes[*in.AutoScalingGroupName] {
		if len(in.InstanceRefreshIds) == 0 || slices.Contains(in.InstanceRefreshIds, *found.InstanceRefreshId) {
			out.InstanceRefreshes = append(out.InstanceRefreshes, found.InstanceRefresh)
		}
	}
	return out, nil
}

func (s *State) turnBack(name *string, status types.InstanceRefreshStatus) (*string, error) {
	if err := s.refreshOn(aws.ToString(name)); err != nil {
		return nil, err
	}
	active := s.activeRefresh(aws.ToString(name))
	if active == nil {
		return nil, &types.ActiveInstanceRefreshNotFoundFault{
			Message: aws.String(apierror.ActiveInstanceRefreshAbsent.Text(aws.ToString(name))),
		}
	}
	active.Status, active.ends = status, time.Now().Add(s.store.Behaviour.Pace)
	return active.InstanceRefreshId, nil
}

func rollbackInstanceRefresh(
	s *State, in *autoscaling.RollbackInstanceRefreshInput,
) (*autoscaling.RollbackInstanceRefreshOutput, error) {
	id, err := s.turnBack(in.AutoScalingGroupName, types.InstanceRefreshStatusRollbackInProgress)
	return &autoscaling.RollbackInstanceRefreshOutput{InstanceRefreshId: id}, err
}

func cancelInstanceRefresh(
	s *State, in *autoscaling.CancelInstanceRefreshInput,
) (*autoscaling.CancelInstanceRefreshOutput, error) {
	id, err := s.turnBack(in.AutoScalingGroupName, types.InstanceRefreshStatusCancelling)
	return &autoscaling.CancelInstanceRefreshOutput{InstanceRefreshId: id}, err
}

// Members are the instances of the groups that have a target group.
func (s *State) Members(targetGroup string) []string {
	var ids []string
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		if !slices.Contains(s.groups[name].TargetGroupARNs, targetGroup) {
			continue
		}
		for _, member := range s.groups[name].Instances {
			ids = append(ids, *member.InstanceId)
		}
	}
	return ids
}

// Group is a copy of a group, or nil.
func (s *State) Group(name string) *types.AutoScalingGroup {
	group := s.groups[name]
	if group == nil {
		return nil
	}
	copied := *group
	copied.Instances = slices.Clone(group.Instances)
	copied.Tags = s.tagsOf(group, func(time.Time) bool { return true })
	return &copied
}
