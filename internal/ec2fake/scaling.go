package ec2fake

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// scaling are Auto Scaling groups, by name, and their refreshes.
type scaling struct {
	groups    map[string]*types.AutoScalingGroup
	refreshes map[string][]*refresh // the youngest first
}

// refresh is an instance refresh with what it came from.
type refresh struct {
	types.InstanceRefresh
	from string // the version of the launch template
	ends time.Time
}

func newScaling() scaling {
	return scaling{groups: map[string]*types.AutoScalingGroup{}, refreshes: map[string][]*refresh{}}
}

func (s *scaling) things() []string {
	var all []string
	for name := range s.groups {
		all = append(all, "autoScalingGroup/"+name)
	}
	return all
}

var scalingOperations = ops(
	op(createAutoScalingGroup), op(describeAutoScalingGroups), op(updateAutoScalingGroup), op(deleteAutoScalingGroup),
	op(createOrUpdateTags), op(suspendProcesses), op(resumeProcesses), op(describeScalingActivities),
)

func (r *Region) scalingGroup(name *string) (*types.AutoScalingGroup, error) {
	if group := r.scaling.groups[aws.ToString(name)]; group != nil {
		return group, nil
	}
	return nil, Err("ValidationError", "AutoScalingGroup name not found - "+aws.ToString(name))
}

func createAutoScalingGroup(
	r *Region, in *autoscaling.CreateAutoScalingGroupInput,
) (*autoscaling.CreateAutoScalingGroupOutput, error) {
	name := aws.ToString(in.AutoScalingGroupName)
	if r.scaling.groups[name] != nil {
		return nil, &types.AlreadyExistsFault{Message: aws.String("AutoScalingGroup by this name already exists")}
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
	if err := r.fill(group); err != nil {
		return nil, err
	}
	r.scaling.groups[name] = group
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
func (r *Region) fill(group *types.AutoScalingGroup) error {
	r.settle()
	group.Instances = slices.DeleteFunc(group.Instances, func(i types.Instance) bool {
		member := r.compute.instances.get(*i.InstanceId)
		return member.State.Name == ec2types.InstanceStateNameTerminated
	})
	wanted := int(aws.ToInt32(group.DesiredCapacity))
	for len(group.Instances) > wanted {
		last := group.Instances[len(group.Instances)-1]
		group.Instances = group.Instances[:len(group.Instances)-1]
		if err := r.terminate(*last.InstanceId); err != nil {
			return err
		}
	}
	for len(group.Instances) < wanted {
		if err := r.addMember(group, aws.ToString(group.LaunchTemplate.Version)); err != nil {
			return err
		}
	}
	return nil
}

func (r *Region) terminate(id string) error {
	_, err := terminateInstances(r, &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	return err
}

// addMember launches an instance of a version of the group's launch template.
func (r *Region) addMember(group *types.AutoScalingGroup, version string) error {
	template, err := r.template(group.LaunchTemplate.LaunchTemplateId, group.LaunchTemplate.LaunchTemplateName)
	if err != nil {
		return err
	}
	found, err := r.templateVersion(template, version)
	if err != nil {
		return err
	}
	subnets := strings.Split(aws.ToString(group.VPCZoneIdentifier), ",")
	input := launchOf(found.LaunchTemplateData, subnets[len(group.Instances)%len(subnets)])
	out, err := runInstances(r, input)
	if err != nil {
		return err
	}
	id := *out.Instances[0].InstanceId
	r.setTags(id, time.Time{}, []ec2types.Tag{{
		Key:   aws.String("aws:autoscaling:groupName"),
		Value: group.AutoScalingGroupName,
	}})
	group.Instances = append(group.Instances, types.Instance{
		InstanceId:     aws.String(id),
		LifecycleState: types.LifecycleStateInService,
		HealthStatus:   aws.String("Healthy"),
		LaunchTemplate: &types.LaunchTemplateSpecification{
			LaunchTemplateId: template.LaunchTemplateId,
			Version:          aws.String(fmt.Sprint(*found.VersionNumber)),
		},
	})
	return nil
}

// launchOf is the launch that a template's version asks for.
func launchOf(data *ec2types.ResponseLaunchTemplateData, subnet string) *ec2.RunInstancesInput {
	input := &ec2.RunInstancesInput{
		ImageId:      data.ImageId,
		InstanceType: data.InstanceType,
		KeyName:      data.KeyName,
		UserData:     data.UserData,
		SubnetId:     aws.String(subnet),
		MinCount:     aws.Int32(1),
		MaxCount:     aws.Int32(1),
	}
	if p := data.IamInstanceProfile; p != nil {
		input.IamInstanceProfile = &ec2types.IamInstanceProfileSpecification{Name: p.Name}
	}
	for _, spec := range data.TagSpecifications {
		input.TagSpecifications = append(input.TagSpecifications,
			ec2types.TagSpecification{ResourceType: spec.ResourceType, Tags: spec.Tags})
	}
	for _, eni := range data.NetworkInterfaces {
		input.NetworkInterfaces = append(input.NetworkInterfaces, ec2types.InstanceNetworkInterfaceSpecification{
			DeviceIndex:              eni.DeviceIndex,
			Groups:                   eni.Groups,
			SubnetId:                 aws.String(subnet),
			AssociatePublicIpAddress: eni.AssociatePublicIpAddress,
		})
	}
	return input
}

func describeAutoScalingGroups(
	r *Region, in *autoscaling.DescribeAutoScalingGroupsInput,
) (*autoscaling.DescribeAutoScalingGroupsOutput, error) {
	out := &autoscaling.DescribeAutoScalingGroupsOutput{}
	for name, group := range r.scaling.groups {
		if len(in.AutoScalingGroupNames) > 0 && !slices.Contains(in.AutoScalingGroupNames, name) {
			continue
		}
		if err := r.refreshOn(name); err != nil {
			return nil, err
		}
		if err := r.fill(group); err != nil {
			return nil, err
		}
		copied := *group
		copied.Instances, copied.Tags = slices.Clone(group.Instances), slices.Clone(group.Tags)
		out.AutoScalingGroups = append(out.AutoScalingGroups, copied)
	}
	slices.SortFunc(out.AutoScalingGroups, func(x, y types.AutoScalingGroup) int {
		return strings.Compare(*x.AutoScalingGroupName, *y.AutoScalingGroupName)
	})
	return out, nil
}

func updateAutoScalingGroup(
	r *Region, in *autoscaling.UpdateAutoScalingGroupInput,
) (*autoscaling.UpdateAutoScalingGroupOutput, error) {
	group, err := r.scalingGroup(in.AutoScalingGroupName)
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
	return nil, r.fill(group)
}

func deleteAutoScalingGroup(
	r *Region, in *autoscaling.DeleteAutoScalingGroupInput,
) (*autoscaling.DeleteAutoScalingGroupOutput, error) {
	group, err := r.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	if len(group.Instances) > 0 && !aws.ToBool(in.ForceDelete) {
		return nil, &types.ResourceInUseFault{Message: aws.String("The group has instances")}
	}
	for _, member := range group.Instances {
		if err := r.terminate(*member.InstanceId); err != nil {
			return nil, err
		}
	}
	delete(r.scaling.groups, *in.AutoScalingGroupName)
	delete(r.scaling.refreshes, *in.AutoScalingGroupName)
	return nil, nil
}

func createOrUpdateTags(
	r *Region, in *autoscaling.CreateOrUpdateTagsInput,
) (*autoscaling.CreateOrUpdateTagsOutput, error) {
	for _, tag := range in.Tags {
		group, err := r.scalingGroup(tag.ResourceId)
		if err != nil {
			return nil, err
		}
		group.Tags = append(slices.DeleteFunc(slices.Clone(group.Tags), func(old types.TagDescription) bool {
			return *old.Key == *tag.Key
		}), describedTag(tag))
	}
	return nil, nil
}

func suspendProcesses(
	r *Region, in *autoscaling.SuspendProcessesInput,
) (*autoscaling.SuspendProcessesOutput, error) {
	group, err := r.scalingGroup(in.AutoScalingGroupName)
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
	r *Region, in *autoscaling.ResumeProcessesInput,
) (*autoscaling.ResumeProcessesOutput, error) {
	group, err := r.scalingGroup(in.AutoScalingGroupName)
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
	*Region, *autoscaling.DescribeScalingActivitiesInput,
) (*autoscaling.DescribeScalingActivitiesOutput, error) {
	return nil, nil
}

var refreshOperations = ops(
	op(startInstanceRefresh), op(describeInstanceRefreshes), op(rollbackInstanceRefresh), op(cancelInstanceRefresh),
)

func startInstanceRefresh(
	r *Region, in *autoscaling.StartInstanceRefreshInput,
) (*autoscaling.StartInstanceRefreshOutput, error) {
	group, err := r.scalingGroup(in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	name := *in.AutoScalingGroupName
	if err := r.refreshOn(name); err != nil {
		return nil, err
	}
	if r.activeRefresh(name) != nil {
		return nil, &types.InstanceRefreshInProgressFault{Message: aws.String("A refresh is already in progress")}
	}
	started := &refresh{from: aws.ToString(group.LaunchTemplate.Version), ends: time.Now().Add(r.account.Pace)}
	started.InstanceRefreshId = aws.String(r.account.newID("refresh"))
	started.AutoScalingGroupName, started.Status = in.AutoScalingGroupName, types.InstanceRefreshStatusInProgress
	started.DesiredConfiguration, started.Preferences = in.DesiredConfiguration, in.Preferences
	started.StartTime = aws.Time(time.Now())
	r.scaling.refreshes[name] = append([]*refresh{started}, r.scaling.refreshes[name]...)
	return &autoscaling.StartInstanceRefreshOutput{InstanceRefreshId: started.InstanceRefreshId}, nil
}

func (r *Region) activeRefresh(group string) *refresh {
	all := r.scaling.refreshes[group]
	if len(all) == 0 || all[0].EndTime != nil {
		return nil
	}
	return all[0]
}

// refreshOn has a refresh end whose time has come: well if the new instances are healthy.
func (r *Region) refreshOn(name string) error {
	active := r.activeRefresh(name)
	if active == nil || time.Now().Before(active.ends) {
		return nil
	}
	active.EndTime, active.PercentageComplete = aws.Time(time.Now()), aws.Int32(100)
	group := r.scaling.groups[name]
	to := group.LaunchTemplate
	if active.DesiredConfiguration != nil {
		to = active.DesiredConfiguration.LaunchTemplate
	}
	if active.Status == types.InstanceRefreshStatusRollbackInProgress {
		active.Status = types.InstanceRefreshStatusRollbackSuccessful
		return r.replaceMembers(group, active.from)
	}
	if active.Status == types.InstanceRefreshStatusCancelling {
		active.Status = types.InstanceRefreshStatusCancelled
		return nil
	}
	old := group.LaunchTemplate
	group.LaunchTemplate = to
	if err := r.replaceMembers(group, aws.ToString(to.Version)); err != nil {
		return err
	}
	active.Status = types.InstanceRefreshStatusSuccessful
	if !slices.ContainsFunc(group.Instances, func(i types.Instance) bool { return !r.healthy(*i.InstanceId) }) {
		return nil
	}
	active.Status, active.StatusReason = types.InstanceRefreshStatusFailed, aws.String("instances are not healthy")
	if active.Preferences != nil && aws.ToBool(active.Preferences.AutoRollback) {
		active.Status, group.LaunchTemplate = types.InstanceRefreshStatusRollbackSuccessful, old
		return r.replaceMembers(group, active.from)
	}
	return nil
}

// replaceMembers has all instances of a group be of a version.
func (r *Region) replaceMembers(group *types.AutoScalingGroup, version string) error {
	for _, member := range slices.Clone(group.Instances) {
		if aws.ToString(member.LaunchTemplate.Version) == version {
			continue
		}
		if err := r.terminate(*member.InstanceId); err != nil {
			return err
		}
		group.Instances = slices.DeleteFunc(group.Instances, func(i types.Instance) bool {
			return *i.InstanceId == *member.InstanceId
		})
		if err := r.addMember(group, version); err != nil {
			return err
		}
	}
	return nil
}

func (r *Region) healthy(id string) bool {
	if r.account.Healthy == nil {
		return true
	}
	return r.account.Healthy(*tagged(r, &r.compute.instances, id))
}

func describeInstanceRefreshes(
	r *Region, in *autoscaling.DescribeInstanceRefreshesInput,
) (*autoscaling.DescribeInstanceRefreshesOutput, error) {
	if _, err := r.scalingGroup(in.AutoScalingGroupName); err != nil {
		return nil, err
	}
	if err := r.refreshOn(*in.AutoScalingGroupName); err != nil {
		return nil, err
	}
	out := &autoscaling.DescribeInstanceRefreshesOutput{}
	for _, found := range r.scaling.refreshes[*in.AutoScalingGroupName] {
		if len(in.InstanceRefreshIds) == 0 || slices.Contains(in.InstanceRefreshIds, *found.InstanceRefreshId) {
			out.InstanceRefreshes = append(out.InstanceRefreshes, found.InstanceRefresh)
		}
	}
	return out, nil
}

func (r *Region) turnBack(name *string, status types.InstanceRefreshStatus) (*string, error) {
	if err := r.refreshOn(aws.ToString(name)); err != nil {
		return nil, err
	}
	active := r.activeRefresh(aws.ToString(name))
	if active == nil {
		return nil, &types.ActiveInstanceRefreshNotFoundFault{Message: aws.String("No in progress Instance Refresh")}
	}
	active.Status, active.ends = status, time.Now().Add(r.account.Pace)
	return active.InstanceRefreshId, nil
}

func rollbackInstanceRefresh(
	r *Region, in *autoscaling.RollbackInstanceRefreshInput,
) (*autoscaling.RollbackInstanceRefreshOutput, error) {
	id, err := r.turnBack(in.AutoScalingGroupName, types.InstanceRefreshStatusRollbackInProgress)
	return &autoscaling.RollbackInstanceRefreshOutput{InstanceRefreshId: id}, err
}

func cancelInstanceRefresh(
	r *Region, in *autoscaling.CancelInstanceRefreshInput,
) (*autoscaling.CancelInstanceRefreshOutput, error) {
	id, err := r.turnBack(in.AutoScalingGroupName, types.InstanceRefreshStatusCancelling)
	return &autoscaling.CancelInstanceRefreshOutput{InstanceRefreshId: id}, err
}

// ScalingGroup is an Auto Scaling group, or nil.
func (r *Region) ScalingGroup(name string) *types.AutoScalingGroup {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	group := r.scaling.groups[name]
	if group == nil {
		return nil
	}
	copied := *group
	copied.Instances = slices.Clone(group.Instances)
	return &copied
}
