package stackfile

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func read(t *testing.T, source string) (*File, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stack.hcl")
	if err := os.WriteFile(path, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	return Read(path)
}

// golden is the stack as the package stack makes it where nobody says otherwise.
func golden() *File {
	return &File{
		Name: "golden",
		Network: Network{
			CIDR:        netip.MustParsePrefix("10.0.0.0/16"),
			PublicCIDR:  netip.MustParsePrefix("10.0.1.0/24"),
			PrivateCIDR: netip.MustParsePrefix("10.0.2.0/24"),
		},
		Database: Database{
			Tier: Tier{Subnet: "private", InstanceType: "t3.small"}, ServiceAddress: netip.MustParseAddr("10.0.2.10"),
			DataVolume: DataVolume{Size: 8, Type: "gp3", IOPS: 3000, Throughput: 125, Encrypted: true},
		},
		Web: Web{Tier: Tier{Subnet: "public", InstanceType: "t3.small"}, Count: 1, Scaling: "single"},
		HealthCheck: HealthCheck{
			Path:             "/health",
			Interval:         500 * time.Millisecond,
			Timeout:          5 * time.Second,
			HealthyThreshold: 3,
			Deadline:         5 * time.Minute,
		},
		Deploy: Deploy{
			BakeTime:             10 * time.Second,
			DrainTime:            5 * time.Second,
			KeepSnapshots:        3,
			Timeout:              10 * time.Minute,
			MinHealthyPercentage: 90,
			CheckpointDelay:      10 * time.Second,
			AutoRollback:         true,
		},
	}
}

func TestDefault(t *testing.T) {
	if got := Default(); !reflect.DeepEqual(got, golden()) {
		t.Errorf("got %+v, want %+v", got, golden())
	}
	for _, empty := range []string{
		"", "\n# nothing\n",
		"network {}\ntier \"db\" {\n  data_volume {}\n}\ntier \"web\" {}\nhealth_check {}\ndeploy {}\n",
	} {
		got, err := read(t, empty)
		if err != nil || !reflect.DeepEqual(got, golden()) {
			t.Errorf("%q: got %+v, %v, want the default", empty, got, err)
		}
	}
	first, second := Default(), Default()
	first.Name = "changed"
	if second.Name != "golden" {
		t.Error("one default is another's")
	}
}

func TestFull(t *testing.T) {
	got, err := Read("testdata/full.hcl")
	if err != nil {
		t.Fatal(err)
	}
	want := &File{
		Name:                "full-1",
		Region:              "us-gov-west-1",
		Profile:             "ops",
		CustomEndpointEC2:   "http://127.66.0.1:4566",
		PermissionsBoundary: "arn:aws-us-gov:iam::123456789012:policy/teams/limit",
		Operator:            Operator{netip.MustParsePrefix("192.0.2.7/32")},
		Network: Network{
			CIDR:             netip.MustParsePrefix("172.31.0.0/16"),
			PublicCIDR:       netip.MustParsePrefix("172.31.16.0/20"),
			PrivateCIDR:      netip.MustParsePrefix("172.31.32.0/28"),
			AvailabilityZone: "us-gov-west-1b",
		},
		Database: Database{
			Tier: Tier{
				Subnet:       "private",
				InstanceType: "r6g.large",
				Release:      "2026-11-23.1",
				UserData:     "#!/bin/sh\ntouch /run/full\n",
				UserDataFile: "db.sh",
				Tags:         map[string]string{"team": "data", "a:b/c": ""},
				Rules: []Rule{
					{
						Protocol:    "tcp",
						Port:        9104,
						CIDR:        netip.MustParsePrefix("2001:db8::/32"),
						Description: "metrics (MySQL)",
					},
					{Protocol: "icmp", Port: -1, FromTier: "db"},
				},
			},
			ServiceAddress: netip.MustParseAddr("172.31.32.14"),
			DataVolume: DataVolume{
				Size:       500,
				Type:       "gp3",
				IOPS:       8000,
				Throughput: 500,
				Encrypted:  true,
				KMSKeyID:   "alias/db",
			},
		},
		Web: Web{
			Tier: Tier{
				Subnet:       "public",
				InstanceType: "u-6tb1.56xlarge",
				AMI:          "ami-0123456789abcdef0",
				UserData:     "#cloud-config\ntimezone: UTC\n",
				Tags:         map[string]string{},
				Rules: []Rule{
					{Protocol: "tcp", Port: 8443, FromTier: "db"},
					{Protocol: "udp", Port: 443, CIDR: netip.MustParsePrefix("0.0.0.0/0")},
				},
			},
			Count: 4, Scaling: "asg",
		},
		HealthCheck: HealthCheck{
			Path:             "/health?deep=1",
			Interval:         500 * time.Millisecond,
			Timeout:          time.Minute,
			HealthyThreshold: 10,
			Deadline:         90 * time.Minute,
		},
		Deploy: Deploy{BakeTime: time.Minute, KeepSnapshots: 7, Timeout: 20 * time.Minute, MinHealthyPercentage: 100,
			Checkpoints: []int32{1, 50, 100}, CheckpointDelay: 90 * time.Second},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// names are those of all attributes and blocks of a struct and of what is in it.
func names(of reflect.Type) []string {
	var all []string
	for _, f := range fieldsOf(reflect.New(of).Elem()) {
		all = append(all, f.name)
		inner := f.value.Type()
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if f.block {
			all = append(all, names(inner)...)
		}
	}
	return all
}

func TestFullSaysEverything(t *testing.T) {
	text, err := os.ReadFile("testdata/full.hcl")
	if err != nil {
		t.Fatal(err)
	}
	// What names a network that is there cannot go with the ranges of one that is made.
	existing := []string{
		"vpc_id",
		"vpc_tags",
		"public_subnet_ids",
		"public_subnet_tags",
		"private_subnet_ids",
		"private_subnet_tags",
	}
	for _, name := range names(reflect.TypeFor[File]()) {
		said := regexp.MustCompile(`(?m)^\s*` + name + `\b`).Match(text)
		if name == "" || said == slices.Contains(existing, name) {
			t.Errorf("%q: said in full.hcl is %v", name, said)
		}
	}
}

func TestExample(t *testing.T) {
	got, err := Read("../../examples/stack.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if got.Name != "shop" || got.Web.Scaling != "asg" ||
		got.Database.ServiceAddress != netip.MustParseAddr("10.20.2.50") ||
		got.Deploy.CheckpointDelay != time.Minute {
		t.Errorf("got %+v", got)
	}
}

func TestWhatFollowsFromSomethingElse(t *testing.T) {
	for _, c := range []struct {
		name, source string
		want         func(*File)
	}{
		{"operator", `operator = "auto"`, func(*File) {}},
		{"network that is there",
			"network {\n  vpc_id = \"vpc-01234567\"\n" +
				"  public_subnet_ids = [\"subnet-01234567\", \"subnet-0123456789abcdef0\"]\n" +
				"  private_subnet_tags = { \"aws:x\" = \"y\", tier = \"private\" }\n}",
			func(f *File) {
				f.Network = Network{
					VPCID:             "vpc-01234567",
					PublicSubnetIDs:   []string{"subnet-01234567", "subnet-0123456789abcdef0"},
					PrivateSubnetTags: map[string]string{"aws:x": "y", "tier": "private"},
				}
				f.Database.ServiceAddress = netip.Addr{}
			}},
		{"network that is there, and both tiers in one subnet",
			"network {\n  vpc_tags = { team = \"shop\" }\n  private_subnet_ids = [\"subnet-01234567\"]\n}\n" +
				"tier \"db\" {\n  service_address = \"10.9.8.7\"\n}\ntier \"web\" {\n  subnet = \"private\"\n" +
				"  scaling = \"asg\"\n}",
			func(f *File) {
				f.Network = Network{
					VPCTags:          map[string]string{"team": "shop"},
					PrivateSubnetIDs: []string{"subnet-01234567"},
				}
				f.Database.ServiceAddress = netip.MustParseAddr("10.9.8.7")
				f.Web.Subnet, f.Web.Scaling = "private", "asg"
				f.HealthCheck.Deadline, f.Deploy.Timeout = 10*time.Minute, 16*time.Minute+10*time.Second
			}},
		{"service address in other ranges",
			"network {\n  cidr = \"192.168.0.0/24\"\n  public_cidr = \"192.168.0.0/28\"\n" +
				"  private_cidr = \"192.168.0.64/28\"\n}",
			func(f *File) {
				f.Network = Network{
					CIDR:        netip.MustParsePrefix("192.168.0.0/24"),
					PublicCIDR:  netip.MustParsePrefix("192.168.0.0/28"),
					PrivateCIDR: netip.MustParsePrefix("192.168.0.64/28"),
				}
				f.Database.ServiceAddress = netip.MustParseAddr("192.168.0.74")
			}},
		{"service address in the other subnet", "tier \"db\" {\n  subnet = \"public\"\n}",
			func(f *File) {
				f.Database.Subnet, f.Database.ServiceAddress = "public", netip.MustParseAddr("10.0.1.10")
			}},
		{"several instances", "tier \"web\" {\n  count = 2\n}",
			func(f *File) {
				f.Web.Count, f.Web.Scaling = 2, "asg"
				f.HealthCheck.Deadline, f.Deploy.Timeout = 10*time.Minute, 22*time.Minute+10*time.Second
			}},
		{"several instances with times of their own", "tier \"web\" {\n  count = 2\n}\n" +
			"health_check {\n  deadline = \"3m\"\n}\ndeploy {\n  timeout = \"5m\"\n}",
			func(f *File) {
				f.Web.Count, f.Web.Scaling = 2, "asg"
				f.HealthCheck.Deadline, f.Deploy.Timeout = 3*time.Minute, 5*time.Minute
			}},
		{"several instances with pauses", "tier \"web\" {\n  count = 3\n}\ndeploy {\n  checkpoints = [34]\n" +
			"  checkpoint_delay = \"1m\"\n  bake_time = \"30s\"\n}",
			func(f *File) {
				f.Web.Count, f.Web.Scaling = 3, "asg"
				f.HealthCheck.Deadline = 10 * time.Minute
				f.Deploy.BakeTime, f.Deploy.Checkpoints = 30*time.Second, []int32{34}
				f.Deploy.CheckpointDelay = time.Minute
				f.Deploy.Timeout = 29*time.Minute + 30*time.Second
			}},
		{"a group of one", "tier \"web\" {\n  scaling = \"asg\"\n}\ndeploy {\n  auto_rollback = false\n}",
			func(f *File) {
				f.Web.Scaling, f.Deploy.AutoRollback = "asg", false
				f.HealthCheck.Deadline, f.Deploy.Timeout = 10*time.Minute, 16*time.Minute+10*time.Second
			}},
		{"the longest count", "tier \"web\" {\n  count = 251\n}",
			func(f *File) {
				f.Web.Count, f.Web.Scaling = 251, "asg"
				f.HealthCheck.Deadline, f.Deploy.Timeout = 10*time.Minute, 24*time.Hour
			}},
		{"gp2", "tier \"db\" {\n  data_volume {\n    type = \"gp2\"\n    encrypted = false\n  }\n}",
			func(f *File) { f.Database.DataVolume = DataVolume{Size: 8, Type: "gp2"} }},
		{"io2", "tier \"db\" {\n  data_volume {\n    type = \"io2\"\n    size = 4\n    iops = 4000\n  }\n}",
			func(f *File) { f.Database.DataVolume = DataVolume{Size: 4, Type: "io2", IOPS: 4000, Encrypted: true} }},
		{"a small gp3", "tier \"db\" {\n  data_volume {\n    size = 1\n    throughput = 750\n  }\n}",
			func(f *File) {
				f.Database.DataVolume = DataVolume{Size: 1, Type: "gp3", IOPS: 3000, Throughput: 750, Encrypted: true}
			}},
		{"pauses as long as the last watch", "deploy {\n  bake_time = \"1m\"\n}",
			func(f *File) { f.Deploy.BakeTime, f.Deploy.CheckpointDelay = time.Minute, time.Minute }},
		{"all that is taken",
			"deploy {\n  keep_snapshots = 1\n}\nhealth_check {\n  deadline = \"4s\"\n}\ntier \"web\" {\n" +
				"  scaling = \"single\"\n  user_data = \"#!" + strings.Repeat("x", 14334) + "\"\n}",
			func(f *File) {
				f.Deploy.KeepSnapshots, f.HealthCheck.Deadline, f.Web.UserData = 1, 4*time.Second, "#!"+
					strings.Repeat("x", 14334)
			}},
		{"the longest tag", "tier \"web\" {\n  tags = { a = \"" + strings.Repeat("ä", 256) + "\" }\n}",
			func(f *File) { f.Web.Tags = map[string]string{"a": strings.Repeat("ä", 256)} }},
		{"hcl's conversions", "tier \"web\" {\n  count = \"2\"\n  tags = { size = 5, on = true }\n}",
			func(f *File) {
				f.Web.Count, f.Web.Scaling, f.Web.Tags = 2, "asg", map[string]string{"size": "5", "on": "true"}
				f.HealthCheck.Deadline, f.Deploy.Timeout = 10*time.Minute, 22*time.Minute+10*time.Second
			}},
		{"a text that looks like a template", "tier \"web\" {\n  user_data = \"#!/bin/sh\\necho $${HOME} %%{x}\"\n}",
			func(f *File) { f.Web.UserData = "#!/bin/sh\necho ${HOME} %{x}" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := read(t, c.source)
			if err != nil {
				t.Fatal(err)
			}
			want := golden()
			c.want(want)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestServiceAddressInASubnetThatWasFound(t *testing.T) {
	for _, c := range []struct{ given, subnet, want, fault string }{
		{"", "10.7.0.0/20", "10.7.0.10", ""},
		{"10.7.0.4", "10.7.0.0/20", "10.7.0.4", ""},
		{"10.7.15.254", "10.7.0.0/20", "10.7.15.254", ""},
		{"10.7.0.3", "10.7.0.0/20", "", "keeps for itself"},
		{"10.7.15.255", "10.7.0.0/20", "", "keeps for itself"},
		{"10.8.0.9", "10.7.0.0/20", "", "inside 10.7.0.0/20"},
		{"", "fd00::/64", "", "IPv4"},
	} {
		var d Database
		if c.given != "" {
			d.ServiceAddress = netip.MustParseAddr(c.given)
		}
		got, err := d.ServiceAddressIn(netip.MustParsePrefix(c.subnet))
		switch {
		case c.fault == "" && (err != nil || got.String() != c.want):
			t.Errorf("%q in %s: got %v, %v, want %s", c.given, c.subnet, got, err, c.want)
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
			t.Errorf("%q in %s: got %v, %v, want an error with %q", c.given, c.subnet, got, err, c.fault)
		}
	}
}

func TestJSON(t *testing.T) {
	f, err := Read("testdata/full.hcl")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/full.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(text)+"\n" != string(want) {
		t.Errorf("got %s", text)
	}
	// What is not there has a form of its own.
	text, err = json.Marshal(Default())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"operator":"auto"`, `"rule":[]`, `"tags":{}`, `"vpc_id":""`, `"checkpoints":[]`,
		`"service_address":"10.0.2.10"`, `"bake_time":"10s"`,
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("no %s in %s", part, text)
		}
	}
}
