package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// Auto Scaling groups are records of the server behind, of size nought: their instances are launched and ended here, as
// those of RunInstances are. What a group should have is in the overlay, what it has are the instances that name it.

const groupSpace = "http://autoscaling.amazonaws.com/doc/2011-01-01/"

func (s *Server) createGroup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	name := c.Get("AutoScalingGroupName")
	if _, err := s.group(name); err == nil {
		return nil, awsquery.Fault("AlreadyExists", "AutoScalingGroup by this name already exists - A group with the name %s already exists", name)
	}
	if c.Get("LaunchTemplate.LaunchTemplateId") == "" && c.Get("LaunchTemplate.LaunchTemplateName") == "" {
		return nil, awsquery.Fault("UnsupportedOperation", "groups of the local cloud have a launch template")
	}
	group := &groupRecord{Subnets: strings.Split(c.Get("VPCZoneIdentifier"), ","), TargetGroups: c.List("TargetGroupARNs.member")}
	if err := s.readGroup(ctx, c, group); err != nil {
		return nil, err
	}
	// The server behind is told of a group of none, so that it makes no instances of its own.
	other := c.Clone()
	other.Drop("MinSize", "MaxSize", "DesiredCapacity")
	for _, size := range []string{"MinSize", "MaxSize", "DesiredCapacity"} {
		other.Set(size, "0")
	}
	answered, err := s.forward(ctx, other)
	if err != nil {
		return nil, err
	}
	if err := s.update(func(o *overlay) { o.Groups[name] = group }); err != nil {
		return nil, err
	}
	s.reconcileGroup(name)
	return answered, nil
}

// readGroup reads what a call says of a group's size and template.
func (s *Server) readGroup(ctx context.Context, c *awsquery.Call, group *groupRecord) error {
	for parameter, into := range map[string]*int{"MinSize": &group.Min, "MaxSize": &group.Max, "HealthCheckGracePeriod": &group.Grace} {
		if given := c.Get(parameter); given != "" {
			number, err := strconv.Atoi(given)
			if err != nil || number < 0 {
				return awsquery.Fault("ValidationError", "%s %s should be a number of 0 or more", parameter, given)
			}
			*into = number
		}
	}
	group.Desired = max(group.Desired, group.Min)
	if given := c.Get("DesiredCapacity"); given != "" {
		var err error
		if group.Desired, err = strconv.Atoi(given); err != nil {
			return awsquery.Fault("ValidationError", "DesiredCapacity %s should be a number", given)
		}
	}
	if group.Desired < group.Min || group.Desired > group.Max {
		return awsquery.Fault("ValidationError", "Desired capacity:%d must be between the specified min size:%d and max size:%d", group.Desired, group.Min, group.Max)
	}
	if group.Desired > launchLimit {
		return awsquery.Fault("ValidationError", "a group of the local cloud has %d instances at most", launchLimit)
	}
	if c.Get("LaunchTemplate.LaunchTemplateId") == "" && c.Get("LaunchTemplate.LaunchTemplateName") == "" {
		return nil
	}
	var err error
	group.Template, err = s.findTemplate(ctx, c, "LaunchTemplate.")
	return err
}

func (s *Server) updateGroup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	name := c.Get("AutoScalingGroupName")
	group, err := s.group(name)
	if err != nil {
		return nil, err
	}
	if active(group.Refreshes) != nil && c.Get("LaunchTemplate.Version") != "" {
		return nil, awsquery.Fault("ValidationError", "An active instance refresh with a desired configuration exists. All configuration options derived from the desired configuration are not available for update while the instance refresh is active.")
	}
	if err := s.readGroup(ctx, c, &group); err != nil {
		return nil, err
	}
	if zones := c.Get("VPCZoneIdentifier"); zones != "" {
		group.Subnets = strings.Split(zones, ",")
	}
	answered := awsquery.QueryReply(groupSpace, c)
	if c.Action() == "UpdateAutoScalingGroup" {
		other := c.Clone()
		other.Drop("MinSize", "MaxSize", "DesiredCapacity")
		if answered, err = s.forward(ctx, other); err != nil {
			return nil, err
		}
	}
	err = s.update(func(o *overlay) {
		record := o.Groups[name]
		record.Min, record.Max, record.Desired, record.Grace, record.Template, record.Subnets = group.Min, group.Max, group.Desired, group.Grace, group.Template, group.Subnets
	})
	if err != nil {
		return nil, err
	}
	s.reconcileGroup(name)
	return answered, nil
}

func (s *Server) deleteGroup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	name := c.Get("AutoScalingGroupName")
	if _, err := s.group(name); err != nil {
		return nil, err
	}
	members := s.members(name)
	if len(members) > 0 && c.Get("ForceDelete") != "true" {
		return nil, awsquery.Fault("ResourceInUse", "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.")
	}
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := s.update(func(o *overlay) { delete(o.Groups, name) }); err != nil {
		return nil, err
	}
	return answered, s.endMembers(ctx, members)
}

// endMembers ends instances as a call of TerminateInstances does. The caller holds s.change.
func (s *Server) endMembers(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := s.terminateInstances(ctx, awsquery.NewCall("ec2", "TerminateInstances").With("InstanceId", ids...))
	return err
}

// describeGroups writes into the records of the server behind what its groups really have.
func (s *Server) describeGroups(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	described, err := s.ask(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, item := range described.Items("DescribeAutoScalingGroupsResult", "AutoScalingGroups") {
		name := item.Get("AutoScalingGroupName")
		group, err := s.group(name)
		if err != nil {
			continue
		}
		item.Set(strconv.Itoa(group.Min), "MinSize")
		item.Set(strconv.Itoa(group.Max), "MaxSize")
		item.Set(strconv.Itoa(group.Desired), "DesiredCapacity")
		item.Set(group.Template.ID, "LaunchTemplate", "LaunchTemplateId")
		item.Set(group.Template.Name, "LaunchTemplate", "LaunchTemplateName")
		item.Set(group.Template.Version, "LaunchTemplate", "Version")
		item.Remove("Instances")
		item.Children = append(item.Children, awsquery.Element("Instances", s.describedMembers(ctx, name)...))
	}
	return described, nil
}

func (s *Server) describeMembers(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	wanted := c.List("InstanceIds.member")
	var all []*awsquery.Node
	for _, name := range s.groupNames() {
		for _, member := range s.describedMembers(ctx, name) {
			if len(wanted) == 0 || slices.Contains(wanted, member.Get("InstanceId")) {
				member.Set(name, "AutoScalingGroupName")
				all = append(all, member)
			}
		}
	}
	return awsquery.QueryReply(groupSpace, c, awsquery.Element("AutoScalingInstances", all...)), nil
}

// describedMembers are a group's instances as Auto Scaling describes them.
func (s *Server) describedMembers(ctx context.Context, name string) []*awsquery.Node {
	var all []*awsquery.Node
	for _, id := range s.members(name) {
		record, _ := s.instance(id)
		item, err := s.rawInstance(ctx, id)
		if err != nil {
			continue
		}
		state := "Pending"
		if record.State == "running" {
			state = "InService"
		}
		if s.isDraining(id) {
			state = "Terminating:Wait"
		}
		all = append(all, awsquery.Element("member", awsquery.Text("InstanceId", id), awsquery.Text("InstanceType", item.Get("instanceType")), awsquery.Text("AvailabilityZone", item.Get("placement", "availabilityZone")),
			awsquery.Text("LifecycleState", state), awsquery.Text("HealthStatus", "Healthy"), awsquery.Text("ProtectedFromScaleIn", "false"),
			awsquery.Element("LaunchTemplate", awsquery.Text("LaunchTemplateId", record.Template.ID), awsquery.Text("LaunchTemplateName", record.Template.Name), awsquery.Text("Version", record.Template.Version))))
	}
	return all
}

func (s *Server) terminateMember(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("InstanceId")
	record, ok := s.instance(id)
	if !ok || record.Group == "" {
		return nil, awsquery.Fault("ValidationError", "Instance Id not found - No managed instance found for instance ID %s", id)
	}
	if c.Get("ShouldDecrementDesiredCapacity") == "true" {
		if err := s.changeGroup(record.Group, func(group *groupRecord) { group.Desired-- }); err != nil {
			return nil, err
		}
	}
	return awsquery.QueryReply(groupSpace, c), s.endMembers(ctx, []string{id})
}

// reconcileGroup has a group get what it should have, after the answer.
func (s *Server) reconcileGroup(name string) {
	s.queue.Enqueue("group "+name, s.reconcileWork(name))
}

func (s *Server) reconcileWork(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		if s.queue.Stopping() {
			return nil // the cloud goes down, and its machines with it
		}
		s.change.Lock()
		defer s.change.Unlock()
		return s.balance(ctx, name)
	}
}

// balance launches what a group lacks, and ends what it has too many of and what is stopped. During a refresh nothing is
// too many. The caller holds s.change.
func (s *Server) balance(ctx context.Context, name string) error {
	group, err := s.group(name)
	if err != nil {
		return nil // it was deleted meanwhile
	}
	var alive, ended []string
	for _, id := range s.members(name) {
		if record, _ := s.instance(id); record.State == "stopped" || record.State == "stopping" {
			ended = append(ended, id)
		} else if !s.isDraining(id) {
			alive = append(alive, id)
		}
	}
	if more := len(alive) - group.Desired; more > 0 && active(group.Refreshes) == nil {
		ended = append(ended, alive[:more]...)
	}
	errs := []error{s.endMembers(ctx, ended)}
	if lacking := group.Desired - len(alive); lacking > 0 {
		_, err := s.launchMembers(ctx, name, group, group.Template, lacking)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// launchMembers launches instances of a version of the group's template, in the subnets in turn. The caller holds s.change.
func (s *Server) launchMembers(ctx context.Context, name string, group groupRecord, template templateRef, count int) ([]string, error) {
	tags, err := s.groupTags(ctx, name)
	if err != nil {
		return nil, err
	}
	var launched []string
	before := len(s.members(name))
	for i := range count {
		c := awsquery.NewCall("ec2", "RunInstances", "MinCount", "1", "MaxCount", "1")
		for parameter, value := range s.templateValues(template) {
			c.Form[parameter] = value
		}
		if c.Get("NetworkInterface.1.DeviceIndex") != "" {
			c.Set("NetworkInterface.1.SubnetId", group.Subnets[(before+i)%len(group.Subnets)])
		} else {
			c.Set("SubnetId", group.Subnets[(before+i)%len(group.Subnets)])
		}
		tagInstances(c, append(tags, "aws:autoscaling:groupName", name, "aws:ec2launchtemplate:id", template.ID, "aws:ec2launchtemplate:version", template.Version))
		answered, err := s.runInstances(ctx, c)
		if err != nil {
			return launched, fmt.Errorf("launch an instance of group %s: %w", name, err)
		}
		for _, item := range answered.Items("instancesSet") {
			id := item.Get("instanceId")
			launched = append(launched, id)
			err := s.changeInstance(id, func(record *instanceRecord) { record.Group, record.Template = name, template })
			if err != nil {
				return launched, err
			}
		}
	}
	return launched, nil
}

// groupTags are the group's tags that its instances get, keys and values in turn.
func (s *Server) groupTags(ctx context.Context, name string) ([]string, error) {
	described, err := s.ask(ctx, awsquery.NewCall("autoscaling", "DescribeAutoScalingGroups", "AutoScalingGroupNames.member.1", name))
	if err != nil {
		return nil, err
	}
	var tags []string
	for _, group := range described.Items("DescribeAutoScalingGroupsResult", "AutoScalingGroups") {
		for _, tag := range group.Items("Tags") {
			if strings.EqualFold(tag.Get("PropagateAtLaunch"), "true") {
				tags = append(tags, tag.Get("Key"), tag.Get("Value"))
			}
		}
	}
	return tags, nil
}

// tagInstances adds tags, keys and values in turn, to those that a launch gives its instances.
func tagInstances(c *awsquery.Call, tags []string) {
	spec := 1
	for c.Get(fmt.Sprintf("TagSpecification.%d.ResourceType", spec)) != "" && c.Get(fmt.Sprintf("TagSpecification.%d.ResourceType", spec)) != "instance" {
		spec++
	}
	c.Set(fmt.Sprintf("TagSpecification.%d.ResourceType", spec), "instance")
	next := 1
	for c.Get(fmt.Sprintf("TagSpecification.%d.Tag.%d.Key", spec, next)) != "" {
		next++
	}
	for i := 0; i+1 < len(tags); i += 2 {
		c.Set(fmt.Sprintf("TagSpecification.%d.Tag.%d.Key", spec, next), tags[i])
		c.Set(fmt.Sprintf("TagSpecification.%d.Tag.%d.Value", spec, next), tags[i+1])
		next++
	}
}

// relaunchDelay is how long a group waits before it replaces an instance that ended soon after its launch: one that can
// never run would be launched again and again.
const relaunchDelay = 5 * time.Second

// instanceGone has the group of an instance that ended replace it.
func (s *Server) instanceGone(record instanceRecord) {
	switch {
	case record.Group == "":
	case time.Since(record.Launched) < 2*relaunchDelay:
		s.queue.EnqueueAfter(relaunchDelay, "group "+record.Group, s.reconcileWork(record.Group))
	default:
		s.reconcileGroup(record.Group)
	}
}
