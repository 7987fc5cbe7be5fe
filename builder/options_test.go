package builder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/inputs"
)

type options = map[string]any

func list(values ...string) []string { return values }

// policy is a temporary profile's.
func policy(change options) options {
	statement := options{"Effect": "Allow", "Action": list("s3:GetObject"), "Resource": list("*")}
	maps.Copy(statement, change)
	return options{"temporary_iam_instance_profile_policy_document": options{"Statement": []any{statement}}}
}

func with(more options, change options) options {
	all := maps.Clone(more)
	maps.Copy(all, change)
	return all
}

func TestOptionsAreChecked(t *testing.T) {
	soon := time.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339)
	encrypted := options{"encrypt_boot": true}
	spot := options{"spot_price": "auto"}
	for _, c := range []struct {
		change options
		want   string // empty for what is good
	}{
		{options{"instance_type": "", "instance_types": list("t3.small")}, ""}, {options{"instance_types": list("small")}, "instance_types"},
		{options{"instance_type": "", "spot_instance_types": list("t3.small"), "spot_price": "0.05"}, ""}, {options{"instance_type": ""}, "instance_type"},
		{options{"spot_instance_types": list("t3.small"), "spot_price": "auto"}, "spot_instance_types"},
		{options{"instance_type": "", "spot_instance_types": list("t3.small")}, "spot_instance_types: it goes with spot_price"},
		{options{"spot_price": "cheap"}, "spot_price"}, {options{"spot_price": "-1"}, "spot_price"}, {options{"spot_price": "NaN"}, "spot_price"}, {options{"spot_price": "0"}, ""},
		{options{"spot_tags": map[string]string{"a": "b"}}, "spot_tags"}, {with(spot, options{"spot_tags": map[string]string{"aws:a": "b"}}), "spot_tags"},
		{with(spot, options{"ena_support": true}), "ena_support"}, {with(spot, options{"sriov_support": true}), "sriov_support"},
		{options{"enable_unlimited_credits": true}, ""}, {options{"enable_unlimited_credits": true, "instance_type": "m5.large"}, "enable_unlimited_credits"},
		{options{"subnet_ids": list("subnet-0123456789abcdef0", "a")}, "subnet_ids"},
		{options{"subnet_ids": list("subnet-0123456789abcdef0"), "subnet_id": "subnet-0123456789abcdef0"}, "subnet_ids"},
		{options{"metadata_options": options{"instance_metadata_tags": "yes"}}, "instance_metadata_tags"}, {options{"shutdown_behavior": "hibernate"}, "shutdown_behavior"},
		{options{"tenancy": "mine"}, "tenancy"}, {options{"placement": options{"tenancy": "mine"}}, "placement.tenancy"}, {options{"placement": options{"host_id": "x"}}, "placement.host_id"},
		{options{"placement": options{"host_id": "h-0123456789abcdef0"}}, ""}, {options{"placement": options{"host_id": "h-0123456789abcdef0", "tenancy": "dedicated"}}, "placement.tenancy"},
		{options{"placement": options{"host_resource_group_arn": "x"}}, "host_resource_group_arn"}, {with(spot, options{"tenancy": "host"}), "placement.tenancy"},
		{options{"capacity_reservation_preference": "maybe"}, "capacity_reservation_preference"}, {options{"capacity_reservation_id": "x"}, "capacity_reservation_id"},
		{options{"capacity_reservation_id": "cr-0123456789abcdef0", "capacity_reservation_preference": "open"}, "capacity_reservation_id"},
		{with(spot, options{"capacity_reservation_id": "cr-0123456789abcdef0"}), "capacity_reservation_preference"},
		{policy(nil), ""}, {with(policy(nil), options{"iam_instance_profile": "x"}), "temporary_iam_instance_profile_policy_document"},
		{policy(options{"Effect": "allow"}), "Statement[0].Effect"}, {policy(options{"Action": list()}), "Statement[0].Action"}, {policy(options{"Resource": list()}), "Statement[0].Resource"},
		{options{"temporary_iam_instance_profile_policy_document": options{"Version": "2012-10-17"}}, "Statement"},
		{options{"temporary_iam_instance_profile_policy_document": options{"Version": "1"}}, "Version"},
		{options{"ami_users": list("123456789012")}, ""}, {options{"ami_users": list("all")}, "ami_users"}, {options{"ami_groups": list("everybody")}, "ami_groups"}, {options{"ami_groups": list("all")}, ""},
		{options{"ami_org_arns": list("o-123")}, "ami_org_arns"}, {options{"ami_org_arns": list("arn:aws:organizations::123456789012:organization/o-abcdefghij")}, ""},
		{options{"ami_ou_arns": list("ou-123")}, "ami_ou_arns"}, {options{"ami_ou_arns": list("arn:aws:organizations::123456789012:ou/o-abcdefghij/ou-1a2b-34uvwxyz")}, ""},
		{options{"snapshot_users": list("me")}, "snapshot_users"}, {options{"snapshot_groups": list("me")}, "snapshot_groups"},
		{with(encrypted, options{"ami_groups": list("all")}), "ami_groups"}, {with(encrypted, options{"snapshot_groups": list("all")}), "snapshot_groups"},
		{with(encrypted, options{"ami_users": list("123456789012")}), "ami_users"}, {with(encrypted, options{"snapshot_users": list("123456789012"), "kms_key_id": "k"}), ""},
		{with(encrypted, options{"ami_users": list("123456789012"), "kms_key_id": "k", "ami_regions": list("eu-west-1")}), "region_kms_key_ids"},
		{options{"ami_regions": list("Frankfurt")}, "ami_regions"}, {options{"ami_regions": list("eu-west-1", "us-gov-west-1")}, ""},
		{options{"region_kms_key_ids": map[string]string{"us-east-1": "k"}}, "region_kms_key_ids"},
		{with(encrypted, options{"region_kms_key_ids": map[string]string{"eu-west-1": "k"}}), "region_kms_key_ids"},
		{with(encrypted, options{"region_kms_key_ids": map[string]string{"eu-west-1": "k", "us-east-1": ""}, "ami_regions": list("eu-west-1")}), ""},
		{options{"imds_support": "v1.0"}, "imds_support"}, {options{"deprecate_at": soon}, ""}, {options{"deprecate_at": "tomorrow"}, "deprecate_at"},
		{options{"deprecate_at": "2020-01-01T00:00:00Z"}, "deprecate_at"}, {options{"deprecate_at": "2999-01-01T00:00:00Z"}, "deprecate_at"},
		{options{"deregistration_protection": options{"with_cooldown": true}}, "with_cooldown"}, {options{"force_delete_snapshot": true}, "force_delete_snapshot"},
		{options{"skip_create_ami": true, "prove": options{"stack": "s", "tier": "db"}}, "skip_create_ami"},
		{options{"skip_create_ami": true, "ami_users": list("123456789012")}, "skip_create_ami"}, {options{"skip_create_ami": true}, ""},
		{options{"ami_block_device_mappings": []any{options{"device_name": "/dev/xvdb", "volume_type": "ssd"}}}, "ami_block_device_mappings[0].volume_type"},
		{options{"ami_block_device_mappings": []any{options{"device_name": "/dev/xvdb", "no_device": true, "volume_size": 1}}}, "ami_block_device_mappings[0].no_device"},
		{options{"tags": map[string]string{unfinishedTag: "x"}}, "tags"},
	} {
		_, _, err := new(Builder).Prepare(valid(c.change))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %q", c.change, err, c.want)
		}
	}
}

// mustTry is a bake that has to succeed.
func mustTry(t *testing.T, a *account, change options) *bake {
	t.Helper()
	b := newBake(t, a, change)
	if err := b.try(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func things(a *account) []string { return slices.Sorted(maps.Keys(a.things)) }

// everything are options that make things and change them after the AMI is there.
func everything() options {
	return with(policy(nil), options{"ami_regions": list("eu-west-1", "us-east-1", "eu-west-1"), "ami_users": list("123456789012"), "snapshot_users": list("123456789012"),
		"deprecate_at": time.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339), "deregistration_protection": options{"enabled": true}, "ena_support": true})
}

// TestNothingIsLeftOfOptions has each call fail that an option makes, before its work and after it, here and in the
// other region. Nothing stays, and what had the AMI's name before is there again.
func TestNothingIsLeftOfOptions(t *testing.T) {
	here := list("CreateRole", "PutRolePolicy", "CreateInstanceProfile", "AddRoleToInstanceProfile", "ModifyInstanceAttribute", "CreateImage")
	both := list("ModifyImageAttribute", "ModifySnapshotAttribute", "EnableImageDeprecation", "EnableImageDeregistrationProtection", "DeregisterImage")
	for _, call := range slices.Concat(here, both, list("GetInstanceProfile", "DescribeRegions", "DescribeImageAttribute")) {
		testNothingIsLeft(t, call, false, false)
		if !strings.HasPrefix(call, "Get") && !strings.HasPrefix(call, "Describe") {
			testNothingIsLeft(t, call, false, true)
		}
	}
	for _, call := range append(both, "CopyImage") {
		testNothingIsLeft(t, call, true, false)
		testNothingIsLeft(t, call, true, true)
	}
}

func testNothingIsLeft(t *testing.T, call string, abroad, late bool) {
	t.Helper()
	boom := errors.New("boom")
	a := newAccount(t)
	other := a.elsewhere("eu-west-1").(*account)
	where := a
	if abroad {
		where = other
	}
	for _, account := range []*account{a, other} {
		account.put("0old", "db-1", mine("b0"))
		account.once = true
	}
	if late {
		where.late[call] = boom
	} else {
		where.fails[call] = boom
	}
	err := newBake(t, a, with(everything(), options{"force_deregister": true})).try(t.Context())
	if !errors.Is(err, boom) {
		t.Errorf("%s (abroad: %v, late: %v): got %v", call, abroad, late, err)
	}
	for _, account := range []*account{a, other} {
		left := slices.DeleteFunc(things(account), func(id string) bool { return id == "ami-0old" || id == "snap-0old" || id == "ami-0again" })
		if len(left) > 0 || account.freeName("db-1") == nil {
			t.Errorf("%s (abroad: %v, late: %v): left %v; the old AMI is gone: %v; %v", call, abroad, late, left, account.freeName("db-1") == nil, err)
		}
	}
}

func TestPublished(t *testing.T) {
	a := newAccount(t)
	b := mustTry(t, a, everything())
	other := a.abroad["eu-west-1"]
	if !slices.Equal(things(a), list("ami-0made", "snap-0made")) || !slices.Equal(things(other), list("ami-0copy", "snap-0copy")) || len(a.abroad) != 1 {
		t.Errorf("there are %v and %v", things(a), things(other))
	}
	for _, account := range []*account{a, other} {
		image := account.own[0]
		id, snapshot := *image.ImageId, snapshotsOf(*image)[0]
		if p := account.permissions[id]; len(p) != 1 || aws.ToString(p[0].UserId) != "123456789012" {
			t.Errorf("%s: launch permissions %+v", id, p)
		}
		if p := account.volumes[snapshot]; len(p) != 1 || aws.ToString(p[0].UserId) != "123456789012" {
			t.Errorf("%s: volume permissions %+v", snapshot, p)
		}
		if image.ImdsSupport != "v2.0" || image.DeprecationTime == nil || !isProtected(*image) || valueOf(image.Tags, unfinishedTag) != "" || valueOf(image.Tags, buildTag) != "b1" {
			t.Errorf("%s is %+v", id, *image)
		}
	}
	if copied := other.copies[0]; *copied.SourceImageId != "ami-0made" || *copied.SourceRegion != "us-east-1" || copied.Encrypted != nil || copied.KmsKeyId != nil {
		t.Errorf("copied by %+v", copied)
	}
	if id := b.artifact(nil).Id(); id != "eu-west-1:ami-0copy,us-east-1:ami-0made" {
		t.Errorf("the artifact is %s", id)
	}
	if *a.launches[0].IamInstanceProfile.Name != "goldsmith-build-b1" || a.policy != `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["*"]}]}` || !*a.networking[0].EnaSupport.Value {
		t.Errorf("launched with %+v, %s", a.launches[0].IamInstanceProfile, a.policy)
	}
	a = newAccount(t)
	mustTry(t, a, options{"ami_groups": list("all"), "ami_org_arns": list("arn:aws:organizations::123456789012:organization/o-abcdefghij"),
		"ami_ou_arns": list("arn:aws:organizations::123456789012:ou/o-abcdefghij/ou-1a2b-34uvwxyz"), "snapshot_groups": list("all")})
	if p := a.permissions["ami-0made"]; len(p) != 3 || p[0].Group != "all" || p[1].OrganizationArn == nil || p[2].OrganizationalUnitArn == nil || a.volumes["snap-0made"][0].Group != "all" {
		t.Errorf("permissions are %+v and %+v", p, a.volumes)
	}
}

// TestPublicByAccident has an AMI that others made public while it was pending: it is not published.
func TestPublicByAccident(t *testing.T) {
	a := newAccount(t)
	old := a.put("0made", "db-1", mine("b0"))
	old.Tags = append(old.Tags, types.Tag{Key: aws.String(unfinishedTag), Value: aws.String("db-1")})
	old.Public = aws.Bool(true)
	if err := newBake(t, a, nil).try(t.Context()); err == nil || !strings.Contains(err.Error(), "public") || len(a.things) > 0 {
		t.Errorf("got %v, left %v", err, things(a))
	}
}

func TestEncryptedCopies(t *testing.T) {
	a := newAccount(t)
	mustTry(t, a, options{"encrypt_boot": true, "kms_key_id": "near", "ami_regions": list("eu-west-1", "eu-central-1"), "region_kms_key_ids": map[string]string{"eu-west-1": "far"}})
	if ebs := a.launches[0].BlockDeviceMappings[0].Ebs; !*ebs.Encrypted || *ebs.KmsKeyId != "near" {
		t.Errorf("the root volume is %+v", ebs)
	}
	for region, key := range map[string]string{"eu-west-1": "far", "eu-central-1": ""} {
		if in := a.abroad[region].copies[0]; !*in.Encrypted || aws.ToString(in.KmsKeyId) != key {
			t.Errorf("%s: encrypted %v with %q", region, *in.Encrypted, aws.ToString(in.KmsKeyId))
		}
	}
	if !slices.Equal(things(a), list("ami-0made", "snap-0made")) {
		t.Errorf("there are %v: the disk is encrypted from the start, and nothing comes between", things(a))
	}
	b := newBake(t, a, options{"encrypt_boot": true, "kms_key_id": "near", "region_kms_key_ids": map[string]string{"us-east-1": "own"}})
	if b.config.keyOf("us-east-1") != "own" {
		t.Error("region_kms_key_ids does not go before kms_key_id")
	}
}

func TestRegionsThatAreNotOpen(t *testing.T) {
	for region, want := range map[string]string{"eu-north-9": "no region", "me-south-1": "not opted in"} {
		a := newAccount(t)
		if err := newBake(t, a, options{"ami_regions": list(region)}).check(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", region, err, want)
		}
		if err := newBake(t, a, options{"ami_regions": list(region), "skip_region_validation": true}).check(t.Context()); err != nil {
			t.Errorf("%s, not validated: %v", region, err)
		}
	}
	a := newAccount(t)
	a.elsewhere("eu-west-1").(*account).put("0old", "db-1", mine("b0"))
	if err := newBake(t, a, options{"ami_regions": list("eu-west-1")}).adoptOrCheckNames(t.Context()); err == nil || !strings.Contains(err.Error(), "ami-0old in eu-west-1") {
		t.Errorf("a name that is taken abroad: got %v", err)
	}
}

// slow is an account whose images stay in a state.
type slow struct {
	*account
	is types.ImageState
}

func (s *slow) DescribeImages(ctx context.Context, in *ec2.DescribeImagesInput, o ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	out, err := s.account.DescribeImages(ctx, in, o...)
	for i := range out.Images {
		if len(in.ImageIds) > 0 && aws.ToString(out.Images[i].ImageId) != "ami-0aaaaaaaa" {
			out.Images[i].State = s.is
		}
	}
	return out, err
}

// TestImageThatTakesTooLong is kept, and the next run goes on from it without an instance.
func TestImageThatTakesTooLong(t *testing.T) {
	a := newAccount(t)
	patience := options{"aws_polling": options{"max_attempts": 1}, "ami_regions": list("eu-west-1"), "ami_users": list("123456789012")}
	b := newBake(t, a, patience)
	b.ec2 = &slow{a, types.ImageStatePending}
	err := b.try(t.Context())
	if err == nil || !strings.Contains(err.Error(), "max_attempts") || !strings.Contains(err.Error(), "ami-0made in us-east-1 is kept") || !slices.Equal(things(a), list("ami-0made", "snap-0made")) {
		t.Fatalf("got %v, left %v", err, things(a))
	}
	if image := a.own[0]; valueOf(image.Tags, unfinishedTag) != "db-1" || len(a.permissions) > 0 {
		t.Fatalf("kept as %+v, with permissions %+v", *image, a.permissions)
	}
	// The wait for the copy is too short the second time.
	other := a.elsewhere("eu-west-1").(*account)
	b = newBake(t, a, patience)
	b.id, b.elsewhere = "b2", func(string) ec2API { return &slow{other, types.ImageStatePending} }
	if err := b.try(t.Context()); err == nil || !strings.Contains(err.Error(), "ami-0copy in eu-west-1 is kept") || len(a.launches) != 1 || !other.has("ami-0copy") {
		t.Fatalf("got %v, launched %d, left %v", err, len(a.launches), things(other))
	}
	b = newBake(t, a, patience)
	b.id = "b3"
	if err := b.try(t.Context()); err != nil || len(a.launches) != 1 || len(other.copies) != 1 || len(a.permissions["ami-0made"]) != 1 || valueOf(a.own[0].Tags, unfinishedTag) != "" {
		t.Errorf("got %v, launched %d, copied %d, %+v", err, len(a.launches), len(other.copies), *a.own[0])
	}
	if b.image != "ami-0made" || b.id != "b1" {
		t.Errorf("the result is %s of build %s", b.image, b.id)
	}
}

func TestUnfinishedImages(t *testing.T) {
	leave := func(t *testing.T) *account {
		a := newAccount(t)
		image := a.put("0left", "db-1", mine("b0"))
		image.Tags = append(image.Tags, types.Tag{Key: aws.String(unfinishedTag), Value: aws.String("db-1")})
		return a
	}
	a := leave(t)
	b := newBake(t, a, nil)
	if image, ok, err := b.adoptable(t.Context()); err != nil || !ok || *image.ImageId != "ami-0left" {
		t.Errorf("got %+v, %v, %v", image, ok, err)
	}
	if _, ok, _ := newBake(t, a, options{"ami_name": "db-2"}).adoptable(t.Context()); ok {
		t.Error("an AMI of another name is adopted")
	}
	a.own[0].State = types.ImageStateFailed
	if err := b.try(t.Context()); err != nil || b.image != "ami-0made" || a.has("ami-0left") {
		t.Errorf("one that failed: got %v, %s, left %v", err, b.image, things(a))
	}
	a = leave(t)
	b = newBake(t, a, options{"packer_force": true})
	if err := b.try(t.Context()); err != nil || b.image != "ami-0made" || !slices.Equal(things(a), list("ami-0made", "snap-0made")) {
		t.Errorf("forced: got %v, %s, left %v", err, b.image, things(a))
	}
	// A tag that cannot be taken off leaves the AMI to the next run.
	a = newAccount(t)
	a.fails["DeleteTags"] = errors.New("boom")
	if err := newBake(t, a, nil).try(t.Context()); err == nil || !strings.Contains(err.Error(), "is kept") || !a.has("ami-0made") {
		t.Errorf("got %v, left %v", err, things(a))
	}
}

// TestInterruptAfterTheImage has the interrupt come between two stages that follow the AMI: it is not done, and goes.
func TestInterruptAfterTheImage(t *testing.T) {
	a := newAccount(t)
	b := newBake(t, a, options{"ami_users": list("123456789012"), "ami_regions": list("eu-west-1")})
	ctx, cancel := context.WithCancel(t.Context())
	b.elsewhere = func(region string) ec2API {
		if a.has("ami-0made") {
			cancel()
		}
		return a.elsewhere(region)
	}
	if err := b.try(ctx); !errors.Is(err, context.Canceled) || len(a.things) > 0 || len(a.abroad["eu-west-1"].things) > 0 {
		t.Errorf("got %v, left %v and %v", err, things(a), things(a.abroad["eu-west-1"]))
	}
}

func TestReplaced(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		a := newAccount(t)
		a.put("0old", "db-1", mine("b0"))
		a.put("0other", "db-2", mine("b0"))
		mustTry(t, a, options{"force_deregister": true, "force_delete_snapshot": deleted})
		want := list("ami-0made", "ami-0other", "snap-0made", "snap-0other")
		if !deleted {
			want = slices.Insert(want, 3, "snap-0old")
		}
		if !slices.Equal(things(a), want) {
			t.Errorf("deleted %v: there are %v, want %v", deleted, things(a), want)
		}
	}
	a := newAccount(t)
	a.put("0old", "db-1", mine("b0")).DeregistrationProtection = aws.String("enabled-with-cooldown")
	if err := newBake(t, a, options{"force_deregister": true}).try(t.Context()); err == nil || !strings.Contains(err.Error(), "protected") || !a.has("ami-0old") || len(a.launches) > 0 {
		t.Errorf("got %v, there are %v", err, things(a))
	}
}

// TestReplacedIsThereAgain has the old AMI back as it was, under a new id, if the new one is not made. Until the machine
// is ready nothing happens to it.
func TestReplacedIsThereAgain(t *testing.T) {
	soon := time.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339)
	for _, call := range list("StopInstances", "CreateImage") {
		a := newAccount(t)
		old := a.put("0old", "db-1", mine("b0"))
		old.DeprecationTime, old.Description = aws.String(soon), aws.String("the old one")
		a.permissions = map[string][]types.LaunchPermission{"ami-0old": {{UserId: aws.String("123456789012")}}}
		a.fails[call] = errors.New("boom")
		err := newBake(t, a, options{"force_deregister": true, "force_delete_snapshot": true}).try(t.Context())
		if err == nil || !a.has("snap-0old") {
			t.Errorf("%s fails: got %v, left %v", call, err, things(a))
		}
		if call == "StopInstances" {
			if !a.has("ami-0old") || len(a.registered) > 0 {
				t.Errorf("it was touched before the machine was ready: %v", things(a))
			}
			continue
		}
		image := a.own[0]
		if len(a.registered) != 1 || *image.ImageId != "ami-0again" || *image.Name != "db-1" || aws.ToString(image.DeprecationTime) != soon ||
			*a.registered[0].Description != "the old one" || valueOf(a.registered[0].TagSpecifications[0].Tags, buildTag) != "b0" || len(a.permissions["ami-0again"]) != 1 {
			t.Errorf("it is there again as %+v, by %+v", *image, a.registered)
		}
	}
}

func TestSkipCreate(t *testing.T) {
	a := newAccount(t)
	a.put("0old", "db-1", mine("b0")) // the name does not matter
	b := mustTry(t, a, options{"skip_create_ami": true})
	if !slices.Equal(things(a), list("ami-0old", "snap-0old")) || b.image != "" {
		t.Errorf("there are %v", things(a))
	}
}

// zones gives an account two subnets in one zone and one in another.
func zones(a *account) {
	a.subnets = nil
	for _, subnet := range [][2]string{{"subnet-0aaaaaaaa", "us-east-1a"}, {"subnet-0bbbbbbbb", "us-east-1a"}, {"subnet-0cccccccc", "us-east-1b"}} {
		a.subnets = append(a.subnets, types.Subnet{SubnetId: aws.String(subnet[0]), VpcId: aws.String("vpc-0aaaaaaaa"), AvailabilityZone: aws.String(subnet[1])})
	}
}

func TestFallback(t *testing.T) {
	three := list("subnet-0aaaaaaaa", "subnet-0bbbbbbbb", "subnet-0cccccccc")
	base := options{"instance_type": "t3.small", "instance_types": list("t3.medium"), "subnet_ids": three}
	const none, zone = "InsufficientInstanceCapacity", "Unsupported"
	for _, c := range []struct {
		name     string
		change   options
		full     map[string]string
		vanishes string
		want     []string
		fault    string
	}{
		{"room at once", base, nil, "", list("t3.small 0aaaaaaaa"), ""},
		{"no room in a zone", base, map[string]string{"t3.small 0aaaaaaaa": none}, "", list("t3.small 0aaaaaaaa", "t3.small 0cccccccc"), ""},
		{"no address in a subnet", base, map[string]string{"t3.small 0aaaaaaaa": "InsufficientFreeAddressesInSubnet"}, "", list("t3.small 0aaaaaaaa", "t3.small 0bbbbbbbb"), ""},
		{"no room of a type", base, map[string]string{"t3.small 0aaaaaaaa": zone, "t3.small 0cccccccc": none}, "", list("t3.small 0aaaaaaaa", "t3.small 0cccccccc", "t3.medium 0aaaaaaaa"), ""},
		{"a quota of the account", base, map[string]string{"t3.small 0aaaaaaaa": "VcpuLimitExceeded"}, "", list("t3.small 0aaaaaaaa", "t3.medium 0aaaaaaaa"), ""},
		{"no room after the answer", base, nil, "t3.small 0aaaaaaaa", list("t3.small 0aaaaaaaa", "t3.small 0cccccccc"), ""},
		{"no room anywhere", base, map[string]string{"t3.small 0aaaaaaaa": none, "t3.small 0cccccccc": none, "t3.medium 0aaaaaaaa": none, "t3.medium 0cccccccc": "InsufficientHostCapacity"}, "",
			list("t3.small 0aaaaaaaa", "t3.small 0cccccccc", "t3.medium 0aaaaaaaa", "t3.medium 0cccccccc"), "instance_types"},
		{"another fault", base, map[string]string{"t3.small 0aaaaaaaa": "InvalidKeyPair.NotFound"}, "", list("t3.small 0aaaaaaaa"), "InvalidKeyPair"},
		{"one type", options{}, map[string]string{"t3.small 0aaaaaaaa": none, "t3.small 0cccccccc": none}, "", nil, "subnet_ids"},
		{"spot", with(base, options{"spot_price": "0.01"}), map[string]string{"t3.small 0aaaaaaaa": "SpotMaxPriceTooLow", "t3.small 0cccccccc": "MaxSpotInstanceCountExceeded"}, "",
			list("t3.small 0aaaaaaaa", "t3.small 0cccccccc", "t3.medium 0aaaaaaaa"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAccount(t)
			zones(a)
			a.full, a.vanishes = c.full, map[string]bool{c.vanishes: true}
			err := newBake(t, a, c.change).try(t.Context())
			if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("got %v, want %q", err, c.fault)
			}
			if c.want != nil && !slices.Equal(a.tried, c.want) {
				t.Errorf("tried %v, want %v", a.tried, c.want)
			}
			if err != nil && len(a.things) > 0 {
				t.Errorf("left %v", things(a))
			}
		})
	}
}

func TestSubnetsOfTwoVPCs(t *testing.T) {
	a := newAccount(t)
	zones(a)
	a.subnets[1].VpcId = aws.String("vpc-0bbbbbbbb")
	if err := newBake(t, a, options{"subnet_ids": list("subnet-0aaaaaaaa", "subnet-0bbbbbbbb")}).check(t.Context()); err == nil || !strings.Contains(err.Error(), "one VPC") {
		t.Errorf("got %v", err)
	}
}

func TestSpot(t *testing.T) {
	a := newAccount(t)
	zones(a)
	a.spot = map[string]string{"t3.medium": "0.02", "m5.large": "0.01"}
	mustTry(t, a, options{"instance_type": "", "spot_instance_types": list("t3.small", "t3.medium", "m5.large"), "spot_price": "0.03", "spot_tags": map[string]string{"who": "me"}})
	in := a.launches[0]
	if options := in.InstanceMarketOptions.SpotOptions; in.InstanceType != "m5.large" || *options.MaxPrice != "0.03" || options.SpotInstanceType != types.SpotInstanceTypeOneTime {
		t.Errorf("launched %s with %+v", in.InstanceType, options)
	}
	tagged := slices.ContainsFunc(in.TagSpecifications, func(s types.TagSpecification) bool {
		return s.ResourceType == types.ResourceTypeSpotInstancesRequest && valueOf(s.Tags, "who") == "me"
	})
	if !tagged || a.state != types.InstanceStateNameRunning {
		t.Errorf("the request is tagged: %v; the instance is %s", tagged, a.state)
	}
	a = newAccount(t)
	mustTry(t, a, options{"spot_price": "auto"})
	if price := a.launches[0].InstanceMarketOptions.SpotOptions.MaxPrice; price != nil {
		t.Errorf("auto is %s", *price)
	}
}

func TestLaunchOptions(t *testing.T) {
	a := newAccount(t)
	mustTry(t, a, options{"placement": options{"host_id": "h-0123456789abcdef0"}, "capacity_reservation_id": "cr-0123456789abcdef0", "ebs_optimized": true, "enable_unlimited_credits": true,
		"shutdown_behavior": "terminate", "metadata_options": options{"instance_metadata_tags": "enabled"}, "sriov_support": true,
		"ami_block_device_mappings": []any{options{"device_name": "/dev/sdf", "volume_size": 2}, options{"device_name": "/dev/sdg", "no_device": true}}})
	in := a.launches[0]
	if in.Placement.Tenancy != "host" || *in.Placement.HostId != "h-0123456789abcdef0" || *in.CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId != "cr-0123456789abcdef0" ||
		!*in.EbsOptimized || *in.CreditSpecification.CpuCredits != "unlimited" || in.InstanceInitiatedShutdownBehavior != "terminate" || in.MetadataOptions.InstanceMetadataTags != "enabled" {
		t.Errorf("launched with %+v", in)
	}
	if *a.networking[0].SriovNetSupport.Value != "simple" || len(a.created) != 2 || *a.created[0].Ebs.VolumeSize != 2 || a.created[1].NoDevice == nil || a.created[1].Ebs != nil {
		t.Errorf("imaged with %+v and %+v", a.networking, a.created)
	}
	a = newAccount(t)
	mustTry(t, a, nil)
	if in := a.launches[0]; in.Placement != nil || in.CapacityReservationSpecification != nil || in.EbsOptimized != nil || in.CreditSpecification != nil || in.InstanceMarketOptions != nil || in.IamInstanceProfile != nil {
		t.Errorf("nothing was asked for, and launched with %+v", in)
	}
}

// TestProfileThatIsNotKnownYet has EC2 learn of the new profile some moments after IAM.
func TestProfileThatIsNotKnownYet(t *testing.T) {
	a := newAccount(t)
	a.unknown = 2
	mustTry(t, a, policy(nil))
	a = newAccount(t)
	a.unknown = 2
	mustTry(t, a, options{"iam_instance_profile": "mine"}) // its maker may be as quick
	a = newAccount(t)
	a.unknown = 1
	a.fails["GetInstanceProfile"] = gone("NoSuchEntity")
	if err := newBake(t, a, options{"iam_instance_profile": "mine"}).try(t.Context()); err == nil || !strings.Contains(fmt.Sprint(err), "iamInstanceProfile") {
		t.Errorf("a profile of the user's that is not there: got %v", err)
	}
}

// TestWhatIsOurs has an unfinished AMI of other inputs, of an old one, or of one that is not proved left alone.
func TestWhatIsOurs(t *testing.T) {
	in := inputs.Inputs{"a": "00000000"}
	unchanged := options{"unchanged": options{"max_age": "1h"}}
	for _, c := range []struct {
		name   string
		change func(*types.Image)
		want   bool
	}{
		{"the same inputs under another name", func(image *types.Image) { image.Name = aws.String("db-0") }, true},
		{"other inputs", func(image *types.Image) { image.Tags[2].Value = aws.String("x") }, false},
		{"another series", func(image *types.Image) { image.Tags[3].Value = aws.String("web") }, false},
		{"too old", func(image *types.Image) { image.CreationDate = aws.String("2026-01-01T00:00:00Z") }, false},
		{"not proved", func(image *types.Image) {
			image.Tags = append(image.Tags, types.Tag{Key: aws.String(images.UnprovedTag), Value: aws.String("no")})
		}, false},
		{"of nobody's build", func(image *types.Image) { image.Tags = image.Tags[1:] }, false},
	} {
		a := newAccount(t)
		b := newBake(t, a, unchanged)
		b.inputs = in
		image := a.put("0left", "db-1", mine("b0"))
		image.CreationDate = aws.String(time.Now().UTC().Format(time.RFC3339))
		image.Tags = append(image.Tags, types.Tag{Key: aws.String(unfinishedTag), Value: aws.String("db-1")}, types.Tag{Key: aws.String(images.DigestTag), Value: aws.String(in.Digest())}, types.Tag{Key: aws.String(images.SeriesTag), Value: aws.String(b.series())})
		c.change(image)
		if _, ok, err := b.adoptable(t.Context()); err != nil || ok != c.want {
			t.Errorf("%s: adopted %v, %v", c.name, ok, err)
		}
		if done, err := b.unchanged(t.Context()); err != nil || done {
			t.Errorf("%s: an unfinished AMI is taken for one that is done: %v, %v", c.name, done, err)
		}
	}
}

// TestProvedImageStays has a stage fail that comes after the proof: others may run the AMI already.
func TestProvedImageStays(t *testing.T) {
	a := newAccount(t)
	a.put("0old", "db-1", mine("b0"))
	a.fails["EnableImageDeprecation"] = errors.New("boom")
	b := newBake(t, a, with(everything(), options{"force_deregister": true}))
	b.proved = true
	err := b.try(t.Context())
	if err == nil || !slices.Equal(things(a), list("ami-0made", "snap-0made", "snap-0old")) || len(a.abroad["eu-west-1"].things) > 0 || len(a.registered) > 0 {
		t.Errorf("got %v, left %v and %v", err, things(a), things(a.abroad["eu-west-1"]))
	}
	if _, ok, err := newBake(t, a, nil).adoptable(t.Context()); !ok || err != nil {
		t.Errorf("the next run does not go on from it: %v", err)
	}
}
