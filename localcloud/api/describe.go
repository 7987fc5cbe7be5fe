package api

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"
)

// describeInstances describes instances as they really are. Filters and pages are applied here, after that.
func (s *Server) describeInstances(ctx context.Context, c *call) (*node, error) {
	rest, filters, err := takeFilters(c, instanceFilters)
	if err != nil {
		return nil, err
	}
	size, token := c.get("MaxResults"), c.get("NextToken")
	rest.drop("MaxResults", "NextToken")
	if len(c.list("InstanceId")) == 0 {
		rest.set("MaxResults", everything)
	} else if size != "" {
		return nil, fault("InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults")
	}
	described, err := s.ask(ctx, rest)
	if err != nil {
		return nil, err
	}
	var reservations []*node
	for _, reservation := range described.items("reservationSet") {
		instances := reservation.at("instancesSet")
		instances.children = slices.DeleteFunc(instances.children, func(item *node) bool {
			return !s.mend(item) || !passAll(filters, withReservation(item, reservation))
		})
		if len(instances.children) > 0 {
			reservations = append(reservations, reservation)
		}
	}
	page, next, err := pageOf(reservations, size, token)
	if err != nil {
		return nil, err
	}
	described.at("reservationSet").children = page
	described.remove("nextToken")
	if next != "" {
		described.set(next, "nextToken")
	}
	return described, nil
}

// withReservation is an instance with what filters look for in its reservation.
func withReservation(item, reservation *node) *node {
	return element("item", append([]*node{reservation.at("reservationId"), reservation.at("ownerId")}, item.children...)...)
}

// pageOf is a page of reservations, and the token of the next one: the id of the last reservation before it.
func pageOf(all []*node, size, token string) (page []*node, next string, err error) {
	if token != "" {
		last := slices.IndexFunc(all, func(r *node) bool { return r.get("reservationId") == token })
		if last < 0 {
			return nil, "", fault("InvalidNextToken", "The token '%s' is invalid", token)
		}
		all = all[last+1:]
	}
	if size == "" {
		return all, "", nil
	}
	count, err := strconv.Atoi(size)
	if err != nil || count < 5 || count > 1000 {
		return nil, "", fault("InvalidParameterValue", "Value ( %s ) for parameter maxResults is invalid. Expecting a value from 5 to 1000.", size)
	}
	if len(all) <= count {
		return all, "", nil
	}
	return all[:count], all[count-1].get("reservationId"), nil
}

// mend makes of an instance as the server behind has it what it really is. It is false for what is not shown: what is
// gone for long, or not one of ours.
func (s *Server) mend(item *node) bool {
	id := item.get("instanceId")
	record, ok := s.instance(id)
	if !ok || record.State == "terminated" && time.Since(record.Ended) > terminatedFor {
		return false
	}
	item.set(stateCodes[record.State], "instanceState", "code")
	item.set(record.State, "instanceState", "name")
	item.set(timestamp(record.Launched), "launchTime")
	item.set("ebs", "rootDeviceType")
	item.set(rootDevice, "rootDeviceName")
	item.set(record.ClientToken, "clientToken")
	item.set(item.get("monitoring", "state"), "monitoring", "state")
	item.set("true", "enaSupport")
	item.remove("kernelId")
	item.children = append(item.children, metadataOptions("metadataOptions", record))
	item.remove("stateReason")
	item.set(record.Reason, "reason")
	if record.Reason != "" {
		code, _, _ := strings.Cut(record.Reason, ":")
		item.set(code, "stateReason", "code")
		item.set(record.Reason, "stateReason", "message")
	}
	s.mendAddress(item, s.publicOf(id, record))
	if interfaces := item.items("networkInterfaceSet"); len(interfaces) > 0 && len(item.items("groupSet")) == 0 {
		// The groups of the first interface are the instance's.
		item.remove("groupSet")
		item.children = append(item.children, element("groupSet", interfaces[0].items("groupSet")...))
	}
	if record.State == "terminated" {
		for _, name := range []string{"subnetId", "vpcId", "privateIpAddress"} {
			item.remove(name)
		}
		item.set("", "networkInterfaceSet")
		item.set("", "blockDeviceMapping")
	}
	return true
}

// mendAddress writes the public address, or takes it out, wherever an instance's description has it.
func (s *Server) mendAddress(item *node, public string) {
	item.remove("ipAddress")
	item.remove("publicDnsName")
	item.set("", "dnsName")
	if public != "" {
		item.set(public, "ipAddress")
		item.set(publicName(public), "dnsName")
	}
	for _, eni := range item.items("networkInterfaceSet") {
		s.mendInterface(eni, public)
	}
}

func publicName(address string) string {
	return "ec2-" + strings.ReplaceAll(address, ".", "-") + ".compute-1.amazonaws.com"
}

func (s *Server) mendInterface(eni *node, public string) {
	eni.set(macOf(eni.get("networkInterfaceId")), "macAddress")
	owners := append([]*node{eni}, eni.items("privateIpAddressesSet")...)
	for _, owner := range owners {
		owner.remove("association")
		if public != "" && (owner == eni || owner.get("primary") == "true") {
			owner.children = append(owner.children, element("association", text("publicIp", public), text("publicDnsName", publicName(public)), text("ipOwnerId", "amazon")))
		}
	}
}

func (s *Server) describeNetworkInterfaces(ctx context.Context, c *call) (*node, error) {
	described, err := s.ask(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, eni := range described.items("networkInterfaceSet") {
		id := eni.get("attachment", "instanceId")
		if record, ok := s.instance(id); ok {
			s.mendInterface(eni, s.publicOf(id, record))
		}
	}
	return described, nil
}

// describeInstanceStatus answers with the states that instances really have; the checks pass once one runs.
func (s *Server) describeInstanceStatus(ctx context.Context, c *call) (*node, error) {
	question := c.clone()
	question.set("Action", "DescribeInstances")
	question.drop("IncludeAllInstances", "MaxResults", "NextToken")
	described, err := s.describeInstances(ctx, question)
	if err != nil {
		return nil, err
	}
	set := element("instanceStatusSet")
	for _, reservation := range described.items("reservationSet") {
		for _, item := range reservation.items("instancesSet") {
			state := item.get("instanceState", "name")
			if state != "running" && c.get("IncludeAllInstances") != "true" {
				continue
			}
			health := "not-applicable"
			if state == "running" {
				health = "ok"
			}
			set.children = append(set.children, element("item",
				text("instanceId", item.get("instanceId")), text("availabilityZone", item.get("placement", "availabilityZone")), item.at("instanceState"),
				element("systemStatus", text("status", health)), element("instanceStatus", text("status", health))))
		}
	}
	return reply("DescribeInstanceStatus", set), nil
}
