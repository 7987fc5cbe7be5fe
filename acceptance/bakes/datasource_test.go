//go:build acceptance

package bakes

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// dataSource is one, named s, of a stack.
func dataSource(kind, stack string) string {
	return fmt.Sprintf("data \"goldsmith-%s\" \"s\" {\nstack = %q\n}\n", kind, stack)
}

// dataSources are both, of the tests' stack.
func dataSources() string {
	return dataSource("network", rig.StackName) + dataSource("release", rig.StackName)
}

// TestDataSources compares what the data sources tell a build with what the AWS CLI says.
func TestDataSources(t *testing.T) {
	dir := t.TempDir()
	text := rig.Header + dataSources() + `
source "null" "t" {
  communicator = "none"
}
build {
  sources = ["source.null.t"]
  provisioner "shell-local" {
    inline = ["cat >'${path.root}/told.json' <<'END'\n${jsonencode(local.told)}\nEND"]
  }
}
locals {
  told = { network = data.goldsmith-network.s, release = data.goldsmith-release.s }
}
`
	path := filepath.Join(dir, "t.pkr.hcl")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out := rig.Must(t, rig.Packer(t), "build", path)
	file, err := os.Open(filepath.Join(dir, "told.json"))
	if err != nil {
		t.Fatalf("%v:\n%s", err, rig.End(t, out))
	}
	defer file.Close()
	var told struct{ Network, Release map[string]string }
	rig.Decode(t, file, &told)

	cli := func(query string, args ...string) string {
		t.Helper()
		return strings.TrimSpace(rig.Must(t, "/usr/bin/aws", append(args, "--query", query, "--output", "text")...))
	}
	ec2 := func(action, query string, filters ...string) string {
		t.Helper()
		return cli(
			query,
			append(
				[]string{"ec2", action, "--filters", "Name=tag:goldsmith:stack,Values=" + rig.StackName},
				filters...)...)
	}
	public, private := "Name=tag:goldsmith:subnet,Values=public", "Name=tag:goldsmith:subnet,Values=private"
	network := map[string]string{
		"vpc_id":            ec2("describe-vpcs", "Vpcs[].VpcId"),
		"public_subnet_id":  ec2("describe-subnets", "Subnets[].SubnetId", public),
		"private_subnet_id": ec2("describe-subnets", "Subnets[].SubnetId", private),
		"web_security_group_id": ec2(
			"describe-security-groups",
			"SecurityGroups[].GroupId",
			"Name=group-name,Values=web-sg",
		),
		"db_security_group_id": ec2(
			"describe-security-groups",
			"SecurityGroups[].GroupId",
			"Name=group-name,Values=db-sg",
		),
		"public_route_table_id":  ec2("describe-route-tables", "RouteTables[].RouteTableId", public),
		"private_route_table_id": ec2("describe-route-tables", "RouteTables[].RouteTableId", private),
		"internet_gateway_id":    ec2("describe-internet-gateways", "InternetGateways[].InternetGatewayId"),
		"nat_gateway_id": cli("NatGateways[].NatGatewayId", "ec2", "describe-nat-gateways", "--filter",
			"Name=tag:goldsmith:stack,Values="+rig.StackName),
	}
	var r struct{ Name, DB, Web, Created, Revision string }
	rig.Decode(
		t,
		strings.NewReader(
			cli("Parameter.Value", "ssm", "get-parameter", "--name", "/goldsmith/"+rig.StackName+"/release"),
		),
		&r,
	)
	release := map[string]string{
		"name":     r.Name,
		"db_ami":   r.DB,
		"web_ami":  r.Web,
		"created":  r.Created,
		"revision": r.Revision,
	}
	for name, c := range map[string]struct{ got, want map[string]string }{
		"goldsmith-network": {told.Network, network},
		"goldsmith-release": {told.Release, release},
	} {
		if !maps.Equal(c.got, c.want) {
			t.Errorf("%s tells\n%v\nand the AWS CLI\n%v", name, c.got, c.want)
		}
	}
}

// TestBakeInTheDataSourcesSubnet takes subnet and source image from data sources. `packer validate` does not know them.
func TestBakeInTheDataSourcesSubnet(t *testing.T) {
	before := rig.Inventory(t)
	b := rig.Bake{
		Data: dataSources(),
		Source: "subnet_id = data.goldsmith-network.s.public_subnet_id\n" +
			"source_ami = data.goldsmith-release.s.web_ami",
		Validate: true,
	}
	if out, err := b.Run(t); err != nil {
		t.Errorf("validate: %v:\n%s", err, rig.End(t, out))
	}
	b.Validate = false
	out, err := b.Run(t)
	if err != nil {
		t.Fatalf("%v:\n%s", err, rig.End(t, out))
	}
	rig.DeregisterNow(t, rig.ImageNamed(t, "t-*"))
	web := rig.Tier(t, "web")
	if want := fmt.Sprintf(
		"instance of %s (t3.micro) in %s",
		rig.CurrentRelease(t).Web,
		aws.ToString(web.SubnetId),
	); !strings.Contains(out, want) {
		t.Errorf("the output should say %q:\n%s", want, rig.End(t, out))
	}
	rig.AssertNothingLeft(t, before)
}

// TestDataSourcesOfNoStack has the build end before it makes anything.
func TestDataSourcesOfNoStack(t *testing.T) {
	for kind, want := range map[string]string{
		"network": "hint: goldsmith network up --stack no-such-stack",
		"release": "find the current release of stack no-such-stack",
	} {
		out, err := rig.Bake{Data: dataSource(kind, "no-such-stack")}.Run(t)
		if err == nil || !strings.Contains(out, want) || strings.Contains(out, "Launching") {
			t.Errorf("goldsmith-%s: %v: the output should say %q:\n%s", kind, err, want, rig.End(t, out))
		}
	}
}

func TestPackerNamesTheAttribute(t *testing.T) {
	for _, kind := range []string{"network", "release"} {
		for attribute, line := range map[string]string{
			"stack \"\"":        "",
			"stack \"Golden!\"": `stack = "Golden!"`,
			"secret_key":        "stack = \"golden\"\naccess_key = \"x\"",
			`"subnet"`:          `subnet = "x"`,
		} {
			out, err := rig.Bake{
				Validate: true,
				Data:     fmt.Sprintf("data \"goldsmith-%s\" \"s\" {\n%s\n}\n", kind, line),
			}.Run(t)
			if err == nil || !strings.Contains(out, attribute) {
				t.Errorf("goldsmith-%s with %q: %v: the output does not name %s:\n%s", kind, line, err, attribute,
					rig.End(t, out))
			}
		}
	}
	out, err := rig.Bake{
		Validate:     true,
		Provisioners: "post-processor \"goldsmith-deploy\" {\nstack_file = \"missing.hcl\"\ntoken = \"x\"\n}",
	}.Run(t)
	for _, attribute := range []string{"stack", "stack_file", "token"} {
		if err == nil || !strings.Contains(out, attribute+": ") && !strings.Contains(out, attribute+` "`) {
			t.Errorf("%v: the output does not name %s:\n%s", err, attribute, rig.End(t, out))
		}
	}
}

// deployments returns the number of records in the stack's history, and the result of the youngest.
func deployments(t testing.TB) (count int, last string) {
	t.Helper()
	var records []struct{ Result string }
	rig.Decode(
		t,
		strings.NewReader(rig.Must(t, rig.Goldsmith(), "history", "--stack", rig.StackName, "--json")),
		&records,
	)
	return len(records), records[0].Result
}

// keepStack is the current release, which is the current one and runs again when the test ends.
func keepStack(t *testing.T) rig.Release {
	t.Helper()
	old := rig.CurrentRelease(t)
	t.Cleanup(func() { rig.Must(t, rig.Goldsmith(), rig.DeployArgs("--db-ami", old.DB, "--web-ami", old.Web)...) })
	return rig.KeepRelease(t)
}

// TestDeployAfterTheBuild builds both images with goldsmith-deploy off, on with nothing new, and on with new images.
func TestDeployAfterTheBuild(t *testing.T) {
	t.Cleanup(func() { // when they do not run any more
		for _, image := range unproved(t) {
			rig.DeregisterNow(t, rig.ImageNamed(t, imageTags(t, image)["Name"]))
		}
	})
	old := keepStack(t)
	build := func(more ...string) string {
		t.Helper()
		return rig.Must(
			t,
			rig.Packer(t),
			append(append([]string{"build", "-color=false", "-var", "stack=" + rig.StackName}, more...), ".")...)
	}
	count, _ := deployments(t)
	db, web := aws.ToString(rig.Tier(t, "db").InstanceId), aws.ToString(rig.Tier(t, "web").InstanceId)

	out := build()
	if now, _ := deployments(t); now != count || strings.Count(out, "goldsmith-deploy is off") != 2 {
		t.Errorf("off: %d deployments, and before %d:\n%s", now, count, rig.End(t, out))
	}

	out = build("-var", "deploy=true")
	if now, last := deployments(t); now != count+1 || last != "done" ||
		strings.Count(out, "Deploying stack "+rig.StackName) != 1 {
		t.Errorf("on, with nothing new: %d deployments, the last %s, and before %d:\n%s", now, last, count,
			rig.End(t, out))
	}
	if aws.ToString(rig.Tier(t, "db").InstanceId) != db || aws.ToString(rig.Tier(t, "web").InstanceId) != web {
		t.Errorf("instances of the images that are wanted were replaced:\n%s", rig.End(t, out))
	}

	out = build("-var", "deploy=true", "-var", "force=true", "-var", "ami_prefix=t")
	if now, last := deployments(t); now != count+2 || last != "done" ||
		strings.Count(out, "Deploying stack "+rig.StackName) != 1 {
		t.Errorf("on: %d deployments, the last %s, and before %d:\n%s", now, last, count, rig.End(t, out))
	}
	r := rig.CurrentRelease(t)
	if r.DB == old.DB || r.Web == old.Web {
		t.Errorf("the release is %+v, and was %+v", r, old)
	}
	if runs := (rig.Release{
		Name: r.Name,
		DB:   aws.ToString(rig.Tier(t, "db").ImageId),
		Web:  aws.ToString(rig.Tier(t, "web").ImageId),
	}); runs != r {
		t.Errorf("the stack runs %+v, and the release is %+v:\n%s", runs, r, rig.End(t, out))
	}
	// Two pairs of images are there now, which is what a stack's whole life takes. `make cycles` runs many, with bakes.
	t.Run("a cycle with EC2's manners", func(t *testing.T) {
		t.Log(rig.Times(rig.Cycle{
			Stack:   "cycle",
			Manners: "ec2,time=0.05,seed=1",
			Images:  &r,
			Other:   old,
			Repeat:  "make acceptance RUN=TestDeployAfterTheBuild",
		}.Run(t)))
	})
}

// TestFailedDeploymentKeepsTheRelease gives a deployment no time. Packer removes the artifact of a build whose
// post-processor fails; this one is the release's.
func TestFailedDeploymentKeepsTheRelease(t *testing.T) {
	old := keepStack(t)
	web := aws.ToString(rig.Tier(t, "web").InstanceId)
	file := filepath.Join(t.TempDir(), "stack.hcl")
	if err := os.WriteFile(
		file,
		fmt.Appendf(
			nil,
			"name = %q\ndeploy {\n  bake_time = \"0s\"\n  drain_time = \"0s\"\n  timeout = \"1s\"\n}\n",
			rig.StackName,
		),
		0o600,
	); err != nil {
		t.Fatal(err)
	}
	deploy := fmt.Sprintf(
		"post-processor \"goldsmith-deploy\" {\nenabled = true\nstack = %q\nstack_file = %q\n}",
		rig.StackName,
		file,
	)
	out, err := rig.Bake{
		Source:       rig.Proving("web", `release = "no-time"`),
		Provisioners: rig.WebProvisioners(deploy),
	}.Run(t)
	if err == nil || !strings.Contains(out, "deploy stack "+rig.StackName+" after the build") ||
		!strings.Contains(out, "hint: the AMIs and their release stay") {
		t.Errorf("%v: the output should say what was not done, and what is left:\n%s", err, rig.End(t, out))
	}
	now := rig.CurrentRelease(t)
	if now.Name != "no-time" || now.DB != old.DB || now.Web == old.Web {
		t.Fatalf("the release is %+v, and was %+v:\n%s", now, old, rig.End(t, out))
	}
	image := rig.ImageNamed(t, imageTags(t, now.Web)["Name"]) // it is there
	t.Cleanup(func() { rig.DeregisterNow(t, image) })
	if _, last := deployments(t); last != "rolled back" || aws.ToString(rig.Tier(t, "web").InstanceId) != web {
		t.Errorf("the deployment ended with %q, and %s serves, which was %s:\n%s", last,
			aws.ToString(rig.Tier(t, "web").InstanceId), web, out)
	}
}
