package manners

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// TestThrottle: as many calls as the bucket holds are answered at once, and then as many each second as it gets.
func TestThrottle(t *testing.T) {
	for _, c := range []struct {
		action     string
		parameters []string
		at, second int
	}{
		{"DescribeVpcs", nil, 100, 20},
		{"DescribeInstances", []string{"InstanceId.1", "i" + anID}, 50, 10},
		{"DescribeInstances", []string{"Filter.1.Name", "vpc-id", "Filter.1.Value.1", "vpc-1"}, 100, 20},
		{"DescribeInstances", []string{"MaxResults", "5"}, 100, 20},
		{"CreateRoute", nil, 50, 5},
		{"GetConsoleOutput", nil, 50, 5},
		{"RunInstances", nil, 5, 2},
		{"CreateTags", nil, 100, 10},
	} {
		t.Run(c.action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := visit(t, map[string]string{c.action: ""})
				g.manners.Set(Setting{EC2: true, Time: 0.1, Seed: 1})
				answered := func() (n int) {
					for {
						_, err := g.call(c.action, c.parameters...)
						var fault *awsquery.Error
						if errors.As(err, &fault) {
							if fault.Code != "RequestLimitExceeded" || fault.Status != http.StatusServiceUnavailable {
								t.Fatal(err)
							}
							return n
						}
						if n++; n > 1000 {
							t.Fatal("there is no limit")
						}
					}
				}
				if n := answered(); n != c.at {
					t.Errorf("at once: %d, want %d", n, c.at)
				}
				time.Sleep(time.Second)
				if n := answered(); n != c.second {
					t.Errorf("a second later: %d, want %d", n, c.second)
				}
				g.answers["DescribeKeyPairs"] = ""
				g.must("DescribeKeyPairs")
			})
		})
	}
}

// TestOtherServicesThrottle: each has its own code, and buckets that its actions share.
func TestOtherServicesThrottle(t *testing.T) {
	for _, c := range []struct {
		service    string
		actions    []string
		at, second int
		code       string
	}{
		{"ssm", []string{"GetParameter", "GetParametersByPath"}, 40, 40, "ThrottlingException"},
		{"ssm", []string{"PutParameter"}, 3, 3, "ThrottlingException"},
		{"elasticloadbalancing", []string{"DescribeTargetHealth", "RegisterTargets"}, 40, 10, "ThrottlingException"},
		{"autoscaling", []string{"DescribePolicies", "DeletePolicy"}, 50, 10, "Throttling"},
		{"iam", []string{"GetRole", "CreateRole"}, 30, 10, "Throttling"},
	} {
		t.Run(c.service+" "+c.actions[0], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				answers := map[string]string{}
				for _, action := range c.actions {
					answers[action] = ""
				}
				g := visit(t, answers)
				g.manners.Set(Setting{EC2: true, Time: 0.1, Seed: 1})
				answered := func() (n int) {
					for ; n < 1000; n++ {
						_, err := g.send(awsquery.NewCall(c.service, c.actions[n%len(c.actions)]))
						var fault *awsquery.Error
						if errors.As(err, &fault) && fault.Code == c.code {
							return n
						}
						if err != nil {
							t.Fatal(err)
						}
					}
					return n
				}
				if n := answered(); n != c.at {
					t.Errorf("at once: %d, want %d", n, c.at)
				}
				time.Sleep(time.Second)
				if n := answered(); n != c.second {
					t.Errorf("a second later: %d, want %d", n, c.second)
				}
			})
		})
	}
}

// running is the answer of DescribeInstances for so many instances.
func running(count int, state string) string {
	return "<reservationSet><item><instancesSet>" + strings.Repeat("<item><instanceId>i"+anID+"</instanceId>"+
		"<instanceType>t3.large</instanceType><instanceState><name>"+state+"</name></instanceState></item>", count) +
		"</instancesSet></item></reservationSet>"
}

func TestQuotas(t *testing.T) {
	launch := []string{"RunInstances", "InstanceType", "t3.large", "MinCount", "2", "SubnetId", "subnet-1"}
	for _, c := range []struct {
		what, code string
		call       []string
		look       string
		below, at  string
	}{
		{
			"vCPUs", "VcpuLimitExceeded", launch, "DescribeInstances", running(14, "running"), running(15, "running"),
		},
		{
			"vCPUs of what is stopped", "VcpuLimitExceeded", launch, "DescribeInstances", running(50, "stopped"),
			running(15, "pending"),
		},
		{
			"vCPUs of a start", "VcpuLimitExceeded", []string{"StartInstances", "InstanceId.1", "i" + anID},
			"DescribeInstances", running(16, "stopped"), running(17, "stopped"),
		},
		{
			"addresses", "AddressLimitExceeded", []string{"AllocateAddress"}, "DescribeAddresses",
			"<addressesSet>" + strings.Repeat("<item/>", 4) + "</addressesSet>",
			"<addressesSet>" + strings.Repeat("<item/>", 5) + "</addressesSet>",
		},
		{
			"VPCs", "VpcLimitExceeded", []string{"CreateVpc"}, "DescribeVpcs",
			"<vpcSet>" + strings.Repeat("<item/>", 4) + "</vpcSet>",
			"<vpcSet>" + strings.Repeat("<item/>", 5) + "</vpcSet>",
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			g := visit(t, map[string]string{
				c.call[0]:                       "",
				"DescribeSubnets":               set("subnetSet", "availabilityZone", "us-east-1a"),
				"DescribeInstanceTypeOfferings": set("instanceTypeOfferingSet", "location", "us-east-1a"),
				"DescribeInstanceTypes":         set("instanceTypeSet", "vCpuInfo", "<defaultVCpus>2</defaultVCpus>"),
				c.look:                          c.below,
			})
			g.must(c.call[0], c.call[1:]...)
			g.answers[c.look] = c.at
			if _, err := g.call(c.call[0], c.call[1:]...); code(err) != c.code {
				t.Errorf("got %v, want %s", err, c.code)
			}
			_, err := g.call(c.call[0], append(c.call[1:], "DryRun", "true")...)
			if err != nil {
				t.Errorf("a dry run: %v", err)
			}
		})
	}
}

func TestZoneLacksAType(t *testing.T) {
	g := visit(t, map[string]string{
		"RunInstances":          "",
		"DescribeSubnets":       set("subnetSet", "availabilityZone", "us-east-1e"),
		"DescribeInstanceTypes": "",
		"DescribeInstanceTypeOfferings": "<instanceTypeOfferingSet><item><location>us-east-1b</location></item>" +
			"<item><location>us-east-1a</location></item></instanceTypeOfferingSet>",
	})
	for _, at := range []string{"SubnetId", "NetworkInterface.1.SubnetId"} {
		_, err := g.call("RunInstances", "InstanceType", "t3.micro", "MinCount", "1", at, "subnet-1")
		if code(err) != "Unsupported" || !strings.Contains(err.Error(), "(us-east-1e)") ||
			!strings.HasSuffix(err.Error(), "choosing us-east-1a, us-east-1b.") {
			t.Errorf("by %s: got %v", at, err)
		}
	}
	g.answers["DescribeSubnets"] = set("subnetSet", "availabilityZone", "us-east-1a")
	g.must("RunInstances", "InstanceType", "t3.micro", "MinCount", "1", "SubnetId", "subnet-1")
}

// TestCapacityRunsOut: seldom, for a while, and not for other types.
func TestCapacityRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := visit(t, map[string]string{
			"RunInstances":                  "",
			"DescribeSubnets":               set("subnetSet", "availabilityZone", "us-east-1a"),
			"DescribeInstanceTypes":         "",
			"DescribeInstanceTypeOfferings": "",
		})
		launch := func(kind string) string {
			_, err := g.call("RunInstances", "InstanceType", kind, "MinCount", "1", "SubnetId", "subnet-1")
			var fault *awsquery.Error
			if errors.As(err, &fault) && fault.Status != http.StatusInternalServerError {
				t.Errorf("status %d", fault.Status)
			}
			return code(err)
		}
		launches := 1
		for ; launch("t3.micro") == ""; launches++ {
			if launches > 20*shortOne {
				t.Fatal("there is always capacity")
			}
		}
		if launches < shortOne/20 {
			t.Errorf("it ran out at launch %d", launches)
		}
		time.Sleep(shortFor.low - time.Second)
		if got := launch("t3.micro"); got != "InsufficientInstanceCapacity" {
			t.Errorf("soon after: got %q", got)
		}
		if got := launch("t3a.micro"); got != "" {
			t.Errorf("another type: got %q", got)
		}
		time.Sleep(shortFor.high)
		if got := launch("t3.micro"); got != "" {
			t.Errorf("later: got %q", got)
		}
	})
}

func TestUserDataIsLimited(t *testing.T) {
	for action, parameter := range map[string]string{
		"CreateLaunchTemplate":        "LaunchTemplateData.UserData",
		"CreateLaunchTemplateVersion": "LaunchTemplateData.UserData",
		"ModifyInstanceAttribute":     "UserData.Value",
	} {
		g := visit(t, map[string]string{action: ""})
		data := func(size int) string { return base64.StdEncoding.EncodeToString(make([]byte, size)) }
		g.must(action, parameter, data(16<<10))
		if _, err := g.call(action, parameter, data(16<<10+1)); code(err) != "InvalidParameterValue" {
			t.Errorf("%s: got %v", action, err)
		}
	}
}

func TestParameterIsLimited(t *testing.T) {
	g := visit(t, map[string]string{"PutParameter": ""})
	for _, c := range []struct {
		characters int
		tier, code string
	}{
		{4096, "", ""},
		{4097, "", "ValidationException"},
		{4097, "Standard", "ValidationException"},
		{4097, "Advanced", ""},
		{4097, "Intelligent-Tiering", ""},
	} {
		body := fmt.Sprintf(`{"Name":"/a","Tier":%q,"Value":%q}`, c.tier, strings.Repeat("ä", c.characters))
		if _, err := g.send(parameterCall("PutParameter", body)); code(err) != c.code {
			t.Errorf("%d characters, tier %q: got %v", c.characters, c.tier, err)
		}
	}
}

func TestTagsAreLimited(t *testing.T) {
	tags := func(prefix string, from, to int) (parameters []string) {
		for i := from; i < to; i++ {
			parameters = append(parameters, fmt.Sprintf("%sTag.%d.Key", prefix, i-from+1), fmt.Sprintf("k%d", i))
		}
		return parameters
	}
	had := "<tagSet><item><key>aws:x</key></item>"
	for i := range 40 {
		had += fmt.Sprintf("<item><key>k%d</key></item>", i)
	}
	had += "</tagSet>"
	for _, c := range []struct {
		what, action string
		parameters   []string
		code         string
	}{
		{"with a volume", "CreateVolume", tags("TagSpecification.1.", 0, 50), ""},
		{"with a volume", "CreateVolume", tags("TagSpecification.1.", 0, 51), "TagLimitExceeded"},
		{
			"of two resources", "CreateVolume",
			append(tags("TagSpecification.1.", 0, 30), tags("TagSpecification.2.", 0, 30)...), "",
		},
		{
			"of AWS", "CreateVolume",
			append(tags("TagSpecification.1.", 0, 50), "TagSpecification.1.Tag.51.Key", "aws:x"), "",
		},
		{"later", "CreateTags", append(tags("", 40, 50), "ResourceId.1", "vol-1"), ""},
		{"later", "CreateTags", append(tags("", 40, 51), "ResourceId.1", "vol-1"), "TagLimitExceeded"},
		{"changed", "CreateTags", append(tags("", 0, 50), "ResourceId.1", "vol-1"), ""},
	} {
		g := visit(t, map[string]string{c.action: "", "DescribeTags": had})
		if _, err := g.call(c.action, c.parameters...); code(err) != c.code {
			t.Errorf("%s, %d: got %v, want %q", c.what, len(c.parameters)/2, err, c.code)
		}
	}
}
