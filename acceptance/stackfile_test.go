//go:build acceptance

package acceptance

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

type plan struct {
	Changes []struct{ Action, What, ID, Reason string }
	Notes   []string
}

// planOf is what a deployment would do, a line each.
func planOf(t *testing.T, args ...string) string {
	t.Helper()
	var p plan
	decode(t, strings.NewReader(must(t, goldsmith(), append([]string{"stack", "plan", "--json"}, args...)...)), &p)
	var lines []string
	for _, c := range p.Changes {
		lines = append(lines, c.Action+" "+c.What+": "+c.Reason)
	}
	return strings.Join(append(lines, p.Notes...), "\n")
}

// networkOf is a stack's network as the command shows it.
func networkOf(t *testing.T, stack string) (n struct {
	VPC           string `json:"vpc"`
	Web           string `json:"web_sg"`
	DB            string `json:"db_sg"`
	PrivateRoutes string `json:"private_route_table"`
	Gateway       string `json:"internet_gateway"`
}) {
	t.Helper()
	decode(t, strings.NewReader(must(t, goldsmith(), "network", "show", "--stack", stack)), &n)
	return n
}

// TestDrift changes the stack's network by hand, among it a rule for a range in place of the one for the web tier's group:
// plan tells it all, deploy mends it, and the page answers all the time.
func TestDrift(t *testing.T) {
	if told := planOf(t, "--stack", stackName); told != "" {
		t.Fatalf("the plan of a stack that is as it should be:\n%s", told)
	}
	n := networkOf(t, stackName)
	ec2 := func(args ...string) { must(t, "aws", append([]string{"ec2"}, args...)...) }
	address := aws.ToString(tier(t, "web").PublicIpAddress)
	client, faults, good := impatient(), []string{}, 0
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
	ec2("authorize-security-group-ingress", "--group-id", n.DB, "--protocol", "tcp", "--port", "3306", "--cidr", "10.0.1.0/24")
	ec2("revoke-security-group-ingress", "--group-id", n.DB, "--protocol", "tcp", "--port", "3306", "--source-group", n.Web)
	ec2("authorize-security-group-ingress", "--group-id", n.Web, "--protocol", "tcp", "--port", "8000-9000", "--cidr", "0.0.0.0/0")
	ec2("revoke-security-group-egress", "--group-id", n.DB, "--ip-permissions", "IpProtocol=-1,IpRanges=[{CidrIp=0.0.0.0/0}]")
	ec2("replace-route", "--route-table-id", n.PrivateRoutes, "--destination-cidr-block", "0.0.0.0/0", "--gateway-id", n.Gateway)
	want := []string{
		"change private route table: its default route goes to " + n.Gateway,
		"change security group web-sg: it allows tcp 8000-9000 from 0.0.0.0/0, which the stack does not",
		"change security group db-sg: it does not allow everything to 0.0.0.0/0", "change security group db-sg: it does not allow tcp 3306 from " + n.Web,
		"change security group db-sg: it allows tcp 3306 from 10.0.1.0/24, which the stack does not",
	}
	if told := planOf(t, "--stack", stackName); told != strings.Join(want, "\n") {
		t.Errorf("the plan is\n%s\nand should be\n%s", told, strings.Join(want, "\n"))
	}
	if again := planOf(t, "--stack", stackName); strings.Count(again, "\n") != len(want)-1 {
		t.Errorf("the first plan changed something:\n%s", again)
	}
	must(t, goldsmith(), deployArgs()...)
	if told := planOf(t, "--stack", stackName); told != "" {
		t.Errorf("after deploy, the plan is\n%s", told)
	}
	stop()
	asking.Wait()
	if len(faults) > 0 || good < 20 {
		t.Errorf("of %d requests these failed: %v", good, faults)
	}
	assertServes(t)
}

// TestStackFile runs a second stack beside the first, in other ranges and with all that a file can say of a tier, and
// removes it; the first one is not touched.
func TestStackFile(t *testing.T) {
	release := currentRelease(t)
	before := inventory(t)
	web, db := tier(t, "web"), tier(t, "db")
	text := fmt.Sprintf(`
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
	file := stackFileOf(t, text)
	if told := planOf(t, "--file", file); strings.Count(told, "create ") != 19 || strings.Contains(told, "change ") {
		t.Errorf("the plan of a stack that is not there:\n%s", told)
	}
	if out, err := output(goldsmith(), "deploy", "--file", file, "--stack", stackName); err == nil || !strings.Contains(out, "is of stack blue") {
		t.Errorf("another stack's file: %v\n%s", err, out)
	}
	destroyAtEnd(t, "blue", before)
	must(t, goldsmith(), "deploy", "--file", file)
	if told := planOf(t, "--file", file); told != "" {
		t.Errorf("after deploy, the plan is\n%s", told)
	}
	if out := mustOnInstance(t, "blue-web", "cat /run/hello"); !strings.Contains(out, "hello") {
		t.Errorf("the user's own script left: %q", out)
	}
	if out := mustOnInstance(t, "blue-db", "ip -4 -o address; df --output=size -m /var/lib/mysql | tail -1"); !strings.Contains(out, "10.20.2.50/") {
		t.Errorf("the database's addresses and size:\n%s", out)
	}
	n := networkOf(t, "blue")
	if out := must(t, "aws", "ec2", "describe-security-groups", "--group-ids", n.DB); !strings.Contains(out, "metrics of MySQL") {
		t.Errorf("the rule of the stack file is not there:\n%s", out)
	}
	if out := must(t, "aws", "ec2", "describe-volumes", "--filters", "Name=tag:goldsmith:stack,Values=blue", "Name=tag:goldsmith:data,Values=db"); !strings.Contains(out, `"Size": 2`) || !strings.Contains(out, `"Throughput": 130`) || !strings.Contains(out, `"team"`) {
		t.Errorf("the data volume is not as the stack file says:\n%s", out)
	}

	// Tags are given to what runs; another type and other user-data replace the instances.
	more := strings.Replace(strings.Replace(text, `team = "data"`, `team = "data", cost = "7"`, 1), "echo hello", "echo again", 1)
	told := planOf(t, "--file", stackFileOf(t, more), "--replace", "db")
	for _, want := range []string{"replace db instance of " + release.DB + ": it is asked for", "replace web instance of " + release.Web + ": its user-data differs"} {
		if !strings.Contains(told, want) {
			t.Errorf("the plan does not say %q:\n%s", want, told)
		}
	}
	if told := planOf(t, "--file", stackFileOf(t, more)); !strings.Contains(told, "change db instance: its tags differ: cost") {
		t.Errorf("the plan does not tell that a tag is missing:\n%s", told)
	}
	for fault, change := range map[string][2]string{
		"service_address: the database of stack blue is found at 10.20.2.50": {"10.20.2.50", "10.20.2.51"},
		"a volume cannot be made smaller":                                    {"= 2\n", "= 1\n"},
		"to which it cannot be changed":                                      {"10.20.1.0/24", "10.20.3.0/24"},
		"region us-east-1 has none of this id":                               {release.Web, "ami-0123456789abcdef0"},
	} {
		bad := stackFileOf(t, strings.Replace(text, change[0], change[1], 1))
		blue := inventory(t)
		for _, command := range [][]string{{"stack", "plan"}, {"deploy"}} {
			if out, err := output(goldsmith(), append(command, "--file", bad)...); err == nil || !strings.Contains(out, fault) {
				t.Errorf("%v of a file with %s: %v, want %q:\n%s", command, change[1], err, fault, out)
			}
		}
		assertNothingLeft(t, blue)
	}
	must(t, goldsmith(), "destroy", "--stack", "blue", "--yes")
	assertNothingLeft(t, before)
	if *tier(t, "web").InstanceId != *web.InstanceId || *tier(t, "db").InstanceId != *db.InstanceId {
		t.Error("the first stack's instances are others")
	}
	assertServes(t)
}

// destroyAtEnd removes a stack if the test has not come to that.
func destroyAtEnd(t *testing.T, stack string, before []string) {
	t.Cleanup(func() {
		if strings.Join(inventory(t), "\n") != strings.Join(before, "\n") {
			must(t, goldsmith(), "destroy", "--stack", stack, "--yes")
		}
	})
}

// TestExistingVPC runs a stack in a VPC that was there before, found by its tags. The VPC stays as it was.
func TestExistingVPC(t *testing.T) {
	release := currentRelease(t)
	q := func(args ...string) string {
		return strings.TrimSpace(must(t, "aws", append([]string{"ec2", "--output", "text"}, args...)...))
	}
	start := inventory(t)
	vpc := q("create-vpc", "--cidr-block", "10.7.0.0/16", "--query", "Vpc.VpcId")
	public := q("create-subnet", "--vpc-id", vpc, "--cidr-block", "10.7.1.0/24", "--query", "Subnet.SubnetId")
	private := q("create-subnet", "--vpc-id", vpc, "--cidr-block", "10.7.2.0/24", "--query", "Subnet.SubnetId")
	gateway := q("create-internet-gateway", "--query", "InternetGateway.InternetGatewayId")
	address := q("allocate-address", "--query", "AllocationId")
	q("attach-internet-gateway", "--internet-gateway-id", gateway, "--vpc-id", vpc)
	q("create-tags", "--resources", vpc, "--tags", "Key=team,Value=shop")
	q("create-tags", "--resources", public, "--tags", "Key=kind,Value=public")
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
`, private, release.DB, release.Web))
	if out, err := output(goldsmith(), "deploy", "--file", file); err == nil || !strings.Contains(out, "has no route to the internet by an internet gateway") {
		t.Errorf("public subnet without a way out: %v\n%s", err, out)
	}
	var tables []string
	for _, subnet := range []string{public, private} {
		table := q("create-route-table", "--vpc-id", vpc, "--query", "RouteTable.RouteTableId")
		q("associate-route-table", "--route-table-id", table, "--subnet-id", subnet)
		tables = append(tables, table)
	}
	q("create-route", "--route-table-id", tables[0], "--destination-cidr-block", "0.0.0.0/0", "--gateway-id", gateway)
	nat := q("create-nat-gateway", "--subnet-id", public, "--allocation-id", address, "--query", "NatGateway.NatGatewayId")
	q("create-route", "--route-table-id", tables[1], "--destination-cidr-block", "0.0.0.0/0", "--nat-gateway-id", nat)
	before := inventory(t)
	t.Cleanup(func() {
		q("delete-nat-gateway", "--nat-gateway-id", nat)
		q("release-address", "--allocation-id", address)
		for i, subnet := range []string{public, private} {
			q("delete-subnet", "--subnet-id", subnet)
			for _, a := range strings.Fields(q("describe-route-tables", "--route-table-ids", tables[i], "--query", "RouteTables[].Associations[].RouteTableAssociationId")) {
				output("aws", "ec2", "disassociate-route-table", "--association-id", a)
			}
			q("delete-route-table", "--route-table-id", tables[i])
		}
		q("detach-internet-gateway", "--internet-gateway-id", gateway, "--vpc-id", vpc)
		q("delete-internet-gateway", "--internet-gateway-id", gateway)
		q("delete-vpc", "--vpc-id", vpc)
		assertNothingLeft(t, start)
	})
	destroyAtEnd(t, "there", before)
	must(t, goldsmith(), "deploy", "--file", file)
	if told := planOf(t, "--file", file); told != "" {
		t.Errorf("after deploy, the plan is\n%s", told)
	}
	// The groups' tags say which network it is: whoever has no stack file sees the same.
	if n := networkOf(t, "there"); n.VPC != vpc || n.Web == "" {
		t.Errorf("without the stack file the network is %+v, want %s", n, vpc)
	}
	waitHealthy(t, q("describe-instances", "--filters", "Name=tag:goldsmith:stack,Values=there", "Name=tag:goldsmith:tier,Values=web", "--query", "Reservations[].Instances[].PublicIpAddress"), 20*time.Second)
	must(t, goldsmith(), "destroy", "--stack", "there", "--yes")
	assertNothingLeft(t, before)
}
