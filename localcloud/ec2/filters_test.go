package ec2

import (
	"errors"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

func TestFilters(t *testing.T) {
	item, err := awsquery.ParseXML([]byte(`<item><instanceId>i-1</instanceId><instanceState>
		<name>running</name></instanceState>
		<tagSet><item><key>Name</key><value>web</value></item><item><key>empty</key><value></value></item></tagSet>
		<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName></item><item>
		<deviceName>/dev/sdf</deviceName></item></blockDeviceMapping></item>`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		form []string
		want bool
	}{
		{"none", nil, true},
		{"one of several values",
			[]string{"Filter.1.Name", "instance-state-name", "Filter.1.Value.1", "stopped", "Filter.1.Value.2",
				"running"}, true},
		{"another state", []string{"Filter.1.Name", "instance-state-name", "Filter.1.Value.1", "stopped"}, false},
		{"all filters have to pass",
			[]string{"Filter.1.Name", "instance-id", "Filter.1.Value.1", "i-1", "Filter.2.Name", "tag:Name",
				"Filter.2.Value.1", "db"}, false},
		{"a tag", []string{"Filter.1.Name", "tag:Name", "Filter.1.Value.1", "w*"}, true},
		{"a tag that is empty", []string{"Filter.1.Name", "tag:empty", "Filter.1.Value.1", ""}, true},
		{"a tag that is not there", []string{"Filter.1.Name", "tag:none", "Filter.1.Value.1", "*"}, false},
		{"a tag's key", []string{"Filter.1.Name", "tag-key", "Filter.1.Value.1", "Name"}, true},
		{"an element of a list",
			[]string{"Filter.1.Name", "block-device-mapping.device-name", "Filter.1.Value.1", "/dev/sdf"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			call := awsquery.NewCall("ec2", "DescribeInstances", c.form...)
			rest, filters, refused := awsquery.TakeFilters(call, instanceFilters)
			if refused != nil {
				t.Fatal(refused)
			}
			if got := filters.Pass(item); got != c.want {
				t.Errorf("got %v", got)
			}
			if len(rest.Form) != 2 {
				t.Errorf("moto still gets %v", rest.Form)
			}
		})
	}
	_, _, err = awsquery.TakeFilters(awsquery.NewCall("ec2", "DescribeInstances",
		"Filter.1.Name", "no-such"), instanceFilters)
	var refused *awsquery.Error
	if !errors.As(err, &refused) || refused.Code != "InvalidParameterValue" {
		t.Errorf("got %v", err)
	}
}
