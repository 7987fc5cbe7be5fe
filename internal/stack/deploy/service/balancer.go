package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

// balancer is the network load balancer of a service tier. It passes the tier's ports on as they are: TLS ends on the
// instances, as it does with one.
type balancer struct {
	stack     *stack.Stack
	tier      stack.Tier
	balancing *elb.Client
}

func newBalancer(run *tier.Run, t stack.Tier) *balancer {
	return &balancer{stack: run.Stack, tier: t, balancing: elb.NewFromConfig(run.Stack.Config)}
}

// name names the load balancer and, with a suffix, its target groups: 32 characters at most, and no two dashes in a
// row.
func (b *balancer) name(suffix string) string {
	name := "goldsmith-" + b.stack.Name
	if len(name) > 27 || strings.Contains(name, "--") || strings.HasSuffix(name, "-") {
		sum := sha256.Sum256([]byte(b.stack.Name))
		name = "goldsmith-" + hex.EncodeToString(sum[:8])
	}
	return name + suffix
}

func (b *balancer) tags() []elbtypes.Tag {
	return []elbtypes.Tag{
		{Key: aws.String(stack.NameTag), Value: aws.String(b.name(""))},
		{Key: aws.String(stack.StackTag), Value: aws.String(b.stack.Name)},
	}
}

// create makes the missing parts of the load balancer at the tier's elastic address, and returns its target groups.
func (b *balancer) create(ctx context.Context, n network.Network, address types.Address) ([]string, error) {
	name := b.name("")
	found, err := b.find(ctx)
	if err != nil {
		return nil, err
	}
	if found == nil {
		if found, err = b.createBalancer(ctx, n, address); err != nil {
			return nil, err
		}
	}
	// An address is of one zone; targets of all zones answer there.
	_, err = b.balancing.ModifyLoadBalancerAttributes(ctx, &elb.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: found.LoadBalancerArn,
		Attributes: []elbtypes.LoadBalancerAttribute{
			{Key: aws.String("load_balancing.cross_zone.enabled"), Value: aws.String("true")},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("have load balancer %s use all zones: %w", name, err)
	}
	var targets []string
	for _, port := range b.tier.Service.Ports {
		arn, err := b.createTargets(ctx, n, port)
		if err != nil {
			return nil, err
		}
		_, err = b.balancing.CreateListener(ctx, &elb.CreateListenerInput{
			LoadBalancerArn: found.LoadBalancerArn,
			Port:            aws.Int32(port),
			Protocol:        elbtypes.ProtocolEnumTcp,
			DefaultActions:  []elbtypes.Action{{Type: elbtypes.ActionTypeEnumForward, TargetGroupArn: aws.String(arn)}},
			Tags:            b.tags(),
		})
		if err != nil && !awserr.Is(err, apierror.DuplicateListener) {
			return nil, fmt.Errorf("have load balancer %s listen on %d: %w", name, port, err)
		}
		targets = append(targets, arn)
	}
	waiter := elb.NewLoadBalancerAvailableWaiter(b.balancing, func(o *elb.LoadBalancerAvailableWaiterOptions) {
		o.MinDelay, o.MaxDelay, o.Retryable = time.Second, 10*time.Second, await.Patient(o.Retryable)
	})
	input := &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{aws.ToString(found.LoadBalancerArn)}}
	if err := waiter.Wait(ctx, input, b.stack.Settings.Deploy.Timeout); err != nil {
		return nil, fmt.Errorf("wait for load balancer %s: %w", name, err)
	}
	return targets, nil
}

func (b *balancer) createBalancer(
	ctx context.Context, n network.Network, address types.Address,
) (*elbtypes.LoadBalancer, error) {
	mappings, err := b.subnetMappings(ctx, n, address)
	if err != nil {
		return nil, err
	}
	input := &elb.CreateLoadBalancerInput{
		Name:           aws.String(b.name("")),
		Type:           elbtypes.LoadBalancerTypeEnumNetwork,
		Scheme:         elbtypes.LoadBalancerSchemeEnumInternetFacing,
		SubnetMappings: mappings,
		Tags:           b.tags(),
	}
	var made *elb.CreateLoadBalancerOutput
	// A subnet or an address that EC2 made just now may be unknown here.
	err = await.Retry(ctx, await.Settle, awserr.NotFound, func(ctx context.Context) (err error) {
		made, err = b.balancing.CreateLoadBalancer(ctx, input)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make load balancer %s: %w", b.name(""), err)
	}
	b.stack.Logf("made load balancer %s", b.name(""))
	return &made.LoadBalancers[0], nil
}

// zoneAddress is the stack.AddressTag of elastic addresses that the load balancer has in zones beside the first.
const zoneAddress = "zone"

// subnetMappings are a public subnet in each zone, with an elastic address: the tier's in the first, others of the load
// balancer's own beside it, as it has one in all of its subnets or in none.
func (b *balancer) subnetMappings(
	ctx context.Context, n network.Network, own types.Address,
) ([]elbtypes.SubnetMapping, error) {
	filters := b.stack.OwnFilters("tag:"+stack.AddressTag, zoneAddress)
	spare, err := b.stack.EC2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: filters})
	if err != nil {
		return nil, fmt.Errorf("find the load balancer's addresses: %w", err)
	}
	var mappings []elbtypes.SubnetMapping
	zones := map[string]bool{}
	for _, subnet := range n.Subnets[stack.PublicSubnet] {
		if zones[subnet.Zone] {
			continue
		}
		zones[subnet.Zone] = true
		allocation := own.AllocationId
		switch taken := len(mappings); {
		case taken > 0 && taken <= len(spare.Addresses):
			allocation = spare.Addresses[taken-1].AllocationId
		case taken > 0:
			if allocation, err = b.allocate(ctx, subnet.Zone); err != nil {
				return nil, err
			}
		}
		mappings = append(mappings, elbtypes.SubnetMapping{SubnetId: aws.String(subnet.ID), AllocationId: allocation})
	}
	return mappings, nil
}

func (b *balancer) allocate(ctx context.Context, zone string) (*string, error) {
	name := b.stack.Name + "-" + b.tier.Name + "-" + zone
	made, err := b.stack.EC2.AllocateAddress(ctx, &ec2.AllocateAddressInput{
		Domain:            types.DomainTypeVpc,
		TagSpecifications: b.stack.TagsFor(types.ResourceTypeElasticIp, name, stack.AddressTag, zoneAddress),
	})
	if err != nil {
		return nil, fmt.Errorf("allocate an address of the load balancer in %s: %w", zone, err)
	}
	return made.AllocationId, nil
}

// createTargets makes the target group of a port. Whether a target is healthy is asked at the first port for all.
func (b *balancer) createTargets(ctx context.Context, n network.Network, port int32) (string, error) {
	name, check, drain := b.targetsName(port), b.tier.Service.Probe, b.stack.Settings.Deploy.DrainTime
	made, err := b.balancing.CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{
		Name:                       aws.String(name),
		Port:                       aws.Int32(port),
		Protocol:                   elbtypes.ProtocolEnumTcp,
		VpcId:                      aws.String(n.VPC),
		TargetType:                 elbtypes.TargetTypeEnumInstance,
		HealthCheckEnabled:         aws.Bool(true),
		HealthCheckProtocol:        elbtypes.ProtocolEnumHttps,
		HealthCheckPort:            aws.String(strconv.Itoa(int(b.tier.Service.Ports[0]))),
		HealthCheckPath:            aws.String(check.Path),
		HealthCheckIntervalSeconds: aws.Int32(interval(check)),
		HealthCheckTimeoutSeconds:  aws.Int32(min(max(seconds(check.Timeout), 2), 120)),
		HealthyThresholdCount:      aws.Int32(threshold(check)),
		UnhealthyThresholdCount:    aws.Int32(threshold(check)),
		Matcher:                    &elbtypes.Matcher{HttpCode: aws.String("200")},
		Tags:                       b.tags(),
	})
	if err != nil {
		return "", fmt.Errorf("make target group %s: %w", name, err)
	}
	arn := made.TargetGroups[0].TargetGroupArn
	_, err = b.balancing.ModifyTargetGroupAttributes(ctx, &elb.ModifyTargetGroupAttributesInput{
		TargetGroupArn: arn,
		Attributes: []elbtypes.TargetGroupAttribute{{
			Key:   aws.String("deregistration_delay.timeout_seconds"),
			Value: aws.String(strconv.Itoa(int(seconds(drain)))),
		}},
	})
	if err != nil {
		return "", fmt.Errorf("have target group %s drain for %v: %w", name, drain, err)
	}
	return aws.ToString(arn), nil
}

func (b *balancer) targetsName(port int32) string { return b.name("-" + strconv.Itoa(int(port))) }

// interval and threshold are the stack file's as load balancers take them: 5 to 300 seconds, and 2 to 10 answers.
func interval(h stackfile.HealthCheck) int32 { return min(max(seconds(h.Interval), 5), 300) }

func threshold(h stackfile.HealthCheck) int32 { return min(max(h.HealthyThreshold, 2), 10) }

// find is the load balancer, or nil.
func (b *balancer) find(ctx context.Context) (*elbtypes.LoadBalancer, error) {
	out, err := b.balancing.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{b.name("")}})
	var missing *elbtypes.LoadBalancerNotFoundException
	if errors.As(err, &missing) || err == nil && len(out.LoadBalancers) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find load balancer %s: %w", b.name(""), err)
	}
	return &out.LoadBalancers[0], nil
}

// targetStates are the faults of a group's instances as targets, by instance id; empty for one that is healthy in every
// target group.
func (b *balancer) targetStates(ctx context.Context, g *scalingGroup) (map[string]string, error) {
	states := map[string]string{}
	for _, m := range g.members {
		if len(g.targets) > 0 {
			states[m.id] = "no target yet"
		}
	}
	good := map[string]int{}
	for _, arn := range g.targets {
		out, err := b.balancing.DescribeTargetHealth(ctx,
			&elb.DescribeTargetHealthInput{TargetGroupArn: aws.String(arn)})
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

// remove removes the load balancer and its target groups, and waits until its address is free.
func (b *balancer) remove(ctx context.Context, act *plan.Actor, reason string) error {
	found, err := b.find(ctx)
	if err != nil {
		return err
	}
	if found != nil {
		change := plan.Change{
			Action: plan.Remove,
			What:   "load balancer",
			ID:     b.name(""),
			Reason: reason,
		}
		if err := act.Do(change, func() (string, error) {
			return b.name(""),
				b.deleteBalancer(ctx, found)
		}); err != nil {
			return err
		}
	}
	if act.Dry() {
		return nil
	}
	for _, port := range b.tier.Service.Ports {
		if err := b.removeTargets(ctx, b.targetsName(port)); err != nil {
			return err
		}
	}
	return releaseAddresses(ctx, b.stack, zoneAddress)
}

func (b *balancer) deleteBalancer(ctx context.Context, found *elbtypes.LoadBalancer) error {
	arn := found.LoadBalancerArn
	if _, err := b.balancing.DeleteLoadBalancer(ctx, &elb.DeleteLoadBalancerInput{LoadBalancerArn: arn}); err != nil {
		return fmt.Errorf("delete load balancer %s: %w", b.name(""), err)
	}
	waiter := elb.NewLoadBalancersDeletedWaiter(b.balancing, func(o *elb.LoadBalancersDeletedWaiterOptions) {
		o.MinDelay, o.MaxDelay, o.Retryable = time.Second, 10*time.Second, await.Patient(o.Retryable)
	})
	input := &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{aws.ToString(arn)}}
	if err := waiter.Wait(ctx, input, 5*time.Minute); err != nil {
		return fmt.Errorf("delete load balancer %s: %w", b.name(""), err)
	}
	if err := b.untilInterfacesGone(ctx); err != nil {
		return err
	}
	b.stack.Logf("removed load balancer %s", b.name(""))
	return nil
}

func (b *balancer) removeTargets(ctx context.Context, name string) error {
	out, err := b.balancing.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{Names: []string{name}})
	var missing *elbtypes.TargetGroupNotFoundException
	if errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find target group %s: %w", name, err)
	}
	for _, targets := range out.TargetGroups {
		if err := b.deleteTargets(ctx, name, targets.TargetGroupArn); err != nil {
			return err
		}
	}
	return nil
}

// deleteTargets deletes a target group. For some moments after its load balancer went it still counts as used.
func (b *balancer) deleteTargets(ctx context.Context, name string, arn *string) error {
	for attempt := 0; ; attempt++ {
		_, err := b.balancing.DeleteTargetGroup(ctx, &elb.DeleteTargetGroupInput{TargetGroupArn: arn})
		if err == nil {
			return nil
		}
		if !awserr.Is(err, apierror.TargetGroupInUse) || attempt == 30 {
			return fmt.Errorf("delete target group %s: %w", name, err)
		}
		if err := await.Sleep(ctx, 2*time.Second); err != nil {
			return err
		}
	}
}

// untilInterfacesGone waits for the load balancer's network interfaces, which hold its address and its subnets for some
// moments after it went.
func (b *balancer) untilInterfacesGone(ctx context.Context) error {
	filter := types.Filter{Name: aws.String("description"), Values: []string{"ELB net/" + b.name("") + "/*"}}
	err := await.Until(ctx, goneLimit, func(ctx context.Context) (bool, error) {
		input := &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{filter}}
		out, err := b.stack.EC2.DescribeNetworkInterfaces(ctx, input)
		return err == nil && len(out.NetworkInterfaces) == 0, err
	})
	if err != nil {
		return fmt.Errorf("wait for the interfaces of load balancer %s: %w", b.name(""), err)
	}
	return nil
}
