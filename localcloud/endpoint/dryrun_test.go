package endpoint

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
)

// TestDryRunChangesNothing goes through all of EC2's actions. Moto and the machinery fail the test if
// anything but a question reaches them.
func TestDryRunChangesNothing(t *testing.T) {
	all := awsquery.Actions("ec2")
	if len(all) < 600 {
		t.Fatalf("EC2 has %d actions only", len(all))
	}
	b := mototest.New(t, nil)
	s := newServer(t, b, newMachinery(t))
	for _, action := range all {
		for _, yes := range []string{"true", "True", "TRUE", "1"} {
			status, root := request(t, s, action, "DryRun", yes, "CidrBlock", "10.9.0.0/16")
			code := root.Get("Errors", "Error", "Code")
			switch {
			case status == http.StatusPreconditionFailed && code == "DryRunOperation":
			case status == http.StatusBadRequest &&
				(action == "RunInstances" || strings.HasPrefix(action, "AuthorizeSecurityGroup")):
				// It lacks what these check.
			default:
				t.Errorf("%s, DryRun=%s: status %d: %s", action, yes, status, root.Bytes())
			}
		}
	}
	refused(t, s, "InvalidParameterValue", "CreateVpc", "DryRun", "yes", "CidrBlock", "10.9.0.0/16")
	if len(b.Changes()) > 0 || len(s.moto.Journaled()) > 0 {
		t.Errorf("moto got %v, the journal %v", b.Changes(), s.moto.Journaled())
	}
}

// TestDryRunSaysWhatIsWrong: a dry run is asked for in order to hear it.
func TestDryRunSaysWhatIsWrong(t *testing.T) {
	b := mototest.New(t, map[string]func(url.Values) string{
		"DescribeSubnets": mototest.Canned(
			"<Errors><Error><Code>InvalidSubnetID.NotFound</Code><Message>none</Message></Error></Errors>"),
	})
	s := newServer(t, b, newMachinery(t))
	refused(t, s, "InvalidSubnetID.NotFound", "DeleteSubnet", "SubnetId", "subnet-00000000000000009", "DryRun", "true")
	refused(t, s, "InvalidInstanceID.NotFound", "StopInstances", "InstanceId.1", "i-00000000000000009", "DryRun",
		"true")
	refused(t, s, "InvalidParameterValue", "AuthorizeSecurityGroupIngress", "GroupId", "sg-00000000000000001",
		"DryRun", "true",
		"IpPermissions.1.IpProtocol", "tcp", "IpPermissions.1.FromPort", "70000", "IpPermissions.1.ToPort", "70000",
		"IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0")
}

// TestIDsInTextAreNoReferences: a tag may say what it likes.
func TestIDsInTextAreNoReferences(t *testing.T) {
	s := newServer(t, mototest.New(t, nil), newMachinery(t))
	for _, parameters := range [][]string{
		{"CreateSecurityGroup", "GroupName", "g", "Description", "i-00000000000000009"},
		{"CreateVpc", "TagSpecification.1.Tag.1.Key", "from", "TagSpecification.1.Tag.1.Value", "i-00000000000000009"},
	} {
		if status, root := request(t, s, parameters[0],
			append(parameters[1:], "DryRun", "true")...); status != http.StatusPreconditionFailed {
			t.Errorf("%v: status %d: %s", parameters, status, root.Bytes())
		}
	}
}

// TestOneActionOnly: the action that is checked here is the one that moto carries out.
func TestOneActionOnly(t *testing.T) {
	b := mototest.New(t, map[string]func(url.Values) string{"CreateRouteTable": mototest.Canned("<routeTable/>")})
	s := newServer(t, b, newMachinery(t))
	post := func(target, contentType, body string, headers ...string) int {
		r := newRequest(http.MethodPost, target, body)
		r.Header.Set("Content-Type", contentType)
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return sendSigned(s, Operators, apiAddress, r, "ec2", awsquery.Region, operatorCredentials(), body).Code
	}
	for name, status := range map[string]int{
		"two actions":      post("/", "application/x-www-form-urlencoded", "Action=DescribeVpcs&Action=DeleteVpc"),
		"one in the query": post("/?Action=DeleteVpc", "application/x-www-form-urlencoded", "Action=DescribeVpcs"),
		"no form":          post("/", "text/plain", "Action=DeleteVpc"),
		"no action":        post("/", "application/x-www-form-urlencoded", "Version=2016-11-15"),
		"an action in a header": post("/", "application/x-www-form-urlencoded", "Version=2016-11-15", "X-Amz-Target",
			"EC2.DeleteVpc"),
	} {
		if status != http.StatusBadRequest {
			t.Errorf("%s: status %d", name, status)
		}
	}
	if changes := b.Changes(); len(changes) > 0 {
		t.Errorf("moto got %v", changes)
	}

	// A GET is the same call as a POST, and remembered as one.
	r := newRequest(http.MethodGet, "/?Action=CreateRouteTable&VpcId=vpc-00000000000000001&Version=2016-11-15", "")
	if w := sendSigned(s, Operators, apiAddress, r, "ec2", awsquery.Region, operatorCredentials(),
		""); w.Code != http.StatusOK {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if calls := s.moto.Journaled(); len(calls) != 1 || calls[0].Get("VpcId") != "vpc-00000000000000001" {
		t.Errorf("the journal has %v", calls)
	}
}

// TestOtherSpellings: moto would take each of these for an action, and nothing here would know of it.
func TestOtherSpellings(t *testing.T) {
	b := mototest.New(t, nil)
	s := newServer(t, b, newMachinery(t))
	for _, action := range []string{"run_instances", "runInstances", "create_vpc", "CreateVPC", "CreateVpc ",
		"describe_instances", "delete_volume", "__init__", "error_on_dryrun"} {
		if status, root := request(t, s, action); status != http.StatusBadRequest ||
			root.Get("Errors", "Error", "Code") != "InvalidAction" {
			t.Errorf("%s: status %d: %s", action, status, root.Bytes())
		}
	}
	if len(b.Changes()) > 0 {
		t.Errorf("moto got %v", b.Changes())
	}
}
