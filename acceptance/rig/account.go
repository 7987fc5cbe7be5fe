//go:build acceptance

package rig

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
)

// Account is all that an account has and pays for or stumbles over later, of each service that Goldsmith uses, but for
// images and snapshots. What EC2 still shows for an hour although it is gone is not listed.
func Account(t testing.TB) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conf, err := awsconfig.Load(ctx, awsconfig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, list := range []func(context.Context) ([]string, error){
		Instances, KeyPairs, SecurityGroups, Volumes, Addresses, networks, interfaces, natGateways, launchTemplates,
		scalingGroupsOf(autoscaling.NewFromConfig(conf)), balancersOf(elb.NewFromConfig(conf)),
		identitiesOf(iam.NewFromConfig(conf)), parametersOf(ssm.NewFromConfig(conf)),
	} {
		found, err := list(ctx)
		if err != nil {
			t.Fatalf("list the account: %v", err)
		}
		all = append(all, found...)
	}
	slices.Sort(all)
	return all
}

// each names the items of a list, but those without a name.
func each[T any](what string, items []T, name func(T) *string) []string {
	var all []string
	for _, item := range items {
		if n := aws.ToString(name(item)); n != "" {
			all = append(all, what+" "+n)
		}
	}
	return all
}

func networks(ctx context.Context) ([]string, error) {
	vpcs, err := API.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{})
	if err != nil {
		return nil, err
	}
	subnets, err := API.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		return nil, err
	}
	gateways, err := API.DescribeInternetGateways(ctx, &ec2.DescribeInternetGatewaysInput{})
	if err != nil {
		return nil, err
	}
	tables, err := API.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{})
	if err != nil {
		return nil, err
	}
	return slices.Concat(
		each("VPC", vpcs.Vpcs, func(v types.Vpc) *string { return v.VpcId }),
		each("subnet", subnets.Subnets, func(s types.Subnet) *string { return s.SubnetId }),
		each("internet gateway", gateways.InternetGateways,
			func(g types.InternetGateway) *string { return g.InternetGatewayId }),
		each("route table", tables.RouteTables, func(r types.RouteTable) *string { return r.RouteTableId }),
	), nil
}

func interfaces(ctx context.Context) ([]string, error) {
	out, err := API.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{})
	if err != nil {
		return nil, err
	}
	return each("network interface", out.NetworkInterfaces,
		func(i types.NetworkInterface) *string { return i.NetworkInterfaceId }), nil
}

func natGateways(ctx context.Context) ([]string, error) {
	out, err := API.DescribeNatGateways(ctx, &ec2.DescribeNatGatewaysInput{})
	if err != nil {
		return nil, err
	}
	return each("NAT gateway", out.NatGateways, func(n types.NatGateway) *string {
		if n.State == types.NatGatewayStateDeleted {
			return nil
		}
		return n.NatGatewayId
	}), nil
}

func launchTemplates(ctx context.Context) ([]string, error) {
	out, err := API.DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{})
	if err != nil {
		return nil, err
	}
	return each("launch template", out.LaunchTemplates,
		func(t types.LaunchTemplate) *string { return t.LaunchTemplateName }), nil
}

func scalingGroupsOf(api *autoscaling.Client) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		out, err := api.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{})
		if err != nil {
			return nil, err
		}
		var all []string
		for _, g := range out.AutoScalingGroups {
			all = append(all, "Auto Scaling group "+aws.ToString(g.AutoScalingGroupName))
		}
		return all, nil
	}
}

func balancersOf(api *elb.Client) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		balancers, err := api.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{})
		if err != nil {
			return nil, err
		}
		groups, err := api.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{})
		if err != nil {
			return nil, err
		}
		var all []string
		for _, b := range balancers.LoadBalancers {
			all = append(all, "load balancer "+aws.ToString(b.LoadBalancerName))
		}
		for _, g := range groups.TargetGroups {
			all = append(all, "target group "+aws.ToString(g.TargetGroupName))
		}
		return all, nil
	}
}

func identitiesOf(api *iam.Client) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		var all []string
		roles := iam.NewListRolesPaginator(api, &iam.ListRolesInput{})
		for roles.HasMorePages() {
			page, err := roles.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			for _, r := range page.Roles {
				all = append(all, "role "+aws.ToString(r.RoleName))
			}
		}
		profiles := iam.NewListInstanceProfilesPaginator(api, &iam.ListInstanceProfilesInput{})
		for profiles.HasMorePages() {
			page, err := profiles.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			for _, p := range page.InstanceProfiles {
				all = append(all, "instance profile "+aws.ToString(p.InstanceProfileName))
			}
		}
		return all, nil
	}
}

func parametersOf(api *ssm.Client) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		var all []string
		pages := ssm.NewDescribeParametersPaginator(api, &ssm.DescribeParametersInput{})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return nil, err
			}
			for _, p := range page.Parameters {
				all = append(all, "parameter "+aws.ToString(p.Name))
			}
		}
		return all, nil
	}
}
