package manners

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// description says where the answer of a call has the things that it describes.
type description struct {
	of      string // the service, if it is not EC2
	set     string // the path of the element with all of them
	within  string // the list in each of its elements that has them, where they are not the elements
	id      string // of a thing, in its description
	by      string // the parameter that names things
	kind    string // of things that have a name and no id, with a colon
	bare    bool   // says that descriptions have no tags
	filters map[string]string
}

// descriptions are the calls that describe what may be new or late. Their filters are those that look at what is late.
var descriptions = map[string]description{
	"DescribeAddresses": {
		set: "addressesSet", id: "allocationId", by: "AllocationId",
		filters: map[string]string{
			"association-id":       "associationId",
			"instance-id":          "instanceId",
			"network-interface-id": "networkInterfaceId",
			"private-ip-address":   "privateIpAddress",
		},
	},
	"DescribeImages": {
		set: "imagesSet", id: "imageId", by: "ImageId",
		filters: map[string]string{"state": "imageState"},
	},
	"DescribeInstances": {
		set: "reservationSet", within: "instancesSet", id: "instanceId", by: "InstanceId",
		filters: map[string]string{
			"instance-state-code": "instanceState/code",
			"instance-state-name": "instanceState/name",
		},
	},
	"DescribeInstanceStatus":   {set: "instanceStatusSet", id: "instanceId", by: "InstanceId", bare: true},
	"DescribeInternetGateways": {set: "internetGatewaySet", id: "internetGatewayId", by: "InternetGatewayId"},
	"DescribeKeyPairs":         {set: "keySet", id: "keyName", by: "KeyName", kind: "key:"},
	"DescribeLaunchTemplates":  {set: "launchTemplates", id: "launchTemplateId", by: "LaunchTemplateId"},
	"DescribeLoadBalancers": {
		of:  "elasticloadbalancing",
		set: "DescribeLoadBalancersResult/LoadBalancers", id: "LoadBalancerArn", by: "LoadBalancerArns.member",
		bare: true,
	},
	"DescribeNatGateways": {
		set: "natGatewaySet", id: "natGatewayId", by: "NatGatewayId",
		filters: map[string]string{"state": "state"},
	},
	"DescribeNetworkAcls": {set: "networkAclSet", id: "networkAclId", by: "NetworkAclId"},
	"DescribeNetworkInterfaces": {
		set: "networkInterfaceSet", id: "networkInterfaceId", by: "NetworkInterfaceId",
		filters: map[string]string{"addresses.private-ip-address": "privateIpAddressesSet/*/privateIpAddress"},
	},
	"DescribeRouteTables":    {set: "routeTableSet", id: "routeTableId", by: "RouteTableId"},
	"DescribeSecurityGroups": {set: "securityGroupInfo", id: "groupId", by: "GroupId"},
	"DescribeSnapshots": {
		set: "snapshotSet", id: "snapshotId", by: "SnapshotId",
		filters: map[string]string{"progress": "progress", "status": "status"},
	},
	"DescribeSubnets": {set: "subnetSet", id: "subnetId", by: "SubnetId"},
	"DescribeVolumes": {
		set: "volumeSet", id: "volumeId", by: "VolumeId",
		filters: map[string]string{
			"attachment.instance-id": "attachmentSet/*/instanceId",
			"attachment.status":      "attachmentSet/*/status",
			"status":                 "status",
		},
	},
	"DescribeVpcs": {set: "vpcSet", id: "vpcId", by: "VpcId"},
}

func (q description) service() string { return cmp.Or(q.of, "ec2") }

// names tells whether a call names the things that it asks for.
func (q description) names(c *awsquery.Call) bool { return len(c.List(q.by)) > 0 }

// takeFilters takes those filters out of a call that look at what the manners may change.
func (q description) takeFilters(c *awsquery.Call) (*awsquery.Call, awsquery.Filters, error) {
	known := map[string]string{}
	if !q.bare {
		known["tag-key"], known["tag-value"] = "tagSet/*/key", "tagSet/*/value"
	}
	maps.Copy(known, q.filters)
	own, rest := c.Clone(), c.Clone()
	own.Drop("Filter.")
	rest.Drop("Filter.")
	counts := map[*awsquery.Call]int{}
	for i := 1; ; i++ {
		prefix := fmt.Sprintf("Filter.%d.", i)
		name := c.Get(prefix + "Name")
		if name == "" {
			break
		}
		to := rest
		if known[name] != "" || !q.bare && strings.HasPrefix(name, "tag:") {
			to = own
		}
		counts[to]++
		for parameter, values := range c.Form {
			if tail, ok := strings.CutPrefix(parameter, prefix); ok {
				to.Form[fmt.Sprintf("Filter.%d.%s", counts[to], tail)] = values
			}
		}
	}
	_, filters, err := awsquery.TakeFilters(own, known)
	return rest, filters, err
}

// keep replaces each thing in an answer by look's version of it, and removes those for which look returns false.
func (q description) keep(root *awsquery.Node, look func(*awsquery.Node) (*awsquery.Node, bool)) {
	set := root.At(strings.Split(q.set, "/")...)
	if set == nil {
		return
	}
	kept := func(list *awsquery.Node) bool {
		var items []*awsquery.Node
		for _, item := range list.Children {
			if seen, ok := look(item); ok {
				items = append(items, seen)
			}
		}
		list.Children = items
		return len(items) > 0
	}
	if q.within == "" {
		kept(set)
		return
	}
	set.Children = slices.DeleteFunc(set.Children, func(outer *awsquery.Node) bool {
		inner := outer.At(q.within)
		return inner == nil || !kept(inner)
	})
}
