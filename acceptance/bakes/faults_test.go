//go:build acceptance

package bakes

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// TestFaults gives the build bad input and faults of the machine, the network and the account. Each must end with an
// error in the user's terms, and with nothing left behind.
func TestFaults(t *testing.T) {
	otherVPC, otherSubnet := foreignNetwork(t)
	for _, c := range []struct {
		name string
		bake rig.Bake
		// want are expressions that the output must match: they are the facts that a user needs.
		want []string
		// not must not be in the output.
		not  []string
		more bool // of a kind that another case shows too
	}{
		{name: "unknown source AMI", bake: rig.Bake{Source: `source_ami = "ami-0123456789abcdef0"`},
			want: []string{`ami-0123456789abcdef0`, `source_ami`}, not: []string{`(?i)launching`}},
		{
			name: "source filter that matches nothing",
			bake: rig.Bake{
				Source: "source_ami_filter {\nfilters = { name = \"no-such-*\" }\nowners = [\"136693071363\"]\n}",
			},
			want: []string{`source_ami_filter`, `no-such-\*`},
		},
		{name: "unknown subnet", bake: rig.Bake{Source: `subnet_id = "subnet-0123456789abcdef0"`},
			want: []string{`subnet-0123456789abcdef0`, `subnet_id`}},
		{
			name: "subnet of another VPC",
			bake: rig.Bake{Source: "vpc_id = \"" + stackVPC(t) + "\"\nsubnet_id = \"" + otherSubnet + "\""},
			want: []string{otherSubnet, otherVPC},
		},
		{
			name: "template with an unknown variable",
			bake: rig.Bake{
				Validate:     true,
				Files:        map[string]string{"site.tmpl": "server {\n  listen {{ .no_such_thing }};\n}\n"},
				Provisioners: "provisioner \"goldsmith-nginx\" {\nsite = \"site.tmpl\"\n}",
			},
			want: []string{`site`, `site\.tmpl:2`, `no_such_thing`},
		},
		{
			name: "missing file",
			bake: rig.Bake{
				Validate:     true,
				Provisioners: "provisioner \"goldsmith-mysql\" {\nseed = \"no-such-file.sql\"\n}",
			},
			want: []string{`seed`, `no-such-file\.sql`},
		},
		{
			name: "directory for a file",
			bake: rig.Bake{Validate: true, Provisioners: "provisioner \"goldsmith-mysql\" {\nseed = \"/tmp\"\n}"},
			want: []string{`seed`, `/tmp`},
		},
		{
			name: "package that does not exist",
			bake: rig.Bake{
				Provisioners: "provisioner \"goldsmith-tasks\" {\ntask {\nname = \"install it\"\npackage {\n" +
					"names = [\"nginx\", \"no-such-package\"]\n}\n}\n}",
			},
			want: []string{`install it`, `no-such-package`},
			more: true,
		},
		{
			name: "task that fails half way",
			bake: rig.Bake{
				Provisioners: rig.Command("echo first") + rig.Command("echo the reason >&2\nexit 3") +
					rig.Command("echo never >&2\nexit 4"),
			},
			want: []string{`the task`, `the reason`, `3`},
			not:  []string{`never`},
		},
		{
			name: "SSH never answers",
			bake: rig.Bake{
				Source: "ssh_timeout = \"15s\"\nuser_data = <<-EOT\n#cloud-config\nbootcmd:\n" +
					"  - systemctl mask --now ssh.service ssh.socket\nEOT",
			},
			want: []string{`(?i)ssh`, `15s|timeout|timed out`, `i-[0-9a-f]+`},
		},
		{
			name: "instance powers itself off",
			bake: rig.Bake{
				Provisioners: rig.Command("(sleep 1; systemctl poweroff --force) >/dev/null 2>&1 &\nsleep 60"),
			},
			want: []string{`i-[0-9a-f]+`, `(?i)stopp|terminat|shut`},
			more: true,
		},
		{
			name: "instance is terminated",
			bake: rig.Bake{
				Provisioners: rig.Command("sleep 60"),
				At:           regexp.MustCompile(`the task.*`),
				Then:         func() { terminateBuilds(t) },
			},
			want: []string{`i-[0-9a-f]+`, `(?i)terminat|shut`},
		},
		{
			name: "disk full on the instance",
			bake: rig.Bake{
				Provisioners: rig.Command("dd if=/dev/zero of=/filler bs=1M status=none || test \"$(stat -c %s "+
					"/filler)\" -gt 1000000") +
					"provisioner \"goldsmith-tasks\" {\ntask {\nname = \"write it\"\nfile {\npath = \"/etc/late\"\n" +
					"source = \"late\"\n}\n}\n}",
				Source: "launch_block_device_mappings {\ndevice_name = \"/dev/xvda\"\nvolume_size = 8\n}",
				Files:  map[string]string{"late": strings.Repeat("x", 1<<20)},
			},
			want: []string{`write it|the task`, `(?i)no space left`},
		},
		{
			name: "endpoint that does not answer",
			bake: rig.Bake{Environment: []string{"AWS_ENDPOINT_URL=http://127.0.0.1:9"}},
			want: []string{`127\.0\.0\.1:9`, `(?i)refused|answer`},
		},
		{
			name: "expired credentials",
			bake: rig.Bake{Environment: []string{"AWS_ACCESS_KEY_ID=ASIAEXPIREDEXAMPLE00", "AWS_SESSION_TOKEN=old"}},
			want: []string{`(?i)expired`, `(?i)hint`},
		},
	} {
		if c.more && rig.Sampled() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			before := rig.Inventory(t)
			out, err := c.bake.Run(t)
			if err == nil {
				t.Errorf("it succeeded")
			}
			for _, want := range c.want {
				if !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("the output does not match %s", want)
				}
			}
			for _, not := range c.not {
				if regexp.MustCompile(not).MatchString(out) {
					t.Errorf("the output matches %s", not)
				}
			}
			rig.AssertNothingLeft(t, before)
			if t.Failed() {
				t.Logf("output:\n%s", out)
			}
		})
	}
}

// TestInterrupt stops the build with ctrl-C in each of its stages.
func TestInterrupt(t *testing.T) {
	for _, c := range []struct {
		stage, line string
		more        bool // of a kind that another case shows too
	}{
		{"key pair", `(?i)key pair`, true},
		{"security group", `(?i)security group`, true},
		{"launch", `(?i)launching`, false},
		{"running", `(?i)waiting for (instance )?.*(running|ssh)`, true},
		{"provision", `the task|PLAY`, false},
		{"stop", `(?i)stopping`, true},
		{"image", `(?i)creating .*(ami|image)`, false},
	} {
		if c.more && rig.Sampled() {
			continue
		}
		t.Run(c.stage, func(t *testing.T) {
			before := rig.Inventory(t)
			line := regexp.MustCompile(c.line)
			out, err := rig.Bake{Interrupt: line, Provisioners: rig.Command("sleep 2")}.Run(t)
			if err == nil {
				t.Errorf("it succeeded")
			}
			if !line.MatchString(out) {
				t.Errorf("the stage was never reached")
			}
			rig.AssertNothingLeft(t, before)
			if t.Failed() {
				t.Logf("output:\n%s", out)
			}
		})
	}
}

// TestKilled ends the build with SIGKILL in each of its stages, which leaves things behind, and has gc remove them. A
// thing of somebody else's stays.
func TestKilled(t *testing.T) {
	rig.Must(t, "aws", "ec2", "import-key-pair", "--key-name", "somebody-elses", "--public-key-material",
		"fileb://"+publicKey(t))
	t.Cleanup(func() { rig.Must(t, "aws", "ec2", "delete-key-pair", "--key-name", "somebody-elses") })
	for _, c := range []struct {
		stage, line string
		more        bool // of a kind that another case shows too
	}{
		{"key pair", `(?i)security group for`, true},
		{"launch", `(?i)instance: i-`, false},
		{"provision", `the task|PLAY`, true},
		{"stop", `(?i)stopping`, true},
		{"image", `: AMI: ami-`, false},
		{"prove", `(?i)proving .*launched`, false},
	} {
		if c.more && rig.Sampled() {
			continue
		}
		t.Run(c.stage, func(t *testing.T) {
			before := rig.Inventory(t)
			b := rig.Bake{
				Interrupt:    regexp.MustCompile(c.line),
				Signal:       syscall.SIGKILL,
				Provisioners: rig.Command("sleep 2"),
			}
			if c.stage == "prove" {
				b.Source, b.Provisioners = rig.Proving(
					"web",
					`release = "killed-`+fmt.Sprint(time.Now().UnixNano())+`"`,
				), rig.WebProvisioners("")
			}
			out, err := b.Run(t)
			if err == nil || !regexp.MustCompile(c.line).MatchString(out) {
				t.Errorf("%v: the stage was never reached:\n%s", err, rig.End(t, out))
			}
			if now := rig.Inventory(t); slices.Equal(before, now) {
				t.Error("nothing was left behind: this test is about what is")
			}
			if out := rig.Must(t, rig.Goldsmith(), "gc", "--older-than", "0s"); strings.TrimSpace(out) == "" ||
				strings.Contains(out, "somebody-elses") {
				t.Errorf("gc shows %q", out)
			}
			rig.Must(t, rig.Goldsmith(), "gc", "--older-than", "0s", "--yes")
			rig.AssertNothingLeft(t, before)
		})
	}
}

// publicKey is the path of a public key that nobody uses.
func publicKey(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	rig.Must(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
	return path + ".pub"
}

// TestValidate has Packer itself find what is wrong, before anything is launched: no endpoint answers here.
func TestValidate(t *testing.T) {
	nowhere := []string{"AWS_ENDPOINT_URL=http://127.0.0.1:9"}
	for _, c := range []struct {
		name         string
		source, prov string
		want         []string
	}{
		{
			"source_ami and its filter",
			"source_ami = \"ami-0123456789abcdef0\"\nsource_ami_filter {\nfilters = { name = \"x\" }\n" +
				"owners = [\"self\"]\n}",
			"",
			[]string{`source_ami_filter`, `source_ami`},
		},
		{
			"subnet id and filter",
			"subnet_id = \"subnet-0123456789abcdef0\"\nsubnet_filter {\nfilters = { \"tag:a\" = \"b\" }\n}",
			"",
			[]string{`subnet_id`, `subnet_filter`},
		},
		{"malformed subnet id", `subnet_id = "10.0.1.0/24"`, "", []string{`subnet_id`}},
		{"no instance type", `instance_type = ""`, "", []string{`instance_type`}},
		{"IMDSv1", "metadata_options {\nhttp_tokens = \"optional\"\n}", "", []string{`http_tokens`, `required`}},
		{
			"bad range",
			`temporary_security_group_source_cidrs = ["10.0.0.0/33"]`,
			"",
			[]string{`temporary_security_group_source_cidrs`},
		},
		{"two user-data", "user_data = \"x\"\nuser_data_file = \"y\"", "", []string{`user_data`, `user_data_file`}},
		{
			"bind address",
			"",
			"provisioner \"goldsmith-mysql\" {\nbind_address = \"everywhere\"\n}",
			[]string{`bind_address`},
		},
		{"flavor", "", "provisioner \"goldsmith-mysql\" {\nflavor = \"oracle\"\n}", []string{`flavor`, `mariadb`}},
		{"upstream", "", "provisioner \"goldsmith-nginx\" {\nupstream = \"nowhere\"\n}", []string{`upstream`}},
		{
			"binary",
			"",
			"provisioner \"goldsmith-webapp\" {\nbinary = \"no-such-binary\"\n}",
			[]string{`binary`, `no-such-binary`},
		},
		{
			"task without a kind",
			"",
			"provisioner \"goldsmith-tasks\" {\ntask {\nname = \"nothing\"\n}\n}",
			[]string{`task`, `nothing`},
		},
		{
			"mode",
			"",
			"provisioner \"goldsmith-tasks\" {\ntask {\nname = \"f\"\nfile {\npath = \"/x\"\ncontent = \"x\"\n" +
				"mode = \"rw\"\n}\n}\n}",
			[]string{`mode`},
		},
		{
			"unknown handler",
			"",
			"provisioner \"goldsmith-tasks\" {\ntask {\nname = \"f\"\nnotify = [\"nobody\"]\nfile {\npath = \"/x\"\n" +
				"content = \"x\"\n}\n}\n}",
			[]string{`notify`, `nobody`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := rig.Bake{Validate: true, Source: c.source, Provisioners: c.prov, Environment: nowhere}.Run(t)
			if err == nil {
				t.Errorf("it is valid")
			}
			for _, want := range c.want {
				if !regexp.MustCompile(want).MatchString(out) {
					t.Errorf("the output does not match %s", want)
				}
			}
			if t.Failed() {
				t.Logf("output:\n%s", out)
			}
		})
	}
	t.Run("the build file", func(t *testing.T) {
		if out, err := rig.Output("env", "AWS_ENDPOINT_URL=http://127.0.0.1:9", rig.Packer(t), "validate",
			"."); err != nil {
			t.Errorf("%v\n%s", err, rig.End(t, out))
		}
	})
}

func TestPluginDescribesItself(t *testing.T) {
	out := rig.Must(t, filepath.Join(rig.Repository, ".build", "packer-plugin-goldsmith"), "describe")
	for _, want := range []string{`"ami"`, `"mysql"`, `"nginx"`, `"webapp"`, `"systemd"`, `"tasks"`} {
		if !strings.Contains(out, want) {
			t.Errorf("describe does not name %s: %s", want, out)
		}
	}
}

func stackVPC(t testing.TB) string { return aws.ToString(rig.Tier(t, "web").VpcId) }

// foreignNetwork makes a second VPC with a subnet, for the length of the test.
func foreignNetwork(t *testing.T) (vpcID, subnetID string) {
	t.Helper()
	ctx := context.Background()
	vpc, err := rig.API.CreateVpc(ctx, &ec2.CreateVpcInput{CidrBlock: aws.String("10.9.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	vpcID = *vpc.Vpc.VpcId
	t.Cleanup(func() {
		if _, refused := rig.API.DeleteVpc(ctx, &ec2.DeleteVpcInput{VpcId: &vpcID}); refused != nil {
			t.Error(refused)
		}
	})
	subnet, err := rig.API.CreateSubnet(
		ctx,
		&ec2.CreateSubnetInput{VpcId: &vpcID, CidrBlock: aws.String("10.9.1.0/24")},
	)
	if err != nil {
		t.Fatal(err)
	}
	subnetID = *subnet.Subnet.SubnetId
	t.Cleanup(func() {
		if _, err := rig.API.DeleteSubnet(ctx, &ec2.DeleteSubnetInput{SubnetId: &subnetID}); err != nil {
			t.Error(err)
		}
	})
	return vpcID, subnetID
}

// terminateBuilds terminates the instances of running bakes.
func terminateBuilds(t *testing.T) {
	ctx := context.Background()
	out, err := rig.API.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("tag-key"), Values: []string{"goldsmith:build"}},
		{Name: aws.String("instance-state-name"), Values: []string{"running"}},
	}})
	if err != nil {
		t.Error(err)
		return
	}
	for _, reservation := range out.Reservations {
		for _, i := range reservation.Instances {
			if _, err := rig.API.TerminateInstances(
				ctx,
				&ec2.TerminateInstancesInput{InstanceIds: []string{*i.InstanceId}},
			); err != nil {
				t.Error(err)
			}
		}
	}
}
