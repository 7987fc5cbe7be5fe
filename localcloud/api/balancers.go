package api

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// Network load balancers pass connections to those instances of Auto Scaling groups that are healthy: each is asked in
// earnest, at the port and the path of its target group. A load balancer is reached at the elastic addresses that it was
// made with, and at no other; its DNS name leads nowhere. Targets that are registered by hand are records.

const balancerSpace = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"

func (s *Server) createBalancer(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	record := &balancerRecord{Name: c.Get("Name"), Listeners: map[int]string{}, Ports: map[string]int{}}
	for i := 1; c.Get(fmt.Sprintf("SubnetMappings.member.%d.SubnetId", i)) != ""; i++ {
		allocation := c.Get(fmt.Sprintf("SubnetMappings.member.%d.AllocationId", i))
		if allocation == "" {
			continue
		}
		address, err := s.address(ctx, awsquery.NewCall("ec2", "DescribeAddresses", "AllocationId", allocation))
		if err != nil {
			return nil, awsquery.Fault("AllocationIdNotFound", "The allocation ID %s does not exist", allocation)
		}
		if address.Get("associationId") != "" || s.balancerAt(allocation) != "" {
			return nil, awsquery.Fault("InvalidConfigurationRequest", "The allocation ID %s is in use", allocation)
		}
		record.Allocations = append(record.Allocations, allocation)
	}
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	made, err := answered.One("CreateLoadBalancerResult", "LoadBalancers")
	if err != nil {
		return nil, err
	}
	record.VPC = made.Get("VpcId")
	if err := s.update(func(o *overlay) { o.Balancers[made.Get("LoadBalancerArn")] = record }); err != nil {
		return nil, err
	}
	return answered, s.applyNetwork(ctx)
}

func (s *Server) deleteBalancer(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := s.update(func(o *overlay) { delete(o.Balancers, c.Get("LoadBalancerArn")) }); err != nil {
		return nil, err
	}
	return answered, s.applyNetwork(ctx)
}

func (s *Server) createTargetGroup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	record := &targetGroupRecord{Protocol: c.Get("HealthCheckProtocol"), Path: c.Get("HealthCheckPath"), Healthy: 3, Unhealthy: 3, Delay: 300}
	for parameter, into := range map[string]*int{"Port": &record.Port, "HealthCheckPort": &record.HealthPort, "HealthyThresholdCount": &record.Healthy, "UnhealthyThresholdCount": &record.Unhealthy} {
		if value, err := strconv.Atoi(c.Get(parameter)); err == nil { // traffic-port is the default
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
	return answered, s.update(func(o *overlay) { o.TargetGroups[made.Get("TargetGroupArn")] = record })
}

func (s *Server) modifyTargetGroup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, s.update(func(o *overlay) {
		record := o.TargetGroups[c.Get("TargetGroupArn")]
		for i := 1; record != nil && c.Get(fmt.Sprintf("Attributes.member.%d.Key", i)) != ""; i++ {
			delay, err := strconv.Atoi(c.Get(fmt.Sprintf("Attributes.member.%d.Value", i)))
			if err == nil && c.Get(fmt.Sprintf("Attributes.member.%d.Key", i)) == "deregistration_delay.timeout_seconds" {
				record.Delay = delay
			}
		}
	})
}

func (s *Server) deleteTargetGroup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	arn := c.Get("TargetGroupArn")
	used := false
	s.view(func(o *overlay) {
		for _, balancer := range o.Balancers {
			used = used || slices.Contains(slices.Collect(maps.Values(balancer.Listeners)), arn)
		}
	})
	if used {
		return nil, awsquery.Fault("ResourceInUse", "Target group '%s' is currently in use by a listener or a rule", arn)
	}
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, s.update(func(o *overlay) { delete(o.TargetGroups, arn) })
}

func (s *Server) createListener(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	port, err := strconv.Atoi(c.Get("Port"))
	if err != nil {
		return nil, awsquery.Fault("ValidationError", "Port %q should be a number", c.Get("Port"))
	}
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	made, err := answered.One("CreateListenerResult", "Listeners")
	if err != nil {
		return nil, err
	}
	arn := made.Get("ListenerArn")
	err = s.update(func(o *overlay) {
		if balancer := o.Balancers[c.Get("LoadBalancerArn")]; balancer != nil {
			balancer.Listeners[port], balancer.Ports[arn] = c.Get("DefaultActions.member.1.TargetGroupArn"), port
		}
	})
	if err != nil {
		return nil, err
	}
	return answered, s.applyNetwork(ctx)
}

func (s *Server) deleteListener(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	err = s.update(func(o *overlay) {
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
	return answered, s.applyNetwork(ctx)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// checkEvery is the time between two looks at targets. It is shorter than any that AWS takes, so that nobody waits here.
const checkEvery = 500 * time.Millisecond

// watchTargets keeps asking all targets, and passes connections to the healthy ones.
func (s *Server) watchTargets(ctx context.Context) {
	for wait(ctx, checkEvery) == nil {
		if s.checkTargets(ctx) {
			if err := s.applyNetwork(ctx); err != nil && ctx.Err() == nil {
				s.config.Log.Error("pass connections to the healthy targets", "error", err)
			}
		}
	}
}

// describeTargetHealth adds the instances of groups to the targets that were registered by hand.
func (s *Server) describeTargetHealth(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	described, err := s.ask(ctx, c)
	if err != nil {
		return nil, err
	}
	arn := c.Get("TargetGroupArn")
	list := described.At("DescribeTargetHealthResult", "TargetHealthDescriptions")
	for _, t := range s.targets() {
		if t.group != arn {
			continue
		}
		state, reason, said := s.healthOf(t)
		told := awsquery.Element("TargetHealth", awsquery.Text("State", state))
		if reason != "" {
			told.Children = append(told.Children, awsquery.Text("Reason", reason), awsquery.Text("Description", said))
		}
		list.Children = append(list.Children, awsquery.Element("member", awsquery.Text("HealthCheckPort", strconv.Itoa(t.record.HealthPort)), told,
			awsquery.Element("Target", awsquery.Text("Id", t.instance), awsquery.Text("Port", strconv.Itoa(t.record.Port)))))
	}
	return described, nil
}
