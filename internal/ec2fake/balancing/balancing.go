// Package balancing is Elastic Load Balancing of the fake account, in one region.
package balancing

import (
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
)

// Network has the subnets, addresses and interfaces of load balancers, and the instances that they send requests to.
type Network interface {
	Subnet(id *string) (*ec2types.Subnet, error)
	Address(id *string) (*ec2types.Address, error)
	// Plug makes an interface in a subnet, with a public address if there is one, whose description begins so.
	Plug(subnet *ec2types.Subnet, address *ec2types.Address, description string)
	// Unplug removes the interfaces whose descriptions begin so.
	Unplug(description string)
	// Members are the instances of a target group.
	Members(targetGroup string) []string
	Healthy(instance string) bool
}

// State are load balancers and their target groups, by ARN.
type State struct {
	store     *resource.Store
	network   Network
	region    string
	balancers map[string]*types.LoadBalancer
	targets   map[string]*types.TargetGroup
	listeners map[string]*types.Listener
	ready     map[string]time.Time // when a balancer is there
}

// New is a region without balancers.
func New(region string, store *resource.Store, network Network) *State {
	return &State{
		store:     store,
		network:   network,
		region:    region,
		balancers: map[string]*types.LoadBalancer{},
		targets:   map[string]*types.TargetGroup{},
		listeners: map[string]*types.Listener{},
		ready:     map[string]time.Time{},
	}
}

// Things are the ARNs of balancers and target groups.
func (b *State) Things() []string {
	var all []string
	for arn := range b.balancers {
		all = append(all, arn)
	}
	for arn := range b.targets {
		all = append(all, arn)
	}
	return all
}

func (b *State) arn(kind, name string) *string {
	return aws.String("arn:aws:elasticloadbalancing:" + b.region + ":" + resource.AccountID + ":" + kind + "/" + name +
		"/" + b.store.Numbers.ID("x"))
}

// Operations are those of Elastic Load Balancing.
var Operations = resource.Join(
	resource.Op(createLoadBalancer), resource.Op(describeLoadBalancers), resource.Op(modifyLoadBalancerAttributes),
	resource.Op(deleteLoadBalancer), resource.Op(createListener), resource.Op(createTargetGroup),
	resource.Op(describeTargetGroups), resource.Op(modifyTargetGroupAttributes), resource.Op(deleteTargetGroup),
	resource.Op(describeTargetHealth),
)

func createLoadBalancer(b *State, in *elb.CreateLoadBalancerInput) (*elb.CreateLoadBalancerOutput, error) {
	name := aws.ToString(in.Name)
	for _, balancer := range b.balancers {
		if *balancer.LoadBalancerName == name {
			return &elb.CreateLoadBalancerOutput{LoadBalancers: []types.LoadBalancer{*balancer}}, nil
		}
	}
	made := &types.LoadBalancer{
		LoadBalancerArn:  b.arn("loadbalancer/net", name),
		LoadBalancerName: in.Name,
		Type:             in.Type,
		Scheme:           in.Scheme,
		State:            &types.LoadBalancerState{Code: types.LoadBalancerStateEnumProvisioning},
	}
	for _, mapping := range in.SubnetMappings {
		if err := b.plugBalancer(made, name, mapping); err != nil {
			return nil, err
		}
	}
	b.balancers[*made.LoadBalancerArn] = made
	b.ready[*made.LoadBalancerArn] = time.Now().Add(b.store.Behaviour.Pace)
	return &elb.CreateLoadBalancerOutput{LoadBalancers: []types.LoadBalancer{*made}}, nil
}

// plugBalancer gives a balancer its interface and address in a subnet.
func (b *State) plugBalancer(balancer *types.LoadBalancer, name string, mapping types.SubnetMapping) error {
	subnet, err := b.network.Subnet(mapping.SubnetId)
	if err != nil {
		return &types.SubnetNotFoundException{
			Message: aws.String(apierror.SubnetNotFound.Text(aws.ToString(mapping.SubnetId))),
		}
	}
	zone := types.AvailabilityZone{SubnetId: subnet.SubnetId, ZoneName: subnet.AvailabilityZone}
	var address *ec2types.Address
	if mapping.AllocationId != nil {
		if address, err = b.network.Address(mapping.AllocationId); err != nil {
			return &types.AllocationIdNotFoundException{
				Message: aws.String(apierror.AllocationIDNotFound.Text(aws.ToString(mapping.AllocationId))),
			}
		}
		zone.LoadBalancerAddresses = []types.LoadBalancerAddress{{
			AllocationId: mapping.AllocationId,
			IpAddress:    address.PublicIp,
		}}
	}
	b.network.Plug(subnet, address, description(name))
	balancer.VpcId = subnet.VpcId
	balancer.AvailabilityZones = append(balancer.AvailabilityZones, zone)
	return nil
}

// description is the prefix of the descriptions of a balancer's interfaces.
func description(name string) string { return "ELB net/" + name + "/" }

func describeLoadBalancers(
	b *State, in *elb.DescribeLoadBalancersInput,
) (*elb.DescribeLoadBalancersOutput, error) {
	out := &elb.DescribeLoadBalancersOutput{}
	for arn, balancer := range b.balancers {
		if len(in.Names) > 0 && !slices.Contains(in.Names, *balancer.LoadBalancerName) ||
			len(in.LoadBalancerArns) > 0 && !slices.Contains(in.LoadBalancerArns, arn) {
			continue
		}
		if !time.Now().Before(b.ready[arn]) {
			balancer.State = &types.LoadBalancerState{Code: types.LoadBalancerStateEnumActive}
		}
		out.LoadBalancers = append(out.LoadBalancers, *balancer)
	}
	if len(out.LoadBalancers) < len(in.Names)+len(in.LoadBalancerArns) {
		return nil, &types.LoadBalancerNotFoundException{Message: aws.String(apierror.LoadBalancerNotFound.Text())}
	}
	slices.SortFunc(out.LoadBalancers, func(x, y types.LoadBalancer) int {
		return strings.Compare(*x.LoadBalancerArn, *y.LoadBalancerArn)
	})
	return out, nil
}

func (b *State) balancer(arn *string) (*types.LoadBalancer, error) {
	if found := b.balancers[aws.ToString(arn)]; found != nil {
		return found, nil
	}
	return nil, &types.LoadBalancerNotFoundException{Message: aws.String(apierror.LoadBalancerNotFound.Text())}
}

func modifyLoadBalancerAttributes(
	b *State, in *elb.ModifyLoadBalancerAttributesInput,
) (*elb.ModifyLoadBalancerAttributesOutput, error) {
	_, err := b.balancer(in.LoadBalancerArn)
	return nil, err
}

func deleteLoadBalancer(b *State, in *elb.DeleteLoadBalancerInput) (*elb.DeleteLoadBalancerOutput, error) {
	found := b.balancers[aws.ToString(in.LoadBalancerArn)]
	if found == nil {
		return nil, nil // as AWS has it
	}
	b.network.Unplug(description(*found.LoadBalancerName))
	for arn, listener := range b.listeners {
		if *listener.LoadBalancerArn == *found.LoadBalancerArn {
			delete(b.listeners, arn)
		}
	}
	delete(b.balancers, *found.LoadBalancerArn)
	return nil, nil
}

func createListener(b *State, in *elb.CreateListenerInput) (*elb.CreateListenerOutput, error) {
	balancer, err := b.balancer(in.LoadBalancerArn)
	if err != nil {
		return nil, err
	}
	for _, listener := range b.listeners {
		if *listener.LoadBalancerArn == *balancer.LoadBalancerArn && *listener.Port == *in.Port {
			return nil, &types.DuplicateListenerException{
				Message: aws.String(apierror.DuplicateListener.Text(aws.ToString(in.LoadBalancerArn))),
			}
		}
	}
	made := &types.Listener{
		ListenerArn:     b.arn("listener/net", *balancer.LoadBalancerName),
		LoadBalancerArn: in.LoadBalancerArn,
		Port:            in.Port,
		Protocol:        in.Protocol,
		DefaultActions:  in.DefaultActions,
	}
	b.listeners[*made.ListenerArn] = made
	return &elb.CreateListenerOutput{Listeners: []types.Listener{*made}}, nil
}

func createTargetGroup(b *State, in *elb.CreateTargetGroupInput) (*elb.CreateTargetGroupOutput, error) {
	for _, group := range b.targets {
		if *group.TargetGroupName == *in.Name {
			return &elb.CreateTargetGroupOutput{TargetGroups: []types.TargetGroup{*group}}, nil
		}
	}
	made := &types.TargetGroup{
		TargetGroupArn:  b.arn("targetgroup", *in.Name),
		TargetGroupName: in.Name,
		Port:            in.Port,
		Protocol:        in.Protocol,
		VpcId:           in.VpcId,
		HealthCheckPath: in.HealthCheckPath,
	}
	b.targets[*made.TargetGroupArn] = made
	return &elb.CreateTargetGroupOutput{TargetGroups: []types.TargetGroup{*made}}, nil
}

func (b *State) targetGroup(arn *string) (*types.TargetGroup, error) {
	if found := b.targets[aws.ToString(arn)]; found != nil {
		return found, nil
	}
	return nil, &types.TargetGroupNotFoundException{Message: aws.String(apierror.TargetGroupNotFound.Text())}
}

func describeTargetGroups(b *State, in *elb.DescribeTargetGroupsInput) (*elb.DescribeTargetGroupsOutput, error) {
	out := &elb.DescribeTargetGroupsOutput{}
	for arn, group := range b.targets {
		if len(in.Names) > 0 && !slices.Contains(in.Names, *group.TargetGroupName) ||
			len(in.TargetGroupArns) > 0 && !slices.Contains(in.TargetGroupArns, arn) {
			continue
		}
		out.TargetGroups = append(out.TargetGroups, *group)
	}
	if len(out.TargetGroups) < len(in.Names)+len(in.TargetGroupArns) {
		return nil, &types.TargetGroupNotFoundException{Message: aws.String(apierror.TargetGroupNotFound.Text())}
	}
	return out, nil
}

func modifyTargetGroupAttributes(
	b *State, in *elb.ModifyTargetGroupAttributesInput,
) (*elb.ModifyTargetGroupAttributesOutput, error) {
	_, err := b.targetGroup(in.TargetGroupArn)
	return nil, err
}

func deleteTargetGroup(b *State, in *elb.DeleteTargetGroupInput) (*elb.DeleteTargetGroupOutput, error) {
	group, err := b.targetGroup(in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	for _, listener := range b.listeners {
		for _, action := range listener.DefaultActions {
			if aws.ToString(action.TargetGroupArn) == *group.TargetGroupArn {
				return nil, &types.ResourceInUseException{
					Message: aws.String(apierror.TargetGroupInUse.Text(aws.ToString(in.TargetGroupArn))),
				}
			}
		}
	}
	delete(b.targets, *group.TargetGroupArn)
	return nil, nil
}

func describeTargetHealth(b *State, in *elb.DescribeTargetHealthInput) (*elb.DescribeTargetHealthOutput, error) {
	group, err := b.targetGroup(in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	out := &elb.DescribeTargetHealthOutput{}
	for _, id := range b.network.Members(*group.TargetGroupArn) {
		health := &types.TargetHealth{State: types.TargetHealthStateEnumHealthy}
		if !b.network.Healthy(id) {
			health.State = types.TargetHealthStateEnumUnhealthy
			health.Description = aws.String("Health checks failed")
		}
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, types.TargetHealthDescription{
			Target:       &types.TargetDescription{Id: aws.String(id), Port: group.Port},
			TargetHealth: health,
		})
	}
	return out, nil
}
