//go:build acceptance

package bakes

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// TestAWSCLI launches, looks at and ends an instance with Debian's awscli, which knows nothing of a local cloud.
func TestAWSCLI(t *testing.T) {
	before := rig.Inventory(t)
	web := rig.Tier(t, "web")
	cli := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(rig.Must(t, "/usr/bin/aws", append(args, "--output", "text")...))
	}
	id := cli("ec2", "run-instances", "--image-id", *rig.BaseImage(t, "debian-13-amd64-*"), "--instance-type",
		"t3.micro", "--subnet-id", *web.SubnetId, "--client-token", "only-once", "--query", "Instances[0].InstanceId")
	if again := cli("ec2", "run-instances", "--image-id", *rig.BaseImage(t, "debian-13-amd64-*"), "--instance-type",
		"t3.micro", "--subnet-id", *web.SubnetId, "--client-token", "only-once", "--query",
		"Instances[0].InstanceId"); again != id {
		t.Errorf("the same client token made a second instance, %s beside %s", again, id)
	}
	cli("ec2", "wait", "instance-running", "--instance-ids", id)
	if state := cli("ec2", "describe-instances", "--instance-ids", id, "--query",
		"Reservations[0].Instances[0].[State.Name,RootDeviceType]"); state != "running\tebs" {
		t.Errorf("got %q, want running and ebs", state)
	}
	cli("ec2", "stop-instances", "--instance-ids", id)
	cli("ec2", "wait", "instance-stopped", "--instance-ids", id)
	cli("ec2", "start-instances", "--instance-ids", id)
	cli("ec2", "wait", "instance-running", "--instance-ids", id)
	cli("ec2", "terminate-instances", "--instance-ids", id)
	cli("ec2", "wait", "instance-terminated", "--instance-ids", id)
	if out, err := rig.Output("/usr/bin/aws", "ec2", "start-instances", "--instance-ids", id); err == nil {
		t.Errorf("a terminated instance was started: %s", out)
	}
	rig.AssertNothingLeft(t, before)
}

// TestBoto3 takes an image of an instance and launches from it, with Debian's python3-boto3.
func TestBoto3(t *testing.T) {
	before := rig.Inventory(t)
	web := rig.Tier(t, "web")
	script := `
import json, sys, boto3
image, subnet = sys.argv[1:]
ec2 = boto3.client('ec2')
def run(image):
    made = ec2.run_instances(ImageId=image, InstanceType='t3.micro', MinCount=1, MaxCount=1, SubnetId=subnet)
    i = made['Instances'][0]['InstanceId']
    ec2.get_waiter('instance_running').wait(InstanceIds=[i], WaiterConfig={'Delay': 1})
    return i
def end(i):
    ec2.terminate_instances(InstanceIds=[i])
    ec2.get_waiter('instance_terminated').wait(InstanceIds=[i], WaiterConfig={'Delay': 1})
first = run(image)
ec2.stop_instances(InstanceIds=[first])
ec2.get_waiter('instance_stopped').wait(InstanceIds=[first], WaiterConfig={'Delay': 1})
made = ec2.create_image(InstanceId=first, Name='from-boto3')['ImageId']
ec2.get_waiter('image_available').wait(ImageIds=[made], WaiterConfig={'Delay': 1})
end(first)
second = run(made)
end(second)
described = ec2.describe_images(ImageIds=[made])['Images'][0]
ec2.deregister_image(ImageId=made)
for device in described['BlockDeviceMappings']:
    ec2.delete_snapshot(SnapshotId=device['Ebs']['SnapshotId'])
try:
    run(made)
    refused = False
except ec2.exceptions.ClientError as e:
    refused = e.response['Error']['Code']
secret = boto3.client('ssm').get_parameter(Name='/goldsmith/` + rig.StackName + `/db/app_password')
json.dump({'type': described['RootDeviceType'], 'refused': refused, 'ssm': bool(secret['Parameter']['Value']),
           'me': boto3.client('sts').get_caller_identity()['Account']}, sys.stdout)
`
	path := filepath.Join(t.TempDir(), "client.py")
	if err := os.WriteFile(path, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	out := rig.Must(t, "/usr/bin/python3", path, *rig.BaseImage(t, "debian-13-amd64-*"), *web.SubnetId)
	var got struct{ Type, Refused, Me string }
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v\n%s", err, rig.End(t, out))
	}
	if got.Type != "ebs" || got.Refused != "InvalidAMIID.Unavailable" && got.Refused != "InvalidAMIID.NotFound" ||
		got.Me != "123456789012" {
		t.Errorf("got %+v", got)
	}
	rig.AssertNothingLeft(t, before)
}

// TestAmazonEBS bakes with HashiCorp's own builder and our provisioners, from Debian's image and from a baked one.
func TestAmazonEBS(t *testing.T) {
	before := rig.Inventory(t)
	installAmazon(t)
	for name, source := range map[string]string{
		"Debian": fmt.Sprintf("source_ami_filter {\nfilters = { name = %q }\nowners = [%q]\nmost_recent = true\n}",
			"debian-13-amd64-*", "136693071363"),
		"baked web": fmt.Sprintf("source_ami = %q", aws.ToString(rig.Tier(t, "web").ImageId)),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			text := fmt.Sprintf(`
source "amazon-ebs" "t" {
  region                      = "us-east-1"
  ami_name                    = "stock-%s"
  instance_type               = "t3.micro"
  ssh_username                = "admin"
  temporary_key_pair_type     = "ed25519"
  associate_public_ip_address = true
  subnet_id                   = %q
  run_tags                    = { purpose = "test" }
  tags                        = { purpose = "test" }
  %s
}
build {
  sources = ["source.amazon-ebs.t"]
  provisioner "goldsmith-tasks" {
    task {
      name = "a file"
      file {
        path    = "/etc/stock"
        content = "made by a stock builder"
      }
    }
  }
}
`, strings.ReplaceAll(name, " ", "-"), *rig.Tier(t, "web").SubnetId, source)
			path := filepath.Join(dir, "t.pkr.hcl")
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			rig.Must(t, rig.Packer(t), "build", path)
			rig.DeregisterAtEnd(t, rig.ImageNamed(t, "stock-*"))
		})
	}
	rig.AssertNothingLeft(t, before)
}

// installAmazon lets Packer find HashiCorp's plugin.
func installAmazon(t testing.TB) {
	t.Helper()
	rig.Must(t, "make", "-s", ".build/packer-plugin-amazon")
	rig.Must(t, rig.Packer(t), "plugins", "install", "--path",
		filepath.Join(rig.Repository, ".build", "packer-plugin-amazon"), "github.com/hashicorp/amazon")
}

// TestBastion bakes on an instance of the private subnet, which only the web instance reaches.
func TestBastion(t *testing.T) {
	before := rig.Inventory(t)
	web := rig.Tier(t, "web")
	source := fmt.Sprintf(`
subnet_filter {
  filters = { "tag:goldsmith:stack" = %q, "tag:goldsmith:subnet" = "private" }
}
associate_public_ip_address           = false
temporary_security_group_source_cidrs = ["10.0.1.0/24"]
ssh_bastion_host                      = %q
ssh_bastion_username                  = "admin"
ssh_bastion_private_key_file          = %q
`, rig.StackName, aws.ToString(web.PublicIpAddress), filepath.Join(os.Getenv("HOME"), ".goldsmith",
		rig.StackName+".pem"))
	out, err := rig.Bake{Source: source, Provisioners: rig.Command("hostname -I")}.Run(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, rig.End(t, out))
	}
	rig.DeregisterNow(t, rig.ImageNamed(t, "t-*"))
	rig.AssertNothingLeft(t, before)
}
