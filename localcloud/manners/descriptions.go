package manners

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// description says where the answer of a call of EC2's has the things that it describes.
type description struct {
	set    string // the element with all of them
	within string // the list in each of its elements that has them, where they are not the elements
	id     string // of a thing, in its description
	by     string // the parameter that names things
	kind   string // of things that have a name and no id, with a colon
	bare   bool   // says that descriptions have no tags
}

// descriptions are the calls that describe what may be new or late.
var descriptions = map[string]description{
	"DescribeAddresses":         {set: "addressesSet", id: "allocationId", by: "AllocationId"},
	"DescribeImages":            {set: "imagesSet", id: "imageId", by: "ImageId"},
	"DescribeInstances":         {set: "reservationSet", within: "instancesSet", id: "instanceId", by: "InstanceId"},
	"DescribeInstanceStatus":    {set: "instanceStatusSet", id: "instanceId", by: "InstanceId", bare: true},
	"DescribeInternetGateways":  {set: "internetGatewaySet", id: "internetGatewayId", by: "InternetGatewayId"},
	"DescribeKeyPairs":          {set: "keySet", id: "keyName", by: "KeyName", kind: "key:"},
	"DescribeLaunchTemplates":   {set: "launchTemplates", id: "launchTemplateId", by: "LaunchTemplateId"},
	"DescribeNatGateways":       {set: "natGatewaySet", id: "natGatewayId", by: "NatGatewayId"},
	"DescribeNetworkAcls":       {set: "networkAclSet", id: "networkAclId", by: "NetworkAclId"},
	"DescribeNetworkInterfaces": {set: "networkInterfaceSet", id: "networkInterfaceId", by: "NetworkInterfaceId"},
	"DescribeRouteTables":       {set: "routeTableSet", id: "routeTableId", by: "RouteTableId"},
	"DescribeSecurityGroups":    {set: "securityGroupInfo", id: "groupId", by: "GroupId"},
	"DescribeSnapshots":         {set: "snapshotSet", id: "snapshotId", by: "SnapshotId"},
	"DescribeSubnets":           {set: "subnetSet", id: "subnetId", by: "SubnetId"},
	"DescribeVolumes":           {set: "volumeSet", id: "volumeId", by: "VolumeId"},
	"DescribeVpcs":              {set: "vpcSet", id: "vpcId", by: "VpcId"},
}

// names tells whether a call names the things that it asks for.
func (q description) names(c *awsquery.Call) bool { return len(c.List(q.by)) > 0 }

// takeFilters takes those filters out of a call that look at what the manners may change.
func (q description) takeFilters(c *awsquery.Call) (*awsquery.Call, awsquery.Filters, error) {
	known := map[string]string{"tag-key": "tagSet/*/key", "tag-value": "tagSet/*/value"}
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
		if !q.bare && (known[name] != "" || strings.HasPrefix(name, "tag:")) {
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

// keep takes out of an answer what keep does not want to be there.
func (q description) keep(root *awsquery.Node, keep func(*awsquery.Node) bool) {
	set := root.At(q.set)
	if set == nil {
		return
	}
	drop := func(item *awsquery.Node) bool { return !keep(item) }
	if q.within == "" {
		set.Children = slices.DeleteFunc(set.Children, drop)
		return
	}
	set.Children = slices.DeleteFunc(set.Children, func(outer *awsquery.Node) bool {
		inner := outer.At(q.within)
		if inner == nil {
			return true
		}
		inner.Children = slices.DeleteFunc(inner.Children, drop)
		return len(inner.Children) == 0
	})
}
