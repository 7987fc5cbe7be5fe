package scaling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/ec2"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/targets"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/vpc"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/workqueue"
)

// Auto Scaling groups are records of moto, of size nought: their instances are launched and ended here, as
// those of RunInstances are. What a group should have is in the overlay, what it has are the instances that name it.

// Groups answers the calls for Auto Scaling groups and their instance refreshes.
type Groups struct {
	moto      *moto.Client
	records   *records.Store
	queue     *workqueue.Queue
	targets   *targets.Checker
	network   *vpc.Network
	templates *Templates
	ec2       EC2Calls
	pace      Pace
	change    *sync.Mutex
	log       *slog.Logger
}

// Handlers answer calls of Auto Scaling; others go to moto.
func (g *Groups) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"CreateAutoScalingGroup":              g.create,
		"UpdateAutoScalingGroup":              g.update,
		"SetDesiredCapacity":                  g.update,
		"DeleteAutoScalingGroup":              g.delete,
		"DescribeAutoScalingGroups":           g.describe,
		"DescribeAutoScalingInstances":        g.describeMembers,
		"TerminateInstanceInAutoScalingGroup": g.terminateMember,
		"StartInstanceRefresh":                g.startRefresh,
		"DescribeInstanceRefreshes":           g.describeRefreshes,
		"RollbackInstanceRefresh":             g.endRefresh,
		"CancelInstanceRefresh":               g.endRefresh,
	}
}

const groupSpace = "http://autoscaling.amazonaws.com/doc/2011-01-01/"

func (g *Groups) create(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	name := c.Get("AutoScalingGroupName")
	if _, err := g.records.Group(name); err == nil {
		return nil, awsquery.Fault(apierror.GroupAlreadyExists, name)
	}
	if c.Get("LaunchTemplate.LaunchTemplateId") == "" && c.Get("LaunchTemplate.LaunchTemplateName") == "" {
		return nil, awsquery.Faultf(apierror.UnsupportedOperation, "groups of the local cloud have a launch template")
	}
	group := &records.Group{
		Subnets:      strings.Split(c.Get("VPCZoneIdentifier"), ","),
		TargetGroups: c.List("TargetGroupARNs.member"),
	}
	if err := g.read(ctx, c, group); err != nil {
		return nil, err
	}
	// Moto is told of a group of none, so that it makes no instances of its own.
	other := c.Clone()
	other.Drop("MinSize", "MaxSize", "DesiredCapacity")
	for _, size := range []string{"MinSize", "MaxSize", "DesiredCapacity"} {
		other.Set(size, "0")
	}
	answered, err := g.moto.Forward(ctx, other)
	if err != nil {
		return nil, err
	}
	if err := g.records.Update(func(o *records.State) { o.Groups[name] = group }); err != nil {
		return nil, err
	}
	g.reconcile(name)
	return answered, nil
}

// read reads what a call says of a group's size and template.
func (g *Groups) read(ctx context.Context, c *awsquery.Call, group *records.Group) error {
	for _, number := range []struct {
		parameter string
		into      *int
	}{
		{"MinSize", &group.Min},
		{"MaxSize", &group.Max},
		{"HealthCheckGracePeriod", &group.Grace},
	} {
		if err := readNumber(c, "", number.parameter, number.into); err != nil {
			return err
		}
	}
	group.Desired = max(group.Desired, group.Min)
	if given := c.Get("DesiredCapacity"); given != "" {
		var err error
		if group.Desired, err = strconv.Atoi(given); err != nil {
			return awsquery.Faultf(apierror.ValidationError, "DesiredCapacity %s should be a number", given)
		}
	}
	if group.Desired < group.Min || group.Desired > group.Max {
		return awsquery.Fault(apierror.CapacityOutside, group.Desired, group.Min, group.Max)
	}
	if group.Desired > ec2.LaunchLimit {
		return awsquery.Faultf(apierror.ValidationError,
			"a group of the local cloud has %d instances at most", ec2.LaunchLimit)
	}
	if c.Get("LaunchTemplate.LaunchTemplateId") == "" && c.Get("LaunchTemplate.LaunchTemplateName") == "" {
		return nil
	}
	var err error
	group.Template, err = g.templates.find(ctx, c, "LaunchTemplate.")
	return err
}

func (g *Groups) update(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	name := c.Get("AutoScalingGroupName")
	group, err := g.records.Group(name)
	if err != nil {
		return nil, err
	}
	if records.ActiveRefresh(group.Refreshes) != nil && c.Get("LaunchTemplate.Version") != "" {
		return nil, awsquery.Fault(apierror.DesiredConfigurationActive)
	}
	if err = g.read(ctx, c, &group); err != nil {
		return nil, err
	}
	if zones := c.Get("VPCZoneIdentifier"); zones != "" {
		group.Subnets = strings.Split(zones, ",")
	}
	answered := awsquery.QueryReply(groupSpace, c)
	if c.Action() == "UpdateAutoScalingGroup" {
		other := c.Clone()
		other.Drop("MinSize", "MaxSize", "DesiredCapacity")
		if answered, err = g.moto.Forward(ctx, other); err != nil {
			return nil, err
		}
	}
	err = g.records.Update(func(o *records.State) {
		record := o.Groups[name]
		record.Min, record.Max, record.Desired = group.Min, group.Max, group.Desired
		record.Grace, record.Template, record.Subnets = group.Grace, group.Template, group.Subnets
	})
	if err != nil {
		return nil, err
	}
	g.reconcile(name)
	return answered, nil
}

func (g *Groups) delete(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	name := c.Get("AutoScalingGroupName")
	if _, err := g.records.Group(name); err != nil {
		return nil, err
	}
	members := g.records.Members(name)
	if len(members) > 0 && c.Get("ForceDelete") != "true" {
		return nil, awsquery.Fault(apierror.GroupInUse)
	}
	answered, err := g.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := g.records.Update(func(o *records.State) { delete(o.Groups, name) }); err != nil {
		return nil, err
	}
	return answered, g.endMembers(ctx, members)
}

// endMembers ends instances as a call of TerminateInstances does. The caller holds s.change.
func (g *Groups) endMembers(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := g.ec2.TerminateInstances(ctx, awsquery.NewCall("ec2", "TerminateInstances").With("InstanceId", ids...))
	return err
}

// describe writes into the records of moto what its groups really have.
func (g *Groups) describe(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	described, err := g.moto.Ask(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, item := range described.Items("DescribeAutoScalingGroupsResult", "AutoScalingGroups") {
		name := item.Get("AutoScalingGroupName")
		group, err := g.records.Group(name)
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
		members, err := g.describedMembers(ctx, name)
		if err != nil {
			return nil, err
		}
		item.Children = append(item.Children, awsquery.Element("Instances", members...))
	}
	return described, nil
}

func (g *Groups) describeMembers(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	wanted := c.List("InstanceIds.member")
	var all []*awsquery.Node
	for _, name := range g.records.GroupNames() {
		members, err := g.describedMembers(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, member := range members {
			if len(wanted) == 0 || slices.Contains(wanted, member.Get("InstanceId")) {
				member.Set(name, "AutoScalingGroupName")
				all = append(all, member)
			}
		}
	}
	return awsquery.QueryReply(groupSpace, c, awsquery.Element("AutoScalingInstances", all...)), nil
}

// describedMembers are a group's instances as Auto Scaling describes them.
func (g *Groups) describedMembers(ctx context.Context, name string) ([]*awsquery.Node, error) {
	var all []*awsquery.Node
	for _, id := range g.records.Members(name) {
		record, _ := g.records.Instance(id)
		item, err := g.moto.Instance(ctx, id)
		if err != nil {
			return nil, err
		}
		state := "Pending"
		if record.State == "running" {
			state = "InService"
		}
		if g.targets.IsDraining(id) {
			state = "Terminating:Wait"
		}
		all = append(all,
			awsquery.Element("member", awsquery.Text("InstanceId", id),
				awsquery.Text("InstanceType", item.Get("instanceType")),
				awsquery.Text("AvailabilityZone", item.Get("placement", "availabilityZone")),
				awsquery.Text("LifecycleState", state), awsquery.Text("HealthStatus", "Healthy"),
				awsquery.Text("ProtectedFromScaleIn", "false"),
				awsquery.Element("LaunchTemplate", awsquery.Text("LaunchTemplateId", record.Template.ID),
					awsquery.Text("LaunchTemplateName", record.Template.Name),
					awsquery.Text("Version", record.Template.Version))))
	}
	return all, nil
}

func (g *Groups) terminateMember(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	id := c.Get("InstanceId")
	record, ok := g.records.Instance(id)
	if !ok || record.Group == "" {
		return nil, awsquery.Fault(apierror.ManagedInstanceNotFound, id)
	}
	if c.Get("ShouldDecrementDesiredCapacity") == "true" {
		if err := g.records.ChangeGroup(record.Group, func(group *records.Group) { group.Desired-- }); err != nil {
			return nil, err
		}
	}
	return awsquery.QueryReply(groupSpace, c), g.endMembers(ctx, []string{id})
}

// reconcile has a group get what it should have, after the answer.
func (g *Groups) reconcile(name string) {
	g.queue.Enqueue("group "+name, g.reconcileWork(name))
}

func (g *Groups) reconcileWork(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		if g.queue.Stopping() {
			return nil // the cloud goes down, and its machines with it
		}
		g.change.Lock()
		defer g.change.Unlock()
		return g.balance(ctx, name)
	}
}

// balance launches what a group lacks, and ends what it has too many of and what is stopped. During a refresh nothing
// is too many. The caller holds s.change.
func (g *Groups) balance(ctx context.Context, name string) error {
	group, err := g.records.Group(name)
	if err != nil {
		return nil // it was deleted meanwhile
	}
	var alive, ended []string
	for _, id := range g.records.Members(name) {
		if record, _ := g.records.Instance(id); record.State == "stopped" || record.State == "stopping" {
			ended = append(ended, id)
		} else if !g.targets.IsDraining(id) {
			alive = append(alive, id)
		}
	}
	if more := len(alive) - group.Desired; more > 0 && records.ActiveRefresh(group.Refreshes) == nil {
		ended = append(ended, alive[:more]...)
	}
	errs := []error{g.endMembers(ctx, ended)}
	if lacking := group.Desired - len(alive); lacking > 0 {
		_, err := g.launchMembers(ctx, name, group, group.Template, lacking)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// launchMembers launches instances of a version of the group's template, in the subnets in turn. The caller holds
// s.change.
func (g *Groups) launchMembers(ctx context.Context, name string, group records.Group, template records.Template,
	count int) ([]string, error) {
	tags, err := g.tags(ctx, name)
	if err != nil {
		return nil, err
	}
	var launched []string
	before := len(g.records.Members(name))
	for i := range count {
		c := awsquery.NewCall("ec2", "RunInstances", "MinCount", "1", "MaxCount", "1")
		for parameter, value := range g.records.TemplateValues(template) {
			c.Form[parameter] = value
		}
		if c.Get("NetworkInterface.1.DeviceIndex") != "" {
			c.Set("NetworkInterface.1.SubnetId", group.Subnets[(before+i)%len(group.Subnets)])
		} else {
			c.Set("SubnetId", group.Subnets[(before+i)%len(group.Subnets)])
		}
		tagInstances(c, append(tags, "aws:autoscaling:groupName", name, "aws:ec2launchtemplate:id", template.ID,
			"aws:ec2launchtemplate:version", template.Version))
		answered, err := g.ec2.RunInstances(ctx, c)
		if err != nil {
			return launched, fmt.Errorf("launch an instance of group %s: %w", name, err)
		}
		for _, item := range answered.Items("instancesSet") {
			id := item.Get("instanceId")
			launched = append(launched, id)
			err := g.records.ChangeInstance(id,
				func(record *records.Instance) { record.Group, record.Template = name, template })
			if err != nil {
				return launched, err
			}
		}
	}
	return launched, nil
}

// tags are the group's tags that its instances get, keys and values in turn.
func (g *Groups) tags(ctx context.Context, name string) ([]string, error) {
	described, err := g.moto.Ask(ctx, awsquery.NewCall("autoscaling", "DescribeAutoScalingGroups",
		"AutoScalingGroupNames.member.1", name))
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
	for {
		kind := c.Get(fmt.Sprintf("TagSpecification.%d.ResourceType", spec))
		if kind == "" || kind == "instance" {
			break
		}
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

// relaunchDelay is the time that a group waits before it replaces an instance that ended soon after its launch: one
// that can never run would be launched again and again.
const relaunchDelay = 5 * time.Second

// InstanceGone has the group of an instance that ended replace it.
func (g *Groups) InstanceGone(record records.Instance) {
	switch {
	case record.Group == "":
	case time.Since(record.Launched) < 2*relaunchDelay:
		g.queue.EnqueueAfter(relaunchDelay, "group "+record.Group, g.reconcileWork(record.Group))
	default:
		g.reconcile(record.Group)
	}
}
