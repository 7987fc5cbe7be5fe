package manners

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// cloud carries calls out: it answers each action with what it was told, and no other.
type cloud struct {
	t       *testing.T
	answers map[string]string
	calls   []*awsquery.Call
}

func (f *cloud) carry(_ context.Context, c *awsquery.Call) (*awsquery.Answer, error) {
	f.calls = append(f.calls, c)
	inner, ok := f.answers[c.Action()]
	if !ok {
		f.t.Errorf("the cloud was not told of %s", c)
	}
	body := fmt.Sprintf("<%[1]sResponse>%[2]s</%[1]sResponse>", c.Action(), inner)
	return &awsquery.Answer{Status: http.StatusOK, Header: http.Header{}, Body: []byte(body)}, nil
}

// guest calls a cloud with manners.
type guest struct {
	*cloud
	manners Manners
}

// visit has a client call a cloud with EC2's manners, which answers with these.
func visit(t *testing.T, answers map[string]string) *guest {
	all := map[string]string{
		"DescribeAddresses": "",
		"DescribeImages":    "",
		"DescribeInstances": "",
		"DescribeSubnets":   "",
		"DescribeVpcs":      "",
	}
	maps.Copy(all, answers)
	g := &guest{cloud: &cloud{t: t, answers: all}}
	g.set(Setting{EC2: true, Time: 1, Seed: 1})
	return g
}

// set switches to other manners, under which a client may ask as often as it likes.
func (g *guest) set(s Setting) {
	g.manners.Set(s)
	limits := g.manners.current.Load().limits
	for action := range ownBuckets {
		limits.buckets[action] = rate.NewLimiter(rate.Inf, 0)
	}
	for service, all := range otherBuckets {
		for _, shared := range all {
			limits.buckets[sharedName(service, shared.actions)] = rate.NewLimiter(rate.Inf, 0)
		}
	}
}

func (g *guest) call(action string, parameters ...string) (*awsquery.Node, error) {
	return g.send(awsquery.NewCall("ec2", action, parameters...))
}

func (g *guest) send(c *awsquery.Call) (*awsquery.Node, error) {
	a, err := g.manners.Answer(g.t.Context(), c, g.carry)
	if err != nil {
		return nil, err
	}
	return a.XML()
}

// must is a call that succeeds.
func (g *guest) must(action string, parameters ...string) *awsquery.Node {
	g.t.Helper()
	root, err := g.call(action, parameters...)
	if err != nil {
		g.t.Fatalf("%s: %v", action, err)
	}
	return root
}

// sees makes a call several times, and tells for how many of them is true.
func sees(is func() bool) (times int) {
	for range tries {
		if is() {
			times++
		}
	}
	return times
}

// tries is the number of calls that sees makes: so many that they do not all draw the same.
const tries = 40

func code(err error) string {
	var fault *awsquery.Error
	if errors.As(err, &fault) {
		return fault.Code
	}
	return ""
}

// lateness is over after that.
const later = 31 * time.Second

const anID = "-0123456789abcdef0"

func TestWhatIsNewIsNotFound(t *testing.T) {
	for _, c := range []struct {
		make   []string
		made   string // what is answered
		use    []string
		code   string
		answer string
	}{
		{
			[]string{"RunInstances", "ImageId", "ami" + anID},
			"<instancesSet><item><instanceId>i" + anID + "</instanceId></item></instancesSet>",
			[]string{"TerminateInstances", "InstanceId.1", "i" + anID}, "InvalidInstanceID.NotFound", "",
		},
		{
			[]string{"CreateVolume"}, "<volumeId>vol" + anID + "</volumeId>",
			[]string{"DescribeVolumes", "VolumeId.1", "vol" + anID}, "InvalidVolume.NotFound", "<volumeSet/>",
		},
		{
			[]string{"CreateSnapshot"}, "<snapshotId>snap" + anID + "</snapshotId>",
			[]string{"DescribeSnapshots", "SnapshotId.1", "snap" + anID}, "InvalidSnapshot.NotFound", "<snapshotSet/>",
		},
		{
			[]string{"CreateImage", "InstanceId", "i" + anID}, "<imageId>ami" + anID + "</imageId>",
			[]string{"DescribeImages", "ImageId.1", "ami" + anID}, "InvalidAMIID.NotFound", "<imagesSet/>",
		},
		{
			[]string{"CreateVpc"}, "<vpc><vpcId>vpc" + anID + "</vpcId></vpc>",
			[]string{"CreateSubnet", "VpcId", "vpc" + anID}, "InvalidVpcID.NotFound", "",
		},
		{
			[]string{"CreateSubnet"}, "<subnet><subnetId>subnet" + anID + "</subnetId></subnet>",
			[]string{"RunInstances", "SubnetId", "subnet" + anID}, "InvalidSubnetID.NotFound", "",
		},
		{
			[]string{"CreateSecurityGroup"}, "<groupId>sg" + anID + "</groupId>",
			[]string{"AuthorizeSecurityGroupIngress", "GroupId", "sg" + anID}, "InvalidGroup.NotFound", "",
		},
		{
			[]string{"CreateRouteTable"}, "<routeTable><routeTableId>rtb" + anID + "</routeTableId></routeTable>",
			[]string{"CreateRoute", "RouteTableId", "rtb" + anID}, "InvalidRouteTableID.NotFound", "",
		},
		{
			[]string{"CreateInternetGateway"}, "<internetGatewayId>igw" + anID + "</internetGatewayId>",
			[]string{"AttachInternetGateway", "InternetGatewayId", "igw" + anID},
			"InvalidInternetGatewayID.NotFound", "",
		},
		{
			[]string{"CreateNatGateway"}, "<natGateway><natGatewayId>nat" + anID + "</natGatewayId></natGateway>",
			[]string{"DescribeNatGateways", "NatGatewayId.1", "nat" + anID}, "NatGatewayNotFound", "<natGatewaySet/>",
		},
		{
			[]string{"AllocateAddress"}, "<allocationId>eipalloc" + anID + "</allocationId>",
			[]string{"AssociateAddress", "AllocationId", "eipalloc" + anID}, "InvalidAllocationID.NotFound", "",
		},
		{
			[]string{"CreateNetworkInterface"}, "<networkInterfaceId>eni" + anID + "</networkInterfaceId>",
			[]string{"AttachNetworkInterface", "NetworkInterfaceId", "eni" + anID},
			"InvalidNetworkInterfaceID.NotFound", "",
		},
		{
			[]string{"CreateLaunchTemplate"}, "<launchTemplateId>lt" + anID + "</launchTemplateId>",
			[]string{"CreateLaunchTemplateVersion", "LaunchTemplateId", "lt" + anID},
			"InvalidLaunchTemplateId.NotFound", "",
		},
		{
			[]string{"ImportKeyPair", "KeyName", "mine"}, "",
			[]string{"RunInstances", "KeyName", "mine"}, "InvalidKeyPair.NotFound", "",
		},
	} {
		t.Run(c.make[0], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := visit(t, map[string]string{c.use[0]: c.answer, c.make[0]: c.made})
				g.must(c.make[0], c.make[1:]...)
				g.answers[c.use[0]] = c.answer
				missed := func() bool {
					_, err := g.call(c.use[0], c.use[1:]...)
					if err != nil && code(err) != c.code {
						t.Fatalf("%s: got %v", c.use[0], err)
					}
					return err != nil
				}
				if n := sees(missed); n == 0 || n == tries {
					t.Errorf("at once, %d of %d calls do not find it", n, tries)
				}
				time.Sleep(later)
				if n := sees(missed); n > 0 {
					t.Errorf("after %s, %d calls do not find it", later, n)
				}
			})
		})
	}
}

func TestWhatIsNewIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := visit(t, map[string]string{
			"CreateVpc": "<vpc><vpcId>vpc" + anID + "</vpcId></vpc>",
			"DescribeVpcs": "<vpcSet><item><vpcId>vpc-00000000000000001</vpcId></item>" +
				"<item><vpcId>vpc" + anID + "</vpcId></item></vpcSet>",
		})
		g.must("CreateVpc")
		lacking := func(parameters ...string) func() bool {
			return func() bool {
				ids := g.must("DescribeVpcs", parameters...).All("vpcSet", "*", "vpcId")
				if len(ids) == 0 || ids[0] != "vpc-00000000000000001" {
					t.Fatalf("the old one is lacking: %v", ids)
				}
				return len(ids) == 1
			}
		}
		for _, parameters := range [][]string{nil, {"Filter.1.Name", "state", "Filter.1.Value.1", "available"}} {
			if n := sees(lacking(parameters...)); n == 0 || n == tries {
				t.Errorf("%v: %d of %d calls leave it out", parameters, n, tries)
			}
		}
		time.Sleep(later)
		if n := sees(lacking()); n > 0 {
			t.Errorf("after %s, %d calls leave it out", later, n)
		}
	})
}

// TestReservationOfNothing: an instance that is not shown takes its reservation with it.
func TestReservationOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		instance := "<instancesSet><item><instanceId>i" + anID + "</instanceId></item></instancesSet>"
		g := visit(t, map[string]string{
			"RunInstances":      instance,
			"DescribeInstances": "<reservationSet><item>" + instance + "</item></reservationSet>",
		})
		g.must("RunInstances", "ImageId", "ami"+anID)
		n := sees(func() bool {
			reservations := g.must("DescribeInstances").Items("reservationSet")
			if len(reservations) > 0 && len(reservations[0].Items("instancesSet")) == 0 {
				t.Error("there is a reservation of nothing")
			}
			return len(reservations) == 0
		})
		if n == 0 || n == tries {
			t.Errorf("%d of %d calls leave it out", n, tries)
		}
	})
}

func TestTagsAreLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tagged := func(role string) string {
			return "<volumeSet><item><volumeId>vol" + anID + "</volumeId><tagSet><item><key>role</key><value>" + role +
				"</value></item></tagSet></item></volumeSet>"
		}
		g := visit(t, map[string]string{
			"CreateTags":      "",
			"DescribeTags":    "<tagSet><item><key>role</key><value>old</value></item></tagSet>",
			"DescribeVolumes": tagged("new"),
		})
		g.must("CreateTags", "ResourceId.1", "vol"+anID, "Tag.1.Key", "role", "Tag.1.Value", "new")
		roles := func(parameters ...string) []string {
			return g.must("DescribeVolumes", parameters...).All("volumeSet", "*", "tagSet", "*", "value")
		}
		n := sees(func() bool { return slices.Equal(roles("VolumeId.1", "vol"+anID), []string{"old"}) })
		if n == 0 || n == tries {
			t.Errorf("%d of %d calls show the old tags", n, tries)
		}
		// A filter looks at the same tags as are shown.
		byRole := []string{"Filter.1.Name", "size", "Filter.1.Value.1", "8", "Filter.2.Name", "tag:role",
			"Filter.2.Value.1", "new"}
		n = sees(func() bool {
			got := roles(byRole...)
			if len(got) > 0 && got[0] != "new" {
				t.Errorf("the filter passes %v", got)
			}
			return len(got) == 0
		})
		if n == 0 || n == tries {
			t.Errorf("%d of %d calls with a filter do not find the new tags", n, tries)
		}
		last := g.calls[len(g.calls)-1]
		if last.Get("Filter.1.Name") != "size" || last.Get("Filter.2.Name") != "" {
			t.Errorf("the cloud gets the filters %v", last.Form)
		}
		time.Sleep(later)
		if got := roles(byRole...); !slices.Equal(got, []string{"new"}) {
			t.Errorf("after %s, there are %v", later, got)
		}
	})
}

func TestProfileIsUnknown(t *testing.T) {
	for _, c := range []struct{ action, parameter, value, message string }{
		{
			"RunInstances", "IamInstanceProfile.Name", "mine",
			"Value (mine) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
		},
		{
			"RunInstances", "IamInstanceProfile.Arn", "arn:aws:iam::1:instance-profile/mine",
			"Value (arn:aws:iam::1:instance-profile/mine) for parameter iamInstanceProfile.arn is invalid. " +
				"Invalid IAM Instance Profile ARN",
		},
		{
			"CreateLaunchTemplate", "LaunchTemplateData.IamInstanceProfile.Name", "mine",
			"Value (mine) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
		},
		{
			"CreateLaunchTemplateVersion", "LaunchTemplateData.IamInstanceProfile.Name", "mine",
			"Value (mine) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
		},
	} {
		t.Run(c.action, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := visit(t, map[string]string{"AddRoleToInstanceProfile": "", c.action: ""})
				if _, err := g.send(awsquery.NewCall("iam", "AddRoleToInstanceProfile",
					"InstanceProfileName", "mine")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(profileFor.low - time.Second)
				_, err := g.call(c.action, c.parameter, c.value)
				if code(err) != "InvalidParameterValue" || !strings.HasSuffix(err.Error(), ": "+c.message) {
					t.Errorf("got %v", err)
				}
				g.must(c.action, c.parameter, strings.ReplaceAll(c.value, "mine", "other"))
				time.Sleep(profileFor.high)
				g.must(c.action, c.parameter, c.value)
			})
		})
	}
}

// parameterCall is a call of Parameter Store's.
func parameterCall(action, body string) *awsquery.Call {
	return &awsquery.Call{
		Service: "ssm",
		Header:  http.Header{"X-Amz-Target": {"AmazonSSM." + action}},
		Body:    []byte(body),
	}
}

func TestParameterCannotBeMadeAgain(t *testing.T) {
	for action, body := range map[string]string{
		"DeleteParameter":  `{"Name":"/a"}`,
		"DeleteParameters": `{"Names":["/b","/a"]}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			g := visit(t, map[string]string{action: "", "PutParameter": ""})
			send := func(action, body string) error {
				_, err := g.send(parameterCall(action, body))
				return err
			}
			if err := send(action, body); err != nil {
				t.Fatal(err)
			}
			time.Sleep(parameterFor - time.Second)
			if err := send("PutParameter", `{"Name":"/a"}`); code(err) != "ParameterAlreadyExists" {
				t.Errorf("%s: got %v", action, err)
			}
			if err := send("PutParameter", `{"Name":"/a","Overwrite":true}`); code(err) != "TooManyUpdates" {
				t.Errorf("%s: got %v", action, err)
			}
			if err := send("PutParameter", `{"Name":"/other"}`); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
			if err := send("PutParameter", `{"Name":"/a"}`); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSnapshotIsInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := visit(t, map[string]string{
			"DescribeImages": "<imagesSet><item><blockDeviceMapping><item><ebs><snapshotId>snap" + anID +
				"</snapshotId></ebs></item></blockDeviceMapping></item></imagesSet>",
			"DeregisterImage": "",
			"DeleteSnapshot":  "",
		})
		g.must("DeregisterImage", "ImageId", "ami"+anID)
		time.Sleep(snapshotFor.low - time.Second)
		_, err := g.call("DeleteSnapshot", "SnapshotId", "snap"+anID)
		if code(err) != "InvalidSnapshot.InUse" || !strings.Contains(err.Error(), "ami"+anID) {
			t.Errorf("got %v", err)
		}
		time.Sleep(snapshotFor.high)
		g.must("DeleteSnapshot", "SnapshotId", "snap"+anID)
	})
}

// TestSeed: what is drawn follows from the seed, whatever the ids are and what else is asked meanwhile.
func TestSeed(t *testing.T) {
	pattern := func(seed uint64, id string, beside int) (seen string) {
		synctest.Test(t, func(t *testing.T) {
			g := visit(t, map[string]string{
				"CreateVpc":    "<vpcId>" + id + "</vpcId>",
				"CreateVolume": "<volumeId>vol" + anID + "</volumeId>",
				"DescribeVpcs": "<vpcSet/>", "DescribeVolumes": "<volumeSet/>",
			})
			g.set(Setting{EC2: true, Time: 1, Seed: seed})
			g.must("CreateVpc")
			g.must("CreateVolume")
			for range tries {
				for range beside {
					_, _ = g.call("DescribeVolumes", "VolumeId.1", "vol"+anID)
				}
				_, err := g.call("DescribeVpcs", "VpcId.1", id)
				seen += fmt.Sprintf("%t ", err == nil)
			}
		})
		return seen
	}
	first := pattern(7, "vpc-00000000000000001", 0)
	if again := pattern(7, "vpc-00000000000000002", 3); again != first {
		t.Errorf("the same seed gives\n%s and\n%s", first, again)
	}
	if other := pattern(8, "vpc-00000000000000001", 0); other == first {
		t.Errorf("another seed gives the same: %s", other)
	}
}

// TestNone: without manners a call is carried out as it came, and its answer is the one that there was.
func TestNone(t *testing.T) {
	switched := &Manners{}
	switched.Set(Setting{EC2: true})
	switched.Set(Setting{})
	for name, m := range map[string]*Manners{"nil": nil, "zero": {}, "switched off": switched} {
		want := &awsquery.Answer{Status: http.StatusOK}
		c := awsquery.NewCall("ec2", "DescribeVpcs")
		got, err := m.Answer(t.Context(), c, func(_ context.Context, given *awsquery.Call) (*awsquery.Answer, error) {
			if given != c {
				t.Errorf("%s: the call is another", name)
			}
			return want, nil
		})
		if got != want || err != nil {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

// TestRefusedIsNotRemembered: what the cloud refuses makes nothing.
func TestRefusedIsNotRemembered(t *testing.T) {
	g := visit(t, nil)
	refuse := func(context.Context, *awsquery.Call) (*awsquery.Answer, error) {
		return &awsquery.Answer{Status: http.StatusBadRequest, Body: []byte("<r>subnet" + anID + "</r>")}, nil
	}
	a, err := g.manners.Answer(t.Context(), awsquery.NewCall("ec2", "CreateSubnet"), refuse)
	if err != nil || a.OK() {
		t.Errorf("got %v, %v", a, err)
	}
	g.answers["DescribeSubnets"] = "<subnetSet/>"
	for range tries {
		g.must("DescribeSubnets", "SubnetId.1", "subnet"+anID)
	}
}
