package builder

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"gopkg.in/yaml.v3"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsaccess"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/release"
)

// valid is a configuration without a fault; change says what is different.
func valid(change map[string]any) map[string]any {
	config := map[string]any{
		"ami_name":      "db-1",
		"instance_type": "t3.small",
		"ssh_username":  "admin",
		"source_ami":    "ami-0123456789abcdef0",
		"region":        "us-east-1",
	}
	maps.Copy(config, change)
	return config
}

func TestPrepareNamesTheAttribute(t *testing.T) {
	filter := map[string]any{"filters": map[string]string{"name": "x"}, "owners": []string{"self"}}
	disk := func(change map[string]any) map[string]any {
		d := map[string]any{"device_name": "/dev/xvda"}
		maps.Copy(d, change)
		return map[string]any{"launch_block_device_mappings": []any{d}}
	}
	for _, c := range []struct {
		change map[string]any
		want   string
	}{
		{map[string]any{"ami_name": ""}, "ami_name"},
		{map[string]any{"ami_name": "a*"}, "ami_name"},
		{map[string]any{"instance_type": "big"}, "instance_type"},
		{map[string]any{"ssh_username": ""}, "ssh_username"},
		{map[string]any{"ssh_password": "x"}, "ssh_password"},
		{map[string]any{"source_ami": ""}, "source_ami"},
		{map[string]any{"source_ami": "debian"}, "source_ami"},
		{map[string]any{"source_ami_filter": filter}, "source_ami_filter"},
		{
			map[string]any{
				"source_ami":        "",
				"source_ami_filter": map[string]any{"filters": map[string]string{"name": "x"}},
			},
			"source_ami_filter.owners",
		},
		{
			map[string]any{"source_ami": "", "source_ami_filter": map[string]any{"owners": []string{"self"}}},
			"source_ami_filter.filters",
		},
		{map[string]any{"subnet_id": "10.0.1.0/24"}, "subnet_id"},
		{
			map[string]any{
				"subnet_id":     "subnet-0123456789abcdef0",
				"subnet_filter": map[string]any{"filters": map[string]string{"a": "b"}},
			},
			"subnet_filter",
		},
		{
			map[string]any{
				"vpc_id":     "vpc-0123456789abcdef0",
				"vpc_filter": map[string]any{"filters": map[string]string{"a": "b"}},
			},
			"vpc_filter",
		},
		{map[string]any{"subnet_filter": map[string]any{"most_free": true, "random": true}}, "most_free"},
		{map[string]any{"security_group_id": "web"}, "security_group_ids"},
		{
			map[string]any{
				"security_group_id":                     "sg-0123456789abcdef0",
				"temporary_security_group_source_cidrs": []string{"192.0.2.1/32"},
			},
			"temporary_security_group_source_cidrs",
		},
		{
			map[string]any{"temporary_security_group_source_cidrs": []string{"192.0.2.1/24"}},
			"temporary_security_group_source_cidrs",
		},
		{map[string]any{"ssh_interface": "eth0"}, "ssh_interface"},
		{
			map[string]any{"ssh_interface": "public_ip", "associate_public_ip_address": false},
			"associate_public_ip_address",
		},
		{map[string]any{"user_data": "x", "user_data_file": "y"}, "user_data_file"},
		{map[string]any{"user_data_file": "/no/such/file"}, "user_data_file"},
		{map[string]any{"user_data": strings.Repeat("x", 15<<10)}, "user_data"},
		{map[string]any{"metadata_options": map[string]any{"http_tokens": "optional"}}, "http_tokens"},
		{
			map[string]any{"metadata_options": map[string]any{"http_put_response_hop_limit": 65}},
			"http_put_response_hop_limit",
		},
		{map[string]any{"access_key": "x"}, "secret_key"},
		{map[string]any{"token": "x"}, "token"},
		{map[string]any{"custom_endpoint_ec2": "nowhere"}, "custom_endpoint_ec2"},
		{disk(map[string]any{"volume_type": "ssd"}), "volume_type"},
		{disk(map[string]any{"volume_type": "gp2", "iops": 100}), "iops"},
		{disk(map[string]any{"volume_type": "io2"}), "iops"},
		{disk(map[string]any{"volume_type": "gp2", "throughput": 1}), "throughput"},
		{disk(map[string]any{"kms_key_id": "x"}), "kms_key_id"},
		{disk(map[string]any{"snapshot_id": "x"}), "snapshot_id"},
		{disk(map[string]any{"volume_size": -1}), "volume_size"},
		{map[string]any{"kms_key_id": "x"}, "kms_key_id"},
		{map[string]any{"tags": map[string]string{"aws:x": "y"}}, "tags"},
		{map[string]any{"permissions_boundary": "limit"}, "permissions_boundary"},
		{map[string]any{"tags": manyTags("a", tagsMax-ownImageTags+1)}, "tags"},
		{map[string]any{"tags": manyTags("a", 20), "snapshot_tags": manyTags("b", 28)}, "snapshot_tags"},
		{map[string]any{"run_tags": manyTags("a", 48)}, "run_tags"},
		{map[string]any{"run_tags": manyTags("a", 24), "run_volume_tags": manyTags("b", 24)}, "run_volume_tags"},
		{map[string]any{"run_tags": map[string]string{buildTag: "y"}}, "run_tags"},
		{map[string]any{"no_such_option": 1}, "no_such_option"},
	} {
		_, _, err := new(Builder).Prepare(valid(c.change))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want an error that names %s", c.change, err, c.want)
		}
	}
	for _, change := range []map[string]any{
		nil,
		{
			"subnet_id":          awsaccess.Unknown,
			"vpc_id":             awsaccess.Unknown,
			"security_group_ids": []string{awsaccess.Unknown},
			"source_ami":         awsaccess.Unknown,
		},
	} {
		if _, _, err := new(Builder).Prepare(valid(change)); err != nil {
			t.Errorf("a good configuration, %v: %v", change, err)
		}
	}
}

func TestBakeLeavesTheImageAlone(t *testing.T) {
	a := newAccount(t)
	if err := bakeOf(t, a, "b1", nil).try(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a.left(), []string{theImage, theSnapshot}) {
		t.Errorf("left: %v", a.left())
	}
	var order []string
	for _, call := range a.Calls("TerminateInstances", "DeleteSecurityGroup", "DeleteKeyPair") {
		order = append(order, call.Name)
	}
	if !slices.Equal(order, []string{"TerminateInstances", "DeleteSecurityGroup", "DeleteKeyPair"}) {
		t.Errorf("removed in this order: %v", order)
	}
}

// TestNothingIsLeft has each call fail, before it did its work and after, when its answer is lost.
func TestNothingIsLeft(t *testing.T) {
	boom := errors.New("boom")
	for _, name := range []string{
		"ImportKeyPair", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "RunInstances", "StopInstances",
		"CreateImage",
	} {
		for _, late := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) { // what may be there is looked for again
				a := newAccount(t)
				a.Fail(ec2fake.Fault{Call: name, Late: late, Err: boom})
				err := bakeOf(t, a, "b1", nil).try(t.Context())
				if !errors.Is(err, boom) || len(a.left()) > 0 {
					t.Errorf("%s fails (late: %v): got %v, left %v", name, late, err, a.left())
				}
			})
		}
	}
}

// TestNothingIsLeftOfAnyCall has each call of a whole build fail, whichever it is, by its number.
func TestNothingIsLeftOfAnyCall(t *testing.T) {
	boom := errors.New("boom")
	a := newAccount(t)
	if err := bakeOf(t, a, "b1", policy(nil)).try(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range len(a.Calls()) {
		for _, late := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) { // what is left holds its group, which is waited for
				a := newAccount(t)
				a.Fail(ec2fake.Fault{Nth: n + 1, Late: late, Err: boom})
				b := bakeOf(t, a, "b1", policy(nil))
				err := b.try(t.Context())
				whole := slices.Equal(a.left(), []string{theImage, theSnapshot}) && b.kept()
				if !whole && len(a.left()) > 0 && !strings.Contains(fmt.Sprint(err), buildTag+"=b1") {
					name := a.Calls()[n].Name
					t.Errorf("call %d, %s (late: %v): got %v, left %v", n+1, name, late, err, a.left())
				}
			})
		}
	}
}

func TestInterruptedBakeLeavesNothing(t *testing.T) {
	a := newAccount(t)
	b := bakeOf(t, a, "b1", nil)
	ctx, cancel := context.WithCancel(t.Context())
	caller := b.job.caller
	b.job.caller = func(ctx context.Context) (string, error) { cancel(); return caller(ctx) }
	if err := b.try(ctx); !errors.Is(err, context.Canceled) || len(a.left()) > 0 {
		t.Errorf("got %v, left %v", err, a.left())
	}
}

func TestInstanceThatDies(t *testing.T) {
	a := newAccount(t)
	a.Watch("RunInstances", func(any, any) { a.In(here).End(theInstance, "Client.InternalError", "it fell") })
	_, err := launchOne(t, a, nil)
	if err == nil || !strings.Contains(err.Error(), theInstance+" is terminated") ||
		!strings.Contains(err.Error(), "kernel panic") {
		t.Errorf("got %v, want the instance, its state and its console", err)
	}
}

// TestLaunchIsPolledOnce has the instance be asked for until it runs, and its address be known from that.
func TestLaunchIsPolledOnce(t *testing.T) {
	a := newAccount(t)
	b, err := launchOne(t, a, nil)
	if err != nil || b.machine.instance != theInstance || b.machine.host == "" {
		t.Fatalf("got %+v, %v", b.machine, err)
	}
	if looks := len(a.Calls("DescribeInstances")); looks != 1 {
		t.Errorf("an instance that runs at once is looked at %d times", looks)
	}
}

func TestCheck(t *testing.T) {
	filter := func(recent bool) map[string]any {
		return map[string]any{"source_ami": "", "source_ami_filter": map[string]any{
			"filters":     map[string]string{"name": "deb*"},
			"owners":      []string{"136693071363"},
			"most_recent": recent,
		}}
	}
	young := func(a *account) {
		a.In(here).AddImage(types.Image{
			ImageId:      aws.String("ami-0bbbbbbbb"),
			Name:         aws.String("debian-2"),
			OwnerId:      aws.String("136693071363"),
			CreationDate: aws.String("2026-02-01"),
		})
	}
	source := func(set func(*types.Image)) func(*account) {
		return func(a *account) { a.In(here).SetImage(debian, set) }
	}
	disk := map[string]any{"device_name": "/dev/xvda", "volume_size": 4}
	for _, c := range []struct {
		name   string
		change map[string]any
		set    func(*account)
		want   string
	}{
		{"good", nil, func(*account) {}, ""},
		{"none", filter(true), source(func(i *types.Image) { i.Name = aws.String("other") }), "deb*"},
		{"several", filter(false), young, "most_recent"},
		{"youngest of several", filter(true), young, ""},
		{"not available", nil, source(func(i *types.Image) { i.State = types.ImageStatePending }), "pending"},
		{
			"instance store",
			nil,
			source(func(i *types.Image) { i.RootDeviceType = types.DeviceTypeInstanceStore }),
			"ebs",
		},
		{
			"unknown", nil,
			func(a *account) { a.fails("DescribeImages", ec2fake.Err(apierror.InvalidAMIIDNotFound, "gone")) },
			"ami-0123456789abcdef0",
		},
		{
			"another VPC", map[string]any{"vpc_id": "vpc-0bbbbbbbb", "subnet_id": theSubnet},
			func(*account) {}, "vpc-0aaaaaaaa",
		},
		{"no subnet", nil, func(a *account) { a.subnets() }, "subnet_id"},
		{"group of another VPC", map[string]any{"security_group_id": "sg-0bbbbbbbb"}, func(a *account) {
			a.In(here).AddGroup(types.SecurityGroup{
				GroupId: aws.String("sg-0bbbbbbbb"),
				VpcId:   aws.String("vpc-0bbbbbbbb"),
			})
		}, "security_group_ids"},
		{"small disk", map[string]any{"launch_block_device_mappings": []any{disk}}, func(*account) {}, "volume_size"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAccount(t)
			c.set(a)
			before := a.Things()
			b := bakeOf(t, a, "b1", c.change)
			err := b.check(t.Context())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if c.name == "youngest of several" && b.source.id != "ami-0bbbbbbbb" {
				t.Errorf("took %s", b.source.id)
			}
			if !slices.Equal(a.Things(), before) {
				t.Errorf("a check made %v", a.Things())
			}
		})
	}
}

func TestUserData(t *testing.T) {
	for given, want := range map[string][]string{
		"":                      nil,
		"#!/bin/sh\necho hi\n":  {"text/cloud-config", "text/x-shellscript"},
		"#cloud-config\na: b\n": {"text/cloud-config", "text/cloud-config"},
	} {
		b := bakeOf(t, newAccount(t), "b1", map[string]any{"user_data": given})
		if err := b.makeKeyPair(t.Context()); err != nil {
			t.Fatal(err)
		}
		encoded, err := userDataFor(b.job.config, b.machine.keys)
		if err != nil {
			t.Fatal(err)
		}
		text, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || !bytes.Contains(text, []byte("ed25519_private: |\n    -----BEGIN OPENSSH PRIVATE KEY-----")) {
			t.Errorf("%v: no host key in\n%s", err, text)
		}
		if given == "" {
			var config map[string]any
			err := yaml.Unmarshal(text, &config)
			keys, _ := config["ssh_keys"].(map[string]any)
			// cloud-init's schema wants one kind at least where kinds of keys are named, and makes none where keys are
			// given.
			if _, kinds := config["ssh_genkeytypes"]; err != nil || kinds || len(keys) != 2 ||
				config["ssh_deletekeys"] != true {
				t.Errorf("to cloud-init it is %v, %v", config, err)
			}
		}
		if got := partTypes(t, text); !slices.Equal(got, want) {
			t.Errorf("%q: parts %v, want %v", given, got, want)
		}
	}
	if _, err := combine([]byte("#cloud-config\n"), []byte("hello")); err == nil {
		t.Error("user-data that cloud-init does not know is no error")
	}
}

func partTypes(t *testing.T, text []byte) []string {
	t.Helper()
	if bytes.HasPrefix(text, []byte("#cloud-config")) {
		return nil
	}
	message, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	_, parameters, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for reader := multipart.NewReader(message.Body, parameters["boundary"]); ; {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return kinds
		}
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		kinds = append(kinds, kind)
	}
}

func TestEncryptedRoot(t *testing.T) {
	b := bakeOf(t, newAccount(t), "b1", map[string]any{"encrypt_boot": true, "kms_key_id": "key"})
	source := sourceImage{rootDevice: "/dev/xvda"}
	devices := blockDevices(b.job, source)
	if len(devices) != 1 || !aws.ToBool(devices[0].Ebs.Encrypted) || aws.ToString(devices[0].Ebs.KmsKeyId) != "key" ||
		aws.ToString(devices[0].DeviceName) != "/dev/xvda" {
		t.Errorf("got %+v", devices)
	}
	b = bakeOf(t, newAccount(t), "b1", nil)
	if devices := blockDevices(b.job, source); len(devices) != 0 {
		t.Errorf("nothing was asked for, and got %+v", devices)
	}
}

func TestArtifact(t *testing.T) {
	a := newAccount(t)
	a.put(here, "0made", "db-1", "b1")
	of := &artifact{all: []publication{{here, "ami-0made", bakeOf(t, a, "b1", nil).job.ec2}}}
	if of.Id() != "us-east-1:ami-0made" || !strings.Contains(of.String(), "ami-0made") {
		t.Errorf("got %s, %s", of.Id(), of)
	}
	// What was proved may be released: it stays when a post-processor fails.
	proved := &artifact{all: of.all, proved: true}
	if err := proved.Destroy(); err != nil || len(a.left()) == 0 {
		t.Errorf("destroyed a proved image: %v, left %v", err, a.left())
	}
	if err := of.Destroy(); err != nil || len(a.left()) > 0 {
		t.Errorf("destroyed: %v, left %v", err, a.left())
	}
}

func TestArtifactSaysItsPartInTheRelease(t *testing.T) {
	prove := map[string]any{"stack": "golden", "tier": "web", "release": "r1"}
	b := bakeOf(t, newAccount(t), "b1", map[string]any{"prove": prove})
	of := b.artifact(map[string]any{})
	for key, want := range map[string]string{
		release.ArtifactStack: "golden", release.ArtifactTier: "web", release.ArtifactRelease: "r1",
	} {
		if got := of.State(key); got != want {
			t.Errorf("%s is %v, want %s", key, got, want)
		}
	}
	other := bakeOf(t, newAccount(t), "b1", nil).artifact(map[string]any{})
	if got := other.State(release.ArtifactRelease); got != nil {
		t.Errorf("an image that is not proved is of release %v", got)
	}
}
