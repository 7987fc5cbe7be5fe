package network

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// valid is a configuration without a fault; change says what is different.
func valid(change map[string]any) map[string]any {
	config := map[string]any{
		"stack":       "golden",
		"region":      "us-east-1",
		"access_key":  "a",
		"secret_key":  "b",
		"max_retries": 1,
	}
	maps.Copy(config, change)
	return config
}

func TestConfigureNamesTheAttribute(t *testing.T) {
	for _, c := range []struct {
		change map[string]any
		want   string
	}{
		{map[string]any{"stack": ""}, "stack"},
		{map[string]any{"stack": "Golden!"}, "stack"},
		{map[string]any{"secret_key": ""}, "secret_key"},
		{map[string]any{"max_retries": -1}, "max_retries"},
		{map[string]any{"custom_endpoint_ec2": "nowhere"}, "custom_endpoint_ec2"},
		{map[string]any{"no_such_option": 1}, "no_such_option"},
	} {
		err := new(Datasource).Configure(valid(c.change))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want an error that names %s", c.change, err, c.want)
		}
	}
}

// execute runs the data source against an EC2 that has these VPCs, in XML, and nothing else.
func execute(t *testing.T, vpcs string) error {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		action := r.Form.Get("Action")
		body := ""
		if action == "DescribeVpcs" {
			body = "<vpcSet>" + vpcs + "</vpcSet>"
		}
		fmt.Fprint(w, "<"+action+"Response>"+body+"</"+action+"Response>")
	}))
	defer server.Close()
	d := new(Datasource)
	if err := d.Configure(valid(map[string]any{"custom_endpoint_ec2": server.URL})); err != nil {
		t.Fatal(err)
	}
	_, err := d.Execute()
	return err
}

// TestIncompleteNetwork has errors say what is missing. What a whole network looks like is for a real one to show.
func TestIncompleteNetwork(t *testing.T) {
	const vpc = "<item><vpcId>vpc-1</vpcId></item>"
	for _, c := range []struct{ vpcs, want string }{
		{"", "missing: VPC, public subnet"},
		{"", "\nhint: goldsmith network up --stack golden"},
		{vpc, "missing: public subnet, private subnet, internet gateway"},
		{vpc + vpc, "2 VPCs have its tag"},
	} {
		if err := execute(t, c.vpcs); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("VPCs %q: got %v, want an error with %q", c.vpcs, err, c.want)
		}
	}
}
