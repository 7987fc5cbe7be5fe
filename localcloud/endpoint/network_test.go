package endpoint

import (
	"context"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"syscall"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// twoTiers is the network of a public and a private subnet, as moto describes it.
func twoTiers(t *testing.T) *mototest.Moto {
	ok := mototest.Canned("<return>true</return>")
	return mototest.New(t, map[string]func(url.Values) string{
		"DescribeVpcs": mototest.Canned(
			`<vpcSet><item><vpcId>vpc-1</vpcId><cidrBlock>10.0.0.0/16</cidrBlock>
			<cidrBlockAssociationSet><item><cidrBlock>10.0.0.0/16</cidrBlock></item>
			<item><cidrBlock>10.1.0.0/16</cidrBlock></item></cidrBlockAssociationSet></item></vpcSet>`,
		),
		"DescribeSubnets": mototest.Canned(
			`<subnetSet><item><subnetId>subnet-a</subnetId><vpcId>vpc-1</vpcId><cidrBlock>10.0.1.0/24</cidrBlock></item>
			<item><subnetId>subnet-b</subnetId><vpcId>vpc-1</vpcId><cidrBlock>10.0.2.0/24</cidrBlock></item>
			<item><subnetId>subnet-c</subnetId><vpcId>vpc-1</vpcId>
			<cidrBlock>10.0.3.0/24</cidrBlock></item></subnetSet>`,
		),
		"DescribeRouteTables": mototest.Canned(`<routeTableSet>
			<item><vpcId>vpc-1</vpcId><associationSet><item><main>true</main></item></associationSet><routeSet><item>
			<destinationCidrBlock>10.0.0.0/16</destinationCidrBlock></item></routeSet></item>
			<item><vpcId>vpc-1</vpcId><associationSet><item><subnetId>subnet-a</subnetId></item></associationSet>
			<routeSet><item><destinationCidrBlock>0.0.0.0/0</destinationCidrBlock>
			<gatewayId>igw-1</gatewayId></item></routeSet></item>
			<item><vpcId>vpc-1</vpcId><associationSet><item><subnetId>subnet-b</subnetId></item></associationSet>
			<routeSet><item><destinationCidrBlock>0.0.0.0/0</destinationCidrBlock>
			<natGatewayId>nat-1</natGatewayId></item></routeSet></item>
			</routeTableSet>`),
		"DescribeInternetGateways": mototest.Canned(
			`<internetGatewaySet><item><internetGatewayId>igw-1</internetGatewayId><attachmentSet><item>
				<vpcId>vpc-1</vpcId></item></attachmentSet></item></internetGatewaySet>`),
		"DescribeNatGateways": mototest.Canned(
			`<natGatewaySet><item><natGatewayId>nat-1</natGatewayId><subnetId>subnet-a</subnetId>
				<state>available</state><natGatewayAddressSet><item>
				<allocationId>eipalloc-1</allocationId></item></natGatewayAddressSet></item></natGatewaySet>`),
		"DescribeSecurityGroups": mototest.Canned(`<securityGroupInfo>
			<item><groupId>sg-web</groupId><groupName>web</groupName><vpcId>vpc-1</vpcId><ipPermissions><item>
			<ipProtocol>tcp</ipProtocol><fromPort>80</fromPort><toPort>80</toPort><ipRanges><item>
			<cidrIp>0.0.0.0/0</cidrIp></item></ipRanges></item></ipPermissions>
				<ipPermissionsEgress><item><ipProtocol>-1</ipProtocol><ipRanges><item>
				<cidrIp>0.0.0.0/0</cidrIp></item></ipRanges></item></ipPermissionsEgress></item>
			<item><groupId>sg-db</groupId><groupName>db</groupName><vpcId>vpc-1</vpcId><ipPermissions><item>
			<ipProtocol>tcp</ipProtocol><fromPort>3306</fromPort><toPort>3306</toPort><groups><item>
			<groupId>sg-web</groupId></item></groups></item></ipPermissions></item>
			<item><groupId>sg-free</groupId><groupName>free</groupName><vpcId>vpc-1</vpcId></item><item>
			<groupId>sg-default</groupId><groupName>default</groupName>
			<vpcId>vpc-1</vpcId></item></securityGroupInfo>`),
		"DescribeAddresses": mototest.Canned(
			`<addressesSet><item><publicIp>127.66.9.7</publicIp><allocationId>eipalloc-1</allocationId></item>
			<item><publicIp>127.66.9.8</publicIp><allocationId>eipalloc-2</allocationId>
			<associationId>eipassoc-2</associationId><instanceId>i-web</instanceId></item></addressesSet>`,
		),
		"DescribeNetworkInterfaces": mototest.Canned(`<networkInterfaceSet>
			<item><networkInterfaceId>eni-web</networkInterfaceId><subnetId>subnet-a</subnetId><vpcId>vpc-1</vpcId>
			<privateIpAddress>10.0.1.4</privateIpAddress><attachment><instanceId>i-web</instanceId>
			<deviceIndex>0</deviceIndex></attachment>
				<groupSet><item><groupId>sg-web</groupId></item></groupSet><privateIpAddressesSet><item>
				<privateIpAddress>10.0.1.4</privateIpAddress></item><item>
				<privateIpAddress>10.0.1.40</privateIpAddress></item></privateIpAddressesSet></item>
			<item><networkInterfaceId>eni-db</networkInterfaceId><subnetId>subnet-b</subnetId><vpcId>vpc-1</vpcId>
			<privateIpAddress>10.0.2.10</privateIpAddress><attachment><instanceId>i-db</instanceId>
			<deviceIndex>0</deviceIndex></attachment><groupSet><item><groupId>sg-db</groupId></item></groupSet></item>
			<item><networkInterfaceId>eni-nat</networkInterfaceId><subnetId>subnet-a</subnetId><vpcId>vpc-1</vpcId>
			<privateIpAddress>10.0.1.9</privateIpAddress></item></networkInterfaceSet>`),
		"DeleteSecurityGroup": ok,
		"DeleteSubnet":        ok,
		"DeleteVpc":           ok,
	})
}

func TestTopology(t *testing.T) {
	m := newMachinery(t)
	s := newServer(t, twoTiers(t), m)
	change(t, s, func(o *records.State) {
		o.Instances = map[string]*records.Instance{
			"i-web": {State: "running", Public: netip.MustParseAddr("127.66.9.2")},
			"i-db":  {State: "running"},
		}
	})
	if err := s.network.Apply(context.Background()); err != nil {
		t.Fatal(err)
	}
	got := m.topology
	if len(got.VPCs) != 1 || len(got.VPCs[0].CIDRs) != 2 {
		t.Fatalf("got %+v", got)
	}
	made := got.VPCs[0]
	for i, want := range []network.Internet{network.ViaGateway, network.ViaNAT, network.NoInternet} {
		if subnet := made.Subnets[i]; subnet.Internet != want || subnet.Gateway != subnet.CIDR.Addr().Next() {
			t.Errorf("%s: internet %v by %s, want %v", subnet.ID, subnet.Internet, subnet.Gateway, want)
		}
	}
	// The elastic address goes before the automatic one; a NAT gateway's interface has no machine.
	if len(got.Public) != 1 || !reflect.DeepEqual(got.Public[netip.MustParseAddr("127.66.9.8")], network.Target{
		VPC:     "vpc-1",
		Private: netip.MustParseAddr("10.0.1.4"),
	}) {
		t.Errorf("public addresses: %v", got.Public)
	}
	if len(made.Interfaces) != 2 || !made.Interfaces[0].Public || made.Interfaces[1].Public ||
		len(made.Interfaces[0].PrivateIPs) != 2 {
		t.Errorf("interfaces: %+v", made.Interfaces)
	}
	if want := []network.Rule{{
		Protocol: "tcp",
		From:     3306,
		To:       3306,
		Group:    "sg-web",
	}}; !slices.Equal(made.Groups[1].Ingress, want) {
		t.Errorf("the database's rules: %+v", made.Groups[1].Ingress)
	}
	if want := []network.Rule{{
		Protocol: "-1",
		From:     -1,
		To:       -1,
		CIDR:     netip.MustParsePrefix("0.0.0.0/0"),
	}}; !slices.Equal(made.Groups[0].Egress, want) {
		t.Errorf("the web's egress: %+v", made.Groups[0].Egress)
	}
}

func TestDependencies(t *testing.T) {
	b := twoTiers(t)
	s := newServer(t, b, newMachinery(t))
	refused(t, s, "DependencyViolation", "DeleteSecurityGroup", "GroupId", "sg-web") // an interface is in it
	refused(t, s, "DependencyViolation", "DeleteSecurityGroup", "GroupName", "db")
	refused(t, s, "CannotDelete", "DeleteSecurityGroup", "GroupId", "sg-default")
	refused(t, s, "DependencyViolation", "DeleteSubnet", "SubnetId", "subnet-a")
	refused(t, s, "DependencyViolation", "DeleteVpc", "VpcId", "vpc-1")
	refused(t, s, "InvalidIPAddress.InUse", "ReleaseAddress", "AllocationId", "eipalloc-1")
	if len(b.Changes()) > 0 {
		t.Errorf("all the same, moto got %v", b.Changes())
	}
	b.Set("DescribeNetworkInterfaces", "<networkInterfaceSet/>")
	refused(t, s, "DependencyViolation", "DeleteSecurityGroup", "GroupId", "sg-web") // a rule names it
	refused(t, s, "DependencyViolation", "DeleteSubnet", "SubnetId", "subnet-a")     // the NAT gateway is in it
	mustRequest(t, s, "DeleteSecurityGroup", "GroupName", "free")
	if form := b.Form("DeleteSecurityGroup"); form.Get("GroupId") != "sg-free" {
		t.Errorf("moto got %v", form)
	}
	mustRequest(t, s, "DeleteSubnet", "SubnetId", "subnet-c")
}

// TestGatewayTakesItsInterfaceWithIt: moto keeps it, and a list of the account had it for ever.
func TestGatewayTakesItsInterfaceWithIt(t *testing.T) {
	b := twoTiers(t)
	b.Answers["DeleteNatGateway"] = mototest.Canned("<natGatewayId>nat-1</natGatewayId>")
	b.Answers["DeleteNetworkInterface"] = mototest.Canned("<return>true</return>")
	s := newServer(t, b, newMachinery(t, "Apply"))
	gateway := func(state string) {
		b.Set("DescribeNatGateways", `<natGatewaySet><item><natGatewayId>nat-1</natGatewayId>
			<subnetId>subnet-a</subnetId><state>`+state+`</state><natGatewayAddressSet><item>
			<networkInterfaceId>eni-nat</networkInterfaceId></item></natGatewayAddressSet></item></natGatewaySet>`)
	}
	gateway("available")
	mustRequest(t, s, "DeleteNatGateway", "NatGatewayId", "nat-1")
	gateway("deleted")
	mustRequest(t, s, "DeleteNatGateway", "NatGatewayId", "nat-1")
	want := []string{"DeleteNatGateway", "DeleteNetworkInterface", "DeleteNatGateway"}
	if !slices.Equal(b.Changes(), want) || b.Form("DeleteNetworkInterface").Get("NetworkInterfaceId") != "eni-nat" {
		t.Errorf("moto got %v, want %v", b.Changes(), want)
	}
}

func TestElasticAddresses(t *testing.T) {
	b, m := newRegion(t), newMachinery(t, "RunMachine", "TerminateMachine")
	const free = `<addressesSet><item><publicIp>127.66.9.3</publicIp><allocationId>eipalloc-1</allocationId>
		<domain>vpc</domain></item></addressesSet>`
	const bound = `<addressesSet><item><publicIp>127.66.9.3</publicIp><allocationId>eipalloc-1</allocationId>
		<associationId>eipassoc-1</associationId><instanceId>` + first + `</instanceId></item></addressesSet>`
	b.Answers["AllocateAddress"] = func(form url.Values) string {
		b.Answers["DescribeAddresses"] = mototest.Canned(free)
		return "<publicIp>" + form.Get("Address") + "</publicIp><allocationId>eipalloc-1</allocationId>"
	}
	b.Answers["AssociateAddress"] = func(url.Values) string {
		b.Answers["DescribeAddresses"] = mototest.Canned(bound)
		return "<associationId>eipassoc-1</associationId>"
	}
	b.Answers["DisassociateAddress"] = func(url.Values) string {
		b.Answers["DescribeAddresses"] = mototest.Canned(free)
		return "<return>true</return>"
	}
	b.Answers["ReleaseAddress"] = mototest.Canned("<return>true</return>")
	s := newServer(t, b, m)
	mustRequest(t, s, "RunInstances", launchWith()...)
	waitForState(t, s, first, "running")
	if got := mustRequest(t, s, "AllocateAddress").Get("publicIp"); got != "127.66.9.3" {
		t.Errorf("allocated %s; .2 is the instance's", got)
	}
	mustRequest(t, s, "AssociateAddress", "AllocationId", "eipalloc-1", "InstanceId", first)
	if got := mustRequest(t, s, "DescribeInstances").Get("reservationSet", "item", "instancesSet", "item",
		"ipAddress"); got != "127.66.9.3" || m.metadata[first].PublicIPv4 != got {
		t.Errorf("the instance has %q, its metadata say %q", got, m.metadata[first].PublicIPv4)
	}
	refused(t, s, "InvalidIPAddress.InUse", "ReleaseAddress", "AllocationId", "eipalloc-1")
	refused(t, s, "Resource.AlreadyAssociated", "AssociateAddress", "AllocationId", "eipalloc-1", "InstanceId", first,
		"AllowReassociation", "false")
	mustRequest(t, s, "TerminateInstances", "InstanceId.1", first)
	waitForState(t, s, first, "terminated")
	if got := b.Changes(); !slices.Contains(got, "DisassociateAddress") {
		t.Errorf("a terminated instance keeps its address: %v", got)
	}
	mustRequest(t, s, "ReleaseAddress", "AllocationId", "eipalloc-1")
}

func TestVolumes(t *testing.T) {
	b, m := newRegion(t), newMachinery(t, "RunMachine", "CreateVolume", "AttachVolume", "DeleteVolume")
	const volume = "vol-00000000000000042"
	loose := "<volumeSet><item><volumeId>" + volume + "</volumeId><attachmentSet/></item></volumeSet>"
	held := "<volumeSet><item><volumeId>" + volume + "</volumeId><attachmentSet><item><instanceId>" + first +
		"</instanceId><device>/dev/sdf</device></item></attachmentSet></item></volumeSet>"
	b.Answers["CreateVolume"] = mototest.Canned("<volumeId>" + volume + "</volumeId>")
	b.Answers["DeleteVolume"] = mototest.Canned("<return>true</return>")
	b.Answers["DescribeVolumes"] = mototest.Canned(loose)
	b.Answers["AttachVolume"] = func(url.Values) string {
		b.Answers["DescribeVolumes"] = mototest.Canned(held)
		return "<status>attaching</status>"
	}
	b.Answers["DetachVolume"] = mototest.Canned("<status>detaching</status>")
	s := newServer(t, b, m)
	mustRequest(t, s, "RunInstances", launchWith()...)
	waitForState(t, s, first, "running")
	refused(t, s, "InvalidParameterValue", "CreateVolume", "Size", "0")
	refused(t, s, "MissingParameter", "CreateVolume")
	mustRequest(t, s, "CreateVolume", "Size", "3")
	refused(t, s, "InvalidParameterValue", "AttachVolume", "VolumeId", volume, "InstanceId", first, "Device",
		moto.RootDevice)
	mustRequest(t, s, "AttachVolume", "VolumeId", volume, "InstanceId", first, "Device", "/dev/sdf")
	refused(t, s, "VolumeInUse", "AttachVolume", "VolumeId", volume, "InstanceId", first, "Device", "/dev/sdg")
	m.allowed["DetachVolume"] = syscall.EBUSY
	refused(t, s, "IncorrectState", "DetachVolume", "VolumeId", volume)
	m.allowed["DetachVolume"] = nil
	mustRequest(t, s, "DetachVolume", "VolumeId", volume)
	if form := b.Form("DetachVolume"); form.Get("InstanceId") != first || form.Get("Device") != "/dev/sdf" {
		t.Errorf("moto, which needs both, got %v", form)
	}
	refused(t, s, "UnsupportedOperation", "ModifyVolume", "VolumeId", volume, "Size", "9")

	m.allowed["CreateVolume"] = syscall.ENOSPC
	before := len(b.Changes())
	refused(t, s, "UnsupportedOperation", "CreateVolume", "Size", "3")
	if got := b.Changes()[before:]; !slices.Equal(got, []string{"CreateVolume", "DeleteVolume"}) {
		t.Errorf("a volume that could not be made: moto got %v", got)
	}
}

// TestOpenDefaultVPC begins again after each of its calls, as after a crash there.
func TestOpenDefaultVPC(t *testing.T) {
	ok := mototest.Canned("<return>true</return>")
	b := mototest.New(t, map[string]func(url.Values) string{
		"DescribeVpcs": mototest.Canned("<vpcSet><item><vpcId>vpc-default</vpcId></item></vpcSet>"),
		"DescribeRouteTables": mototest.Canned(
			"<routeTableSet><item><routeTableId>rtb-main</routeTableId></item></routeTableSet>"),
		"DescribeInternetGateways": mototest.Canned(
			"<internetGatewaySet><item><internetGatewayId>igw-1</internetGatewayId></item></internetGatewaySet>"),
		"DescribeSecurityGroups": mototest.Canned(
			"<securityGroupInfo><item><groupId>sg-default</groupId></item></securityGroupInfo>"),
		"CreateInternetGateway":         ok,
		"AttachInternetGateway":         ok,
		"CreateRoute":                   ok,
		"AuthorizeSecurityGroupIngress": ok,
	})
	want := []string{"CreateInternetGateway", "AttachInternetGateway", "CreateRoute", "AuthorizeSecurityGroupIngress"}
	for done := range len(want) + 1 {
		s := newServer(t, b, newMachinery(t))
		for _, action := range want[:done] {
			if _, err := s.moto.Forward(t.Context(), awsquery.NewCall("ec2", action)); err != nil {
				t.Fatal(err)
			}
		}
		before := len(b.Changes())
		if err := s.network.OpenDefaultVPC(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := b.Changes()[before:]; !slices.Equal(got, want[done:]) {
			t.Errorf("after %d calls: %v, want %v", done, got, want[done:])
		}
		form := b.Form("AuthorizeSecurityGroupIngress")
		if done == 0 && (form.Get("GroupId") != "sg-default" ||
			form.Get("IpPermissions.1.Groups.1.GroupId") != "sg-default") {
			t.Errorf("the group's rule: %v", form)
		}
	}
}

// TestNoDefaultVPC: it was deleted, and the cloud starts all the same.
func TestNoDefaultVPC(t *testing.T) {
	s := newServer(t, mototest.New(t, nil), newMachinery(t))
	if err := s.network.OpenDefaultVPC(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRangesOfNoVPC(t *testing.T) {
	s := newServer(t, mototest.New(t, nil), newMachinery(t))
	for _, cidr := range []string{"127.0.0.0/16", "0.0.0.0/16", "224.0.0.0/16", "240.0.0.0/16", "169.254.0.0/16",
		"198.51.100.0/24"} {
		refused(t, s, "InvalidVpc.Range", "CreateVpc", "CidrBlock", cidr)
	}
}

// TestInterfaces: what moto records of interfaces would be another machine's address, or a rule of nothing.
func TestInterfaces(t *testing.T) {
	const subnet, group = "subnet-00000000000000001", "sg-00000000000000001"
	b := mototest.New(t, map[string]func(url.Values) string{
		"DescribeSubnets": mototest.Canned("<subnetSet><item><subnetId>" + subnet +
			"</subnetId><cidrBlock>10.0.1.0/24</cidrBlock></item></subnetSet>"),
		"DescribeNetworkInterfaces": mototest.Canned(
			"<networkInterfaceSet><item><networkInterfaceId>eni-1</networkInterfaceId>" +
				"<privateIpAddress>10.0.1.9</privateIpAddress></item>" +
				`<item><networkInterfaceId>eni-2</networkInterfaceId><privateIpAddress>10.0.1.8"</privateIpAddress>` +
				`</item></networkInterfaceSet>`,
		),
		"DescribeSecurityGroups": mototest.Canned("<securityGroupInfo><item><groupId>" + group +
			"</groupId></item></securityGroupInfo>"),
		"CreateNetworkInterface":          mototest.Canned("<networkInterface/>"),
		"ModifyNetworkInterfaceAttribute": mototest.Canned("<return>true</return>"),
	})
	s := newServer(t, b, newMachinery(t))
	for address, code := range map[string]string{
		`10.0.1.50"`:      "InvalidParameterValue",
		"10.9.9.9":        "InvalidParameterValue",
		"10.0.1.1":        "InvalidParameterValue",
		"169.254.169.254": "InvalidParameterValue",
		"10.0.1.9":        "InvalidIPAddress.InUse",
	} {
		refused(t, s, code, "CreateNetworkInterface", "SubnetId", subnet, "PrivateIpAddress", address)
		refused(t, s, code, "CreateNetworkInterface", "SubnetId", subnet, "PrivateIpAddresses.1.PrivateIpAddress",
			address)
	}
	refused(t, s, "UnsupportedOperation", "AttachNetworkInterface", "NetworkInterfaceId", "eni-1", "InstanceId", first,
		"DeviceIndex", "0")
	refused(t, s, "UnsupportedOperation", "DetachNetworkInterface", "AttachmentId", "eni-attach-1")
	refused(t, s, "InvalidSubnetID.NotFound", "CreateNetworkInterface", "SubnetId", "subnet-00000000000000002")
	for _, missing := range []string{"sg-doesnotexist", "sg-00000000000000002", "../x"} {
		refused(t, s, "InvalidGroup.NotFound", "CreateNetworkInterface", "SubnetId", subnet, "SecurityGroupId.1",
			missing)
		refused(t, s, "InvalidGroup.NotFound", "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", "eni-1",
			"SecurityGroupId.1", missing)
	}
	if len(b.Changes()) > 0 {
		t.Errorf("moto got %v", b.Changes())
	}
	mustRequest(t, s, "CreateNetworkInterface", "SubnetId", subnet, "PrivateIpAddress", "10.0.1.50",
		"SecurityGroupId.1", group)
	mustRequest(t, s, "ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", "eni-1", "SecurityGroupId.1", group)
}
