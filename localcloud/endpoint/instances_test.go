package endpoint

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

const (
	testSubnet = "subnet-00000000000000001"
	testVPC    = "vpc-00000000000000001"
	testGroup  = "sg-00000000000000001"
)

// region is a moto that remembers the instances that are run, and has one subnet.
type region struct {
	mu        sync.Mutex
	instances []string // XML
}

func (r *region) run(form url.Values) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.instances) + 1
	item := fmt.Sprintf(`<item><instanceId>i-%017d</instanceId><imageId>%s</imageId><instanceState><code>16</code>
		<name>running</name></instanceState>
		<rootDeviceName>/dev/sda1</rootDeviceName><privateIpAddress>%s</privateIpAddress>
		<ipAddress>54.214.1.1</ipAddress><monitoring><state> disabled </state></monitoring>
		<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><volumeId>vol-%017d</volumeId>
		<deleteOnTermination>true</deleteOnTermination></ebs></item></blockDeviceMapping>
		<networkInterfaceSet><item><networkInterfaceId>eni-%017d</networkInterfaceId><subnetId>%s</subnetId>
		<vpcId>%s</vpcId><privateIpAddress>%s</privateIpAddress>
		<association><publicIp>54.214.1.1</publicIp></association></item></networkInterfaceSet></item>`,
		n, form.Get("ImageId"), form.Get("NetworkInterface.1.PrivateIpAddress"), n, n, testSubnet, testVPC,
		form.Get("NetworkInterface.1.PrivateIpAddress"))
	r.instances = append(r.instances, item)
	return "<reservationId>r-1</reservationId><instancesSet>" + item + "</instancesSet>"
}

func (r *region) describe(form url.Values) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for n, item := range r.instances {
		if wanted := form.Get("InstanceId.1"); wanted == "" || strings.Contains(item, wanted) {
			fmt.Fprintf(&b,
				"<item><reservationId>r-%d</reservationId><ownerId>1</ownerId><instancesSet>%s</instancesSet></item>",
				n+1, item)
		}
	}
	return "<reservationSet>" + b.String() + "</reservationSet>"
}

func newRegion(t *testing.T) *mototest.Moto {
	r := &region{}
	ok := mototest.Canned("<return>true</return>")
	return mototest.New(t, map[string]func(url.Values) string{
		"RunInstances":       r.run,
		"DescribeInstances":  r.describe,
		"TerminateInstances": ok,
		"StopInstances":      ok,
		"StartInstances":     ok,
		"DescribeImages": func(form url.Values) string {
			if form.Get("ImageId.1") != moto.BaseImages["trixie"].ID {
				return "<imagesSet/>"
			}
			return "<imagesSet><item><imageId>" + form.Get("ImageId.1") +
				"</imageId><imageState>available</imageState><rootDeviceName>/dev/sda1</rootDeviceName>" +
				"<blockDeviceMapping><item><ebs><snapshotId>snap-00000000000000001</snapshotId></ebs></item>" +
				"</blockDeviceMapping></item></imagesSet>"
		},
		"DescribeSubnets": mototest.Canned("<subnetSet><item><subnetId>" + testSubnet + "</subnetId><vpcId>" +
			testVPC + "</vpcId><cidrBlock>10.0.1.0/28</cidrBlock>" +
			"<availabilityZone>us-east-1a</availabilityZone><mapPublicIpOnLaunch>true</mapPublicIpOnLaunch></item>" +
			"</subnetSet>"),
		"DescribeVpcs": mototest.Canned("<vpcSet><item><vpcId>" + testVPC +
			"</vpcId><cidrBlock>10.0.0.0/16</cidrBlock></item></vpcSet>"),
		"DescribeSecurityGroups": mototest.Canned("<securityGroupInfo><item><groupId>" + testGroup +
			"</groupId><groupName>default</groupName><vpcId>" + testVPC + "</vpcId></item>" +
			"<item><groupId>sg-00000000000000009</groupId><groupName>foreign</groupName>" +
			"<vpcId>vpc-00000000000000009</vpcId></item></securityGroupInfo>"),
		"DescribeNetworkInterfaces": mototest.Canned(
			"<networkInterfaceSet><item><networkInterfaceId>eni-00000000000000099</networkInterfaceId>" +
				"<privateIpAddress>10.0.1.5</privateIpAddress></item></networkInterfaceSet>"),
	})
}

// launchWith are the parameters of a launch that works.
func launchWith(more ...string) []string {
	return append([]string{"ImageId", moto.BaseImages["trixie"].ID, "MinCount", "1", "MaxCount", "1", "SubnetId",
		testSubnet}, more...)
}

// eventually asks until something is so, for longer than the busiest machine needs.
func eventually(so func() bool) bool {
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func waitForState(t *testing.T, s *Server, id, state string) records.Instance {
	t.Helper()
	var record records.Instance
	if eventually(func() bool { record, _ = s.records.Instance(id); return record.State == state }) {
		return record
	}
	t.Fatalf("%s is %s (%s), want %s", id, record.State, record.Reason, state)
	return record
}

const first = "i-00000000000000001"

func TestLife(t *testing.T) {
	b, m := newRegion(t), newMachinery(t, "RunMachine", "StopMachine", "StartMachine", "TerminateMachine", "Console")
	s := newServer(t, b, m)
	made := mustRequest(t, s, "RunInstances",
		launchWith("UserData", base64.StdEncoding.EncodeToString([]byte("hello")), "MetadataOptions.HttpTokens",
			"required",
			"BlockDeviceMapping.1.DeviceName", "/dev/xvda", "BlockDeviceMapping.1.Ebs.VolumeSize", "20")...)
	item := made.Items("instancesSet")[0]
	if item.Get("instanceId") != first || item.Get("ipAddress") != "127.66.9.2" ||
		item.Get("rootDeviceName") != "/dev/xvda" || strings.Contains(string(made.Bytes()), "54.214") {
		t.Errorf("answered %s", made.Bytes())
	}
	waitForState(t, s, first, "running")
	form := b.Form("RunInstances")
	for name, want := range map[string]string{
		"NetworkInterface.1.PrivateIpAddress":    "10.0.1.4",
		"NetworkInterface.1.SubnetId":            testSubnet,
		"NetworkInterface.1.SecurityGroupId.1":   testGroup,
		"NetworkInterface.1.DeleteOnTermination": "true",
		"SubnetId":                               "",
		"BlockDeviceMapping.1.DeviceName":        "/dev/xvda",
		"BlockDeviceMapping.1.Ebs.VolumeSize":    "20",
	} {
		if form.Get(name) != want {
			t.Errorf("moto got %s=%q, want %q", name, form.Get(name), want)
		}
	}
	checkRuns(t, s, m)
	moved := mustRequest(t, s, "StopInstances", "InstanceId.1", first)
	if moved.Get("instancesSet", "item", "currentState", "name") != "stopping" ||
		moved.Get("instancesSet", "item", "previousState", "name") != "running" {
		t.Errorf("answered %s", moved.Bytes())
	}
	if record := waitForState(t, s, first, "stopped"); record.Public.IsValid() {
		t.Errorf("stopped, it still has %s", record.Public)
	}
	mustRequest(t, s, "StartInstances", "InstanceId.1", first)
	waitForState(t, s, first, "running")
	mustRequest(t, s, "TerminateInstances", "InstanceId.1", first)
	waitForState(t, s, first, "terminated")
	refused(t, s, "IncorrectInstanceState", "StartInstances", "InstanceId.1", first)
	mustRequest(t, s, "TerminateInstances", "InstanceId.1", first) // once more is no error
	if want := []string{"RunMachine " + first, "Console " + first, "StopMachine " + first + " false",
		"StartMachine " + first, "TerminateMachine " + first + " false"}; !slices.Equal(m.called(), want) {
		t.Errorf("the machinery did %v, want %v", m.called(), want)
	}
	if lines := reopenedJournal(t, s); len(lines) != 0 {
		t.Errorf("the journal keeps %d lines of an instance that is gone", len(lines))
	}
}

// checkRuns checks the machine of the first instance, its metadata and its console.
func checkRuns(t *testing.T, s *Server, m *machinery) {
	t.Helper()
	machine := m.ran[0]
	if machine.RootSizeGB != 20 || string(machine.UserData) != "hello" ||
		!slices.Equal(machine.Interface.PrivateIPs, []netip.Addr{netip.MustParseAddr("10.0.1.4")}) {
		t.Errorf("the machine is %+v", machine)
	}
	if told := m.metadata[first]; !told.TokensRequired || told.PublicIPv4 != "127.66.9.2" {
		t.Errorf("its metadata are %+v", told)
	}
	if output := mustRequest(t, s, "GetConsoleOutput", "InstanceId",
		first).Get("output"); output != base64.StdEncoding.EncodeToString([]byte("console of "+first)) {
		t.Errorf("console %q", output)
	}
}

// What has been asked for while a machine is still being made must wait for it, or it would be left behind.
func TestTerminateWhileItIsMade(t *testing.T) {
	b, m := newRegion(t), newMachinery(t, "RunMachine", "TerminateMachine")
	s := newServer(t, b, m)
	release := make(chan struct{})
	s.queue.Enqueue(first, func(context.Context) error { <-release; return nil })
	mustRequest(t, s, "RunInstances", launchWith()...)
	mustRequest(t, s, "TerminateInstances", "InstanceId.1", first)
	close(release)
	waitForState(t, s, first, "terminated")
	if want := []string{"TerminateMachine " + first + " false"}; !slices.Equal(m.called(), want) {
		t.Errorf("the machinery did %v, want %v", m.called(), want)
	}
}

// A machine that cannot be stopped runs: what is said of it has to be so, or it could neither be started nor ended.
func TestMachineThatCannotBeStopped(t *testing.T) {
	b, m := newRegion(t), newMachinery(t, "RunMachine", "TerminateMachine")
	s := newServer(t, b, m)
	mustRequest(t, s, "RunInstances", launchWith()...)
	waitForState(t, s, first, "running")
	m.hold(errors.New("its control group is busy"))
	for n, c := range []struct{ action, state string }{
		{"RebootInstances", "running"},
		{"TerminateInstances", "shutting-down"}, // and is tried again
	} {
		mustRequest(t, s, c.action, "InstanceId.1", first)
		eventually(func() bool {
			record, _ := s.records.Instance(first)
			return m.tried() > n && record.State == c.state && strings.Contains(record.Reason, "is busy")
		})
		if record, _ := s.records.Instance(first); record.State != c.state {
			t.Errorf("%s: it is %s (%s) after %d attempts, want %s", c.action, record.State, record.Reason, m.tried(),
				c.state)
		}
	}
	m.hold(nil)
	waitForState(t, s, first, "terminated")
}

func TestMachineThatCannotBeMade(t *testing.T) {
	b, m := newRegion(t), newMachinery(t, "TerminateMachine")
	m.allowed["RunMachine"] = errors.New("no space left on device")
	s := newServer(t, b, m)
	mustRequest(t, s, "RunInstances", launchWith()...)
	record := waitForState(t, s, first, "terminated")
	if !strings.Contains(record.Reason, "no space left on device") {
		t.Errorf("the reason is %q", record.Reason)
	}
	if !slices.Equal(b.Changes(), []string{"RunInstances", "TerminateInstances"}) {
		t.Errorf("moto got %v", b.Changes())
	}
	if reason := mustRequest(t, s, "DescribeInstances").Get("reservationSet", "item", "instancesSet", "item",
		"stateReason", "message"); !strings.Contains(reason, "no space left") {
		t.Errorf("described with reason %q", reason)
	}
}

func TestClientToken(t *testing.T) {
	b, m := newRegion(t), newMachinery(t, "RunMachine")
	s := newServer(t, b, m)
	for range 2 {
		made := mustRequest(t, s, "RunInstances", launchWith("ClientToken", "once")...)
		if id := made.Get("instancesSet", "item", "instanceId"); id != first {
			t.Errorf("made %s", id)
		}
	}
	refused(t, s, "IdempotentParameterMismatch", "RunInstances",
		launchWith("ClientToken", "once", "InstanceType", "t3.large")...)
	waitForState(t, s, first, "running")
	if !slices.Equal(b.Changes(), []string{"RunInstances"}) {
		t.Errorf("moto got %v", b.Changes())
	}
}

func TestBadLaunches(t *testing.T) {
	for _, c := range []struct {
		name, code string
		with       []string
		says       string
	}{
		{"address of another range", "InvalidParameterValue", launchWith("PrivateIpAddress", "10.9.9.9"), "10.9.9.9"},
		{"reserved address", "InvalidParameterValue", launchWith("PrivateIpAddress", "10.0.1.3"), "usable"},
		{"the last address", "InvalidParameterValue", launchWith("PrivateIpAddress", "10.0.1.15"), "usable"},
		{"taken address", "InvalidIPAddress.InUse", launchWith("PrivateIpAddress", "10.0.1.5"), "10.0.1.5"},
		{"group of another VPC", "InvalidParameter", launchWith("SecurityGroupId.1", "sg-00000000000000009"),
			"different networks"},
		{"unknown group", "InvalidGroup.NotFound", launchWith("SecurityGroupId.1", "sg-000000000000000ff"),
			"sg-000000000000000ff"},
		{"unknown image", "InvalidAMIID.NotFound",
			[]string{"ImageId", "ami-00000000000000009", "MinCount", "1", "MaxCount", "1"}, "ami-00000000000000009"},
		{"unknown key pair", "InvalidKeyPair.NotFound", launchWith("KeyName", "none"), "none"},
		{"user data that are none", "InvalidUserData.Malformed", launchWith("UserData", "%%%"), ""},
		{"a root smaller than its image", "InvalidBlockDeviceMapping",
			launchWith("BlockDeviceMapping.1.DeviceName", "/dev/xvda", "BlockDeviceMapping.1.Ebs.VolumeSize", "2"),
			"8GB"},
		{"more than there is room for", "InsufficientFreeAddressesInSubnet",
			[]string{"ImageId", moto.BaseImages["trixie"].ID, "MinCount", "30", "MaxCount", "30", "SubnetId",
				testSubnet}, "10.0.1.0/28"},
		{"no count", "InvalidParameterValue", []string{"ImageId", moto.BaseImages["trixie"].ID}, "MinCount"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newRegion(t)
			s := newServer(t, b, newMachinery(t))
			if message := refused(t, s, c.code, "RunInstances", c.with...); !strings.Contains(message, c.says) {
				t.Errorf("%q does not say %q", message, c.says)
			}
			if len(b.Changes()) > 0 {
				t.Errorf("all the same, moto got %v", b.Changes())
			}
		})
	}
}

func TestSelfPowerOff(t *testing.T) {
	for behaviour, want := range map[string]string{"stop": "stopped", "terminate": "terminated"} {
		t.Run(behaviour, func(t *testing.T) {
			b, m := newRegion(t), newMachinery(t, "RunMachine", "TerminateMachine")
			s := newServer(t, b, m)
			mustRequest(t, s, "RunInstances", launchWith("InstanceInitiatedShutdownBehavior", behaviour)...)
			waitForState(t, s, first, "running")
			m.set(first, false)
			s.queue.Go(s.compute.Instances.WatchExits)
			m.exits <- host.Exit{ID: first}
			if record := waitForState(t, s, first, want); !strings.HasPrefix(record.Reason,
				"Client.InstanceInitiatedShutdown") {
				t.Errorf("the reason is %q", record.Reason)
			}
		})
	}
}

func TestReconcile(t *testing.T) {
	b, m := newRegion(t), newMachinery(t, "RunMachine", "TerminateMachine")
	s := newServer(t, b, m)
	ids := []string{first, "i-00000000000000002", "i-00000000000000003"}
	for range ids {
		mustRequest(t, s, "RunInstances", launchWith()...)
	}
	for _, id := range ids {
		waitForState(t, s, id, "running")
	}
	// The cloud ends here. Of the second only the instance is left, of a fourth only the machine; the records of the
	// third were not written.
	s.queue.Wait()
	m.machines = map[string]bool{first: false, ids[2]: false, "i-0000000000000000f": false}
	change(t, s, func(o *records.State) { delete(o.Instances, ids[2]) })
	m.calls = nil
	if err := s.compute.Instances.Reconcile(context.Background()); err != nil {
		t.Fatal(err)
	}
	if record, _ := s.records.Instance(first); record.State != "stopped" ||
		record.Reason != "Server.ScheduledStop: the local cloud was down" {
		t.Errorf("the whole one is %s: %s", record.State, record.Reason)
	}
	for _, id := range ids[1:] {
		if record, known := s.records.Instance(id); known {
			t.Errorf("%s is %s", id, record.State)
		}
	}
	calls := m.called()
	slices.Sort(calls)
	if want := []string{"TerminateMachine i-00000000000000002 false", "TerminateMachine i-00000000000000003 false",
		"TerminateMachine i-0000000000000000f false"}; !slices.Equal(calls, want) {
		t.Errorf("the machinery did %v, want %v", calls, want)
	}
}

func TestPages(t *testing.T) {
	b, m := newRegion(t), newMachinery(t, "RunMachine")
	s := newServer(t, b, m)
	for range 7 {
		mustRequest(t, s, "RunInstances", launchWith()...)
	}
	page := mustRequest(t, s, "DescribeInstances", "MaxResults", "5")
	next := page.Get("nextToken")
	if len(page.Items("reservationSet")) != 5 || next == "" {
		t.Fatalf("%d on the first page, next %q", len(page.Items("reservationSet")), next)
	}
	rest := mustRequest(t, s, "DescribeInstances", "MaxResults", "5", "NextToken", next)
	if len(rest.Items("reservationSet")) != 2 || rest.Get("nextToken") != "" {
		t.Errorf("%d on the second page, next %q", len(rest.Items("reservationSet")), rest.Get("nextToken"))
	}
	refused(t, s, "InvalidNextToken", "DescribeInstances", "NextToken", "r-none")
	if status, _ := request(t, s, "DescribeInstances", "Filter.1.Name", "client-token", "Filter.1.Value.1",
		"none"); status != http.StatusOK {
		t.Errorf("a filter that moto fails on: status %d", status)
	}
}
