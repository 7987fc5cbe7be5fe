package ec2fake

import (
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// balancing are load balancers and their target groups, by ARN.
type balancing struct {
	balancers map[string]*types.LoadBalancer
	targets   map[string]*types.TargetGroup
	listeners map[string]*types.Listener
	ready     map[string]time.Time // when a balancer is there
}

func newBalancing() balancing {
	return balancing{
		balancers: map[string]*types.LoadBalancer{},
		targets:   map[string]*types.TargetGroup{},
		listeners: map[string]*types.Listener{},
		ready:     map[string]time.Time{},
	}
}

func (b *balancing) things() []string {
	var all []string
	for arn := range b.balancers {
		all = append(all, arn)
	}
	for arn := range b.targets {
		all = append(all, arn)
	}
	return all
}

func (r *Region) arn(kind, name string) *string {
	return aws.String("arn:aws:elasticloadbalancing:" + r.name + ":" + Number + ":" + kind + "/" + name + "/" +
		r.account.newID("x"))
}

var balancerOperations = ops(
	op(createLoadBalancer), op(describeLoadBalancers), op(modifyLoadBalancerAttributes), op(deleteLoadBalancer),
	op(createListener),
)

func createLoadBalancer(r *Region, in *elb.CreateLoadBalancerInput) (*elb.CreateLoadBalancerOutput, error) {
	name := aws.ToString(in.Name)
	for _, balancer := range r.balancing.balancers {
		if *balancer.LoadBalancerName == name {
			return &elb.CreateLoadBalancerOutput{LoadBalancers: []types.LoadBalancer{*balancer}}, nil
		}
	}
	made := &types.LoadBalancer{
		LoadBalancerArn:  r.arn("loadbalancer/net", name),
		LoadBalancerName: in.Name,
		Type:             in.Type,
		Scheme:           in.Scheme,
		State:            &types.LoadBalancerState{Code: types.LoadBalancerStateEnumProvisioning},
	}
	for _, mapping := range in.SubnetMappings {
		if err := r.plugBalancer(made, name, mapping); err != nil {
			return nil, err
		}
	}
	r.balancing.balancers[*made.LoadBalancerArn] = made
	r.balancing.ready[*made.LoadBalancerArn] = time.Now().Add(r.account.Pace)
	return &elb.CreateLoadBalancerOutput{LoadBalancers: []types.LoadBalancer{*made}}, nil
}

// plugBalancer gives a balancer its interface and address in a subnet.
func (r *Region) plugBalancer(balancer *types.LoadBalancer, name string, mapping types.SubnetMapping) error {
	subnet, err := find(r, &r.network.subnets, mapping.SubnetId)
	if err != nil {
		return &types.SubnetNotFoundException{Message: mapping.SubnetId}
	}
	eni := create(r, &r.compute.interfaces, "eni", ec2types.ResourceTypeNetworkInterface, nil,
		func(id string) *ec2types.NetworkInterface {
			return &ec2types.NetworkInterface{
				NetworkInterfaceId: aws.String(id),
				SubnetId:           subnet.SubnetId,
				VpcId:              subnet.VpcId,
				Description:        aws.String("ELB net/" + name + "/" + id),
				Attachment:         &ec2types.NetworkInterfaceAttachment{},
			}
		})
	zone := types.AvailabilityZone{SubnetId: subnet.SubnetId, ZoneName: subnet.AvailabilityZone}
	if mapping.AllocationId != nil {
		address, err := find(r, &r.compute.addresses, mapping.AllocationId)
		if err != nil {
			return &types.AllocationIdNotFoundException{Message: mapping.AllocationId}
		}
		address.AssociationId = aws.String(r.account.newID("eipassoc"))
		address.NetworkInterfaceId = eni.NetworkInterfaceId
		zone.LoadBalancerAddresses = []types.LoadBalancerAddress{{
			AllocationId: mapping.AllocationId,
			IpAddress:    address.PublicIp,
		}}
	}
	balancer.VpcId = subnet.VpcId
	balancer.AvailabilityZones = append(balancer.AvailabilityZones, zone)
	return nil
}

func describeLoadBalancers(
	r *Region, in *elb.DescribeLoadBalancersInput,
) (*elb.DescribeLoadBalancersOutput, error) {
	out := &elb.DescribeLoadBalancersOutput{}
	for arn, balancer := range r.balancing.balancers {
		if len(in.Names) > 0 && !slices.Contains(in.Names, *balancer.LoadBalancerName) ||
			len(in.LoadBalancerArns) > 0 && !slices.Contains(in.LoadBalancerArns, arn) {
			continue
		}
		if !time.Now().Before(r.balancing.ready[arn]) {
			balancer.State = &types.LoadBalancerState{Code: types.LoadBalancerStateEnumActive}
		}
		out.LoadBalancers = append(out.LoadBalancers, *balancer)
	}
	if len(out.LoadBalancers) < len(in.Names)+len(in.LoadBalancerArns) {
		return nil, &types.LoadBalancerNotFoundException{Message: aws.String("One or more load balancers not found")}
	}
	slices.SortFunc(out.LoadBalancers, func(x, y types.LoadBalancer) int {
		return strings.Compare(*x.LoadBalancerArn, *y.LoadBalancerArn)
	})
	return out, nil
}

func (r *Region) balancer(arn *string) (*types.LoadBalancer, error) {
	if found := r.balancing.balancers[aws.ToString(arn)]; found != nil {
		return found, nil
	}
	return nil, &types.LoadBalancerNotFoundException{Message: arn}
}

func modifyLoadBalancerAttributes(
	r *Region, in *elb.ModifyLoadBalancerAttributesInput,
) (*elb.ModifyLoadBalancerAttributesOutput, error) {
	_, err := r.balancer(in.LoadBalancerArn)
	return nil, err
}

func deleteLoadBalancer(r *Region, in *elb.DeleteLoadBalancerInput) (*elb.DeleteLoadBalancerOutput, error) {
	found := r.balancing.balancers[aws.ToString(in.LoadBalancerArn)]
	if found == nil {
		return nil, nil // as AWS has it
	}
	prefix := "ELB net/" + *found.LoadBalancerName + "/"
	for _, row := range slices.Clone(r.compute.interfaces.rows) {
		if !strings.HasPrefix(aws.ToString(row.value.Description), prefix) {
			continue
		}
		r.compute.interfaces.remove(row.id)
		for _, address := range r.compute.addresses.rows {
			if aws.ToString(address.value.NetworkInterfaceId) == row.id {
				address.value.AssociationId, address.value.NetworkInterfaceId = nil, nil
			}
		}
	}
	for arn, listener := range r.balancing.listeners {
		if *listener.LoadBalancerArn == *found.LoadBalancerArn {
			delete(r.balancing.listeners, arn)
		}
	}
	delete(r.balancing.balancers, *found.LoadBalancerArn)
	return nil, nil
}

func createListener(r *Region, in *elb.CreateListenerInput) (*elb.CreateListenerOutput, error) {
	balancer, err := r.balancer(in.LoadBalancerArn)
	if err != nil {
		return nil, err
	}
	for _, listener := range r.balancing.listeners {
		if *listener.LoadBalancerArn == *balancer.LoadBalancerArn && *listener.Port == *in.Port {
			return nil, &types.DuplicateListenerException{Message: aws.String("A listener already exists on this port")}
		}
	}
	made := &types.Listener{
		ListenerArn:     r.arn("listener/net", *balancer.LoadBalancerName),
		LoadBalancerArn: in.LoadBalancerArn,
		Port:            in.Port,
		Protocol:        in.Protocol,
		DefaultActions:  in.DefaultActions,
	}
	r.balancing.listeners[*made.ListenerArn] = made
	return &elb.CreateListenerOutput{Listeners: []types.Listener{*made}}, nil
}

var targetOperations = ops(
	op(createTargetGroup), op(describeTargetGroups), op(modifyTargetGroupAttributes), op(deleteTargetGroup),
	op(describeTargetHealth),
)

func createTargetGroup(r *Region, in *elb.CreateTargetGroupInput) (*elb.CreateTargetGroupOutput, error) {
	for _, group := range r.balancing.targets {
		if *group.TargetGroupName == *in.Name {
			return &elb.CreateTargetGroupOutput{TargetGroups: []types.TargetGroup{*group}}, nil
		}
	}
	made := &types.TargetGroup{
		TargetGroupArn:  r.arn("targetgroup", *in.Name),
		TargetGroupName: in.Name,
		Port:            in.Port,
		Protocol:        in.Protocol,
		VpcId:           in.VpcId,
		HealthCheckPath: in.HealthCheckPath,
	}
	r.balancing.targets[*made.TargetGroupArn] = made
	return &elb.CreateTargetGroupOutput{TargetGroups: []types.TargetGroup{*made}}, nil
}

func (r *Region) targetGroup(arn *string) (*types.TargetGroup, error) {
	if found := r.balancing.targets[aws.ToString(arn)]; found != nil {
		return found, nil
	}
	return nil, &types.TargetGroupNotFoundException{Message: arn}
}

func describeTargetGroups(r *Region, in *elb.DescribeTargetGroupsInput) (*elb.DescribeTargetGroupsOutput, error) {
	out := &elb.DescribeTargetGroupsOutput{}
	for arn, group := range r.balancing.targets {
		if len(in.Names) > 0 && !slices.Contains(in.Names, *group.TargetGroupName) ||
			len(in.TargetGroupArns) > 0 && !slices.Contains(in.TargetGroupArns, arn) {
			continue
		}
		out.TargetGroups = append(out.TargetGroups, *group)
	}
	if len(out.TargetGroups) < len(in.Names)+len(in.TargetGroupArns) {
		return nil, &types.TargetGroupNotFoundException{Message: aws.String("One or more target groups not found")}
	}
	return out, nil
}

func modifyTargetGroupAttributes(
	r *Region, in *elb.ModifyTargetGroupAttributesInput,
) (*elb.ModifyTargetGroupAttributesOutput, error) {
	_, err := r.targetGroup(in.TargetGroupArn)
	return nil, err
}

func deleteTargetGroup(r *Region, in *elb.DeleteTargetGroupInput) (*elb.DeleteTargetGroupOutput, error) {
	group, err := r.targetGroup(in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	for _, listener := range r.balancing.listeners {
		for _, action := range listener.DefaultActions {
			if aws.ToString(action.TargetGroupArn) == *group.TargetGroupArn {
				return nil, &types.ResourceInUseException{Message: aws.String("Target group is currently in use")}
			}
		}
	}
	delete(r.balancing.targets, *group.TargetGroupArn)
	return nil, nil
}

func describeTargetHealth(r *Region, in *elb.DescribeTargetHealthInput) (*elb.DescribeTargetHealthOutput, error) {
	group, err := r.targetGroup(in.TargetGroupArn)
	if err != nil {
		return nil, err
	}
	out := &elb.DescribeTargetHealthOutput{}
	for _, scaled := range r.scaling.groups {
		if !slices.Contains(scaled.TargetGroupARNs, *group.TargetGroupArn) {
			continue
		}
		for _, member := range scaled.Instances {
			health := &types.TargetHealth{State: types.TargetHealthStateEnumHealthy}
			if !r.healthy(*member.InstanceId) {
				health.State = types.TargetHealthStateEnumUnhealthy
				health.Description = aws.String("Health checks failed")
			}
			out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, types.TargetHealthDescription{
				Target:       &types.TargetDescription{Id: member.InstanceId, Port: group.Port},
				TargetHealth: health,
			})
		}
	}
	return out, nil
}
