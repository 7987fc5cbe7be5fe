package stack

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// ports are what the load balancer passes on as it is: TLS ends on the instances, as it does with one.
var ports = []int32{443, 80}

func (s *Stack) balancerTags(name string) []elbtypes.Tag {
	return []elbtypes.Tag{{Key: aws.String("Name"), Value: aws.String(name)}, {Key: aws.String(stackTag), Value: aws.String(s.name)}}
}

// makeBalancer makes what is missing of the load balancer at the stack's address, and returns its target groups.
func (r *rollout) makeBalancer(ctx context.Context) ([]string, error) {
	name := r.balancerName("")
	balancer, err := r.findBalancer(ctx)
	if err != nil {
		return nil, err
	}
	if balancer == nil {
		mappings, err := r.subnetMappings(ctx)
		if err != nil {
			return nil, err
		}
		made, err := r.balancing.CreateLoadBalancer(ctx, &elb.CreateLoadBalancerInput{Name: aws.String(name), Type: elbtypes.LoadBalancerTypeEnumNetwork, Scheme: elbtypes.LoadBalancerSchemeEnumInternetFacing,
			SubnetMappings: mappings, Tags: r.balancerTags(name)})
		if err != nil {
			return nil, fmt.Errorf("make load balancer %s: %w", name, err)
		}
		balancer = &made.LoadBalancers[0]
		r.say("made load balancer %s", name)
	}
	// An address is of one zone; targets of all zones answer there.
	_, err = r.balancing.ModifyLoadBalancerAttributes(ctx, &elb.ModifyLoadBalancerAttributesInput{LoadBalancerArn: balancer.LoadBalancerArn,
		Attributes: []elbtypes.LoadBalancerAttribute{{Key: aws.String("load_balancing.cross_zone.enabled"), Value: aws.String("true")}}})
	if err != nil {
		return nil, fmt.Errorf("have load balancer %s use all zones: %w", name, err)
	}
	var targets []string
	for _, port := range ports {
		arn, err := r.makeTargets(ctx, port)
		if err != nil {
			return nil, err
		}
		_, err = r.balancing.CreateListener(ctx, &elb.CreateListenerInput{LoadBalancerArn: balancer.LoadBalancerArn, Port: aws.Int32(port), Protocol: elbtypes.ProtocolEnumTcp,
			DefaultActions: []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: aws.String(arn)}}, Tags: r.balancerTags(name)})
		if err != nil && code(err) != "DuplicateListener" {
			return nil, fmt.Errorf("have load balancer %s listen on %d: %w", name, port, err)
		}
		targets = append(targets, arn)
	}
	err = elb.NewLoadBalancerAvailableWaiter(r.balancing, func(o *elb.LoadBalancerAvailableWaiterOptions) {
		o.MinDelay, o.MaxDelay, o.Retryable = time.Second, 10*time.Second, await.Patient(o.Retryable)
	}).
		Wait(ctx, &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{aws.ToString(balancer.LoadBalancerArn)}}, r.file.Deploy.Timeout)
	if err != nil {
		return nil, fmt.Errorf("wait for load balancer %s: %w", name, err)
	}
	return targets, nil
}

// zoneAddress is the addressTag of elastic addresses that the load balancer has in zones beside the first.
const zoneAddress = "zone"

// subnetMappings are a public subnet in each zone, with an elastic address: the stack's in the first, others of the load
// balancer's own beside it, as it has one in all of its subnets or in none.
func (r *rollout) subnetMappings(ctx context.Context) ([]elbtypes.SubnetMapping, error) {
	spare, err := r.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: r.mine("tag:"+addressTag, zoneAddress)})
	if err != nil {
		return nil, fmt.Errorf("find the load balancer's addresses: %w", err)
	}
	var mappings []elbtypes.SubnetMapping
	zones := map[string]bool{}
	for _, subnet := range r.network.Subnets["public"] {
		if zones[subnet.Zone] {
			continue
		}
		zones[subnet.Zone] = true
		address := r.address.AllocationId
		switch n := len(mappings); {
		case n > 0 && n <= len(spare.Addresses):
			address = spare.Addresses[n-1].AllocationId
		case n > 0:
			made, err := r.ec2.AllocateAddress(ctx, &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc, TagSpecifications: r.tagged(types.ResourceTypeElasticIp, r.name+"-web-"+subnet.Zone, addressTag, zoneAddress)})
			if err != nil {
				return nil, fmt.Errorf("allocate an address of the load balancer in %s: %w", subnet.Zone, err)
			}
			address = made.AllocationId
		}
		mappings = append(mappings, elbtypes.SubnetMapping{SubnetId: aws.String(subnet.ID), AllocationId: address})
	}
	return mappings, nil
}

// releaseZones gives back the load balancer's own addresses.
func (s *Stack) releaseZones(ctx context.Context) error {
	out, err := s.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: s.mine("tag:"+addressTag, zoneAddress)})
	if err != nil {
		return fmt.Errorf("find the load balancer's addresses: %w", err)
	}
	for _, address := range out.Addresses {
		if _, err := s.ec2.ReleaseAddress(ctx, &ec2.ReleaseAddressInput{AllocationId: address.AllocationId}); err != nil {
			return fmt.Errorf("release %s: %w", aws.ToString(address.PublicIp), err)
		}
	}
	return nil
}

// makeTargets makes the target group of a port. Whether a target is healthy is asked at the page for both.
func (r *rollout) makeTargets(ctx context.Context, port int32) (string, error) {
	name, h := r.balancerName("-"+strconv.Itoa(int(port))), r.file.HealthCheck
	made, err := r.balancing.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{Name: aws.String(name), Port: aws.Int32(port), Protocol: elbtypes.ProtocolEnumTcp, VpcId: aws.String(r.network.VPC),
		TargetType: elbtypes.TargetTypeEnumInstance, HealthCheckEnabled: aws.Bool(true), HealthCheckProtocol: elbtypes.ProtocolEnumHttps, HealthCheckPort: aws.String("443"),
		HealthCheckPath: aws.String(h.Path), HealthCheckIntervalSeconds: aws.Int32(interval(h)),
		HealthCheckTimeoutSeconds: aws.Int32(min(max(seconds(h.Timeout), 2), 120)),
		HealthyThresholdCount:     aws.Int32(threshold(h)), UnhealthyThresholdCount: aws.Int32(threshold(h)), Matcher: &elbtypes.Matcher{HttpCode: aws.String("200")}, Tags: r.balancerTags(name)})
	if err != nil {
		return "", fmt.Errorf("make target group %s: %w", name, err)
	}
	arn := made.TargetGroups[0].TargetGroupArn
	_, err = r.balancing.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{TargetGroupArn: arn,
		Attributes: []elbtypes.TargetGroupAttribute{{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String(strconv.Itoa(int(seconds(r.file.Deploy.DrainTime))))}}})
	if err != nil {
		return "", fmt.Errorf("have target group %s drain for %v: %w", name, r.file.Deploy.DrainTime, err)
	}
	return aws.ToString(arn), nil
}

// interval and threshold are the stack file's as load balancers take them: 5 to 300 seconds, and 2 to 10 answers.
func interval(h stackfile.HealthCheck) int32 { return min(max(seconds(h.Interval), 5), 300) }

func threshold(h stackfile.HealthCheck) int32 { return min(max(h.HealthyThreshold, 2), 10) }

// findBalancer is the stack's load balancer, or nil.
func (s *Stack) findBalancer(ctx context.Context) (*elbtypes.LoadBalancer, error) {
	out, err := s.balancing.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{s.balancerName("")}})
	var missing *elbtypes.LoadBalancerNotFoundException
	if errors.As(err, &missing) || err == nil && len(out.LoadBalancers) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find load balancer %s: %w", s.balancerName(""), err)
	}
	return &out.LoadBalancers[0], nil
}

// targetStates are what is wrong with the group's instances as targets; of one that is healthy everywhere it is empty.
func (s *Stack) targetStates(ctx context.Context, g *webGroup) (map[string]string, error) {
	states := map[string]string{}
	for _, m := range g.members {
		if len(g.targets) > 0 {
			states[m.id] = "no target yet"
		}
	}
	good := map[string]int{}
	for _, arn := range g.targets {
		out, err := s.balancing.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: aws.String(arn)})
		if err != nil {
			return nil, fmt.Errorf("look at the targets of group %s: %w", g.name, err)
		}
		for _, found := range out.TargetHealthDescriptions {
			if found.Target == nil || found.TargetHealth == nil {
				continue
			}
			id, state := aws.ToString(found.Target.Id), found.TargetHealth.State
			if state != elbtypes.TargetHealthStateEnumHealthy {
				states[id] = fmt.Sprintf("%s: %s", state, aws.ToString(found.TargetHealth.Description))
			} else if good[id]++; good[id] == len(g.targets) {
				states[id] = ""
			}
		}
	}
	return states, nil
}

// removeBalancer removes the load balancer and its target groups, and waits until its address is free.
func (s *Stack) removeBalancer(ctx context.Context) error {
	balancer, err := s.findBalancer(ctx)
	if err != nil {
		return err
	}
	if balancer != nil {
		arn := balancer.LoadBalancerArn
		if _, err := s.balancing.DeleteLoadBalancer(ctx, &elb.DeleteLoadBalancerInput{LoadBalancerArn: arn}); err != nil {
			return fmt.Errorf("delete load balancer %s: %w", s.balancerName(""), err)
		}
		err := elb.NewLoadBalancersDeletedWaiter(s.balancing, func(o *elb.LoadBalancersDeletedWaiterOptions) {
			o.MinDelay, o.MaxDelay, o.Retryable = time.Second, 10*time.Second, await.Patient(o.Retryable)
		}).
			Wait(ctx, &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{aws.ToString(arn)}}, 5*time.Minute)
		if err != nil {
			return fmt.Errorf("delete load balancer %s: %w", s.balancerName(""), err)
		}
		if err := s.untilInterfacesGone(ctx); err != nil {
			return err
		}
		s.say("removed load balancer %s", s.balancerName(""))
	}
	for _, port := range ports {
		name := s.balancerName("-" + strconv.Itoa(int(port)))
		out, err := s.balancing.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{Names: []string{name}})
		var missing *elbtypes.TargetGroupNotFoundException
		if errors.As(err, &missing) {
			continue
		}
		if err != nil {
			return fmt.Errorf("find target group %s: %w", name, err)
		}
		for _, group := range out.TargetGroups {
			if err := s.deleteTargets(ctx, name, group.TargetGroupArn); err != nil {
				return err
			}
		}
	}
	return s.releaseZones(ctx)
}

// deleteTargets deletes a target group. For some moments after its load balancer went it still counts as used.
func (s *Stack) deleteTargets(ctx context.Context, name string, arn *string) error {
	for attempt := 0; ; attempt++ {
		_, err := s.balancing.DeleteTargetGroup(ctx, &elb.DeleteTargetGroupInput{TargetGroupArn: arn})
		if err == nil {
			return nil
		}
		if code(err) != "ResourceInUse" || attempt == 30 {
			return fmt.Errorf("delete target group %s: %w", name, err)
		}
		if err := sleep(ctx, 2*time.Second); err != nil {
			return err
		}
	}
}

// untilInterfacesGone waits for the load balancer's network interfaces, which hold its address and its subnets for some
// moments after it went.
func (s *Stack) untilInterfacesGone(ctx context.Context) error {
	filter := types.Filter{Name: aws.String("description"), Values: []string{"ELB net/" + s.balancerName("") + "/*"}}
	err := await.Until(ctx, goneLimit, func(ctx context.Context) (bool, error) {
		out, err := s.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{filter}})
		return err == nil && len(out.NetworkInterfaces) == 0, err
	})
	if err != nil {
		return fmt.Errorf("wait for the interfaces of load balancer %s: %w", s.balancerName(""), err)
	}
	return nil
}
