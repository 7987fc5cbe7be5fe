package api

import (
	"errors"
	"testing"
)

func TestWildcards(t *testing.T) {
	for _, c := range []struct {
		pattern, value string
		want           bool
	}{
		{"debian-13-*", "debian-13-amd64-20260101-local", true},
		{"debian-13-*", "debian-12-amd64", false},
		{"debian-1?-*", "debian-13-x", true},
		{"*", "", true},
		{"a.b", "axb", false},
		{"[ab]", "a", false},
		{`a\*`, "a*", true},
		{`a\*`, "ab", false},
		{"/a/*", "/a/b/c", true},
		{"exact", "exactly", false},
	} {
		if got := wildcards(c.pattern).MatchString(c.value); got != c.want {
			t.Errorf("%q and %q: %v", c.pattern, c.value, got)
		}
	}
}

func TestFilters(t *testing.T) {
	item, err := parseXML([]byte(`<item><instanceId>i-1</instanceId><instanceState><name>running</name></instanceState>
		<tagSet><item><key>Name</key><value>web</value></item><item><key>empty</key><value></value></item></tagSet>
		<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName></item><item><deviceName>/dev/sdf</deviceName></item></blockDeviceMapping></item>`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		form []string
		want bool
	}{
		{"none", nil, true},
		{"one of several values", []string{"Filter.1.Name", "instance-state-name", "Filter.1.Value.1", "stopped", "Filter.1.Value.2", "running"}, true},
		{"another state", []string{"Filter.1.Name", "instance-state-name", "Filter.1.Value.1", "stopped"}, false},
		{"all filters have to pass", []string{"Filter.1.Name", "instance-id", "Filter.1.Value.1", "i-1", "Filter.2.Name", "tag:Name", "Filter.2.Value.1", "db"}, false},
		{"a tag", []string{"Filter.1.Name", "tag:Name", "Filter.1.Value.1", "w*"}, true},
		{"a tag that is empty", []string{"Filter.1.Name", "tag:empty", "Filter.1.Value.1", ""}, true},
		{"a tag that is not there", []string{"Filter.1.Name", "tag:none", "Filter.1.Value.1", "*"}, false},
		{"a tag's key", []string{"Filter.1.Name", "tag-key", "Filter.1.Value.1", "Name"}, true},
		{"an element of a list", []string{"Filter.1.Name", "block-device-mapping.device-name", "Filter.1.Value.1", "/dev/sdf"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			rest, filters, err := takeFilters(newCall("ec2", "DescribeInstances", c.form...), instanceFilters)
			if err != nil {
				t.Fatal(err)
			}
			if got := passAll(filters, item); got != c.want {
				t.Errorf("got %v", got)
			}
			if len(rest.form) != 2 {
				t.Errorf("the server behind still gets %v", rest.form)
			}
		})
	}
	_, _, err = takeFilters(newCall("ec2", "DescribeInstances", "Filter.1.Name", "no-such"), instanceFilters)
	var refused *apiError
	if !errors.As(err, &refused) || refused.code != "InvalidParameterValue" {
		t.Errorf("got %v", err)
	}
}

func TestXML(t *testing.T) {
	const text = `<?xml version="1.0" encoding="UTF-8"?>
<A xmlns="urn:x"><b>1 &lt; 2</b><set><item><v>x</v></item><item><v> y </v></item></set><none/></A>`
	root, err := parseXML([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if root.get("b") != "1 < 2" || root.get("set", "item", "v") != "x" || root.get("no", "such") != "" {
		t.Errorf("got %q, %q", root.get("b"), root.get("set", "item", "v"))
	}
	if got := root.all("set", "*", "v"); len(got) != 2 || got[1] != "y" {
		t.Errorf("got %q", got)
	}
	root.set("new", "made", "here")
	root.remove("none")
	root.remove("b")
	want := `<?xml version="1.0" encoding="UTF-8"?>
<A xmlns="urn:x"><set><item><v>x</v></item><item><v> y </v></item></set><made><here>new</here></made></A>`
	if string(root.bytes()) != want {
		t.Errorf("got %s", root.bytes())
	}
	for _, broken := range []string{"", "no XML", "<a>", "<a><b></a>"} {
		if _, err := parseXML([]byte(broken)); err == nil {
			t.Errorf("%q was read", broken)
		}
	}
}
