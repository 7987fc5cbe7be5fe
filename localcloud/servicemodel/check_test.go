package servicemodel

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// models are small ones of our own, in the form of botocore's.
var models = map[string]string{
	"ec2": `{"metadata": {"protocol": "ec2"}, "operations": {"Launch": {"input": {"shape": "Launch"}}, "Bare": {},
			"RunInstances": {"input": {"shape": "Launch"}}},
		"shapes": {
			"Launch": {"type": "structure", "required": ["Count"], "members": {
				"Count": {"shape": "Count"}, "DryRun": {"shape": "Yes", "locationName": "dryRun"},
				"Disks": {"shape": "Disks", "locationName": "Disk"}, "Until": {"shape": "When"},
				"Groups": {"shape": "Texts", "queryName": "Group", "locationName": "groups"},
				"VpcId": {"shape": "Text"}, "ImageId": {"shape": "Text"}, "Placement": {"shape": "Placement"},
				"Subnets": {"shape": "Texts", "locationName": "SubnetId"}}},
			"Placement": {"type": "structure", "members": {"GroupId": {"shape": "Text"}}},
			"Disk": {"type": "structure", "required": ["Name"], "members": {
				"Name": {"shape": "Text"}, "Size": {"shape": "Count", "locationName": "size"}}},
			"Disks": {"type": "list", "member": {"shape": "Disk", "locationName": "item"}},
			"Texts": {"type": "list", "member": {"shape": "Text"}},
			"Count": {"type": "integer", "min": 1, "max": 100}, "Yes": {"type": "boolean"},
			"When": {"type": "timestamp"}, "Text": {"type": "string"}}}`,
	"iam": `{"metadata": {"protocol": "query"}, "operations": {"Make": {"input": {"shape": "Make"}}},
		"shapes": {
			"Make": {"type": "structure", "required": ["Name"], "members": {
				"Name": {"shape": "Text"}, "Tags": {"shape": "Tags"}}},
			"Tag": {"type": "structure", "members": {"Key": {"shape": "Text"}}},
			"Tags": {"type": "list", "member": {"shape": "Tag"}}, "Text": {"type": "string", "min": 1, "max": 4}}}`,
	"ssm": `{"metadata": {"protocol": "json"}, "operations": {"Put": {"input": {"shape": "Put"}}},
		"shapes": {
			"Put": {"type": "structure", "required": ["Name"], "members": {
				"Name": {"shape": "Text"}, "Overwrite": {"shape": "Yes"}, "Names": {"shape": "Texts"}}},
			"Texts": {"type": "list", "member": {"shape": "Text"}}, "Yes": {"type": "boolean"},
			"Text": {"type": "string"}}}`,
}

func written(t *testing.T) *Models {
	t.Helper()
	dir := t.TempDir()
	for name, text := range models {
		for version, text := range map[string]string{"2010-01-01": "an older one", "2020-01-01": text} {
			in := filepath.Join(dir, names[name], version)
			if err := os.MkdirAll(in, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(in, "service-2.json"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return New(dir)
}

func TestQuery(t *testing.T) {
	m := written(t)
	for _, c := range []struct {
		service, action, parameters, want string
	}{
		{"ec2", "Launch", "Count=3 DryRun=true Until=2026-01-02T03:04:05Z", ""},
		{"ec2", "Launch", "Count=3 Disk.1.Name=a Disk.1.Size=2 Disk.2.Name=b Group.1=x", ""},
		{"ec2", "Newer", "Anything=goes", ""},
		{"ec2", "RunInstances", "Count=3 SecondaryInterface.1.DeviceIndex=0 Disk.1.Name=a", ""}, // of the SDK's
		{"ec2", "RunInstances", "Count=3 TertiaryInterface.1=0", "UnknownParameter: The parameter TertiaryInterface"},
		{"ec2", "Launch", "Count=3 SecondaryInterface.1.DeviceIndex=0", "UnknownParameter: "},
		{"ec2", "Bare", "Count=3", "UnknownParameter: The parameter Count is not recognized"},
		{"ec2", "Launch", "", "MissingParameter: The request must contain the parameter Count"},
		{"ec2", "Launch", "Count=3 Else=1", "UnknownParameter: The parameter Else is not recognized"},
		{"ec2", "Launch", "Count=3 count=1", "UnknownParameter: The parameter count is not recognized"},
		{"ec2", "Launch", "Count=3 Groups.1=x", "UnknownParameter: The parameter Groups is not recognized"},
		{"ec2", "Launch", "Count=3 Disk.1.Else=x", "UnknownParameter: The parameter Disk.1.Else is"},
		{"ec2", "Launch", "Count=3 Disk.1.Size=2",
			"MissingParameter: The request must contain the parameter Disk.1.Name"},
		{"ec2", "Launch", "Count=3 Disk.1=x", "UnknownParameter: The parameter Disk.1 is"},
		{"ec2", "Launch", "Count=3 Disk=x", "UnknownParameter: The parameter Disk is"},
		{"ec2", "Launch", "Count=3 Group.2=x", "UnknownParameter: The parameter Group.2 is"},
		{"ec2", "Launch", "Count=3 Group.1=x Group.3=y", "UnknownParameter: The parameter Group.3 is"},
		{"ec2", "Launch", "Count=3 Group.0=x", "UnknownParameter: The parameter Group.0 is"},
		{"ec2", "Launch", "Count=3 Group.01=x", "UnknownParameter: The parameter Group.01 is"},
		{"ec2", "Launch", "Count.1=3", "UnknownParameter: The parameter Count.1 is"},
		{"ec2", "Launch", "Count=three", "InvalidParameterValue: Value (three) for parameter Count is invalid. It is"},
		{"ec2", "Launch", "Count=0", "InvalidParameterValue: Value (0) for parameter Count is invalid. It has"},
		{"ec2", "Launch", "Count=101", "InvalidParameterValue: Value (101) for parameter Count is invalid. It has"},
		{"ec2", "Launch", "Count=3 DryRun=perhaps", "InvalidParameterValue: Value (perhaps) for parameter DryRun is"},
		{"ec2", "Launch", "Count=3 VpcId=vpc-01234567 ImageId=resolve:ssm:/x SubnetId.1=subnet-01234567", ""},
		{"ec2", "Launch", "Count=3 VpcId= Placement.GroupId=pg-01234567890abcdef", ""},
		{"ec2", "Launch", "Count=3 VpcId=vpc-0123456",
			`InvalidVpcID.Malformed: Invalid id: "vpc-0123456" (expecting "vpc-...")`},
		{"ec2", "Launch", "Count=3 VpcId=subnet-0123456789abcdef0", "InvalidVpcID.Malformed: Invalid id: "},
		{"ec2", "Launch", "Count=3 ImageId=AMI-01234567", "InvalidAMIID.Malformed: Invalid id: "},
		{"ec2", "Launch", "Count=3 SubnetId.1=../x", "InvalidSubnetID.Malformed: Invalid id: "},
		{"ec2", "Launch", "Count=3 Until=tomorrow", "InvalidParameterValue: Value (tomorrow) for parameter Until is"},

		{"iam", "Make", "Name=ab Tags.member.1.Key=k", ""},
		{"iam", "Make", "Name=ab Tags=", ""},
		{"iam", "Make", "Tags=", "ValidationError: 1 validation error detected: Value at 'Name' failed"},
		{"iam", "Make", "Name=abcde", "ValidationError: 1 validation error detected: Value at 'Name' failed"},
		{"iam", "Make", "Name=ab Tags.1.Key=k",
			"ValidationError: 1 validation error detected: Value at 'Tags.1' failed"},
		{"iam", "Make", "Name=ab Tags.member.2.Key=k", "ValidationError: "},
	} {
		var given []string
		for _, parameter := range strings.Fields(c.parameters) {
			name, value, _ := strings.Cut(parameter, "=")
			given = append(given, name, value)
		}
		call := awsquery.NewCall(c.service, c.action, given...)
		refused(t, c.action+" "+c.parameters, m.Check(call), c.want)
	}
}

func TestJSON(t *testing.T) {
	m := written(t)
	const invalid = "ValidationException: 1 validation error detected: Value at "
	for body, want := range map[string]string{
		`{"Name": "a", "Overwrite": true, "Names": ["b", "c"]}`: "",
		`{"Name": "a", "Overwrite": null}`:                      "",
		`{"Overwrite": true}`:                                   invalid + "'Name'",
		`{"Name": "a", "Else": 1}`:                              invalid + "'Else'",
		`{"Name": 1}`:                                           "SerializationException: Name is to be a string",
		`{"Name": "a", "Overwrite": "true"}`:                    "SerializationException: Overwrite is to be a boolean",
		`{"Name": "a", "Names": "b"}`:                           "SerializationException: Names is to be a list",
		`{"Name": "a", "Names": [{}]}`:                          "SerializationException: Names.1 is to be a string",
		`{"Name": ["a"]}`:                                       "SerializationException: Name is to be a string",
		`["Name"]`:                                              "SerializationException: ",
		`{`:                                                     "SerializationException: the request is no JSON",
	} {
		call := &awsquery.Call{
			Service: "ssm",
			Header:  http.Header{"X-Amz-Target": {"AmazonSSM.Put"}},
			Body:    []byte(body),
		}
		refused(t, body, m.Check(call), want)
	}
}

func refused(t *testing.T, what string, err error, want string) {
	t.Helper()
	if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
		t.Errorf("%s: got %v, want %q", what, err, want)
	}
}

func TestModelsThatAreNotThere(t *testing.T) {
	m := New(t.TempDir())
	if err := m.Check(awsquery.NewCall("ec2", "Launch")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a call is checked without a model: %v", err)
	}
	if err := m.Load(); err == nil || strings.Count(err.Error(), "service model") != len(names) {
		t.Errorf("got %v", err)
	}
	var none *Models
	if err := none.Check(awsquery.NewCall("ec2", "Launch")); err != nil {
		t.Errorf("no models refuse a call: %v", err)
	}
	if err := written(t).Check(awsquery.NewCall("checkip", "Else")); err != nil {
		t.Errorf("a service without a model: %v", err)
	}
}
