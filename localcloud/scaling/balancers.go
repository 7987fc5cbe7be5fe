package scaling

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/targets"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/vpc"
)

// Network load balancers pass connections to those instances of Auto Scaling groups that are healthy: each is asked in
// earnest, at the port and the path of its target group. A load balancer is reached at the elastic addresses that it
// was made with, and at no other; its DNS name leads nowhere. Targets that are registered by hand are records.

// Balancers answers the calls for load balancers and target groups.
type Balancers struct {
	moto      *moto.Client
	records   *records.Store
	targets   *targets.Checker
	network   *vpc.Network
	addresses *vpc.Addresses
	log       *slog.Logger
}

// Handlers answer calls of Elastic Load Balancing; others go to moto.
func (b *Balancers) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"CreateLoadBalancer":          b.create,
		"DeleteLoadBalancer":          b.delete,
		"CreateTargetGroup":           b.createTargetGroup,
		"ModifyTargetGroupAttributes": b.modifyTargetGroup,
		"DeleteTargetGroup":           b.deleteTargetGroup,
		"CreateListener":              b.createListener,
		"DeleteListener":              b.deleteListener,
		"DescribeTargetHealth":        b.describeHealth,
	}
}

const balancerSpace = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"

func (b *Balancers) create(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	record := &records.Balancer{Name: c.Get("Name"), Listeners: map[int]string{}, Ports: map[string]int{}}
	for i := 1; c.Get(fmt.Sprintf("SubnetMappings.member.%d.SubnetId", i)) != ""; i++ {
		allocation := c.Get(fmt.Sprintf("SubnetMappings.member.%d.AllocationId", i))
		if allocation == "" {
			continue
		}
		address, err := b.addresses.Find(ctx, awsquery.NewCall("ec2", "DescribeAddresses", "AllocationId", allocation))
		if err != nil {
			return nil, awsquery.Fault(apierror.AllocationIDNotFound, allocation)
		}
		if address.Get("associationId") != "" || b.records.BalancerAt(allocation) != "" {
			return nil, awsquery.Faultf(apierror.InvalidConfigurationRequest,
				"The allocation ID %s is in use", allocation)
		}
		record.Allocations = append(record.Allocations, allocation)
	}
	answered, err := b.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	made, err := answered.One("CreateLoadBalancerResult", "LoadBalancers")
	if err != nil {
		return nil, err
	}
	record.VPC = made.Get("VpcId")
	if err := b.records.Update(func(o *records.State) {
		o.Balancers[made.Get(
			"LoadBalancerArn")] = record
	}); err != nil {
		return nil, err
	}
	return answered, b.network.Apply(ctx)
}

func (b *Balancers) delete(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := b.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := b.records.Update(func(o *records.State) { delete(o.Balancers, c.Get("LoadBalancerArn")) }); err != nil {
		return nil, err
	}
	return answered, b.network.Apply(ctx)
}

func (b *Balancers) createTargetGroup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := b.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	record := &records.TargetGroup{
		Protocol:  c.Get("HealthCheckProtocol"),
		Path:      c.Get("HealthCheckPath"),
		Healthy:   3,
		Unhealthy: 3,
		Delay:     300,
	}
	for parameter, into := range map[string]*int{
		"Port":                    &record.Port,
		"HealthCheckPort":         &record.HealthPort,
		"HealthyThresholdCount":   &record.Healthy,
		"UnhealthyThresholdCount": &record.Unhealthy,
	} {
		if value, parseErr := strconv.Atoi(c.Get(parameter)); parseErr == nil { // traffic-port is the default
			*into = value
		}
	}
	if record.HealthPort == 0 {
		record.HealthPort = record.Port
	}
	made, err := answered.One("CreateTargetGroupResult", "TargetGroups")
	if err != nil {
		return nil, err
	}
	return answered, b.records.Update(func(o *records.State) { o.TargetGroups[made.Get("TargetGroupArn")] = record })
}

func (b *Balancers) modifyTargetGroup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := b.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, b.records.Update(func(o *records.State) {
		record := o.TargetGroups[c.Get("TargetGroupArn")]
		for i := 1; record != nil && c.Get(fmt.Sprintf("Attributes.member.%d.Key", i)) != ""; i++ {
			delay, err := strconv.Atoi(c.Get(fmt.Sprintf("Attributes.member.%d.Value", i)))
			if err == nil &&
				c.Get(fmt.Sprintf("Attributes.member.%d.Key", i)) == "deregistration_delay.timeout_seconds" {
				record.Delay = delay
			}
		}
	})
}

func (b *Balancers) deleteTargetGroup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	arn := c.Get("TargetGroupArn")
	used := false
	b.records.View(func(o *records.State) {
		for _, balancer := range o.Balancers {
			used = used || slices.Contains(slices.Collect(maps.Values(balancer.Listeners)), arn)
		}
	})
	if used {
		return nil, awsquery.Fault(apierror.TargetGroupInUse, arn)
	}
	answered, err := b.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, b.records.Update(func(o *records.State) { delete(o.TargetGroups, arn) })
}

func (b *Balancers) createListener(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	port, err := strconv.Atoi(c.Get("Port"))
	if err != nil {
		return nil, awsquery.Faultf(apierror.ValidationError, "Port %q should be a number", c.Get("Port"))
	}
	answered, err := b.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	made, err := answered.One("CreateListenerResult", "Listeners")
	if err != nil {
		return nil, err
	}
	arn := made.Get("ListenerArn")
	err = b.records.Update(func(o *records.State) {
		if balancer := o.Balancers[c.Get("LoadBalancerArn")]; balancer != nil {
			balancer.Listeners[port], balancer.Ports[arn] = c.Get("DefaultActions.member.1.TargetGroupArn"), port
		}
	})
	if err != nil {
		return nil, err
	}
	return answered, b.network.Apply(ctx)
}

func (b *Balancers) deleteListener(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := b.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	err = b.records.Update(func(o *records.State) {
		for _, balancer := range o.Balancers {
			if port, ok := balancer.Ports[c.Get("ListenerArn")]; ok {
				delete(balancer.Listeners, port)
				delete(balancer.Ports, c.Get("ListenerArn"))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return answered, b.network.Apply(ctx)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// checkEvery is the time between two looks at targets. It is shorter than any that AWS takes, so that nobody waits
// here.
const checkEvery = 500 * time.Millisecond

// Watch keeps asking all targets, and passes connections to the healthy ones.
func (b *Balancers) Watch(ctx context.Context) {
	for wait(ctx, checkEvery) == nil {
		if b.targets.Check(ctx) {
			if err := b.network.Apply(ctx); err != nil && ctx.Err() == nil {
				b.log.Error("pass connections to the healthy targets", "error", err)
			}
		}
	}
}

// describeHealth adds the instances of groups to the targets that were registered by hand.
func (b *Balancers) describeHealth(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	described, err := b.moto.Ask(ctx, c)
	if err != nil {
		return nil, err
	}
	arn := c.Get("TargetGroupArn")
	list := described.At("DescribeTargetHealthResult", "TargetHealthDescriptions")
	for _, t := range b.targets.Targets() {
		if t.Group != arn {
			continue
		}
		state, reason, said := b.targets.HealthOf(t)
		told := awsquery.Element("TargetHealth", awsquery.Text("State", state))
		if reason != "" {
			told.Children = append(told.Children, awsquery.Text("Reason", reason), awsquery.Text("Description", said))
		}
		list.Children = append(list.Children,
			awsquery.Element("member", awsquery.Text("HealthCheckPort", strconv.Itoa(t.Record.HealthPort)), told,
				awsquery.Element("Target", awsquery.Text("Id", t.Instance),
					awsquery.Text("Port", strconv.Itoa(t.Record.Port)))))
	}
	return described, nil
}
