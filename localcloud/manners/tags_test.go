package manners

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

func TestDescribedTagsAreLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		item := func(value string) string {
			return "<tagSet><item><resourceId>vol" + anID + "</resourceId><resourceType>volume</resourceType>" +
				"<key>role</key><value>" + value + "</value></item></tagSet>"
		}
		g := visit(t, map[string]string{"CreateTags": "", "DescribeTags": item("old")})
		g.must("CreateTags", "ResourceId.1", "vol"+anID, "Tag.1.Key", "role", "Tag.1.Value", "new")
		g.answers["DescribeTags"] = item("new")
		roles := func(parameters ...string) string {
			return strings.Join(g.must("DescribeTags", parameters...).All("tagSet", "*", "value"), " ")
		}
		if n := sees(func() bool { return roles() == "old" }); n == 0 || n == tries {
			t.Errorf("%d of %d calls show the old tag", n, tries)
		}
		byValue := []string{
			"Filter.1.Name", "resource-id", "Filter.1.Value.1", "vol" + anID, "Filter.2.Name", "value",
			"Filter.2.Value.1", "new",
		}
		if n := sees(func() bool { return roles(byValue...) == "" }); n == 0 || n == tries {
			t.Errorf("%d of %d calls with a filter do not find the new tag", n, tries)
		}
		time.Sleep(later)
		if got := roles(byValue...); got != "new" {
			t.Errorf("after %s there is %q", later, got)
		}
	})
}

func TestTagsOfGroupsAreLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group := func(value string) string {
			return "<DescribeAutoScalingGroupsResult><AutoScalingGroups><member>" +
				"<AutoScalingGroupName>web</AutoScalingGroupName><Tags><member><Key>version</Key><Value>" + value +
				"</Value></member></Tags></member></AutoScalingGroups></DescribeAutoScalingGroupsResult>"
		}
		g := visit(t, map[string]string{"CreateOrUpdateTags": "", "DescribeAutoScalingGroups": group("1")})
		scaling := func(action string, parameters ...string) *awsquery.Node {
			root, err := g.send(awsquery.NewCall("autoscaling", action, parameters...))
			if err != nil {
				t.Fatal(err)
			}
			return root
		}
		scaling("CreateOrUpdateTags", "Tags.member.1.ResourceId", "web", "Tags.member.1.Key", "version",
			"Tags.member.1.Value", "2")
		g.answers["DescribeAutoScalingGroups"] = group("2")
		version := func() []string {
			return scaling("DescribeAutoScalingGroups").All("DescribeAutoScalingGroupsResult", "AutoScalingGroups", "*",
				"Tags", "*", "Value")
		}
		if n := sees(func() bool { return slices.Equal(version(), []string{"1"}) }); n == 0 || n == tries {
			t.Errorf("%d of %d calls show the old tag", n, tries)
		}
		time.Sleep(later)
		if got := version(); !slices.Equal(got, []string{"2"}) {
			t.Errorf("after %s there are %q", later, got)
		}
	})
}

func TestNewTemplateIsUnknownToAutoScaling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := visit(t, map[string]string{
			"CreateLaunchTemplate": "<launchTemplate><launchTemplateId>lt" + anID +
				"</launchTemplateId></launchTemplate>",
			"CreateAutoScalingGroup": "",
		})
		g.must("CreateLaunchTemplate", "LaunchTemplateName", "web")
		create := func() error {
			_, err := g.send(awsquery.NewCall("autoscaling", "CreateAutoScalingGroup",
				"LaunchTemplate.LaunchTemplateId", "lt"+anID))
			return err
		}
		if n := sees(func() bool {
			err := create()
			if err != nil && !strings.Contains(err.Error(), "template ID lt"+anID+", does not exist") {
				t.Error(err)
			}
			return err != nil
		}); n == 0 || n == tries {
			t.Errorf("%d of %d calls do not know the launch template", n, tries)
		}
		time.Sleep(later)
		if err := create(); err != nil {
			t.Errorf("after %s: %v", later, err)
		}
	})
}
