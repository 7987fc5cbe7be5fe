package deployreport

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/report"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/defaultstack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stackfile"
)

func TestReportOfRecord(t *testing.T) {
	s := defaultstack.New(aws.Config{}, stackfile.Default(), t.Logf)
	began := time.Date(2026, 11, 23, 21, 4, 5, 0, time.UTC)
	written := record.Record{
		ID:      "20261123-210405-000",
		Kind:    "rollback",
		Who:     "ada@workshop",
		Started: began,
		Ended:   began.Add(9 * time.Second),
		Result:  record.RolledBack,
		Reason:  "what fits into a parameter",

		From:     record.Images{Tiers: map[string]string{"db": "ami-1", "web": "ami-2"}},
		To:       record.Images{Release: "r2", Tiers: map[string]string{"db": "ami-3", "web": "ami-4"}},
		Snapshot: "snap-1",

		Steps: []record.Step{
			{Name: "launch web", Tier: "web", Took: 1500},
			{ID: "snapshot", Name: "copy the data", Tier: "db", At: 2000, Took: 10},
			{Name: "db ready", Tier: "db", At: 2010, Took: 3000, Failed: true},
			{Name: "go back", At: 5010},
		},
	}
	want := report.Report{
		Stack:   "golden",
		ID:      written.ID,
		Kind:    "rollback",
		Who:     "ada@workshop",
		Started: began,
		Ended:   written.Ended,
		Result:  "rolled back",
		Reason:  "all of the reason",

		From: report.Release{Images: []report.Image{{Tier: "db", ID: "ami-1"}, {Tier: "web", ID: "ami-2"}}},
		To:   report.Release{Name: "r2", Images: []report.Image{{Tier: "db", ID: "ami-3"}, {Tier: "web", ID: "ami-4"}}},

		Steps: []report.Step{
			{Name: "launch web", Tier: "web", Started: began, Took: 1500 * time.Millisecond, Result: "ok"},
			{
				Name:    "copy the data",
				Tier:    "db",
				Started: began.Add(2 * time.Second),
				Took:    10 * time.Millisecond,
				Result:  "ok",
				Detail:  "snap-1",
			},
			{
				Name:    "db ready",
				Tier:    "db",
				Started: began.Add(2010 * time.Millisecond),
				Took:    3 * time.Second,
				Result:  "failed",
			},
			{Name: "go back", Started: began.Add(5010 * time.Millisecond), Result: "ok"}},
	}
	if got := reportOf(s, written, errors.New("all of the reason")); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	written.Result = record.Done
	if got := reportOf(s, written, nil); got.Reason != "" || got.Result != "done" {
		t.Errorf("a deployment that is done has the reason %q", got.Reason)
	}
}

func TestIngress(t *testing.T) {
	permission := func(protocol string, from, to int32) types.IpPermission {
		return types.IpPermission{IpProtocol: aws.String(protocol), FromPort: aws.Int32(from), ToPort: aws.Int32(to)}
	}
	all := types.IpPermission{
		IpProtocol: aws.String("-1"),
		UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String("sg-1")}, {
			GroupId:     aws.String("sg-2"),
			Description: aws.String("batch"),
		}},
	}
	page := permission("tcp", 443, 443)
	page.IpRanges = []types.IpRange{{
		CidrIp:      aws.String("0.0.0.0/0"),
		Description: aws.String("goldsmith"),
	}, {CidrIp: aws.String("192.0.2.0/24"), Description: aws.String("office")}}
	page.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String("::/0")}}
	login := permission("tcp", 22, 22)
	login.PrefixListIds = []types.PrefixListId{{PrefixListId: aws.String("pl-1")}}
	several, every, ping := permission("udp", 8000, 8100), permission("tcp", 0, 65535), permission("icmp", -1, -1)
	for _, p := range []*types.IpPermission{&several, &every, &ping} {
		p.IpRanges = []types.IpRange{{CidrIp: aws.String("10.0.0.0/8")}}
	}
	for _, c := range []struct {
		name        string
		permissions []types.IpPermission
		want        []report.Rule
	}{
		{"nobody", nil, nil},
		{"groups, all traffic", []types.IpPermission{all}, []report.Rule{{
			Protocol: "-1",
			Port:     -1,
			Group:    "sg-1",
		}, {Protocol: "-1", Port: -1, Group: "sg-2", Description: "batch"}}},
		{"ranges, by port", []types.IpPermission{page, login}, []report.Rule{{
			Protocol: "tcp",
			Port:     22,
			CIDR:     "pl-1",
		}, {Protocol: "tcp", Port: 443, CIDR: "0.0.0.0/0"},
			{
				Protocol:    "tcp",
				Port:        443,
				CIDR:        "192.0.2.0/24",
				Description: "office",
			}, {Protocol: "tcp", Port: 443, CIDR: "::/0"}}},
		{"several ports", []types.IpPermission{several}, []report.Rule{{
			Protocol: "udp",
			Port:     8000,
			Last:     8100,
			CIDR:     "10.0.0.0/8",
		}}},
		{"all ports", []types.IpPermission{every}, []report.Rule{{Protocol: "tcp", Port: -1, CIDR: "10.0.0.0/8"}}},
		{"no ports", []types.IpPermission{ping}, []report.Rule{{Protocol: "icmp", Port: -1, CIDR: "10.0.0.0/8"}}},
	} {
		if got := ingress(c.permissions); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestDrawnInstances have a place also when EC2 has forgotten where they were.
func TestDrawnInstances(t *testing.T) {
	s := defaultstack.New(aws.Config{}, stackfile.Default(), t.Logf)
	n := network.Network{
		Public:  "subnet-1",
		Private: "subnet-2",
		Groups:  map[string]string{"web": "sg-web", "db": "sg-db"},
	}
	const deployed = "20261123-210405-000"
	raw := func(id, state string, tags ...string) types.Instance {
		return types.Instance{
			InstanceId: aws.String(id),
			ImageId:    aws.String("ami-1"),
			State:      &types.InstanceState{Name: types.InstanceStateName(state)},
			Tags:       ec2ops.TagPairs(tags...),
		}
	}
	runs := raw("i-1", "running", "Name", "golden-db", stack.RoleTag, stack.Serving, stack.DeployTag, deployed,
		stack.AddressTag, "10.0.2.10")
	runs.SubnetId, runs.PrivateIpAddress, runs.SecurityGroups = aws.String(
		"subnet-9",
	), aws.String(
		"10.0.2.7",
	), []types.GroupIdentifier{
		{GroupId: aws.String("sg-9")},
	}
	for _, c := range []struct {
		name   string
		raw    types.Instance
		tier   string
		before stack.Instance
		want   report.Instance
	}{
		{"new, serves", runs, "db", stack.Instance{}, report.Instance{
			ID:      "i-1",
			Name:    "golden-db",
			Tier:    "db",
			Subnet:  "subnet-9",
			Image:   "ami-1",
			Private: "10.0.2.7, 10.0.2.10",
			State:   "running",
			Groups:  []string{"sg-9"},
			New:     true,
			Serving: true,
		}},
		{"old, ended", raw("i-2", "terminated", stack.RoleTag, stack.Retired, stack.DeployTag, "20261122-000000-000"),
			"web", stack.Instance{
				ID:      "i-2",
				Private: "10.0.1.5",
				Public:  "192.0.2.1",
			},
			report.Instance{
				ID:      "i-2",
				Tier:    "web",
				Subnet:  "subnet-1",
				Image:   "ami-1",
				Private: "10.0.1.5",
				State:   "terminated",
				Groups:  []string{"sg-web"},
			}},
		{"new, ended when the deployment went back",
			raw("i-3", "shutting-down", stack.RoleTag, stack.Candidate, stack.DeployTag,
				deployed), "db", stack.Instance{},
			report.Instance{
				ID:     "i-3",
				Tier:   "db",
				Subnet: "subnet-2",
				Image:  "ami-1",
				State:  "shutting-down",
				Groups: []string{"sg-db"},
				New:    true,
			}},
		{"served, and was ended by hand", raw("i-5", "terminated", stack.RoleTag, stack.Serving), "web",
			stack.Instance{ID: "i-5"}, report.Instance{
				ID:     "i-5",
				Tier:   "web",
				Subnet: "subnet-1",
				Image:  "ami-1",
				State:  "terminated",
				Groups: []string{"sg-web"},
			}},
		{"without a role it serves", raw("i-4", "running"), "web", stack.Instance{}, report.Instance{
			ID:      "i-4",
			Tier:    "web",
			Subnet:  "subnet-1",
			Image:   "ami-1",
			State:   "running",
			Groups:  []string{"sg-web"},
			Serving: true,
		}},
	} {
		c.raw.Tags = append(c.raw.Tags, ec2ops.TagPairs(stack.TierTag, c.tier)...)
		if got := drawn(s, n, deployed, c.raw, c.before); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestReportsMakeRoom keeps the youngest of the stack, and what is not the stack's.
func TestReportsMakeRoom(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	dir, err := reportsPath("golden")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	others := []string{"golden-blue-20200101-000000-000.html", "golden-notes.html", "blue-20200101-000000-000.html"}
	for _, name := range others {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const written = reportsKept + 3
	for n := range written {
		id := fmt.Sprintf("20261123-0000%02d-000", n)
		path, err := writeReport("golden", "", report.Report{Stack: "golden", ID: id})
		if want := filepath.Join(os.Getenv("HOME"), ".goldsmith", "reports",
			"golden-"+id+".html"); err != nil || path != want {
			t.Fatalf("%v: written to %s, want %s", err, path, want)
		}
		if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text),
			id) || !strings.HasSuffix(strings.TrimSpace(string(text)), "</html>") {
			t.Fatalf("%v: %s is not the whole report", err, path)
		}
	}
	want := slices.Clone(others)
	for n := range reportsKept {
		want = append(want, fmt.Sprintf("golden-20261123-0000%02d-000.html", n+written-reportsKept))
	}
	if got := list(t, dir); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("there are %q", got)
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestReportToFile goes where it is told, and leaves alone what is no file.
func TestReportToFile(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	dir := t.TempDir()
	path := filepath.Join(dir, "report.html")
	for _, id := range []string{"first", "second"} {
		if got, err := writeReport("golden", path, report.Report{ID: id}); err != nil || got != path {
			t.Errorf("%v: written to %q", err, got)
		}
		if text, err := os.ReadFile(path); err != nil || !strings.Contains(string(text), id) {
			t.Errorf("%v: the file is not the report of the %s", err, id)
		}
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{link, dir, filepath.Join(dir, "no-such-directory", "report.html"),
		filepath.Join(path, "report.html")} {
		if got, err := writeReport(
			"golden",
			bad,
			report.Report{},
		); err == nil || got != "" ||
			!strings.Contains(err.Error(), bad) {
			t.Errorf("%s: got %q, %v", bad, got, err)
		}
	}
	if got := list(t, dir); !slices.Equal(got, []string{"link", "report.html"}) {
		t.Errorf("left behind: %q", got)
	}
	if got := list(t, os.Getenv("HOME")); len(got) > 0 {
		t.Errorf("a report that has a file of its own made %q in the home", got)
	}
}
