package moto

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
)

// line is a journal entry as a test writes it: the action with its parameters, and what it made.
func line(seed int, text string, created ...string) entry {
	fields := strings.Fields(text)
	c := awsquery.NewCall("ec2", fields[0])
	for _, field := range fields[1:] {
		name, value, _ := strings.Cut(field, "=")
		c.Set(name, value)
	}
	c.Body = c.Encoded()
	return entry{
		Seed:    seed,
		Call:    c,
		Named:   named(c),
		Created: created,
	}
}

// ended is a line that also notes which volumes went.
func ended(e entry, volumes ...string) entry {
	e.Ended = append([]string{}, volumes...)
	return e
}

// parameter is a journal entry of a parameter store call.
func parameter(seed int, action, name string, created bool) entry {
	e := line(seed, action)
	e.Call.Form, e.Call.Service = nil, "ssm"
	e.Call.Header = map[string][]string{"X-Amz-Target": {"AmazonSSM." + action}}
	e.Call.Body = fmt.Appendf(nil, `{"Name":%q,"Value":"v"}`, name)
	e.Named = named(e.Call)
	if created {
		e.Created = e.Named
	}
	return e
}

func TestCompact(t *testing.T) {
	const (
		sg     = "sg-00000000000000001"
		sg2    = "sg-00000000000000002"
		rtb    = "rtb-00000000000000001"
		rtb2   = "rtb-00000000000000002"
		nat    = "nat-00000000000000001"
		nat2   = "nat-00000000000000002"
		subnet = "subnet-00000000000000001"
		vol    = "vol-00000000000000011"
		vol2   = "vol-00000000000000012"
		i      = "i-00000000000000001"
		i2     = "i-00000000000000002"
		ami    = "ami-00000000000000001"
		snap   = "snap-00000000000000001"
		eip    = "eipalloc-00000000000000001"
		assoc  = "eipassoc-00000000000000001"
	)
	bake := []entry{
		line(1, "ImportKeyPair KeyName=temporary", "key:temporary"),
		line(2, "CreateSecurityGroup GroupName=temporary", sg),
		line(3, "AuthorizeSecurityGroupIngress GroupId="+sg),
		line(4, "RunInstances KeyName=temporary NetworkInterface.1.SecurityGroupId.1="+sg, i, "eni-00000000000000001",
			"vol-00000000000000001"),
		line(5, "CreateTags ResourceId.1="+i),
		line(6, "CreateImage InstanceId="+i, ami, snap),
		line(7, "CreateTags ResourceId.1="+snap),
		line(8, "TerminateInstances InstanceId.1="+i),
		line(9, "DeleteSecurityGroup GroupId="+sg),
		line(10, "DeleteKeyPair KeyName=temporary"),
	}
	for _, c := range []struct {
		name    string
		entries []entry
		want    []int // seeds
	}{
		{"an image keeps what it was made of", bake, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"without image and snapshot nothing of a bake is left", append(slices.Clone(bake),
			line(11, "DeregisterImage ImageId="+ami), line(12, "DeleteSnapshot SnapshotId="+snap)), nil},
		{"a snapshot outlives its image", append(slices.Clone(bake), line(11, "DeregisterImage ImageId="+ami)),
			[]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		{"an instance that runs stays", bake[:5], []int{1, 2, 3, 4, 5}},
		{"a name that was used before", []entry{
			line(1, "ImportKeyPair KeyName=k", "key:k"), line(2, "DeleteKeyPair KeyName=k"),
			line(3, "ImportKeyPair KeyName=k", "key:k")}, []int{3}},
		{"an address whose instance is gone", []entry{
			line(1, "AllocateAddress", eip), line(2, "RunInstances", i),
			line(3, "AssociateAddress AllocationId="+eip+" InstanceId="+i, assoc),
			line(4, "DisassociateAddress AssociationId="+assoc), line(5, "TerminateInstances InstanceId.1="+i)},
			[]int{1}},
		{"what is not made by a call is not waited for", []entry{
			line(1, "CreateInternetGateway", "igw-00000000000000001"),
			line(2, "AttachInternetGateway InternetGatewayId=igw-00000000000000001 VpcId=vpc-0default0"),
			line(3, "ModifySubnetAttribute SubnetId=subnet-0000000a")}, []int{1, 2, 3}},
		{"of two instances the one that is left", []entry{
			line(1, "RunInstances", i), line(2, "RunInstances", i2), line(3, "TerminateInstances InstanceId.1="+i),
			line(4, "CreateTags ResourceId.1="+i2)}, []int{2, 4}},
		{"a rule for a group that is gone, with another rule", []entry{
			line(1, "CreateSecurityGroup", sg), line(2, "CreateSecurityGroup", sg2),
			line(3, "AuthorizeSecurityGroupIngress GroupId="+sg+" IpPermissions.1.Groups.1.GroupId="+sg2+
				" IpPermissions.2.IpRanges.1.CidrIp=10.0.0.0/8"),
			line(4, "RevokeSecurityGroupIngress GroupId="+sg+" IpPermissions.1.Groups.1.GroupId="+sg2),
			line(5, "DeleteSecurityGroup GroupId="+sg2)}, []int{1, 2, 3, 4, 5}},
		{"rules of a group that is gone", []entry{
			line(1, "CreateSecurityGroup", sg), line(2, "CreateSecurityGroup", sg2),
			line(3, "AuthorizeSecurityGroupIngress GroupId="+sg2+" IpPermissions.1.Groups.1.GroupId="+sg),
			line(4, "DeleteSecurityGroup GroupId="+sg2)}, []int{1}},
		{"a rule of a group that no call made, for one that is gone", []entry{
			line(1, "CreateSecurityGroup", sg),
			line(2, "AuthorizeSecurityGroupIngress GroupId=sg-0000000000000000d IpPermissions.1.Groups.1.GroupId="+sg),
			line(3, "RevokeSecurityGroupIngress GroupId=sg-0000000000000000d IpPermissions.1.Groups.1.GroupId="+sg),
			line(4, "DeleteSecurityGroup GroupId="+sg)}, []int{1, 2, 3, 4}},
		{"a route to what is gone, replaced since", []entry{
			line(1, "CreateRouteTable", rtb), line(2, "AllocateAddress", eip),
			line(3, "CreateNatGateway AllocationId="+eip, nat), line(4, "CreateNatGateway", nat2),
			line(5, "CreateRoute RouteTableId="+rtb+" NatGatewayId="+nat),
			line(6, "ReplaceRoute RouteTableId="+rtb+" NatGatewayId="+nat2),
			line(7, "DeleteNatGateway NatGatewayId="+nat), line(8, "ReleaseAddress AllocationId="+eip)},
			[]int{1, 2, 3, 4, 5, 6, 7, 8}},
		{"a gateway whose interface goes with it", []entry{
			line(1, "AllocateAddress", eip),
			line(2, "CreateNatGateway AllocationId="+eip, nat, "eni-00000000000000001"),
			line(3, "DeleteNatGateway NatGatewayId="+nat),
			line(4, "DeleteNetworkInterface NetworkInterfaceId=eni-00000000000000001"),
			line(5, "ReleaseAddress AllocationId="+eip)}, nil},
		{"and that a route was for", []entry{
			line(1, "CreateRouteTable", rtb), line(2, "CreateNatGateway", nat, "eni-00000000000000001"),
			line(3, "CreateRoute RouteTableId="+rtb+" NatGatewayId="+nat),
			line(4, "DeleteNatGateway NatGatewayId="+nat),
			line(5, "DeleteNetworkInterface NetworkInterfaceId=eni-00000000000000001")}, []int{1, 2, 3, 4, 5}},
		{"a table that took the place of one that is gone", []entry{
			line(1, "CreateSubnet", subnet), line(2, "CreateRouteTable", rtb2), line(3, "CreateRouteTable", rtb),
			line(4, "AssociateRouteTable SubnetId="+subnet+" RouteTableId="+rtb2, "rtbassoc-00000000000000001"),
			line(5, "ReplaceRouteTableAssociation AssociationId=rtbassoc-00000000000000001 RouteTableId="+rtb,
				"rtbassoc-00000000000000002"),
			line(6, "DeleteRouteTable RouteTableId="+rtb2)}, []int{1, 2, 3, 4, 5, 6}},
		{"a volume that outlives its instance", []entry{
			line(1, "RunInstances", i, vol, vol2), ended(line(2, "TerminateInstances InstanceId.1="+i), vol2)},
			[]int{1, 2}},
		{"until it is deleted", []entry{
			line(1, "RunInstances", i, vol, vol2), ended(line(2, "TerminateInstances InstanceId.1="+i), vol2),
			line(3, "DeleteVolume VolumeId="+vol)}, nil},
		{"an instance whose volumes go with it", []entry{
			line(1, "RunInstances", i, vol, vol2), ended(line(2, "TerminateInstances InstanceId.1="+i), vol, vol2)},
			nil},
		{"a volume of a snapshot that is gone", []entry{
			line(1, "CreateVolume", vol), line(2, "CreateSnapshot VolumeId="+vol, snap),
			line(3, "DeleteVolume VolumeId="+vol),
			line(4, "CreateVolume SnapshotId="+snap, vol2), line(5, "DeleteSnapshot SnapshotId="+snap)},
			[]int{1, 2, 3, 4, 5}},
		{"two that ended together, of which one is needed", []entry{
			line(1, "RunInstances", i), line(2, "RunInstances", i2), line(3, "CreateImage InstanceId="+i, ami),
			line(4, "TerminateInstances InstanceId.1="+i+" InstanceId.2="+i2)}, []int{1, 2, 3, 4}},
		{"versions of a template, for an image that is gone", []entry{
			line(1, "CreateLaunchTemplate", "lt-00000000000000001"), line(2, "RegisterImage", ami),
			line(3, "CreateLaunchTemplateVersion LaunchTemplateId=lt-00000000000000001 LaunchTemplateData.ImageId="+
				ami),
			line(4, "DeregisterImage ImageId="+ami)}, []int{1, 2, 3, 4}},
		{"a group that got a template in the place of one that is gone", []entry{
			line(1, "CreateLaunchTemplate", "lt-00000000000000001"),
			line(2, "CreateAutoScalingGroup AutoScalingGroupName=g", "group:g"),
			line(3, "UpdateAutoScalingGroup AutoScalingGroupName=g DesiredCapacity=3"+
				" LaunchTemplate.LaunchTemplateId=lt-00000000000000001"),
			line(4, "DeleteLaunchTemplate LaunchTemplateId=lt-00000000000000001")}, []int{1, 2, 3, 4}},
		{"parameters", []entry{parameter(1, "PutParameter", "/a", true), parameter(2, "PutParameter", "/b", true),
			parameter(3, "PutParameter", "/a", false),
			parameter(4, "DeleteParameter", "/b", false)}, []int{1, 3}},
		{"a role and its policy",
			[]entry{line(1, "CreateRole RoleName=r", "role:r"), line(2, "PutRolePolicy RoleName=r PolicyName=p"),
				line(3, "CreateRole RoleName=s", "role:s"),
				line(4, "DeleteRolePolicy RoleName=r PolicyName=p"), line(5, "DeleteRole RoleName=r")}, []int{3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []int
			for _, e := range compact(c.entries) {
				got = append(got, e.Seed)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("kept %v, want %v", got, c.want)
			}
			if again := compact(compact(c.entries)); len(again) != len(c.want) {
				t.Errorf("compacted again, %d lines are left", len(again))
			}
		})
	}
}

// TestJournalOfBefore: a line with a character that is refused today does not keep the cloud from starting.
func TestJournalOfBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	c := awsquery.NewCall("ec2", "CreateSecurityGroup", "GroupName", "g", "GroupDescription", "a\x1bb")
	c.Body = c.Encoded()
	text, err := json.Marshal(entry{Seed: 1, Call: c})
	if err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := openJournal(path)
	if err != nil || len(j.entries) != 1 {
		t.Fatalf("%v, %v", j, err)
	}
	j.close()
}

// TestNamed: what a call is about is not what its free text speaks of.
func TestNamed(t *testing.T) {
	put := parameter(1, "PutParameter", "/p", true)
	put.Call.Body = []byte(`{"Name":"/p","Value":"{\"snapshot\":\"snap-00000000000000001\"}"}`)
	for _, c := range []struct {
		call *awsquery.Call
		want []string
	}{
		{put.Call, []string{"parameter:/p"}},
		{awsquery.NewCall("ec2", "CreateTags", "ResourceId.1", "vol-00000000000000001", "Tag.1.Key", "last",
			"Tag.1.Value", "i-00000000000000001"), []string{"vol-00000000000000001"}},
		{awsquery.NewCall("ec2", "CreateVpc", "TagSpecification.1.Tag.1.Value", "i-00000000000000001"), nil},
		{awsquery.NewCall("iam", "TagRole", "RoleName", "r",
			"Tags.member.1.Value", "i-00000000000000001"), []string{"role:r"}},
		{awsquery.NewCall("ec2", "CreateSnapshot", "VolumeId", "vol-00000000000000001",
			"Description", "of i-00000000000000001"), []string{"vol-00000000000000001"}},
	} {
		if got := named(c.call); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.call, got, c.want)
		}
	}
}

func TestCreated(t *testing.T) {
	l := readLedger([]entry{line(1, "CreateSecurityGroup", "sg-00000000000000001")})
	run := awsquery.NewCall("ec2", "RunInstances", "NetworkInterface.1.SubnetId", "subnet-00000000000000001")
	// An answer also tells of what was there before; the VPC is of the server's own making and in no line.
	answered := []byte(
		`<i>i-00000000000000001</i><v>vpc-00000000000000009</v><s>subnet-00000000000000001</s>` +
			`<g>sg-00000000000000001</g><e>eni-00000000000000001</e>`,
	)
	if got := l.created(run, answered); !slices.Equal(got, []string{"i-00000000000000001", "eni-00000000000000001"}) {
		t.Errorf("got %v", got)
	}
	if got := l.created(awsquery.NewCall("ec2", "CreateTags",
		"ResourceId.1", "i-00000000000000001"), answered); got != nil {
		t.Errorf("tags make %v", got)
	}
	if got := l.created(awsquery.NewCall("ec2", "ImportKeyPair",
		"KeyName", "k"), nil); !slices.Equal(got, []string{"key:k"}) {
		t.Errorf("got %v", got)
	}
}

func TestJournal(t *testing.T) {
	b := mototest.New(t, map[string]func(url.Values) string{
		"CreateVpc":           mototest.Canned("<vpc><vpcId>vpc-00000000000000001</vpcId></vpc>"),
		"CreateSubnet":        mototest.Canned("<subnet><subnetId>subnet-00000000000000001</subnetId></subnet>"),
		"DescribeNetworkAcls": mototest.Canned("<networkAclSet/>"),
	})
	m := newClient(t, b)
	gone, cancel := context.WithCancel(context.Background())
	cancel() // the client has gone away; the call is made all the same
	for _, c := range []*awsquery.Call{awsquery.NewCall("ec2", "CreateVpc"), awsquery.NewCall("ec2", "CreateSubnet",
		"VpcId", "vpc-00000000000000001")} {
		if _, err := m.journal.do(gone, m, c); err != nil {
			t.Fatal(err)
		}
	}
	b.Set("CreateVpc", "<Errors><Error><Code>VpcLimitExceeded</Code></Error></Errors>")
	if a, err := m.journal.do(context.Background(), m, awsquery.NewCall("ec2", "CreateVpc")); err != nil || a.OK() {
		t.Errorf("got %v, %v", a, err)
	}
	path := m.journal.path
	t.Run("what was refused is not kept", func(t *testing.T) {
		j := reopened(t, path)
		if len(j.entries) != 2 || j.entries[0].Seed != 1 ||
			!slices.Equal(j.entries[0].Created, []string{"vpc-00000000000000001"}) {
			t.Errorf("got %+v", j.entries)
		}
	})
	t.Run("a line that a crash cut off", func(t *testing.T) { cutOff(t, path) })
	t.Run("replay", func(t *testing.T) {
		b.Set("CreateVpc", "<vpc><vpcId>vpc-00000000000000001</vpcId></vpc>")
		b.Forget()
		if err := reopened(t, path).replay(context.Background(), m); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(b.Changes(), []string{"CreateVpc", "CreateSubnet"}) ||
			!slices.Equal(b.Seeds(), []string{"0", "1", "2"}) {
			t.Errorf("calls %v with seeds %v", b.Changes(), b.Seeds())
		}
	})
	t.Run("a call that is not accepted any more is left out", func(t *testing.T) {
		b.Set("CreateSubnet", "<Errors><Error><Code>InvalidSubnet.Conflict</Code></Error></Errors>")
		if err := reopened(t, path).replay(context.Background(), m); err != nil {
			t.Fatal(err)
		}
		if j := reopened(t, path); len(j.entries) != 1 || j.entries[0].Call.Action() != "CreateVpc" {
			t.Errorf("got %+v", j.entries)
		}
	})
}

func TestJournalWithABrokenLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	text := "{\"seed\":1,\"ca\n{\"seed\":2,\"call\":{\"service\":\"ec2\"}}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openJournal(path); err == nil || !strings.Contains(err.Error(), path+", line 1") {
		t.Errorf("got %v, want an error that names the line", err)
	}
}

// cutOff appends to a journal a line that a crash cut off, and checks that it is gone once the journal was opened.
func cutOff(t *testing.T, path string) {
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err = os.WriteFile(path, append(slices.Clone(whole), `{"seed":9,"call":{"serv`...), 0o600); err != nil {
		t.Fatal(err)
	}
	if j := reopened(t, path); len(j.entries) != 2 {
		t.Errorf("%d lines", len(j.entries))
	}
	if now, _ := os.ReadFile(path); string(now) != string(whole) {
		t.Errorf("the file is now\n%s", now)
	}
}

func reopened(t *testing.T, path string) *journal {
	t.Helper()
	j, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.close() })
	return j
}

// A write that fails must leave no half of a line behind, or the next one would be lost with it.
func TestJournalWriteFails(t *testing.T) {
	b := mototest.New(t,
		map[string]func(url.Values) string{"CreateInternetGateway": mototest.Canned(
			"<internetGateway><internetGatewayId>igw-00000000000000001</internetGatewayId></internetGateway>")})
	m := newClient(t, b)
	good := m.journal.file
	readOnly, err := os.Open(m.journal.path)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	m.journal.file = readOnly
	if _, err := m.journal.do(context.Background(), m, awsquery.NewCall("ec2", "CreateInternetGateway")); err == nil {
		t.Error("a change that could not be written was told as made")
	}
	m.journal.file = good
	if _, err := m.journal.do(context.Background(), m, awsquery.NewCall("ec2", "CreateInternetGateway")); err != nil {
		t.Fatal(err)
	}
	if j := reopened(t, m.journal.path); len(j.entries) != 1 {
		t.Errorf("%d lines", len(j.entries))
	}
}

// TestVolumesGone: the journal notes which volumes went with an instance, and so which outlive it.
func TestVolumesGone(t *testing.T) {
	const i, kept, gone = "i-00000000000000001", "vol-00000000000000011", "vol-00000000000000012"
	b := mototest.New(t, map[string]func(url.Values) string{
		"RunInstances":       mototest.Canned("<i>" + i + "</i><v>" + kept + "</v><v>" + gone + "</v>"),
		"TerminateInstances": mototest.Canned("<i>" + i + "</i>"),
		"DescribeVolumes":    mototest.Canned("<volumeSet><item><volumeId>" + kept + "</volumeId></item></volumeSet>"),
	})
	m := newClient(t, b)
	for _, c := range []*awsquery.Call{awsquery.NewCall("ec2", "RunInstances"),
		awsquery.NewCall("ec2", "TerminateInstances", "InstanceId.1", i)} {
		if _, err := m.journal.do(t.Context(), m, c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.journal.do(t.Context(), m, awsquery.NewCall("ec2", "TerminateInstances",
		"InstanceId.1", i)); err != nil {
		t.Fatal(err)
	}
	entries := reopened(t, m.journal.path).entries
	if len(entries) != 3 || !slices.Equal(entries[1].Ended, []string{gone}) {
		t.Errorf("got %+v", entries)
	}
	if entries[2].Ended == nil {
		t.Errorf("a line without volumes reads as one of before they were noted: %+v", entries)
	}
}

// newClient is a client of a moto that was told its answers, with an empty journal.
func newClient(t *testing.T, b *mototest.Moto) *Client {
	t.Helper()
	m := New(b.Dial, slog.New(slog.DiscardHandler))
	if err := m.Open(filepath.Join(t.TempDir(), "journal.jsonl")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}
