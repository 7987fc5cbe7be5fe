package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// stoppedByDown is why an instance that ran when the cloud went down is stopped.
const stoppedByDown = "Server.ScheduledStop: the local cloud was down"

// reconcile makes records and machines agree after a start: what ran is stopped, what was half made is gone.
func (s *Server) reconcile(ctx context.Context) error {
	items, err := s.livingInstances(ctx)
	if err != nil {
		return err
	}
	machines := s.machinery.Machines()
	present := map[string]bool{}
	for _, item := range items {
		id := item.Get("instanceId")
		record, known := s.instance(id)
		_, real := machines[id]
		if !known || !real || record.State == "terminated" || record.State == "shutting-down" {
			s.config.Log.Warn("an instance was half made or half ended; it is terminated", "instance", id, "known", known, "machine", real)
			if err := s.forget(ctx, id); err != nil {
				return err
			}
			continue
		}
		present[id] = true
		if _, err := s.note(ctx, awsquery.NewCall("ec2", "StopInstances", "InstanceId.1", id)); err != nil {
			return err
		}
		if record.State != "stopped" {
			s.setState(id, "stopped", stoppedByDown)
		}
	}
	for id := range s.machinery.Machines() {
		if !present[id] {
			if err := s.machinery.TerminateMachine(ctx, id, false); err != nil {
				return err
			}
		}
	}
	return s.tidy(present)
}

// tidy forgets the records of what is gone, and settles images that were being made.
func (s *Server) tidy(instances map[string]bool) error {
	images := s.machinery.Images()
	return s.update(func(o *overlay) {
		for id := range o.Instances {
			if !instances[id] {
				delete(o.Instances, id)
			}
		}
		for token, launched := range o.Launches {
			if !slices.ContainsFunc(launched.Instances, func(id string) bool { return instances[id] }) {
				delete(o.Launches, token)
			}
		}
		for id, image := range o.Images {
			switch {
			case image.Gone:
				delete(o.Images, id)
			case image.State == "pending" && slices.Contains(images, id):
				image.State = "available"
			case image.State == "pending":
				image.State, image.Reason = "failed", "the local cloud ended while the image was made"
			}
		}
	})
}

// livingInstances are the instances, as the server behind has them, that are not terminated.
func (s *Server) livingInstances(ctx context.Context) ([]*awsquery.Node, error) {
	question := awsquery.NewCall("ec2", "DescribeInstances", "MaxResults", everything, "Filter.1.Name", "instance-state-name").
		With("Filter.1.Value", "pending", "running", "stopping", "stopped")
	described, err := s.ask(ctx, question)
	if err != nil {
		return nil, err
	}
	var items []*awsquery.Node
	for _, reservation := range described.Items("reservationSet") {
		items = append(items, reservation.Items("instancesSet")...)
	}
	return items, nil
}

// everything is a page size for all there is: the server behind has pages of 100 unless told.
const everything = "1000000"

// openDefaultVPC gives the default VPC its way to the internet and its group's rule, which the server behind leaves out.
// It is done once, in calls that are the first of the journal; later the VPC is its users'.
func (s *Server) openDefaultVPC(ctx context.Context) error {
	vpc, err := s.defaultVPC(ctx)
	if err != nil || vpc == "" {
		return err // it was deleted
	}
	steps := []func() error{
		func() error {
			_, err := s.forward(ctx, awsquery.NewCall("ec2", "CreateInternetGateway"))
			return err
		},
		func() error {
			gateway, err := s.first(ctx, awsquery.NewCall("ec2", "DescribeInternetGateways"), "internetGatewaySet", "internetGatewayId")
			if err != nil {
				return err
			}
			_, err = s.forward(ctx, awsquery.NewCall("ec2", "AttachInternetGateway", "InternetGatewayId", gateway, "VpcId", vpc))
			return err
		},
		func() error {
			gateway, err := s.first(ctx, awsquery.NewCall("ec2", "DescribeInternetGateways"), "internetGatewaySet", "internetGatewayId")
			if err != nil {
				return err
			}
			table, err := s.first(ctx, awsquery.NewCall("ec2", "DescribeRouteTables", "Filter.1.Name", "vpc-id", "Filter.1.Value.1", vpc), "routeTableSet", "routeTableId")
			if err != nil {
				return err
			}
			_, err = s.forward(ctx, awsquery.NewCall("ec2", "CreateRoute", "RouteTableId", table, "DestinationCidrBlock", "0.0.0.0/0", "GatewayId", gateway))
			return err
		},
		func() error { return s.admitMembers(ctx, vpc) },
	}
	// A crash may have come between two of them.
	for i := len(s.journal.entries); err == nil && i < len(steps); i++ {
		err = steps[i]()
	}
	return err
}

// defaultVPC is the id of the default VPC, or empty if it was deleted.
func (s *Server) defaultVPC(ctx context.Context) (string, error) {
	described, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeVpcs", "Filter.1.Name", "isDefault", "Filter.1.Value.1", "true"))
	if err != nil {
		return "", err
	}
	for _, vpc := range described.Items("vpcSet") {
		return vpc.Get("vpcId"), nil
	}
	return "", nil
}

// admitMembers has the default group of a VPC admit everything from its own members, as EC2's do.
func (s *Server) admitMembers(ctx context.Context, vpc string) error {
	group, err := s.first(ctx, awsquery.NewCall("ec2", "DescribeSecurityGroups", "Filter.1.Name", "vpc-id", "Filter.1.Value.1", vpc,
		"Filter.2.Name", "group-name", "Filter.2.Value.1", "default"), "securityGroupInfo", "groupId")
	if err != nil {
		return err
	}
	_, err = s.forward(ctx, awsquery.NewCall("ec2", "AuthorizeSecurityGroupIngress", "GroupId", group,
		"IpPermissions.1.IpProtocol", "-1", "IpPermissions.1.Groups.1.GroupId", group))
	return err
}

// first is the id of the first thing that a call describes.
func (s *Server) first(ctx context.Context, c *awsquery.Call, set, id string) (string, error) {
	described, err := s.ask(ctx, c)
	if err != nil {
		return "", err
	}
	for _, item := range described.Items(set) {
		return item.Get(id), nil
	}
	return "", fmt.Errorf("%s: the API server has none", c)
}

// terminatedFor is how long a terminated instance is still described.
const terminatedFor = time.Hour
