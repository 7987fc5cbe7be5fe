//go:build acceptance

package stacks

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// stackFileOf writes a stack file.
func stackFileOf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stack.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// networkOf is a stack's network as the command shows it.
func networkOf(t *testing.T, stack string) (n struct {
	VPC           string `json:"vpc"`
	Web           string `json:"web_sg"`
	DB            string `json:"db_sg"`
	PrivateRoutes string `json:"private_route_table"`
	PublicRoutes  string `json:"public_route_table"`
	Gateway       string `json:"internet_gateway"`
}) {
	t.Helper()
	rig.Decode(t, strings.NewReader(rig.Must(t, rig.Goldsmith(), "network", "show", "--stack", stack)), &n)
	return n
}

// TestDrift changes the stack's network by hand, among it a rule for a range in place of the one for the web tier's
// group: plan tells it all, deploy mends it, and the page answers all the time.
func TestDrift(t *testing.T) {
	if told := rig.PlanOf(t, "--stack", rig.StackName); told != "" {
		t.Fatalf("the plan of a stack that is as it should be:\n%s", told)
	}
	address := aws.ToString(rig.Tier(t, "web").PublicIpAddress)
	client, faults, good := rig.Impatient(), []string{}, 0
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var asking sync.WaitGroup
	asking.Go(func() {
		for ctx.Err() == nil {
			response, err := client.Get("https://" + address + "/health")
			if err == nil {
				response.Body.Close()
			}
			if good++; err != nil || response.StatusCode != http.StatusOK {
				faults = append(faults, fmt.Sprint(err, response))
			}
		}
	})
	want := drift(t)
	if told := rig.PlanOf(t, "--stack", rig.StackName); told != strings.Join(want, "\n") {
		t.Errorf("the plan is\n%s\nand should be\n%s", told, strings.Join(want, "\n"))
	}
	if again := rig.PlanOf(t, "--stack", rig.StackName); strings.Count(again, "\n") != len(want)-1 {
		t.Errorf("the first plan changed something:\n%s", again)
	}
	rig.Must(t, rig.Goldsmith(), rig.DeployArgs()...)
	if told := rig.PlanOf(t, "--stack", rig.StackName); told != "" {
		t.Errorf("after deploy, the plan is\n%s", told)
	}
	stop()
	asking.Wait()
	if len(faults) > 0 || good < 20 {
		t.Errorf("of %d requests these failed: %v", good, faults)
	}
	rig.AssertServes(t)
}

// drift changes the network by hand, and returns what the plan should tell of it.
func drift(t *testing.T) []string {
	t.Helper()
	n := networkOf(t, rig.StackName)
	association := rig.EC2(t, "describe-route-tables", "--route-table-ids", n.PrivateRoutes,
		"--query", "RouteTables[].Associations[].RouteTableAssociationId")
	for _, change := range []string{
		"authorize-security-group-ingress --group-id " + n.DB + " --protocol tcp --port 3306 --cidr 10.0.1.0/24",
		"revoke-security-group-ingress --group-id " + n.DB + " --protocol tcp --port 3306 --source-group " + n.Web,
		"authorize-security-group-ingress --group-id " + n.Web + " --protocol tcp --port 8000-9000 --cidr 0.0.0.0/0",
		"revoke-security-group-egress --group-id " + n.DB +
			" --ip-permissions IpProtocol=-1,IpRanges=[{CidrIp=0.0.0.0/0}]",
		"replace-route --route-table-id " + n.PrivateRoutes + " --destination-cidr-block 0.0.0.0/0 --gateway-id " +
			n.Gateway,
		"replace-route-table-association --association-id " + association + " --route-table-id " + n.PublicRoutes,
		"authorize-security-group-egress --group-id " + n.Web +
			" --ip-permissions IpProtocol=tcp,FromPort=9999,ToPort=9999,IpRanges=[{CidrIp=10.9.0.0/16}]",
	} {
		rig.EC2(t, strings.Fields(change)...)
	}
	return []string{
		"change private route table: its default route goes to " + n.Gateway,
		"change private route table: its subnet is not associated with it",
		"change security group web-sg: it allows tcp 8000-9000 from 0.0.0.0/0, which the stack does not",
		"change security group web-sg: it allows tcp 9999 to 10.9.0.0/16, which the stack does not",
		"change security group db-sg: it does not allow everything to 0.0.0.0/0",
		"change security group db-sg: it does not allow tcp 3306 from " + n.Web,
		"change security group db-sg: it allows tcp 3306 from 10.0.1.0/24, which the stack does not",
	}
}

// blueStack is a stack file in other ranges, with all that a file can say of a tier.
func blueStack(release rig.Release) string {
	return fmt.Sprintf(`
name = "blue"
network {
  cidr         = "10.20.0.0/16"
  public_cidr  = "10.20.1.0/24"
  private_cidr = "10.20.2.0/24"
}
tier "db" {
  ami             = %q
  service_address = "10.20.2.50"
  tags            = { team = "data" }
  data_volume {
    size       = 2
    throughput = 130
  }
  rule {
    port        = 9104
    cidr        = "10.20.2.0/24"
    description = "metrics of MySQL"
  }
}
tier "web" {
  ami       = %q
  user_data = "#!/bin/sh\necho hello >/run/hello\n"
}
deploy {
  bake_time  = "1s"
  drain_time = "0s"
}
`, release.DB, release.Web)
}

// TestStackFile runs a second stack beside the first, in other ranges and with all that a file can say of a tier, and
// removes it; the first one is not touched.
func TestStackFile(t *testing.T) {
	release := rig.CurrentRelease(t)
	before := rig.Inventory(t)
	web, db := rig.Tier(t, "web"), rig.Tier(t, "db")
	text := blueStack(release)
	file := stackFileOf(t, text)
	told := rig.PlanOf(t, "--file", file)
	if strings.Count(told, "create ") != 20 || strings.Contains(told, "change ") {
		t.Errorf("the plan of a stack that is not there:\n%s", told)
	}
	out, err := rig.Output(rig.Goldsmith(), "deploy", "--file", file, "--stack", rig.StackName)
	if err == nil || !strings.Contains(out, "is of stack blue") {
		t.Errorf("another stack's file: %v\n%s", err, rig.End(t, out))
	}
	destroyAtEnd(t, "blue", before)
	rig.Must(t, rig.Goldsmith(), "deploy", "--file", file)
	if told = rig.PlanOf(t, "--file", file); told != "" {
		t.Errorf("after deploy, the plan is\n%s", told)
	}
	t.Run("as the file says", assertBlue)
	t.Run("plan of a change", func(t *testing.T) { assertBlueChanges(t, text, release) })
	t.Run("faults", func(t *testing.T) { assertBlueFaults(t, text, release) })
	rig.Must(t, rig.Goldsmith(), "destroy", "--stack", "blue", "--yes")
	rig.AssertNothingLeft(t, before)
	if *rig.Tier(t, "web").InstanceId != *web.InstanceId || *rig.Tier(t, "db").InstanceId != *db.InstanceId {
		t.Error("the first stack's instances are others")
	}
	rig.AssertServes(t)
}

func assertBlue(t *testing.T) {
	if out := rig.MustOnInstance(t, "blue-web", "cat /run/hello"); !strings.Contains(out, "hello") {
		t.Errorf("the user's own script left: %q", out)
	}
	out := rig.MustOnInstance(t, "blue-db", "ip -4 -o address; df --output=size -m /var/lib/mysql | tail -1")
	if !strings.Contains(out, "10.20.2.50/") {
		t.Errorf("the database's addresses and size:\n%s", out)
	}
	out = rig.Must(t, "aws", "ec2", "describe-security-groups", "--group-ids", networkOf(t, "blue").DB)
	if !strings.Contains(out, "metrics of MySQL") {
		t.Errorf("the rule of the stack file is not there:\n%s", rig.End(t, out))
	}
	out = rig.Must(t, "aws", "ec2", "describe-volumes", "--filters",
		"Name=tag:goldsmith:stack,Values=blue", "Name=tag:goldsmith:data,Values=db")
	for _, want := range []string{`"Size": 2`, `"Throughput": 130`, `"team"`} {
		if !strings.Contains(out, want) {
			t.Errorf("the data volume is not as the stack file says, without %s:\n%s", want, rig.End(t, out))
		}
	}
}

// assertBlueChanges: tags are given to what runs; another type and other user-data replace the instances.
func assertBlueChanges(t *testing.T, text string, release rig.Release) {
	t.Helper()
	changed := strings.NewReplacer(`team = "data"`, `team = "data", cost = "7"`, "echo hello", "echo again")
	more := stackFileOf(t, changed.Replace(text))
	told := rig.PlanOf(t, "--file", more, "--replace", "db")
	for _, want := range []string{
		"replace db instance of " + release.DB + ": it is asked for",
		"replace web instance of " + release.Web + ": its user-data differs",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("the plan does not say %q:\n%s", want, told)
		}
	}
	if told = rig.PlanOf(t, "--file", more); !strings.Contains(told, "change db instance: its tags differ: cost") {
		t.Errorf("the plan does not tell that a tag is missing:\n%s", told)
	}
}

// assertBlueFaults: neither plan nor deploy changes anything for a file that cannot be.
func assertBlueFaults(t *testing.T, text string, release rig.Release) {
	t.Helper()
	for fault, change := range map[string][2]string{
		"service_address: the db tier of stack blue is found at 10.20.2.50": {"10.20.2.50", "10.20.2.51"},
		"a volume cannot be made smaller":                                   {"= 2\n", "= 1\n"},
		"to which it cannot be changed":                                     {"10.20.1.0/24", "10.20.3.0/24"},
		"region us-east-1 has none of this id":                              {release.Web, "ami-0123456789abcdef0"},
	} {
		bad := stackFileOf(t, strings.Replace(text, change[0], change[1], 1))
		blue := rig.Inventory(t)
		for _, command := range [][]string{{"stack", "plan"}, {"deploy"}} {
			out, err := rig.Output(rig.Goldsmith(), append(command, "--file", bad)...)
			if err == nil || !strings.Contains(out, fault) {
				t.Errorf("%v of a file with %s: %v, want %q:\n%s", command, change[1], err, fault, rig.End(t, out))
			}
		}
		rig.AssertNothingLeft(t, blue)
	}
}

// destroyAtEnd removes a stack if the test has not come to that.
func destroyAtEnd(t *testing.T, stack string, before []string) {
	t.Cleanup(func() {
		if strings.Join(rig.Inventory(t), "\n") != strings.Join(before, "\n") {
			rig.Must(t, rig.Goldsmith(), "destroy", "--stack", stack, "--yes")
		}
	})
}

// TestExistingVPC runs a stack in a VPC that was there before, found by its tags. The VPC stays as it was.
func TestExistingVPC(t *testing.T) {
	release := rig.CurrentRelease(t)
	v := rig.MakeVPC(t, rig.VPC{Prefix: "10.7", Tag: "team=shop", PublicTag: "kind=public"})
	file := stackFileOf(t, fmt.Sprintf(`
name = "there"
network {
  vpc_tags           = { team = "shop" }
  public_subnet_tags = { kind = "public" }
  private_subnet_ids = [%q]
}
tier "db" { ami = %q }
tier "web" { ami = %q }
deploy {
  bake_time  = "1s"
  drain_time = "0s"
}
`, v.Private, release.DB, release.Web))
	out, err := rig.Output(rig.Goldsmith(), "deploy", "--file", file)
	if err == nil || !strings.Contains(out, "has no route to the internet by an internet gateway") {
		t.Errorf("public subnet without a way out: %v\n%s", err, rig.End(t, out))
	}
	v.Route(t)
	before := rig.Inventory(t)
	destroyAtEnd(t, "there", before)
	rig.Must(t, rig.Goldsmith(), "deploy", "--file", file)
	if told := rig.PlanOf(t, "--file", file); told != "" {
		t.Errorf("after deploy, the plan is\n%s", told)
	}
	// The groups' tags say which network it is: whoever has no stack file sees the same.
	if n := networkOf(t, "there"); n.VPC != v.ID || n.Web == "" {
		t.Errorf("without the stack file the network is %+v, want %s", n, v.ID)
	}
	address := rig.EC2(t, "describe-instances", "--filters", "Name=tag:goldsmith:stack,Values=there",
		"Name=tag:goldsmith:tier,Values=web", "--query", "Reservations[].Instances[].PublicIpAddress")
	rig.WaitHealthy(t, address, time.Minute)
	rig.Must(t, rig.Goldsmith(), "destroy", "--stack", "there", "--yes")
	rig.AssertNothingLeft(t, before)
}
