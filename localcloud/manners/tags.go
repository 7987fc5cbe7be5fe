package manners

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// tagFilters are DescribeTags' filters, with where in an item their values are.
var tagFilters = map[string]string{
	"key":           "key",
	"resource-id":   "resourceId",
	"resource-type": "resourceType",
	"value":         "value",
}

// describeTags answers EC2's DescribeTags: without things that the call does not know, and of some with the tags of
// before. Filters look at that.
func (l *lateness) describeTags(ctx context.Context, c *awsquery.Call, carry Carry) (*awsquery.Answer, error) {
	if pagesOrByTag(c) {
		return carry(ctx, c)
	}
	rest, filters, err := awsquery.TakeFilters(c, tagFilters)
	if err != nil {
		return nil, err
	}
	a, err := carry(ctx, rest)
	if err != nil || !a.OK() {
		return a, err
	}
	root, err := a.XML()
	if err != nil {
		return nil, err
	}
	set := root.At("tagSet")
	if set == nil {
		return a, nil
	}
	set.Children = slices.DeleteFunc(l.seenTags(set.Children), func(item *awsquery.Node) bool {
		return !filters.Pass(item)
	})
	return &awsquery.Answer{Status: a.Status, Header: a.Header, Body: root.Bytes()}, nil
}

// pagesOrByTag tells whether a DescribeTags has a page or a filter of the form tag:KEY.
func pagesOrByTag(c *awsquery.Call) bool {
	for parameter, values := range c.Form {
		byTag := strings.HasPrefix(parameter, "Filter.") && strings.HasSuffix(parameter, ".Name") &&
			strings.HasPrefix(values[0], "tag:")
		if byTag || parameter == "MaxResults" || parameter == "NextToken" {
			return true
		}
	}
	return false
}

// seenTags are described tags as one call sees them.
func (l *lateness) seenTags(all []*awsquery.Node) (seen []*awsquery.Node) {
	types := map[string]string{}
	for _, item := range all {
		types[item.Get("resourceId")] = item.Get("resourceType")
	}
	for _, id := range slices.Sorted(maps.Keys(types)) {
		if l.unknown(id) {
			continue
		}
		old, late := l.oldTags(id)
		for _, item := range all {
			if item.Get("resourceId") == id && !late {
				seen = append(seen, item)
			}
		}
		for _, tag := range old {
			seen = append(seen, awsquery.Element("item", awsquery.Text("resourceId", id),
				awsquery.Text("resourceType", types[id]), awsquery.Text("key", tag.Get("key")),
				awsquery.Text("value", tag.Get("value"))))
		}
	}
	return seen
}

// admitTemplate refuses a call of Auto Scaling with a launch template that EC2 made a moment ago.
func (l *lateness) admitTemplate(c *awsquery.Call) error {
	for _, parameter := range slices.Sorted(maps.Keys(c.Form)) {
		if id := c.Get(parameter); strings.HasSuffix(parameter, "LaunchTemplateId") && l.unknown(id) {
			return awsquery.Fault(apierror.LaunchTemplateInvalid, apierror.InvalidLaunchTemplateIDNotFound.Text(id))
		}
	}
	return nil
}

// groupTags are the tags of the Auto Scaling groups that a call gives tags or takes them from.
func groupTags(ctx context.Context, c *awsquery.Call, carry Carry) (former, error) {
	f := former{tags: map[string]*awsquery.Node{}}
	if c.Action() != "CreateOrUpdateTags" && c.Action() != "DeleteTags" {
		return f, nil
	}
	for parameter, values := range c.Form {
		if !strings.HasPrefix(parameter, "Tags.member.") || !strings.HasSuffix(parameter, ".ResourceId") {
			continue
		}
		described, err := carried(ctx, carry, awsquery.NewCall("autoscaling", "DescribeAutoScalingGroups",
			"AutoScalingGroupNames.member.1", values[0]))
		if err != nil {
			return f, err
		}
		for _, group := range described.Items("DescribeAutoScalingGroupsResult", "AutoScalingGroups") {
			if set := group.At("Tags"); set != nil {
				f.tags["group:"+values[0]] = set
			}
		}
	}
	return f, nil
}

// showGroupTags may have descriptions of Auto Scaling groups show the tags of before.
func (l *lateness) showGroupTags(c *awsquery.Call, a *awsquery.Answer) (*awsquery.Answer, error) {
	if c.Service != "autoscaling" || c.Action() != "DescribeAutoScalingGroups" {
		return a, nil
	}
	root, err := a.XML()
	if err != nil {
		return nil, err
	}
	for _, group := range root.Items("DescribeAutoScalingGroupsResult", "AutoScalingGroups") {
		old, late := l.oldTags("group:" + group.Get("AutoScalingGroupName"))
		if set := group.At("Tags"); late && set != nil {
			set.Children = old
		}
	}
	return &awsquery.Answer{Status: a.Status, Header: a.Header, Body: root.Bytes()}, nil
}
