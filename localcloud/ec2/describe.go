package ec2

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/eni"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// describe describes instances as they really are. Filters and pages are applied here, after that.
func (s *Instances) describe(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	rest, filters, err := awsquery.TakeFilters(c, instanceFilters)
	if err != nil {
		return nil, err
	}
	size, token := c.Get("MaxResults"), c.Get("NextToken")
	rest.Drop("MaxResults", "NextToken")
	if len(c.List("InstanceId")) == 0 {
		rest.Set("MaxResults", moto.Everything)
	} else if size != "" {
		return nil, awsquery.Faultf(apierror.InvalidParameterCombination,
			"The parameter instancesSet cannot be used with the parameter maxResults")
	}
	described, err := s.moto.Ask(ctx, rest)
	if err != nil {
		return nil, err
	}
	var reservations []*awsquery.Node
	for _, reservation := range described.Items("reservationSet") {
		instances := reservation.At("instancesSet")
		instances.Children = slices.DeleteFunc(instances.Children, func(item *awsquery.Node) bool {
			return !s.overlayState(item) || !filters.Pass(withReservation(item, reservation))
		})
		if len(instances.Children) > 0 {
			reservations = append(reservations, reservation)
		}
	}
	page, next, err := pageOf(reservations, size, token,
		func(r *awsquery.Node) string { return r.Get("reservationId") })
	if err != nil {
		return nil, err
	}
	described.At("reservationSet").Children = page
	described.Remove("nextToken")
	if next != "" {
		described.Set(next, "nextToken")
	}
	return described, nil
}

// withReservation is an instance with what filters look for in its reservation.
func withReservation(item, reservation *awsquery.Node) *awsquery.Node {
	return awsquery.Element("item",
		append([]*awsquery.Node{reservation.At("reservationId"), reservation.At("ownerId")}, item.Children...)...)
}

// pageOf is a page of a list, and the token of the next one: the id of the last item before it.
func pageOf(
	all []*awsquery.Node, size, token string, id func(*awsquery.Node) string,
) (page []*awsquery.Node, next string, err error) {
	if token != "" {
		last := slices.IndexFunc(all, func(item *awsquery.Node) bool { return id(item) == token })
		if last < 0 {
			return nil, "", awsquery.Faultf(apierror.InvalidNextToken, "The token '%s' is invalid", token)
		}
		all = all[last+1:]
	}
	if size == "" {
		return all, "", nil
	}
	count, err := strconv.Atoi(size)
	if err != nil || count < 5 || count > 1000 {
		return nil, "", awsquery.Fault(apierror.InvalidMaximum, size).Adding("Expecting a value from 5 to 1000.")
	}
	if len(all) <= count {
		return all, "", nil
	}
	return all[:count], id(all[count-1]), nil
}

// overlayState makes of an instance as moto has it what it really is. It is false for what is not shown: what is
// gone for long, or not one of ours.
func (s *Instances) overlayState(item *awsquery.Node) bool {
	id := item.Get("instanceId")
	record, ok := s.records.Instance(id)
	if !ok || record.State == "terminated" && time.Since(record.Ended) > terminatedFor {
		return false
	}
	item.Set(records.StateCodes[record.State], "instanceState", "code")
	item.Set(record.State, "instanceState", "name")
	item.Set(awsquery.Timestamp(record.Launched), "launchTime")
	item.Set("ebs", "rootDeviceType")
	item.Set(moto.RootDevice, "rootDeviceName")
	item.Set(record.ClientToken, "clientToken")
	item.Set(item.Get("monitoring", "state"), "monitoring", "state")
	item.Set("true", "enaSupport")
	item.Remove("kernelId")
	item.Children = append(item.Children, metadataOptions("metadataOptions", record))
	item.Remove("stateReason")
	item.Set(record.Reason, "reason")
	if record.Reason != "" {
		code, _, _ := strings.Cut(record.Reason, ":")
		item.Set(code, "stateReason", "code")
		item.Set(record.Reason, "stateReason", "message")
	}
	overlayAddress(item, s.records.PublicOf(id, record))
	if interfaces := item.Items("networkInterfaceSet"); len(interfaces) > 0 && len(item.Items("groupSet")) == 0 {
		// The groups of the first interface are the instance's.
		item.Remove("groupSet")
		item.Children = append(item.Children, awsquery.Element("groupSet", interfaces[0].Items("groupSet")...))
	}
	if record.State == "terminated" {
		for _, name := range []string{"subnetId", "vpcId", "privateIpAddress"} {
			item.Remove(name)
		}
		item.Set("", "networkInterfaceSet")
		item.Set("", "blockDeviceMapping")
	}
	return true
}

// overlayAddress writes the public address, or takes it out, wherever an instance's description has it.
func overlayAddress(item *awsquery.Node, public string) {
	item.Remove("ipAddress")
	item.Remove("publicDnsName")
	item.Set("", "dnsName")
	if public != "" {
		item.Set(public, "ipAddress")
		item.Set(eni.PublicName(public), "dnsName")
	}
	for _, nic := range item.Items("networkInterfaceSet") {
		eni.OverlayInterface(nic, public)
	}
}

// describeStatus answers with the states that instances really have; the checks pass once one runs.
func (s *Instances) describeStatus(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	question := c.Clone()
	question.Set("Action", "DescribeInstances")
	question.Drop("IncludeAllInstances", "MaxResults", "NextToken")
	described, err := s.describe(ctx, question)
	if err != nil {
		return nil, err
	}
	set := awsquery.Element("instanceStatusSet")
	for _, reservation := range described.Items("reservationSet") {
		for _, item := range reservation.Items("instancesSet") {
			state := item.Get("instanceState", "name")
			if state != "running" && c.Get("IncludeAllInstances") != "true" {
				continue
			}
			health := "not-applicable"
			if state == "running" {
				health = "ok"
			}
			set.Children = append(set.Children, awsquery.Element("item",
				awsquery.Text("instanceId", item.Get("instanceId")),
				awsquery.Text("availabilityZone", item.Get("placement", "availabilityZone")), item.At("instanceState"),
				awsquery.Element("systemStatus", awsquery.Text("status", health)),
				awsquery.Element("instanceStatus", awsquery.Text("status", health))))
		}
	}
	return awsquery.Reply("DescribeInstanceStatus", set), nil
}
