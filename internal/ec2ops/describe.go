package ec2ops

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
)

// pages are the results of all pages.
func pages[O, T any](more func() bool, next func() (O, error), of func(O) []T) ([]T, error) {
	var all []T
	for more() {
		page, err := next()
		if err != nil {
			return nil, err
		}
		all = append(all, of(page)...)
	}
	return all, nil
}

// Instances are the instances that EC2 describes, of all pages and reservations.
func Instances(
	ctx context.Context, api ec2.DescribeInstancesAPIClient, in *ec2.DescribeInstancesInput,
) ([]types.Instance, error) {
	p := ec2.NewDescribeInstancesPaginator(api, in)
	next := func() (*ec2.DescribeInstancesOutput, error) { return p.NextPage(ctx) }
	return pages(p.HasMorePages, next, instancesOf)
}

func instancesOf(out *ec2.DescribeInstancesOutput) []types.Instance {
	var all []types.Instance
	if out == nil {
		return nil
	}
	for _, reservation := range out.Reservations {
		all = append(all, reservation.Instances...)
	}
	return all
}

// Instance is one instance. That EC2 answers without it is an error as if EC2 had said that it is not there.
func Instance(ctx context.Context, api ec2.DescribeInstancesAPIClient, id string) (types.Instance, error) {
	all, err := Instances(ctx, api, &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	return one(id, apierror.InvalidInstanceIDNotFound, all, err)
}

// one returns the only resource of a Describe call for one id; missing is the error where the answer is empty.
func one[T any](id string, missing *apierror.Row, all []T, err error) (found T, _ error) {
	if err == nil && len(all) == 0 {
		err = &smithy.GenericAPIError{Code: missing.Code, Message: missing.Text(id)}
	}
	if err != nil {
		return found, fmt.Errorf("look at %s: %w", id, err)
	}
	return all[0], nil
}

// StateOf is the state of an instance, and whether it is one from which it does not come back.
func StateOf(i types.Instance) (state types.InstanceStateName, over bool) {
	if i.State == nil {
		return "", false
	}
	state = i.State.Name
	return state, state == types.InstanceStateNameTerminated || state == types.InstanceStateNameShuttingDown
}

// Images are the images that EC2 describes, of all pages.
func Images(
	ctx context.Context, api ec2.DescribeImagesAPIClient, in *ec2.DescribeImagesInput,
) ([]types.Image, error) {
	p := ec2.NewDescribeImagesPaginator(api, in)
	next := func() (*ec2.DescribeImagesOutput, error) { return p.NextPage(ctx) }
	return pages(p.HasMorePages, next, func(out *ec2.DescribeImagesOutput) []types.Image { return out.Images })
}

// OwnImages are the account's own images that pass the filters.
func OwnImages(
	ctx context.Context, api ec2.DescribeImagesAPIClient, filters ...types.Filter,
) ([]types.Image, error) {
	return Images(ctx, api, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: filters})
}

// OwnSnapshots are the account's own snapshots that pass the filters.
func OwnSnapshots(
	ctx context.Context, api ec2.DescribeSnapshotsAPIClient, filters ...types.Filter,
) ([]types.Snapshot, error) {
	input := &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: filters}
	p := ec2.NewDescribeSnapshotsPaginator(api, input)
	next := func() (*ec2.DescribeSnapshotsOutput, error) { return p.NextPage(ctx) }
	return pages(p.HasMorePages, next, func(out *ec2.DescribeSnapshotsOutput) []types.Snapshot { return out.Snapshots })
}

// Volumes are the volumes that EC2 describes, of all pages.
func Volumes(
	ctx context.Context, api ec2.DescribeVolumesAPIClient, in *ec2.DescribeVolumesInput,
) ([]types.Volume, error) {
	p := ec2.NewDescribeVolumesPaginator(api, in)
	next := func() (*ec2.DescribeVolumesOutput, error) { return p.NextPage(ctx) }
	return pages(p.HasMorePages, next, func(out *ec2.DescribeVolumesOutput) []types.Volume { return out.Volumes })
}

// Subnets are the subnets that EC2 describes, of all pages.
func Subnets(
	ctx context.Context, api ec2.DescribeSubnetsAPIClient, in *ec2.DescribeSubnetsInput,
) ([]types.Subnet, error) {
	p := ec2.NewDescribeSubnetsPaginator(api, in)
	next := func() (*ec2.DescribeSubnetsOutput, error) { return p.NextPage(ctx) }
	return pages(p.HasMorePages, next, func(out *ec2.DescribeSubnetsOutput) []types.Subnet { return out.Subnets })
}

// VPCs are the VPCs that EC2 describes, of all pages.
func VPCs(ctx context.Context, api ec2.DescribeVpcsAPIClient, in *ec2.DescribeVpcsInput) ([]types.Vpc, error) {
	p := ec2.NewDescribeVpcsPaginator(api, in)
	next := func() (*ec2.DescribeVpcsOutput, error) { return p.NextPage(ctx) }
	return pages(p.HasMorePages, next, func(out *ec2.DescribeVpcsOutput) []types.Vpc { return out.Vpcs })
}

// SecurityGroups are the security groups that EC2 describes, of all pages.
func SecurityGroups(
	ctx context.Context, api ec2.DescribeSecurityGroupsAPIClient, in *ec2.DescribeSecurityGroupsInput,
) ([]types.SecurityGroup, error) {
	p := ec2.NewDescribeSecurityGroupsPaginator(api, in)
	next := func() (*ec2.DescribeSecurityGroupsOutput, error) { return p.NextPage(ctx) }
	of := func(out *ec2.DescribeSecurityGroupsOutput) []types.SecurityGroup { return out.SecurityGroups }
	return pages(p.HasMorePages, next, of)
}

// SecurityGroup is one security group. That EC2 answers without it is an error, as with Instance.
func SecurityGroup(
	ctx context.Context, api ec2.DescribeSecurityGroupsAPIClient, id string,
) (types.SecurityGroup, error) {
	all, err := SecurityGroups(ctx, api, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{id}})
	return one(id, apierror.InvalidGroupNotFound, all, err)
}

// VPC is one VPC. That EC2 answers without it is an error, as with Instance.
func VPC(ctx context.Context, api ec2.DescribeVpcsAPIClient, id string) (types.Vpc, error) {
	all, err := VPCs(ctx, api, &ec2.DescribeVpcsInput{VpcIds: []string{id}})
	return one(id, apierror.InvalidVpcIDNotFound, all, err)
}

// Volume is one volume. That EC2 answers without it is an error, as with Instance.
func Volume(ctx context.Context, api ec2.DescribeVolumesAPIClient, id string) (types.Volume, error) {
	all, err := Volumes(ctx, api, &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
	return one(id, apierror.InvalidVolumeNotFound, all, err)
}

// RouteTable is one route table. That EC2 answers without it is an error, as with Instance.
func RouteTable(ctx context.Context, api ec2.DescribeRouteTablesAPIClient, id string) (types.RouteTable, error) {
	all, err := RouteTables(ctx, api, &ec2.DescribeRouteTablesInput{RouteTableIds: []string{id}})
	return one(id, apierror.InvalidRouteTableIDNotFound, all, err)
}

// RouteTables are the route tables that EC2 describes, of all pages.
func RouteTables(
	ctx context.Context, api ec2.DescribeRouteTablesAPIClient, in *ec2.DescribeRouteTablesInput,
) ([]types.RouteTable, error) {
	p := ec2.NewDescribeRouteTablesPaginator(api, in)
	next := func() (*ec2.DescribeRouteTablesOutput, error) { return p.NextPage(ctx) }
	return pages(p.HasMorePages, next, func(out *ec2.DescribeRouteTablesOutput) []types.RouteTable {
		return out.RouteTables
	})
}

// SnapshotsOf are the snapshots that an image is made of.
func SnapshotsOf(image types.Image) []string {
	var ids []string
	for _, device := range image.BlockDeviceMappings {
		if device.Ebs != nil && aws.ToString(device.Ebs.SnapshotId) != "" {
			ids = append(ids, *device.Ebs.SnapshotId)
		}
	}
	return ids
}
