package network

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

// Not each zone has each instance type: us-east-1e, for example, has no t3. A subnet that EC2 puts into such a zone is
// found out at the first launch.

// chooseZone decides in which zone subnets are made: where one is already, else in the one that the stack file names,
// else in the first that has the instance types of all tiers. Both subnets are in one zone: traffic between zones
// costs.
func (u *update) chooseZone(ctx context.Context) error {
	named := u.stack.Settings.Network.AvailabilityZone
	for _, kind := range subnetKinds {
		for _, subnet := range u.n.Subnets[kind] {
			if named != "" && subnet.Zone != named {
				return fmt.Errorf("%s subnet %s is in %s, and the stack file wants %s, to which it cannot move\n"+
					"hint: write %s into the stack file, or make the stack anew after goldsmith destroy", kind,
					subnet.ID, subnet.Zone, named, subnet.Zone)
			}
			u.zone = subnet.Zone
		}
	}
	if u.zone != "" {
		return u.checkZones(ctx)
	}
	offered, err := u.offerings(ctx)
	if err != nil {
		return err
	}
	zones, err := u.zonesOf(ctx)
	if err != nil {
		return err
	}
	good := slices.DeleteFunc(zones, func(zone string) bool { return len(u.missingIn(offered[zone])) > 0 })
	switch {
	case named != "" && !slices.Contains(good, named):
		return fmt.Errorf("availability_zone: EC2 has no %s in %s\nhint: %s", u.allTypes(), named, u.goodZones(good))
	case named != "":
		u.zone = named
	case len(good) == 0:
		return fmt.Errorf("no zone of %s has %s\nhint: name other types, instance_type in the tiers of the stack file",
			u.stack.Config.Region, u.allTypes())
	default:
		u.zone = good[0]
	}
	return nil
}

func (u *update) goodZones(good []string) string {
	if len(good) == 0 {
		return "no zone of " + u.stack.Config.Region + " has it; name another instance_type"
	}
	return "there is " + u.allTypes() + " in " + strings.Join(good, ", ")
}

// zonesOf are the region's Availability Zones that can be used, in the order of their names.
func (u *update) zonesOf(ctx context.Context) ([]string, error) {
	out, err := u.stack.EC2.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{
		Filters: []types.Filter{ec2ops.Filter("zone-type", "availability-zone")},
	})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, zone := range out.AvailabilityZones {
		if zone.State == types.AvailabilityZoneStateAvailable {
			names = append(names, aws.ToString(zone.ZoneName))
		}
	}
	slices.Sort(names)
	return names, nil
}

// offerings are the instance types of the tiers that EC2 has, by zone.
func (u *update) offerings(ctx context.Context) (map[string][]string, error) {
	p := ec2.NewDescribeInstanceTypeOfferingsPaginator(u.stack.EC2, &ec2.DescribeInstanceTypeOfferingsInput{
		LocationType: types.LocationTypeAvailabilityZone,
		Filters:      []types.Filter{ec2ops.Filter("instance-type", u.types()...)},
	})
	offered := map[string][]string{}
	for p.HasMorePages() {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, offering := range page.InstanceTypeOfferings {
			zone := aws.ToString(offering.Location)
			offered[zone] = append(offered[zone], string(offering.InstanceType))
		}
	}
	return offered, nil
}

// types are the instance types of the tiers, each once.
func (u *update) types() []string {
	all := map[string]bool{}
	for _, t := range u.stack.Tiers {
		all[t.InstanceType] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func (u *update) allTypes() string { return strings.Join(u.types(), " and ") }

// missingIn are the instance types of the tiers that are not offered.
func (u *update) missingIn(offered []string) []string {
	return slices.DeleteFunc(u.types(), func(name string) bool { return slices.Contains(offered, name) })
}

// checkZones refuses subnets that are there in a zone that does not have the instance type of a tier in them.
func (u *update) checkZones(ctx context.Context) error {
	offered, err := u.offerings(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, t := range u.stack.Tiers {
		for _, subnet := range u.n.Subnets[t.Subnet] {
			if !slices.Contains(offered[subnet.Zone], t.InstanceType) {
				errs = append(errs, fmt.Errorf("tier %s: EC2 has no %s in %s, where the %s subnet %s is\nhint: name "+
					"another instance_type, or subnets in other zones", t.Name, t.InstanceType, subnet.Zone, t.Subnet,
					subnet.ID))
			}
		}
	}
	return errors.Join(errs...)
}
