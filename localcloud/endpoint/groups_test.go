package endpoint

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// groupRequest sends a call of Auto Scaling or Elastic Load Balancing.
func groupRequest(t *testing.T, s *Server, service, action string, parameters ...string) (int, *awsquery.Node) {
	t.Helper()
	w := send(s, service, "test", awsquery.NewCall(service, action, parameters...).Form)
	root, err := awsquery.ParseXML(w.Body.Bytes())
	if err != nil {
		t.Fatalf("%s: %v: %s", action, err, w.Body)
	}
	return w.Code, root
}

func mustGroup(t *testing.T, s *Server, service, action string, parameters ...string) *awsquery.Node {
	t.Helper()
	status, root := groupRequest(t, s, service, action, parameters...)
	if status != http.StatusOK {
		t.Fatalf("%s: %s", action, root.Bytes())
	}
	return root
}

const (
	testTemplate = "lt-00000000000000001"
	testTargets  = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/t/1"
	testBalancer = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/b/1"
)

// newGroup is a cloud with a launch template of two versions, a load balancer, and a group of two instances.
func newGroup(t *testing.T) (*Server, *mototest.Moto, *machinery) {
	t.Helper()
	b, m := newRegion(t), newMachinery(t, "RunMachine", "TerminateMachine")
	for action, inner := range map[string]string{
		"CreateLaunchTemplate": "<launchTemplate><launchTemplateId>" + testTemplate +
			"</launchTemplateId></launchTemplate>",
		"CreateLaunchTemplateVersion": "<launchTemplateVersion><launchTemplateId>" + testTemplate +
			"</launchTemplateId><versionNumber>2</versionNumber></launchTemplateVersion>",
		"DescribeLaunchTemplates": "<launchTemplates><item><launchTemplateId>" + testTemplate +
			"</launchTemplateId><launchTemplateName>web</launchTemplateName>" +
			"<defaultVersionNumber>1</defaultVersionNumber><latestVersionNumber>2</latestVersionNumber></item>" +
			"</launchTemplates>",
		"CreateAutoScalingGroup": "",
		"UpdateAutoScalingGroup": "",
		"DeleteAutoScalingGroup": "",
		"DescribeAutoScalingGroups": "<DescribeAutoScalingGroupsResult><AutoScalingGroups><member>" +
			"<AutoScalingGroupName>g</AutoScalingGroupName><Instances/>" +
			"<Tags><member><Key>of</Key><Value>group</Value><PropagateAtLaunch>true</PropagateAtLaunch></member>" +
			"<member><Key>own</Key><Value>1</Value><PropagateAtLaunch>false</PropagateAtLaunch></member></Tags>" +
			"</member></AutoScalingGroups></DescribeAutoScalingGroupsResult>",
		"CreateTargetGroup": "<CreateTargetGroupResult><TargetGroups><member><TargetGroupArn>" + testTargets +
			"</TargetGroupArn></member></TargetGroups></CreateTargetGroupResult>",
		"CreateLoadBalancer": "<CreateLoadBalancerResult><LoadBalancers><member><LoadBalancerArn>" + testBalancer +
			"</LoadBalancerArn><VpcId>" + testVPC + "</VpcId></member></LoadBalancers></CreateLoadBalancerResult>",
		"CreateListener": "<CreateListenerResult><Listeners><member>" +
			"<ListenerArn>arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/net/b/1/443</ListenerArn>" +
			"</member></Listeners></CreateListenerResult>",
		"DescribeTargetHealth": "<DescribeTargetHealthResult><TargetHealthDescriptions/></DescribeTargetHealthResult>",
		"DescribeAddresses": "<addressesSet><item><publicIp>127.66.9.40</publicIp>" +
			"<allocationId>eipalloc-00000000000000001</allocationId></item></addressesSet>",
	} {
		b.Set(action, inner)
	}
	// Where instances are, but outside the subnet: there its addresses would be taken.
	var interfaces strings.Builder
	for i := range 9 {
		fmt.Fprintf(
			&interfaces,
			"<item><networkInterfaceId>eni-%017d</networkInterfaceId><vpcId>%s</vpcId>"+
				"<privateIpAddress>10.0.9.%d</privateIpAddress>"+
				"<attachment><instanceId>i-%017d</instanceId><deviceIndex>0</deviceIndex></attachment></item>",
			i,
			testVPC,
			i,
			i,
		)
	}
	b.Set("DescribeNetworkInterfaces", "<networkInterfaceSet>"+interfaces.String()+"</networkInterfaceSet>")
	s := newServer(t, b, m)
	data := func(text string) []string {
		return []string{"LaunchTemplateName", "web", "LaunchTemplateData." + "ImageId", moto.BaseImages["trixie"].ID,
			"LaunchTemplateData." + "UserData", base64.StdEncoding.EncodeToString([]byte(text)),
			"LaunchTemplateData." + "NetworkInterface.1.DeviceIndex", "0",
			"LaunchTemplateData." + "NetworkInterface.1.AssociatePublicIpAddress", "true",
			"LaunchTemplateData." + "TagSpecification.1.ResourceType", "volume",
			"LaunchTemplateData." + "TagSpecification.1.Tag.1.Key", "v",
			"LaunchTemplateData." + "TagSpecification.1.Tag.1.Value", "w"}
	}
	mustRequest(t, s, "CreateLaunchTemplate", data("first")...)
	mustRequest(t, s, "CreateLaunchTemplateVersion", append([]string{"SourceVersion", "1"}, data("second")[:6]...)...)
	mustGroup(t, s, "elasticloadbalancing", "CreateTargetGroup", "Name", "t", "Port", "443", "HealthCheckProtocol",
		"HTTPS", "HealthCheckPath", "/health", "HealthyThresholdCount", "2", "UnhealthyThresholdCount", "2")
	mustGroup(t, s, "elasticloadbalancing", "CreateLoadBalancer", "Name", "b", "SubnetMappings.member.1.SubnetId",
		testSubnet, "SubnetMappings.member.1.AllocationId", "eipalloc-00000000000000001")
	mustGroup(t, s, "elasticloadbalancing", "CreateListener", "LoadBalancerArn", testBalancer, "Port", "443",
		"DefaultActions.member.1.TargetGroupArn", testTargets)
	mustGroup(t, s, "autoscaling", "CreateAutoScalingGroup", "AutoScalingGroupName", "g", "MinSize", "2", "MaxSize",
		"4", "LaunchTemplate.LaunchTemplateId", testTemplate, "LaunchTemplate.Version", "1",
		"VPCZoneIdentifier", testSubnet, "TargetGroupARNs.member.1", testTargets, "HealthCheckGracePeriod", "20")
	for _, id := range []string{"i-00000000000000001", "i-00000000000000002"} {
		waitForState(t, s, id, "running")
	}
	// It may run a moment before.
	for deadline := time.Now().Add(time.Minute); len(s.records.Members("g")) != 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the group has %v", s.records.Members("g"))
		}
	}
	return s, b, m
}

// described are the ids of a group's instances and the versions that they are of.
func describedGroup(t *testing.T, s *Server) (instances, versions []string) {
	t.Helper()
	group := mustGroup(t, s, "autoscaling", "DescribeAutoScalingGroups").Items("DescribeAutoScalingGroupsResult",
		"AutoScalingGroups")[0]
	return group.All("Instances", "*", "InstanceId"), group.All("Instances", "*", "LaunchTemplate", "Version")
}

func TestGroupLaunchesMachinesFromItsTemplate(t *testing.T) {
	s, b, m := newGroup(t)
	if form := b.Form("CreateAutoScalingGroup"); form.Get("DesiredCapacity") != "0" || form.Get("MinSize") != "0" {
		t.Errorf("moto would launch instances of its own: %v", form)
	}
	run := b.Form("RunInstances")
	tags := map[string]string{}
	for i := 1; run.Get(fmt.Sprintf("TagSpecification.2.Tag.%d.Key", i)) != ""; i++ {
		tags[run.Get(fmt.Sprintf("TagSpecification.2.Tag.%d.Key",
			i))] = run.Get(fmt.Sprintf("TagSpecification.2.Tag.%d.Value", i))
	}
	if want := map[string]string{
		"of":                            "group",
		"aws:autoscaling:groupName":     "g",
		"aws:ec2launchtemplate:id":      testTemplate,
		"aws:ec2launchtemplate:version": "1",
	}; !equalMaps(tags, want) || run.Get("TagSpecification.2.ResourceType") != "instance" {
		t.Errorf("tags %v, want %v", tags, want)
	}
	for _, machine := range m.ran {
		if string(machine.UserData) != "first" || machine.Interface.Subnet != testSubnet {
			t.Errorf("machine %+v", machine)
		}
	}
	if record, _ := s.records.Instance("i-00000000000000001"); !record.Public.IsValid() {
		t.Error("it has no public address, and its template wants one")
	}
	if ids, versions := describedGroup(t, s); len(ids) != 2 || !slices.Equal(versions, []string{"1", "1"}) {
		t.Errorf("%v of versions %v", ids, versions)
	}
	mustGroup(t, s, "autoscaling", "UpdateAutoScalingGroup", "AutoScalingGroupName", "g", "MinSize", "1",
		"DesiredCapacity", "1")
	waitForState(t, s, "i-00000000000000001", "terminated")
	mustGroup(t, s, "autoscaling", "DeleteAutoScalingGroup", "AutoScalingGroupName", "g", "ForceDelete", "true")
	waitForState(t, s, "i-00000000000000002", "terminated")
	if n := len(m.ran); n != 2 {
		t.Errorf("%d machines were run", n)
	}
	if status, root := groupRequest(t, s, "autoscaling", "UpdateAutoScalingGroup", "AutoScalingGroupName",
		"g"); status == http.StatusOK || !strings.Contains(root.Get("Error", "Message"), "no such group") {
		t.Errorf("a group that is gone: %s", root.Bytes())
	}
}

func equalMaps(a, b map[string]string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// TestBalancerPassesToTheHealthy asks the targets in earnest.
func TestBalancerPassesToTheHealthy(t *testing.T) {
	s, _, m := newGroup(t)
	status := http.StatusOK
	asked := make(chan string, 100)
	page := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		w.WriteHeader(status)
	}))
	defer page.Close()
	states := func() []string {
		root := mustGroup(t, s, "elasticloadbalancing", "DescribeTargetHealth", "TargetGroupArn", testTargets)
		return root.All("DescribeTargetHealthResult", "TargetHealthDescriptions", "*", "TargetHealth", "State")
	}
	passedTo := func() []netip.AddrPort {
		if err := s.network.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.topology.Public[netip.MustParseAddr("127.66.9.40")].Balanced[443]
	}
	if got := states(); !slices.Equal(got, []string{"initial", "initial"}) || len(passedTo()) != 0 {
		t.Errorf("before they were asked: %v, %v", got, passedTo())
	}
	m.dial = page.Listener.Addr().String()
	s.targets.Check(t.Context())
	if s.targets.Check(t.Context()); !slices.Equal(states(), []string{"healthy", "healthy"}) || <-asked != "/health" {
		t.Errorf("after two good answers: %v", states())
	}
	status = http.StatusServiceUnavailable
	s.targets.Check(t.Context())
	if got := states(); !slices.Equal(got, []string{"healthy", "healthy"}) {
		t.Errorf("after one bad answer: %v", got)
	}
	if s.targets.Check(t.Context()); !slices.Equal(states(), []string{"unhealthy", "unhealthy"}) {
		t.Errorf("after two bad answers: %v", states())
	}
	for action, code := range map[string]string{
		"ReleaseAddress":   "InvalidIPAddress.InUse",
		"AssociateAddress": "Resource.AlreadyAssociated",
	} {
		refused(t, s, code, action, "AllocationId", "eipalloc-00000000000000001", "InstanceId", "i-00000000000000001")
	}
}

// refreshed waits for the end of the last refresh, with targets that are well.
func refreshed(t *testing.T, s *Server) string {
	t.Helper()
	status := ""
	ended := eventually(func() bool {
		root := mustGroup(t, s, "autoscaling", "DescribeInstanceRefreshes", "AutoScalingGroupName", "g")
		last := root.Items("DescribeInstanceRefreshesResult", "InstanceRefreshes")[0]
		s.targets.Check(t.Context())
		status = last.Get("Status")
		return last.Get("EndTime") != ""
	})
	if !ended {
		t.Fatalf("the refresh has no end: it is %s", status)
	}
	return status
}

func TestRefreshReplacesAndGoesBack(t *testing.T) {
	s, _, m := newGroup(t)
	page := httptest.NewTLSServer(http.NotFoundHandler())
	defer page.Close()
	good := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer good.Close()
	m.dial = good.Listener.Addr().String()
	change(t, s, func(o *records.State) { o.TargetGroups[testTargets].Delay = 0 })
	start := func(more ...string) (int, *awsquery.Node) {
		return groupRequest(t, s, "autoscaling", "StartInstanceRefresh",
			append([]string{"AutoScalingGroupName", "g", "DesiredConfiguration.LaunchTemplate.LaunchTemplateId",
				testTemplate,
				"DesiredConfiguration.LaunchTemplate.Version", "2", "Preferences.InstanceWarmup", "0",
				"Preferences.MinHealthyPercentage", "50", "Preferences.AutoRollback", "true"}, more...)...)
	}
	if status, root := start("Preferences.CheckpointPercentages.member.1", "50"); status == http.StatusOK ||
		root.Get("Error", "Code") != "ValidationError" {
		t.Errorf("checkpoints that do not end in 100: %s", root.Bytes())
	}
	if status, root := start(); status != http.StatusOK {
		t.Fatalf("%s", root.Bytes())
	}
	if status, root := start(); status == http.StatusOK || root.Get("Error", "Code") != "InstanceRefreshInProgress" {
		t.Errorf("a second one at once: %s", root.Bytes())
	}
	if end := refreshed(t, s); end != "Successful" {
		t.Fatalf("it is %s", end)
	}
	ids, versions := describedGroup(t, s)
	if !slices.Equal(versions, []string{"2", "2"}) || slices.Contains(ids, "i-00000000000000001") ||
		string(m.ran[2].UserData) != "second" {
		t.Errorf("%v of versions %v", ids, versions)
	}
	m.dial = page.Listener.Addr().String()
	goesBack(t, s, ids)
}

// goesBack refreshes the group to a version whose instances never get healthy. The group's grace period is the wait.
func goesBack(t *testing.T, s *Server, ids []string) {
	t.Helper()
	if err := s.records.Update(func(o *records.State) {
		o.Groups["g"].Grace = 0
		o.Templates[testTemplate]["3"] = url.Values{}
		for name, value := range o.Templates[testTemplate]["2"] {
			o.Templates[testTemplate]["3"][name] = value
		}
	}); err != nil {
		t.Fatal(err)
	}
	if status, root := groupRequest(t, s, "autoscaling", "StartInstanceRefresh", "AutoScalingGroupName", "g",
		"DesiredConfiguration.LaunchTemplate.LaunchTemplateId", testTemplate,
		"DesiredConfiguration.LaunchTemplate.Version", "3", "Preferences.AutoRollback",
		"true"); status != http.StatusOK {
		t.Fatalf("%s", root.Bytes())
	}
	if end := refreshed(t, s); end != "RollbackSuccessful" {
		t.Errorf("it is %s", end)
	}
	if after, versions := describedGroup(t, s); !slices.Equal(after, ids) ||
		!slices.Equal(versions, []string{"2", "2"}) {
		t.Errorf("%v of versions %v; it should have %v again", after, versions, ids)
	}
	if status, root := groupRequest(t, s, "autoscaling", "RollbackInstanceRefresh", "AutoScalingGroupName",
		"g"); status == http.StatusOK || root.Get("Error", "Code") != "ActiveInstanceRefreshNotFound" {
		t.Errorf("a rollback of nothing: %s", root.Bytes())
	}
}
