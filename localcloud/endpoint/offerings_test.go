package endpoint

import (
	"slices"
	"strings"
	"testing"
)

func TestInstanceTypeOfferings(t *testing.T) {
	b := newRegion(t)
	items := ""
	for _, of := range []string{"t2.micro a", "t3.micro b", "t3.micro c", "t3.small b", "t3.small c", "m5.large b",
		"m5.large c"} {
		name, letter, _ := strings.Cut(of, " ")
		items += "<item><instanceType>" + name + "</instanceType><location>us-east-1" + letter +
			"</location><locationType>availability-zone</locationType></item>"
	}
	b.Set("DescribeInstanceTypeOfferings", "<instanceTypeOfferingSet>"+items+"</instanceTypeOfferingSet>")
	s := newServer(t, b, newMachinery(t))
	names := func(parameters ...string) (all []string, next string) {
		node := mustRequest(t, s, "DescribeInstanceTypeOfferings",
			append([]string{"LocationType", "availability-zone"}, parameters...)...)
		for _, item := range node.Items("instanceTypeOfferingSet") {
			all = append(all, item.Get("instanceType")+"@"+item.Get("location"))
		}
		return all, node.Get("nextToken")
	}
	for _, c := range []struct {
		filters, want []string
	}{
		{[]string{"Filter.1.Name", "instance-type", "Filter.1.Value.1", "t3.small", "Filter.1.Value.2", "t2.micro"},
			[]string{"t2.micro@us-east-1a", "t3.small@us-east-1b", "t3.small@us-east-1c"}},
		{[]string{"Filter.1.Name", "instance-type", "Filter.1.Value.1", "t3.*", "Filter.2.Name", "location",
			"Filter.2.Value.1", "us-east-1c"}, []string{"t3.micro@us-east-1c", "t3.small@us-east-1c"}},
		{[]string{"Filter.1.Name", "location", "Filter.1.Value.1", "us-east-1z"}, nil},
	} {
		if got, _ := names(c.filters...); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.filters, got, c.want)
		}
	}
	first, token := names("MaxResults", "5")
	second, end := names("MaxResults", "5", "NextToken", token)
	if all, _ := names(); !slices.Equal(append(first, second...), all) || len(first) != 5 || end != "" {
		t.Errorf("in pages: %v, then %v, of %v", first, second, all)
	}
	refused(t, s, "InvalidParameterValue", "DescribeInstanceTypeOfferings", "LocationType", "planet")
	refused(t, s, "InvalidParameterValue", "DescribeInstanceTypeOfferings", "Filter.1.Name", "colour",
		"Filter.1.Value.1", "red")
	refused(t, s, "InvalidParameterValue", "DescribeInstanceTypeOfferings", "MaxResults", "1")
}
