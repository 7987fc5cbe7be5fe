package endpoint

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// A dry run is answered here and never reaches moto, which carries some of them out.

// dryRun checks what can be checked without a change. Its answer is always an error, as EC2's is.
func (s *Server) dryRun(ctx context.Context, c *awsquery.Call) error {
	if err := s.haveAll(ctx, c); err != nil {
		return err
	}
	switch c.Action() {
	case "RunInstances":
		if err := s.compute.Launches.Check(ctx, c); err != nil {
			return err
		}
	case "AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress":
		if _, err := s.security.Admit(ctx, c); err != nil {
			return err
		}
	}
	return awsquery.Fault(apierror.DryRunOperation)
}

// describers are the calls that know whether there is a thing, by the beginning of its id.
var describers = map[string][2]string{
	"vol":      {"DescribeVolumes", "VolumeId.1"},
	"snap":     {"DescribeSnapshots", "SnapshotId.1"},
	"vpc":      {"DescribeVpcs", "VpcId.1"},
	"subnet":   {"DescribeSubnets", "SubnetId.1"},
	"sg":       {"DescribeSecurityGroups", "GroupId.1"},
	"rtb":      {"DescribeRouteTables", "RouteTableId.1"},
	"igw":      {"DescribeInternetGateways", "InternetGatewayId.1"},
	"nat":      {"DescribeNatGateways", "NatGatewayId.1"},
	"eni":      {"DescribeNetworkInterfaces", "NetworkInterfaceId.1"},
	"acl":      {"DescribeNetworkAcls", "NetworkAclId.1"},
	"eipalloc": {"DescribeAddresses", "AllocationId.1"},
	"ami":      {"DescribeImages", "ImageId.1"},
	"lt":       {"DescribeLaunchTemplates", "LaunchTemplateId.1"},
}

// haveAll refuses a call that names what is not there.
func (s *Server) haveAll(ctx context.Context, c *awsquery.Call) error {
	for _, name := range slices.Sorted(maps.Keys(c.Form)) {
		for _, id := range c.Form[name] {
			if awsquery.FreeText.MatchString(name) || awsquery.ResourceID.FindString(id) != id || id == "" {
				continue
			}
			kind := id[:strings.LastIndexByte(id, '-')]
			if _, ok := s.records.Instance(id); kind == "i" && !ok {
				return awsquery.Fault(apierror.InvalidInstanceIDNotFound, id)
			}
			describe, ok := describers[kind]
			if !ok {
				continue
			}
			if _, err := s.moto.Ask(ctx, awsquery.NewCall("ec2", describe[0], describe[1], id)); err != nil {
				return err
			}
		}
	}
	return nil
}
