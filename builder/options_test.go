package builder

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
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
		{options{"instance_type": "", "instance_types": list("t3.small")}, ""},
		{options{"instance_types": list("small")}, "instance_types"},
		{options{"instance_type": "", "spot_instance_types": list("t3.small"), "spot_price": "0.05"}, ""},
		{options{"instance_type": ""}, "instance_type"},
		{options{"spot_instance_types": list("t3.small"), "spot_price": "auto"}, "spot_instance_types"},
		{
			options{"instance_type": "", "spot_instance_types": list("t3.small")},
			"spot_instance_types: it goes with spot_price",
		},
		{options{"spot_price": "cheap"}, "spot_price"},
		{options{"spot_price": "-1"}, "spot_price"},
		{options{"spot_price": "NaN"}, "spot_price"},
		{options{"spot_price": "0"}, ""},
		{options{"spot_tags": map[string]string{"a": "b"}}, "spot_tags"},
		{with(spot, options{"spot_tags": map[string]string{"aws:a": "b"}}), "spot_tags"},
		{with(spot, options{"ena_support": true}), "ena_support"},
		{with(spot, options{"sriov_support": true}), "sriov_support"},
		{options{"enable_unlimited_credits": true}, ""},
		{options{"enable_unlimited_credits": true, "instance_type": "m5.large"}, "enable_unlimited_credits"},
		{options{"subnet_ids": list("subnet-0123456789abcdef0", "a")}, "subnet_ids"},
		{
			options{"subnet_ids": list("subnet-0123456789abcdef0"), "subnet_id": "subnet-0123456789abcdef0"},
			"subnet_ids",
		},
		{options{"metadata_options": options{"instance_metadata_tags": "yes"}}, "instance_metadata_tags"},
		{options{"shutdown_behavior": "hibernate"}, "shutdown_behavior"},
		{options{"tenancy": "mine"}, "tenancy"},
		{options{"placement": options{"tenancy": "mine"}}, "placement.tenancy"},
		{options{"placement": options{"host_id": "x"}}, "placement.host_id"},
		{options{"placement": options{"host_id": "h-0123456789abcdef0"}}, ""},
		{options{"placement": options{"host_id": "h-0123456789abcdef0", "tenancy": "dedicated"}}, "placement.tenancy"},
		{options{"placement": options{"host_resource_group_arn": "x"}}, "host_resource_group_arn"},
		{with(spot, options{"tenancy": "host"}), "placement.tenancy"},
		{options{"capacity_reservation_preference": "maybe"}, "capacity_reservation_preference"},
		{options{"capacity_reservation_id": "x"}, "capacity_reservation_id"},
		{
			options{"capacity_reservation_id": "cr-0123456789abcdef0", "capacity_reservation_preference": "open"},
			"capacity_reservation_id",
		},
		{with(spot, options{"capacity_reservation_id": "cr-0123456789abcdef0"}), "capacity_reservation_preference"},
		{policy(nil), ""},
		{with(policy(nil), options{"iam_instance_profile": "x"}), "temporary_iam_instance_profile_policy_document"},
		{policy(options{"Effect": "allow"}), "Statement[0].Effect"},
		{policy(options{"Action": list()}), "Statement[0].Action"},
		{policy(options{"Resource": list()}), "Statement[0].Resource"},
		{options{"temporary_iam_instance_profile_policy_document": options{"Version": "2012-10-17"}}, "Statement"},
		{options{"temporary_iam_instance_profile_policy_document": options{"Version": "1"}}, "Version"},
		{options{"ami_users": list("123456789012")}, ""},
		{options{"ami_users": list("all")}, "ami_users"},
		{options{"ami_groups": list("everybody")}, "ami_groups"},
		{options{"ami_groups": list("all")}, ""},
		{options{"ami_org_arns": list("o-123")}, "ami_org_arns"},
		{options{"ami_org_arns": list("arn:aws:organizations::123456789012:organization/o-abcdefghij")}, ""},
		{options{"ami_ou_arns": list("ou-123")}, "ami_ou_arns"},
		{options{"ami_ou_arns": list("arn:aws:organizations::123456789012:ou/o-abcdefghij/ou-1a2b-34uvwxyz")}, ""},
		{options{"snapshot_users": list("me")}, "snapshot_users"},
		{options{"snapshot_groups": list("me")}, "snapshot_groups"},
		{with(encrypted, options{"ami_groups": list("all")}), "ami_groups"},
		{with(encrypted, options{"snapshot_groups": list("all")}), "snapshot_groups"},
		{with(encrypted, options{"ami_users": list("123456789012")}), "ami_users"},
		{with(encrypted, options{"snapshot_users": list("123456789012"), "kms_key_id": "k"}), ""},
		{
			with(encrypted, options{
				"ami_users":   list("123456789012"),
				"kms_key_id":  "k",
				"ami_regions": list("eu-west-1"),
			}),
			"region_kms_key_ids",
		},
		{options{"ami_regions": list("Frankfurt")}, "ami_regions"},
		{options{"ami_regions": list("eu-west-1", "us-gov-west-1")}, ""},
		{options{"region_kms_key_ids": map[string]string{"us-east-1": "k"}}, "region_kms_key_ids"},
		{with(encrypted, options{"region_kms_key_ids": map[string]string{"eu-west-1": "k"}}), "region_kms_key_ids"},
		{
			with(encrypted, options{
				"region_kms_key_ids": map[string]string{"eu-west-1": "k", "us-east-1": ""},
				"ami_regions":        list("eu-west-1"),
			}),
			"",
		},
		{options{"imds_support": "v1.0"}, "imds_support"},
		{options{"deprecate_at": soon}, ""},
		{options{"deprecate_at": "tomorrow"}, "deprecate_at"},
		{options{"deprecate_at": "2020-01-01T00:00:00Z"}, "deprecate_at"},
		{options{"deprecate_at": "2999-01-01T00:00:00Z"}, "deprecate_at"},
		{options{"deregistration_protection": options{"with_cooldown": true}}, "with_cooldown"},
		{options{"force_delete_snapshot": true}, "force_delete_snapshot"},
		{options{"instance_type": "t2.micro"}, ""},
		{options{"instance_type": "t2.micro", "prove": options{"stack": "s", "tier": "db"}}, "prove.instance_type"},
		{options{"skip_create_ami": true, "prove": options{"stack": "s", "tier": "db"}}, "skip_create_ami"},
		{options{"skip_create_ami": true, "ami_users": list("123456789012")}, "skip_create_ami"},
		{options{"skip_create_ami": true}, ""},
		{
			options{"ami_block_device_mappings": []any{options{"device_name": "/dev/xvdb", "volume_type": "ssd"}}},
			"ami_block_device_mappings[0].volume_type",
		},
		{
			options{"ami_block_device_mappings": []any{options{
				"device_name": "/dev/xvdb",
				"no_device":   true,
				"volume_size": 1,
			}}},
			"ami_block_device_mappings[0].no_device",
		},
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
	b := bakeOf(t, a, "b1", change)
	if err := b.try(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// everything are options that make things and change them after the AMI is there.
func everything() options {
	return with(policy(nil), options{
		"ami_regions":               list(abroad, here, abroad),
		"ami_users":                 list("123456789012"),
		"snapshot_users":            list("123456789012"),
		"deprecate_at":              time.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339),
		"deregistration_protection": options{"enabled": true},
		"ena_support":               true,
	})
}

// TestNothingIsLeftOfOptions has each call fail that an option makes, before its work and after it, here and in the
// other region. Nothing stays, and what had the AMI's name before is there again.
func TestNothingIsLeftOfOptions(t *testing.T) {
	near := list("CreateRole", "PutRolePolicy", "CreateInstanceProfile", "AddRoleToInstanceProfile",
		"ModifyInstanceAttribute", "CreateImage")
	both := list("ModifyImageAttribute", "ModifySnapshotAttribute", "EnableImageDeprecation",
		"EnableImageDeregistrationProtection", "DeregisterImage")
	asked := list("GetInstanceProfile", "DescribeRegions", "DescribeImageAttribute")
	for _, call := range slices.Concat(near, both, asked) {
		testNothingIsLeft(t, ec2fake.Fault{Call: call, Region: here})
		if !slices.Contains(asked, call) {
			testNothingIsLeft(t, ec2fake.Fault{Call: call, Region: here, Late: true})
		}
	}
	for _, call := range append(both, "CopyImage") {
		testNothingIsLeft(t, ec2fake.Fault{Call: call, Region: abroad})
		testNothingIsLeft(t, ec2fake.Fault{Call: call, Region: abroad, Late: true})
	}
}

func testNothingIsLeft(t *testing.T, f ec2fake.Fault) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { nothingIsLeft(t, f) }) // what may be there is looked for again
}

func nothingIsLeft(t *testing.T, f ec2fake.Fault) {
	t.Helper()
	f.Nth, f.Err = 1, errors.New("boom") // once: what cleans up may make the same call
	a := newAccount(t)
	for _, region := range list(here, abroad) {
		a.put(region, "0old-"+region, "db-1", "b0")
	}
	a.there = append(a.Things(), a.there...)
	a.Fail(f)
	err := bakeOf(t, a, "b1", with(everything(), options{"force_deregister": true})).try(t.Context())
	if !errors.Is(err, f.Err) {
		t.Errorf("%+v: got %v", f, err)
	}
	var bearers []string
	for _, region := range list(here, abroad) {
		if bearer := a.In(region).ImageNamed("db-1"); bearer == nil || ec2ops.TagValue(bearer.Tags, buildTag) != "b0" {
			t.Errorf("%+v: the old AMI of %s is gone: %v", f, region, err)
		} else {
			bearers = append(bearers, *bearer.ImageId)
		}
	}
	left := slices.DeleteFunc(a.left(), func(id string) bool { return slices.Contains(bearers, id) })
	if len(left) > 0 {
		t.Errorf("%+v: left %v; %v", f, left, err)
	}
}

func TestPublished(t *testing.T) {
	a := newAccount(t)
	mustTry(t, a, everything())
	if want := list(theImage, nextImage, theSnapshot, nextSnapshot); !slices.Equal(a.left(), want) {
		t.Errorf("there are %v", a.left())
	}
	for region, id := range map[string]string{here: theImage, abroad: nextImage} {
		image := a.In(region).Image(id)
		if p := a.In(region).LaunchPermissions(id); len(p) != 1 || aws.ToString(p[0].UserId) != "123456789012" {
			t.Errorf("%s: launch permissions %+v", id, p)
		}
		snapshot := ec2ops.SnapshotsOf(*image)[0]
		if p := a.In(region).VolumePermissions(snapshot); len(p) != 1 || aws.ToString(p[0].UserId) != "123456789012" {
			t.Errorf("%s: volume permissions %+v", snapshot, p)
		}
		if image.ImdsSupport != "v2.0" || image.DeprecationTime == nil || !isProtected(*image) ||
			ec2ops.TagValue(image.Tags, unfinishedTag) != "" || ec2ops.TagValue(image.Tags, buildTag) != "b1" {
			t.Errorf("%s is %+v", id, *image)
		}
	}
}

func TestCopiedWithARoleOfItsOwn(t *testing.T) {
	a := newAccount(t)
	b := mustTry(t, a, everything())
	copied := inputsTo[*ec2.CopyImageInput](a, "CopyImage")
	if in := copied[0]; len(copied) != 1 || *in.SourceImageId != theImage || *in.SourceRegion != here ||
		in.Encrypted != nil || in.KmsKeyId != nil {
		t.Errorf("copied by %+v", copied)
	}
	if id := b.artifact(map[string]any{}).Id(); id != abroad+":"+nextImage+","+here+":"+theImage {
		t.Errorf("the artifact is %s", id)
	}
	const want = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":["*"]}]}`
	profile := a.launches()[0].IamInstanceProfile
	given := inputsTo[*iam.PutRolePolicyInput](a, "PutRolePolicy")[0]
	if *profile.Name != "goldsmith-build-b1" || *given.PolicyDocument != want ||
		!*a.In(here).Attributes()[0].EnaSupport.Value {
		t.Errorf("launched with %+v, %s", profile, *given.PolicyDocument)
	}
}

func TestPublishedToMany(t *testing.T) {
	a := newAccount(t)
	mustTry(t, a, options{
		"ami_groups":      list("all"),
		"ami_org_arns":    list("arn:aws:organizations::123456789012:organization/o-abcdefghij"),
		"ami_ou_arns":     list("arn:aws:organizations::123456789012:ou/o-abcdefghij/ou-1a2b-34uvwxyz"),
		"snapshot_groups": list("all"),
	})
	p, volumes := a.In(here).LaunchPermissions(theImage), a.In(here).VolumePermissions(theSnapshot)
	if len(p) != 3 || p[0].Group != "all" || p[1].OrganizationArn == nil || p[2].OrganizationalUnitArn == nil ||
		volumes[0].Group != "all" {
		t.Errorf("permissions are %+v and %+v", p, volumes)
	}
}

// TestPublicByAccident has an AMI that others made public while it was pending: it is not published.
func TestPublicByAccident(t *testing.T) {
	a := newAccount(t)
	a.put(here, "0old", "db-1", "b0", unfinishedTag, "db-1")
	a.In(here).SetImage("ami-0old", func(i *types.Image) { i.Public = aws.Bool(true) })
	err := bakeOf(t, a, "b1", nil).try(t.Context())
	if err == nil || !strings.Contains(err.Error(), "public") || len(a.left()) > 0 {
		t.Errorf("got %v, left %v", err, a.left())
	}
}

func TestEncryptedCopies(t *testing.T) {
	a := newAccount(t)
	mustTry(t, a, options{
		"encrypt_boot":       true,
		"kms_key_id":         "near",
		"ami_regions":        list(abroad, "eu-central-1"),
		"region_kms_key_ids": map[string]string{abroad: "far"},
	})
	if ebs := a.launches()[0].BlockDeviceMappings[0].Ebs; !*ebs.Encrypted || *ebs.KmsKeyId != "near" {
		t.Errorf("the root volume is %+v", ebs)
	}
	keys := map[string]string{abroad: "far", "eu-central-1": ""}
	copies := a.Calls("CopyImage")
	for _, call := range copies {
		in := call.Input.(*ec2.CopyImageInput)
		if !*in.Encrypted || aws.ToString(in.KmsKeyId) != keys[call.Region] {
			t.Errorf("%s: encrypted %v with %q", call.Region, *in.Encrypted, aws.ToString(in.KmsKeyId))
		}
	}
	if len(copies) != 2 || len(a.left()) != 6 {
		t.Errorf("there are %v: the disk is encrypted from the start, and nothing comes between", a.left())
	}
	b := bakeOf(t, a, "b1", options{
		"encrypt_boot":       true,
		"kms_key_id":         "near",
		"region_kms_key_ids": map[string]string{here: "own"},
	})
	if b.job.config.keyOf(here) != "own" {
		t.Error("region_kms_key_ids does not go before kms_key_id")
	}
}

func TestRegionsThatAreNotOpen(t *testing.T) {
	for region, want := range map[string]string{"eu-north-9": "no region", "me-south-1": "not opted in"} {
		a := newAccount(t)
		err := bakeOf(t, a, "b1", options{"ami_regions": list(region)}).check(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", region, err, want)
		}
		unchecked := options{"ami_regions": list(region), "skip_region_validation": true}
		if err := bakeOf(t, a, "b1", unchecked).check(t.Context()); err != nil {
			t.Errorf("%s, not validated: %v", region, err)
		}
	}
	a := newAccount(t)
	a.put(abroad, "0old", "db-1", "b0")
	err := bakeOf(t, a, "b1", options{"ami_regions": list(abroad)}).adoptOrCheckNames(t.Context())
	if err == nil || !strings.Contains(err.Error(), "ami-0old in eu-west-1") {
		t.Errorf("a name that is taken abroad: got %v", err)
	}
}

// TestImageThatTakesTooLong is kept, and the next run goes on from it without an instance.
func TestImageThatTakesTooLong(t *testing.T) {
	a := newAccount(t)
	patience := options{
		"aws_polling": options{"max_attempts": 1},
		"ami_regions": list(abroad),
		"ami_users":   list("123456789012"),
	}
	slow := func(call, region, id string) {
		a.Watch(call, func(any, any) {
			a.In(region).SetImage(id, func(i *types.Image) { i.State = types.ImageStateTransient })
		})
	}
	soon := func(region, id string) {
		a.In(region).SetImage(id, func(i *types.Image) { i.State = types.ImageStateAvailable })
	}
	slow("CreateImage", here, theImage)
	err := bakeOf(t, a, "b1", patience).try(t.Context())
	if err == nil || !strings.Contains(err.Error(), "max_attempts") ||
		!strings.Contains(err.Error(), theImage+" in us-east-1 is kept") ||
		!slices.Equal(a.left(), list(theImage, theSnapshot)) {
		t.Fatalf("got %v, left %v", err, a.left())
	}
	if a.In(here).Tag(theImage, unfinishedTag) != "db-1" || len(a.In(here).LaunchPermissions(theImage)) > 0 {
		t.Fatalf("kept with permissions %+v", a.In(here).LaunchPermissions(theImage))
	}
	// The wait for the copy is too short the second time.
	soon(here, theImage)
	slow("CopyImage", abroad, nextImage)
	err = bakeOf(t, a, "b2", patience).try(t.Context())
	if err == nil || !strings.Contains(err.Error(), nextImage+" in eu-west-1 is kept") || len(a.launches()) != 1 ||
		!a.has(nextImage) {
		t.Fatalf("got %v, launched %d, left %v", err, len(a.launches()), a.left())
	}
	soon(abroad, nextImage)
	goesOnFromBoth(t, a, bakeOf(t, a, "b3", patience))
}

// goesOnFromBoth runs a build that has to publish what the build b1 has left, here and abroad.
func goesOnFromBoth(t *testing.T, a *account, b *bake) {
	t.Helper()
	err := b.try(t.Context())
	if err != nil || len(a.launches()) != 1 || len(a.Calls("CopyImage")) != 1 ||
		len(a.In(here).LaunchPermissions(theImage)) != 1 || a.In(here).Tag(theImage, unfinishedTag) != "" {
		t.Errorf("got %v, launched %d, copied %d", err, len(a.launches()), len(a.Calls("CopyImage")))
	}
	if b.image.id != theImage || b.image.owner != "b1" || a.In(abroad).Tag(nextImage, buildTag) != "b1" {
		t.Errorf("the result is %+v", b.image)
	}
}

// TestAdoptionLeavesTheBuildAlone has the build keep its id and its configuration when it goes on from another's AMI.
func TestAdoptionLeavesTheBuildAlone(t *testing.T) {
	a := newAccount(t)
	in := inputs.Inputs{"a": "00000000"}
	a.put(here, "0left", "db-0", "b0", unfinishedTag, "db-0", images.DigestTag, in.Digest(), images.SeriesTag, "")
	b := bakeOf(t, a, "b1", options{"unchanged": options{"max_age": "1h"}})
	b.inputs = in
	if err := b.try(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.job.id != "b1" || b.job.config.AMIName != "db-1" {
		t.Errorf("the build is %s, of %s", b.job.id, b.job.config.AMIName)
	}
	want := builtImage{id: "ami-0left", name: "db-0", owner: "b0", adopted: true}
	if b.image != want || len(a.launches()) > 0 {
		t.Errorf("the image is %+v, want %+v", b.image, want)
	}
}

// adoptedBy is the image that a build goes on from.
func adoptedBy(t *testing.T, b *bake) (builtImage, error) {
	return adopt(t.Context(), b.job, b.inputs, b.image)
}

func TestUnfinishedImages(t *testing.T) {
	leave := func(t *testing.T) *account {
		a := newAccount(t)
		a.put(here, "0left", "db-1", "b0", unfinishedTag, "db-1")
		return a
	}
	a := leave(t)
	b := bakeOf(t, a, "b1", nil)
	if image, err := adoptedBy(t, b); err != nil || image.id != "ami-0left" || !image.adopted {
		t.Errorf("got %+v, %v", image, err)
	}
	if image, _ := adoptedBy(t, bakeOf(t, a, "b1", options{"ami_name": "db-2"})); image.adopted {
		t.Error("an AMI of another name is adopted")
	}
	a.In(here).SetImage("ami-0left", func(i *types.Image) { i.State = types.ImageStateFailed })
	if err := b.try(t.Context()); err != nil || b.image.id != theImage || a.has("ami-0left") {
		t.Errorf("one that failed: got %v, %s, left %v", err, b.image.id, a.left())
	}
	a = leave(t)
	b = bakeOf(t, a, "b1", options{"packer_force": true})
	err := b.try(t.Context())
	if err != nil || b.image.id != theImage || !slices.Equal(a.left(), list(theImage, theSnapshot)) {
		t.Errorf("forced: got %v, %s, left %v", err, b.image.id, a.left())
	}
	// A tag that cannot be taken off leaves the AMI to the next run.
	a = newAccount(t)
	a.fails("DeleteTags", errors.New("boom"))
	err = bakeOf(t, a, "b1", nil).try(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is kept") || !a.has(theImage) {
		t.Errorf("got %v, left %v", err, a.left())
	}
}

// TestInterruptAfterTheImage has the interrupt come between two stages that follow the AMI: it is not done, and goes.
func TestInterruptAfterTheImage(t *testing.T) {
	a := newAccount(t)
	b := bakeOf(t, a, "b1", options{"ami_users": list("123456789012"), "ami_regions": list(abroad)})
	ctx, cancel := context.WithCancel(t.Context())
	elsewhere := b.job.elsewhere
	b.job.elsewhere = func(region string) *ec2.Client {
		if a.has(theImage) {
			cancel()
		}
		return elsewhere(region)
	}
	if err := b.try(ctx); !errors.Is(err, context.Canceled) || len(a.left()) > 0 {
		t.Errorf("got %v, left %v", err, a.left())
	}
}

func TestReplaced(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		a := newAccount(t)
		a.put(here, "0old", "db-1", "b0")
		a.put(here, "0other", "db-2", "b0")
		mustTry(t, a, options{"force_deregister": true, "force_delete_snapshot": deleted})
		want := list(theImage, "ami-0other", theSnapshot, "snap-0other")
		if !deleted {
			want = slices.Insert(want, 3, "snap-0old")
		}
		if !slices.Equal(a.left(), want) {
			t.Errorf("deleted %v: there are %v, want %v", deleted, a.left(), want)
		}
	}
	a := newAccount(t)
	a.put(here, "0old", "db-1", "b0")
	a.In(here).SetImage("ami-0old", func(i *types.Image) {
		i.DeregistrationProtection = aws.String("enabled-with-cooldown")
	})
	err := bakeOf(t, a, "b1", options{"force_deregister": true}).try(t.Context())
	if err == nil || !strings.Contains(err.Error(), "protected") || !a.has("ami-0old") || len(a.launches()) > 0 {
		t.Errorf("got %v, there are %v", err, a.left())
	}
}

// TestReplacedIsThereAgain has the old AMI back as it was, under a new id, if the new one is not made. Until the
// machine is ready nothing happens to it.
func TestReplacedIsThereAgain(t *testing.T) {
	soon := time.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339)
	for _, call := range list("StopInstances", "CreateImage") {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount(t)
			a.put(here, "0old", "db-1", "b0")
			a.In(here).SetImage("ami-0old", func(i *types.Image) {
				i.DeprecationTime, i.Description = aws.String(soon), aws.String("the old one")
			})
			a.In(here).SetLaunchPermissions("ami-0old", types.LaunchPermission{UserId: aws.String("123456789012")})
			a.fails(call, errors.New("boom"))
			change := options{"force_deregister": true, "force_delete_snapshot": true}
			err := bakeOf(t, a, "b1", change).try(t.Context())
			if err == nil || !a.has("snap-0old") {
				t.Errorf("%s fails: got %v, left %v", call, err, a.left())
			}
			if call == "StopInstances" {
				if !a.has("ami-0old") || len(a.Calls("RegisterImage")) > 0 {
					t.Errorf("it was touched before the machine was ready: %v", a.left())
				}
				return
			}
			image := a.In(here).ImageNamed("db-1")
			if image == nil || *image.ImageId != theImage || aws.ToString(image.DeprecationTime) != soon ||
				*image.Description != "the old one" || ec2ops.TagValue(image.Tags, buildTag) != "b0" ||
				len(a.In(here).LaunchPermissions(theImage)) != 1 || len(a.Calls("RegisterImage")) != 1 {
				t.Errorf("it is there again as %+v", image)
			}
		})
	}
}

func TestSkipCreate(t *testing.T) {
	a := newAccount(t)
	a.put(here, "0old", "db-1", "b0") // the name does not matter
	b := mustTry(t, a, options{"skip_create_ami": true})
	if !slices.Equal(a.left(), list("ami-0old", "snap-0old")) || b.image.id != "" {
		t.Errorf("there are %v", a.left())
	}
}

// zones gives an account two subnets in one zone and one in another.
func zones(a *account) {
	var all []types.Subnet
	for _, zoned := range [][2]string{
		{"subnet-0aaaaaaaa", "us-east-1a"}, {"subnet-0bbbbbbbb", "us-east-1a"}, {"subnet-0cccccccc", "us-east-1b"},
	} {
		all = append(all, types.Subnet{SubnetId: aws.String(zoned[0]), AvailabilityZone: aws.String(zoned[1])})
	}
	a.subnets(all...)
}

func TestFallback(t *testing.T) {
	none, zone := apierror.InsufficientInstanceCapacity, apierror.Unsupported
	const smallA, smallB, smallC = "t3.small 0aaaaaaaa", "t3.small 0bbbbbbbb", "t3.small 0cccccccc"
	const mediumA, mediumC = "t3.medium 0aaaaaaaa", "t3.medium 0cccccccc"
	base := options{
		"instance_type":  "t3.small",
		"instance_types": list("t3.medium"),
		"subnet_ids":     list("subnet-0aaaaaaaa", "subnet-0bbbbbbbb", "subnet-0cccccccc"),
	}
	type full = map[string]*apierror.Row
	for _, c := range []struct {
		name     string
		change   options
		full     full
		vanishes string
		want     []string
		fault    string
	}{
		{"room at once", base, nil, "", list(smallA), ""},
		{"no room in a zone", base, full{smallA: none}, "", list(smallA, smallC), ""},
		{
			"no address in a subnet",
			base,
			full{smallA: apierror.InsufficientFreeAddressesInSubnet},
			"",
			list(smallA, smallB),
			"",
		},
		{"no room of a type", base, full{smallA: zone, smallC: none}, "", list(smallA, smallC, mediumA), ""},
		{"a quota of the account", base, full{smallA: apierror.VcpuLimitExceeded}, "", list(smallA, mediumA), ""},
		{"no room after the answer", base, nil, smallA, list(smallA, smallC), ""},
		{
			"no room anywhere",
			base,
			full{
				smallA:  none,
				smallC:  none,
				mediumA: none,
				mediumC: apierror.InsufficientHostCapacity,
			},
			"",
			list(smallA, smallC, mediumA, mediumC),
			"instance_types",
		},
		{
			"another fault", base, full{smallA: apierror.UnauthorizedOperation}, "", list(smallA),
			"UnauthorizedOperation",
		},
		{"one type", options{}, full{smallA: none, smallC: none}, "", nil, "subnet_ids"},
		{
			"spot", with(base, options{"spot_price": "0.01"}),
			full{smallA: apierror.SpotMaxPriceTooLow, smallC: apierror.MaxSpotInstanceCountExceeded}, "",
			list(smallA, smallC, mediumA), "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAccount(t)
			zones(a)
			for try, row := range c.full {
				is := func(in any) bool { return tryOf(in.(*ec2.RunInstancesInput)) == try }
				a.Fail(ec2fake.Fault{Call: "RunInstances", When: is, Err: ec2fake.Errf(row, "full")})
			}
			a.Watch("RunInstances", func(in, out any) {
				if out != nil && tryOf(in.(*ec2.RunInstancesInput)) == c.vanishes {
					id := *out.(*ec2.RunInstancesOutput).Instances[0].InstanceId
					a.In(here).End(id, "Server.InsufficientInstanceCapacity", "no room")
				}
			})
			err := bakeOf(t, a, "b1", c.change).try(t.Context())
			if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("got %v, want %q", err, c.fault)
			}
			if c.want != nil && !slices.Equal(a.tried(), c.want) {
				t.Errorf("tried %v, want %v", a.tried(), c.want)
			}
			if err != nil && len(a.left()) > 0 {
				t.Errorf("left %v", a.left())
			}
		})
	}
}

func TestSubnetsOfTwoVPCs(t *testing.T) {
	a := newAccount(t)
	zones(a)
	a.In(here).AddSubnet(types.Subnet{SubnetId: aws.String("subnet-0dddddddd"), VpcId: aws.String("vpc-0bbbbbbbb")})
	two := options{"subnet_ids": list("subnet-0aaaaaaaa", "subnet-0dddddddd")}
	if err := bakeOf(t, a, "b1", two).check(t.Context()); err == nil || !strings.Contains(err.Error(), "one VPC") {
		t.Errorf("got %v", err)
	}
}

func TestSpot(t *testing.T) {
	a := newAccount(t)
	zones(a)
	a.In(here).SetSpotPrice("t3.medium", "0.02")
	a.In(here).SetSpotPrice("m5.large", "0.01")
	mustTry(t, a, options{
		"instance_type":       "",
		"spot_instance_types": list("t3.small", "t3.medium", "m5.large"),
		"spot_price":          "0.03",
		"spot_tags":           map[string]string{"who": "me"},
	})
	in := a.launches()[0]
	if spot := in.InstanceMarketOptions.SpotOptions; in.InstanceType != "m5.large" || *spot.MaxPrice != "0.03" ||
		spot.SpotInstanceType != types.SpotInstanceTypeOneTime {
		t.Errorf("launched %s with %+v", in.InstanceType, spot)
	}
	isTagged := slices.ContainsFunc(in.TagSpecifications, func(s types.TagSpecification) bool {
		return s.ResourceType == types.ResourceTypeSpotInstancesRequest && ec2ops.TagValue(s.Tags, "who") == "me"
	})
	if !isTagged || len(a.Calls("StopInstances")) > 0 {
		t.Errorf("the request is tagged: %v; the instance is stopped: %v", isTagged, a.Calls("StopInstances"))
	}
	a = newAccount(t)
	mustTry(t, a, options{"spot_price": "auto"})
	if price := a.launches()[0].InstanceMarketOptions.SpotOptions.MaxPrice; price != nil {
		t.Errorf("auto is %s", *price)
	}
}

func TestLaunchOptions(t *testing.T) {
	a := newAccount(t)
	mustTry(t, a, options{
		"placement":                options{"host_id": "h-0123456789abcdef0"},
		"capacity_reservation_id":  "cr-0123456789abcdef0",
		"ebs_optimized":            true,
		"enable_unlimited_credits": true,
		"shutdown_behavior":        "terminate",
		"metadata_options":         options{"instance_metadata_tags": "enabled"},
		"sriov_support":            true,
		"ami_block_device_mappings": []any{
			options{"device_name": "/dev/sdf", "volume_size": 2},
			options{"device_name": "/dev/sdg", "no_device": true},
		},
	})
	in := a.launches()[0]
	reservation := in.CapacityReservationSpecification.CapacityReservationTarget
	if in.Placement.Tenancy != "host" || *in.Placement.HostId != "h-0123456789abcdef0" ||
		*reservation.CapacityReservationId != "cr-0123456789abcdef0" ||
		!*in.EbsOptimized || *in.CreditSpecification.CpuCredits != "unlimited" ||
		in.InstanceInitiatedShutdownBehavior != "terminate" || in.MetadataOptions.InstanceMetadataTags != "enabled" {
		t.Errorf("launched with %+v", in)
	}
	networking := a.In(here).Attributes()
	disks := inputsTo[*ec2.CreateImageInput](a, "CreateImage")[0].BlockDeviceMappings
	if *networking[0].SriovNetSupport.Value != "simple" || len(disks) != 2 || *disks[0].Ebs.VolumeSize != 2 ||
		disks[1].NoDevice == nil || disks[1].Ebs != nil {
		t.Errorf("imaged with %+v and %+v", networking, disks)
	}
}

func TestNoLaunchOptions(t *testing.T) {
	a := newAccount(t)
	mustTry(t, a, nil)
	if in := a.launches()[0]; in.Placement != nil || in.CapacityReservationSpecification != nil ||
		in.EbsOptimized != nil || in.CreditSpecification != nil || in.InstanceMarketOptions != nil ||
		in.IamInstanceProfile != nil {
		t.Errorf("nothing was asked for, and launched with %+v", in)
	}
}

// TestProfileThatIsNotKnownYet has EC2 learn of the new profile some moments after IAM.
func TestProfileThatIsNotKnownYet(t *testing.T) {
	unknown := ec2fake.Err(apierror.InvalidProfileNameUse, "x")
	for _, c := range []struct {
		change options
		there  bool
	}{
		{policy(nil), false},
		{options{"iam_instance_profile": "mine"}, true},
		{options{"iam_instance_profile": "mine"}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount(t)
			if c.there { // its maker may be as quick
				a.AddProfile("mine")
			}
			for n := range 2 {
				a.Fail(ec2fake.Fault{Call: "RunInstances", Nth: n + 1, Err: unknown})
			}
			err := bakeOf(t, a, "b1", c.change).try(t.Context())
			named := c.change["iam_instance_profile"] != nil
			if named && !c.there {
				if err == nil || !strings.Contains(fmt.Sprint(err), "iamInstanceProfile") {
					t.Errorf("a profile of the user's that is not there: got %v", err)
				}
			} else if err != nil {
				t.Errorf("named %v: got %v", named, err)
			}
		})
	}
}

// TestWhatIsOurs has an unfinished AMI of other inputs, of an old one, or of one that is not proved left alone.
func TestWhatIsOurs(t *testing.T) {
	in := inputs.Inputs{"a": "00000000"}
	hour := options{"unchanged": options{"max_age": "1h"}}
	retag := func(pairs ...string) func(*account) {
		return func(a *account) { a.In(here).SetTags("ami-0left", pairs...) }
	}
	set := func(change func(*types.Image)) func(*account) {
		return func(a *account) { a.In(here).SetImage("ami-0left", change) }
	}
	for _, c := range []struct {
		name   string
		change func(*account)
		want   bool
	}{
		{"the same inputs under another name", set(func(i *types.Image) { i.Name = aws.String("db-0") }), true},
		{"other inputs", retag(images.DigestTag, "x"), false},
		{"another series", retag(images.SeriesTag, "web"), false},
		{"too old", set(func(i *types.Image) { i.CreationDate = aws.String("2026-01-01T00:00:00Z") }), false},
		{"not proved", retag(images.UnprovedTag, "no"), false},
		{"of nobody's build", retag(buildTag, ""), false},
	} {
		a := newAccount(t)
		b := bakeOf(t, a, "b1", hour)
		b.inputs = in
		a.put(here, "0left", "db-1", "b0", unfinishedTag, "db-1", images.DigestTag, in.Digest(), images.SeriesTag,
			b.job.config.series())
		c.change(a)
		if image, err := adoptedBy(t, b); err != nil || image.adopted != c.want {
			t.Errorf("%s: adopted %v, %v", c.name, image.adopted, err)
		}
		if _, done, err := unchanged(t.Context(), b.job, b.inputs); err != nil || done {
			t.Errorf("%s: an unfinished AMI is taken for one that is done: %v, %v", c.name, done, err)
		}
	}
}

// TestProvedImageStays has a stage fail that comes after the proof: others may run the AMI already.
func TestProvedImageStays(t *testing.T) {
	a := newAccount(t)
	a.put(here, "0old", "db-1", "b0")
	a.fails("EnableImageDeprecation", errors.New("boom"))
	b := bakeOf(t, a, "b1", with(everything(), options{"force_deregister": true}))
	a.Watch("CreateImage", func(any, any) { b.image.proved = true })
	err := b.try(t.Context())
	if err == nil || !slices.Equal(a.left(), list(theImage, theSnapshot, "snap-0old")) ||
		len(a.Calls("RegisterImage")) > 0 {
		t.Errorf("got %v, left %v", err, a.left())
	}
	if image, err := adoptedBy(t, bakeOf(t, a, "b2", nil)); !image.adopted || err != nil {
		t.Errorf("the next run does not go on from it: %v", err)
	}
}

// TestReused has an image of the same inputs end the build, and every other one not.
func TestReused(t *testing.T) {
	in := inputs.Inputs{"a": "00000000", "b": "11111111"}
	tags := func(more ...string) []string { return append([]string{images.SeriesTag, "web"}, more...) }
	same := tags(images.DigestTag, in.Digest())
	for _, c := range []struct {
		name   string
		change options
		tags   []string
		want   bool
	}{
		{"the same", nil, same, true},
		{"forced", options{"packer_force": true}, same, false},
		{"other inputs", nil, tags(images.DigestTag, "x", inputsTag, "a=00000000 b=22222222"), false},
		{"unproved", nil, append(slices.Clone(same), images.UnprovedTag, "no"), false},
		{"unfinished", nil, append(slices.Clone(same), unfinishedTag, "db-0"), false},
		{"none", nil, nil, false},
	} {
		a := newAccount(t)
		b := bakeOf(t, a, "b1", with(options{"unchanged": options{}, "packer_build_name": "web"}, c.change))
		b.inputs = in
		if c.tags != nil {
			a.put(here, "0was", "db-0", "b0", c.tags...)
		}
		err := b.reuseUnchanged(t.Context())
		if errors.Is(err, errHalt) != c.want || b.reused != c.want || (b.image.id == "ami-0was") != c.want {
			t.Errorf("%s: %v, reused %v, %+v", c.name, err, b.reused, b.image)
		}
	}
	old := "2026-01-01T00:00:00Z"
	a := newAccount(t)
	b := bakeOf(t, a, "b1", options{"unchanged": options{"max_age": "1h"}, "packer_build_name": "web"})
	b.inputs = in
	a.put(here, "0was", "db-0", "b0", same...)
	a.In(here).SetImage("ami-0was", func(i *types.Image) { i.CreationDate = aws.String(old) })
	if err := b.reuseUnchanged(t.Context()); err != nil || b.reused {
		t.Errorf("one that is too old: %v, reused %v", err, b.reused)
	}
}
