package manners

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// instance is the answer of DescribeInstances for one that was launched just now.
func instance(state string) string {
	return fmt.Sprintf("<reservationSet><item><instancesSet><item><instanceId>i%s</instanceId><instanceState><name>%s"+
		"</name></instanceState><launchTime>%s</launchTime></item></instancesSet></item></reservationSet>", anID, state,
		awsquery.Timestamp(time.Now()))
}

// set is a list of one thing with these members, names and values in turn.
func set(name string, members ...string) string {
	inner := ""
	for i := 0; i+1 < len(members); i += 2 {
		inner += "<" + members[i] + ">" + members[i+1] + "</" + members[i] + ">"
	}
	return "<" + name + "><item>" + inner + "</item></" + name + ">"
}

func TestWhatTakesItsTime(t *testing.T) {
	for _, c := range []struct {
		what     string
		begin    []string
		answer   string
		look     string // the action that describes
		sees     func() string
		path     []string
		at, done string
	}{
		{
			"image", []string{"CreateImage", "InstanceId", "i-1"},
			"<imageId>ami" + anID + "</imageId>", "DescribeImages",
			func() string {
				return set("imagesSet", "imageId", "ami"+anID, "imageState", "available")
			},
			[]string{"imagesSet", "item", "imageState"}, "pending", "available",
		},
		{
			"snapshot", []string{"CreateSnapshot"},
			"<snapshotId>snap" + anID + "</snapshotId>", "DescribeSnapshots",
			func() string {
				return set("snapshotSet", "snapshotId", "snap"+anID, "status", "completed")
			},
			[]string{"snapshotSet", "item", "status"}, "pending", "completed",
		},
		{
			"create", []string{"CreateVolume"},
			"<volumeId>vol" + anID + "</volumeId>", "DescribeVolumes",
			func() string {
				return set("volumeSet", "volumeId", "vol"+anID, "status", "available")
			},
			[]string{"volumeSet", "item", "status"}, "creating", "available",
		},
		{
			"attach", []string{"AttachVolume", "VolumeId", "vol" + anID, "InstanceId", "i" + anID},
			"", "DescribeVolumes",
			func() string {
				return set("volumeSet", "volumeId", "vol"+anID,
					"attachmentSet", "<item><status>attached</status></item>")
			},
			[]string{"volumeSet", "item", "attachmentSet", "item", "status"}, "attaching", "attached",
		},
		{
			"detach", []string{"DetachVolume", "VolumeId", "vol" + anID},
			"<instanceId>i-1</instanceId>", "DescribeVolumes",
			func() string {
				return set("volumeSet", "volumeId", "vol"+anID, "status", "available")
			},
			[]string{"volumeSet", "item", "status"}, "in-use", "available",
		},
		{
			"nat", []string{"CreateNatGateway"},
			"<natGatewayId>nat" + anID + "</natGatewayId>", "DescribeNatGateways",
			func() string {
				return set("natGatewaySet", "natGatewayId", "nat"+anID, "state", "available")
			},
			[]string{"natGatewaySet", "item", "state"}, "pending", "available",
		},
		{
			"nat end", []string{"DeleteNatGateway", "NatGatewayId", "nat" + anID},
			"", "DescribeNatGateways",
			func() string {
				return set("natGatewaySet", "natGatewayId", "nat"+anID, "state", "deleted")
			},
			[]string{"natGatewaySet", "item", "state"}, "deleting", "deleted",
		},
		{
			"stop", []string{"StopInstances", "InstanceId.1", "i" + anID},
			"", "DescribeInstances",
			func() string { return instance("stopped") },
			[]string{"reservationSet", "item", "instancesSet", "item", "instanceState", "name"}, "stopping", "stopped",
		},
		{
			"terminate", []string{"TerminateInstances", "InstanceId.1", "i" + anID},
			"", "DescribeInstances",
			func() string { return instance("terminated") },
			[]string{"reservationSet", "item", "instancesSet", "item", "instanceState", "name"},
			"shutting-down", "terminated",
		},
		{
			"launch", []string{"StartInstances", "InstanceId.1", "i" + anID},
			"", "DescribeInstances",
			func() string { return instance("running") },
			[]string{"reservationSet", "item", "instancesSet", "item", "instanceState", "name"}, "pending", "running",
		},
		{
			"address", []string{"AssociateAddress", "AllocationId", "eipalloc" + anID},
			"", "DescribeAddresses",
			func() string {
				return set("addressesSet", "allocationId", "eipalloc"+anID, "instanceId", "new")
			},
			[]string{"addressesSet", "item", "instanceId"}, "", "new",
		},
		{
			"address", []string{"AssignPrivateIpAddresses", "NetworkInterfaceId", "eni" + anID},
			"", "DescribeNetworkInterfaces",
			func() string {
				return set("networkInterfaceSet", "networkInterfaceId", "eni"+anID, "privateIpAddressesSet",
					"<item><privateIpAddress>10.0.0.9</privateIpAddress></item>")
			},
			[]string{"networkInterfaceSet", "item", "privateIpAddressesSet", "item", "privateIpAddress"},
			"", "10.0.0.9",
		},
	} {
		for _, scale := range []float64{0, 0.1, 10} {
			t.Run(fmt.Sprint(c.begin[0], " ", scale), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := visit(t, map[string]string{
						c.begin[0]: c.answer, "DescribeInstances": "", "DescribeNatGateways": "",
						"DescribeAddresses":         set("addressesSet", "allocationId", "eipalloc"+anID),
						"DescribeNetworkInterfaces": set("networkInterfaceSet", "networkInterfaceId", "eni"+anID),
						"DescribeImages":            "",
					})
					g.set(Setting{EC2: true, Time: scale, Seed: 1})
					g.must(c.begin[0], c.begin[1:]...)
					g.answers[c.look] = c.sees()
					state := func() string {
						for { // what is new may be left out
							root := g.must(c.look)
							if seen := root.At(c.path[:len(c.path)-1]...); seen != nil || c.at == "" {
								return root.Get(c.path...)
							}
						}
					}
					length := func(d time.Duration) time.Duration { return time.Duration(scale * float64(d)) }
					if scale > 0 {
						time.Sleep(length(takes[c.what].low) - time.Millisecond)
						if got := state(); got != c.at {
							t.Errorf("before %s: got %q, want %q", length(takes[c.what].low), got, c.at)
						}
						time.Sleep(length(takes[c.what].high - takes[c.what].low))
					}
					if got := state(); got != c.done {
						t.Errorf("after %s: got %q, want %q", length(takes[c.what].high), got, c.done)
					}
				})
			})
		}
	}
}

// TestBalancerTakesItsTime: another service, whose answers are others.
func TestBalancerTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const arn = "arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/net/a/1"
		balancers := "<LoadBalancers><member><LoadBalancerArn>" + arn + "</LoadBalancerArn>" +
			"<State><Code>active</Code></State></member></LoadBalancers>"
		g := visit(t, map[string]string{
			"CreateLoadBalancer":    "<CreateLoadBalancerResult>" + balancers + "</CreateLoadBalancerResult>",
			"DescribeLoadBalancers": "<DescribeLoadBalancersResult>" + balancers + "</DescribeLoadBalancersResult>",
		})
		state := func(action string) string {
			c := awsquery.NewCall("ec2", action)
			c.Service = "elasticloadbalancing"
			root, err := g.send(c)
			if err != nil {
				t.Fatal(err)
			}
			return root.Get(action+"Result", "LoadBalancers", "member", "State", "Code")
		}
		state("CreateLoadBalancer")
		time.Sleep(takes["balancer"].low - time.Second)
		if got := state("DescribeLoadBalancers"); got != "provisioning" {
			t.Errorf("got %q", got)
		}
		time.Sleep(takes["balancer"].high)
		if got := state("DescribeLoadBalancers"); got != "active" {
			t.Errorf("at the end: got %q", got)
		}
	})
}

// TestFiltersLookAtWhatIsShown: an instance that is shown as pending is none that runs.
func TestFiltersLookAtWhatIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := visit(t, map[string]string{"DescribeInstances": instance("running")})
		count := func(state string) int {
			return len(g.must("DescribeInstances", "Filter.1.Name", "instance-state-name", "Filter.1.Value.1",
				state).Items("reservationSet"))
		}
		if running, pending := count("running"), count("pending"); running != 0 || pending != 1 {
			t.Errorf("%d run and %d are pending", running, pending)
		}
		time.Sleep(takes["launch"].high)
		if running, pending := count("running"), count("pending"); running != 1 || pending != 0 {
			t.Errorf("later, %d run and %d are pending", running, pending)
		}
	})
}

func TestSnapshotOfAnImageMakesProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := visit(t, map[string]string{
			"CreateImage": "<imageId>ami" + anID + "</imageId>",
			"DescribeImages": set("imagesSet", "imageId", "ami"+anID, "imageState", "available",
				"blockDeviceMapping", "<item><ebs><snapshotId>snap"+anID+"</snapshotId></ebs></item>"),
			"DescribeSnapshots": set("snapshotSet", "snapshotId", "snap"+anID, "status", "completed",
				"progress", "100%"),
		})
		g.must("CreateImage", "InstanceId", "i-1")
		time.Sleep(later)
		var before int
		for {
			snapshot := g.must("DescribeSnapshots").At("snapshotSet", "item")
			if snapshot.Get("status") == "completed" {
				break
			}
			var percent int
			if _, err := fmt.Sscanf(snapshot.Get("progress"), "%d%%", &percent); err != nil || percent <= before {
				t.Fatalf("%q after %d%%, %v", snapshot.Get("progress"), before, err)
			}
			before = percent
			time.Sleep(10 * time.Second)
		}
		if before == 0 {
			t.Error("it was complete at once")
		}
		if got := g.must("DescribeImages").Get("imagesSet", "item", "imageState"); got != "available" {
			t.Errorf("its image is %s", got)
		}
	})
}

func TestConsoleIsLate(t *testing.T) {
	for latest, what := range map[string]string{"true": "console", "false": "post"} {
		synctest.Test(t, func(t *testing.T) {
			g := visit(t, map[string]string{
				"DescribeInstances": instance("running"),
				"GetConsoleOutput":  "<timestamp>now</timestamp><output>boot</output>",
			})
			output := func() string {
				return g.must("GetConsoleOutput", "InstanceId", "i"+anID, "Latest", latest).Get("output")
			}
			time.Sleep(takes["launch"].low + takes[what].low - time.Second)
			if got := output(); got != "" {
				t.Errorf("latest %s: got %q", latest, got)
			}
			time.Sleep(takes["launch"].high + takes[what].high)
			if got := output(); got != "boot" {
				t.Errorf("latest %s, at the end: got %q", latest, got)
			}
			g.answers["DescribeInstances"] = instance("running") // it was started anew
			if got := output(); got != "" {
				t.Errorf("latest %s, after another start: got %q", latest, got)
			}
		})
	}
}

func TestStatusChecksTakeTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := visit(t, map[string]string{
			"DescribeInstances": instance("running"),
			"DescribeInstanceStatus": set("instanceStatusSet", "instanceId", "i"+anID,
				"instanceState", "<name>running</name>", "instanceStatus", "<status>ok</status>"),
		})
		status := func(parameters ...string) string {
			set := g.must("DescribeInstanceStatus", parameters...)
			return set.Get("instanceStatusSet", "item", "instanceState", "name") + " " +
				set.Get("instanceStatusSet", "item", "instanceStatus", "status")
		}
		if got := status(); got != " " {
			t.Errorf("a pending one is shown: %s", got)
		}
		if got := status("IncludeAllInstances", "true"); got != "pending not-applicable" {
			t.Errorf("got %s", got)
		}
		time.Sleep(takes["launch"].high)
		if got := status(); got != "running initializing" {
			t.Errorf("got %s", got)
		}
		time.Sleep(takes["check"].high)
		if got := status(); got != "running ok" {
			t.Errorf("at the end: got %s", got)
		}
	})
}

func TestMembersOfAGroupArePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := visit(t, map[string]string{
			"DescribeInstances": instance("running"),
			"DescribeAutoScalingGroups": "<DescribeAutoScalingGroupsResult><AutoScalingGroups><member><Instances>" +
				"<member><InstanceId>i" + anID + "</InstanceId><LifecycleState>InService</LifecycleState></member>" +
				"</Instances></member></AutoScalingGroups></DescribeAutoScalingGroupsResult>",
		})
		state := func() string {
			root, err := g.send(awsquery.NewCall("autoscaling", "DescribeAutoScalingGroups"))
			if err != nil {
				t.Fatal(err)
			}
			return strings.Join(root.All("DescribeAutoScalingGroupsResult", "AutoScalingGroups", "*", "Instances", "*",
				"LifecycleState"), " ")
		}
		if got := state(); got != "Pending" {
			t.Errorf("got %q", got)
		}
		// EC2 may know of an instance later than Auto Scaling.
		_, err := g.call("DescribeInstances", "InstanceId.1", "i"+anID)
		for range tries {
			if err == nil {
				_, err = g.call("DescribeInstances", "InstanceId.1", "i"+anID)
			}
		}
		if code(err) != "InvalidInstanceID.NotFound" {
			t.Errorf("EC2 knows of it at once: %v", err)
		}
		time.Sleep(takes["launch"].high)
		if got := state(); got != "InService" {
			t.Errorf("at the end: got %q", got)
		}
	})
}

func TestWhatCannotBeDoneYet(t *testing.T) {
	for _, c := range []struct {
		begin  []string // nothing: the instance was launched just now
		answer string
		call   []string
		code   string
		what   string
	}{
		{
			[]string{"CreateImage", "InstanceId", "i-1"}, "<imageId>ami" + anID + "</imageId>",
			[]string{"RunInstances", "ImageId", "ami" + anID}, "InvalidAMIID.Unavailable", "image",
		},
		{
			[]string{"StopInstances", "InstanceId.1", "i" + anID}, "",
			[]string{"StartInstances", "InstanceId.1", "i" + anID}, "IncorrectInstanceState", "stop",
		},
		{
			[]string{"CreateVolume"}, "<volumeId>vol" + anID + "</volumeId>",
			[]string{"DeleteVolume", "VolumeId", "vol" + anID}, "IncorrectState", "create",
		},
		{
			[]string{"DetachVolume", "VolumeId", "vol" + anID}, "",
			[]string{"AttachVolume", "VolumeId", "vol" + anID, "InstanceId", "i-1"}, "VolumeInUse", "detach",
		},
		{
			nil, "", []string{"AttachVolume", "VolumeId", "vol" + anID, "InstanceId", "i" + anID}, "IncorrectState",
			"launch",
		},
		{
			nil, "", []string{"AssociateAddress", "AllocationId", "eipalloc-1", "InstanceId", "i" + anID},
			"InvalidInstanceID", "launch",
		},
	} {
		t.Run(c.call[0], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := visit(t, map[string]string{
					"DescribeInstances": instance("running"),
					"DescribeImages":    "",
					"DescribeAddresses": "",
					c.call[0]:           "",
				})
				g.set(Setting{EC2: true, Time: 10, Seed: 1}) // so that it is known before it is done
				if c.begin != nil {
					g.answers[c.begin[0]] = c.answer
					g.answers["DescribeInstances"] = ""
					g.must(c.begin[0], c.begin[1:]...)
				}
				refused := func() string {
					for {
						_, err := g.call(c.call[0], c.call[1:]...)
						if !strings.HasSuffix(code(err), ".NotFound") {
							return code(err)
						}
					}
				}
				if got := refused(); got != c.code {
					t.Errorf("got %q, want %q", got, c.code)
				}
				time.Sleep(10 * takes[c.what].high)
				if got := refused(); got != "" {
					t.Errorf("at the end: got %q", got)
				}
			})
		})
	}
}

// TestWhatIsEndedHoldsOn: what something had that is being ended is in use until then.
func TestWhatIsEndedHoldsOn(t *testing.T) {
	nat := []string{"DeleteNatGateway", "NatGatewayId", "nat" + anID}
	instance := []string{"TerminateInstances", "InstanceId.1", "i" + anID}
	for _, c := range []struct {
		end        []string
		what       string
		call, code string
		parameter  string
		id         string
	}{
		{nat, "nat end", "ReleaseAddress", "InvalidIPAddress.InUse", "AllocationId", "eipalloc-1"},
		{nat, "nat end", "DeleteSubnet", "DependencyViolation", "SubnetId", "subnet-1"},
		{instance, "terminate", "DeleteSubnet", "DependencyViolation", "SubnetId", "subnet-2"},
		{instance, "terminate", "DeleteSecurityGroup", "DependencyViolation", "GroupId", "sg-1"},
		{instance, "terminate", "DeleteSecurityGroup", "DependencyViolation", "GroupId", "sg-2"},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := visit(t, map[string]string{
				c.end[0]: "", c.call: "",
				"DescribeNatGateways": set("natGatewaySet", "natGatewayId", "nat"+anID, "subnetId", "subnet-1",
					"natGatewayAddressSet", "<item><allocationId>eipalloc-1</allocationId></item>"),
				"DescribeInstances": set("reservationSet", "instancesSet", "<item><instanceId>i"+anID+"</instanceId>"+
					"<subnetId>subnet-2</subnetId>"+set("groupSet", "groupId", "sg-1")+
					set("networkInterfaceSet", "groupSet", "<item><groupId>sg-2</groupId></item>")+"</item>"),
			})
			g.must(c.call, c.parameter, c.id)
			g.must(c.end[0], c.end[1:]...)
			time.Sleep(takes[c.what].low - time.Second)
			if _, err := g.call(c.call, c.parameter, c.id); code(err) != c.code {
				t.Errorf("%s of %s: got %v, want %s", c.call, c.id, err, c.code)
			}
			g.must(c.call, c.parameter, "other")
			time.Sleep(takes[c.what].high)
			g.must(c.call, c.parameter, c.id)
		})
	}
}

// TestTakes: what others ask for is nothing without manners.
func TestTakes(t *testing.T) {
	var none *Manners
	if d := none.TargetTakes("a") + none.RefreshTakes("a") + new(Manners).TargetTakes("a"); d != 0 {
		t.Errorf("without manners: %s", d)
	}
	m := &Manners{}
	m.Set(Setting{EC2: true, Time: 0.1, Seed: 1})
	for what, d := range map[string]time.Duration{"target": m.TargetTakes("a"), "refresh": m.RefreshTakes("a")} {
		if d < takes[what].low/10 || d > takes[what].high/10 {
			t.Errorf("%s takes %s", what, d)
		}
	}
}
