package images

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
)

const (
	region = "us-east-1"
	base   = "ami-0aaaaaaaa"
	subnet = "subnet-0aaaaaaaa"
	vpc    = "vpc-0aaaaaaaa"
)

// land is an account with a source image and a subnet.
func land(t *testing.T) *ec2fake.Account {
	a := ec2fake.New(t)
	a.In(region).AddImage(types.Image{
		ImageId: aws.String(base),
		Name:    aws.String("debian"),
		OwnerId: aws.String("136693071363"),
	})
	a.In(region).AddSubnet(types.Subnet{SubnetId: aws.String(subnet), VpcId: aws.String(vpc)})
	return a
}

// image puts an image with tags into the account.
func image(a *ec2fake.Account, name string, made time.Time, tags ...string) string {
	return *a.In(region).AddImage(types.Image{
		Name:         aws.String(name),
		CreationDate: aws.String(made.UTC().Format(time.RFC3339)),
		Tags:         ec2ops.TagPairs(tags...),
	}).ImageId
}

func specs(kind types.ResourceType, build string) []types.TagSpecification {
	started := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	return []types.TagSpecification{ec2ops.Spec(kind, ec2ops.TagPairs(BuildTag, build, StartedTag, started))}
}

// run launches an instance of an image.
func run(ctx context.Context, t *testing.T, a *ec2fake.Account, image string, tags []types.TagSpecification) string {
	t.Helper()
	out, err := ec2.NewFromConfig(a.Config()).RunInstances(ctx, &ec2.RunInstancesInput{
		ImageId:           aws.String(image),
		SubnetId:          aws.String(subnet),
		MinCount:          aws.Int32(1),
		MaxCount:          aws.Int32(1),
		TagSpecifications: tags,
	})
	if err != nil {
		t.Fatal(err)
	}
	return *out.Instances[0].InstanceId
}

func TestList(t *testing.T) {
	a := land(t)
	now := time.Now()
	old := image(a, "db-1", now.Add(-2*time.Hour), BuildTag, "b1", SeriesTag, "golden/db", ManifestTag, "sha256:1",
		ReleaseTag, "r1")
	young := image(a, "db-2", now.Add(-time.Hour), BuildTag, "b2", SeriesTag, "golden/db")
	image(a, "db-3", now, BuildTag, "b3", UnfinishedTag, "db-3")
	image(a, "somebody's", now)
	running := run(t.Context(), t, a, old, nil)
	a.Page = 1
	account := Open(a.Config())
	all, err := account.List(t.Context(), []string{young})
	if err != nil || len(all) != 2 {
		t.Fatalf("got %+v, %v", all, err)
	}
	if all[0].ID != young || !all[0].Current || !all[0].InUse() || all[1].ID != old || all[1].Release != "r1" ||
		!slices.Equal(all[1].Instances, []string{running}) || !all[1].InUse() {
		t.Errorf("got %+v", all)
	}
	if err := account.Remove(t.Context(), all[0]); err != nil || a.In(region).Image(young) != nil {
		t.Errorf("it is not removed: %v", err)
	}
}

func TestManifestDigest(t *testing.T) {
	a := land(t)
	old := image(a, "db-1", time.Now(), BuildTag, "b1", ManifestTag, "sha256:1")
	young := image(a, "db-2", time.Now(), BuildTag, "b2")
	account := Open(a.Config())
	if digest, err := account.ManifestDigest(t.Context(), old); err != nil || digest != "sha256:1" {
		t.Errorf("the digest is %q, %v", digest, err)
	}
	if _, err := account.ManifestDigest(t.Context(), young); err == nil || !strings.Contains(err.Error(), ManifestTag) {
		t.Errorf("an image without a manifest: %v", err)
	}
	if _, err := account.ManifestDigest(t.Context(), "ami-0dddddddd"); err == nil {
		t.Error("an image that is not there has a manifest")
	}
}

func TestListThatFails(t *testing.T) {
	boom := errors.New("boom")
	for _, call := range []string{"DescribeImages", "DescribeInstances"} {
		a := land(t)
		a.Fail(ec2fake.Fault{Call: call, Err: boom})
		if _, err := Open(a.Config()).List(t.Context(), nil); !errors.Is(err, boom) {
			t.Errorf("%s fails: got %v", call, err)
		}
	}
}

// abandon has a build be killed in the middle: each kind of thing that it makes is left.
func abandon(ctx context.Context, t *testing.T, a *ec2fake.Account, build string) {
	t.Helper()
	api, roles := ec2.NewFromConfig(a.Config()), iam.NewFromConfig(a.Config())
	name := aws.String("goldsmith-build-" + build)
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	_, err := api.ImportKeyPair(ctx, &ec2.ImportKeyPairInput{
		KeyName:           name,
		PublicKeyMaterial: []byte("ssh-ed25519 x"),
		TagSpecifications: specs(types.ResourceTypeKeyPair, build),
	})
	do(err)
	_, err = api.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName:         name,
		Description:       name,
		VpcId:             aws.String(vpc),
		TagSpecifications: specs(types.ResourceTypeSecurityGroup, build),
	})
	do(err)
	_, err = api.CreateVolume(ctx, &ec2.CreateVolumeInput{
		AvailabilityZone:  aws.String(region + "a"),
		Size:              aws.Int32(1),
		TagSpecifications: specs(types.ResourceTypeVolume, build),
	})
	do(err)
	_, err = roles.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String("{}")})
	do(err)
	_, err = roles.PutRolePolicy(ctx, &iam.PutRolePolicyInput{
		RoleName:       name,
		PolicyName:     aws.String("bake"),
		PolicyDocument: aws.String("{}"),
	})
	do(err)
	_, err = roles.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: name})
	do(err)
	_, err = roles.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: name,
		RoleName:            name,
	})
	do(err)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	run(ctx, t, a, base, specs(types.ResourceTypeInstance, build))
	image(a, "left", time.Now().Add(-time.Hour), BuildTag, build, UnfinishedTag, "left")
	a.In(region).AddSnapshot(types.Snapshot{Tags: ec2ops.TagPairs(BuildTag, build)})
	a.In(region).SetParameter("/goldsmith/golden/builds/r1/db", "{}")
}

func TestLeftovers(t *testing.T) {
	a := land(t)
	image(a, "db-1", time.Now(), BuildTag, "b0", SeriesTag, "golden/db")
	image(a, "kept", time.Now(), BuildTag, "b0", UnfinishedTag, "kept", UnprovedTag, "no")
	image(a, "proved", time.Now(), BuildTag, "b0", UnfinishedTag, "proved", ProvedTag, "yes")
	run(t.Context(), t, a, base, nil)
	a.AddProfile("somebody's")
	a.In(region).SetParameter("/goldsmith/golden/release", "{}")
	before := a.Things()
	abandon(t.Context(), t, a, "b1")
	account := Open(a.Config())
	none, err := account.Leftovers(t.Context(), 2*time.Hour)
	if err != nil || len(none) > 0 {
		t.Errorf("what is younger than two hours: %+v, %v", none, err)
	}
	all, err := account.Leftovers(t.Context(), 0)
	var kinds []string
	for _, l := range all {
		kinds = append(kinds, l.Kind)
	}
	want := []string{"instance", "key pair", "image", "snapshot", "volume", "security group", "role", "parameter"}
	if err != nil || !slices.Equal(kinds, want) {
		t.Fatalf("got %v, %v, want %v", kinds, err, want)
	}
	gone := 0
	if err := RemoveLeftovers(t.Context(), all, func(Leftover) { gone++ }); err != nil || gone != len(want) {
		t.Errorf("%d are gone: %v", gone, err)
	}
	if !slices.Equal(a.Things(), before) {
		t.Errorf("there are %v, want %v", a.Things(), before)
	}
}

// TestLeftoversThatStay has each removal fail: the others go, and the error names what stays.
func TestLeftoversThatStay(t *testing.T) {
	boom := errors.New("boom")
	for _, call := range []string{
		"TerminateInstances", "DeleteKeyPair", "DeregisterImage", "DeleteSnapshot", "DeleteVolume",
		"DeleteSecurityGroup",
		"RemoveRoleFromInstanceProfile", "DeleteInstanceProfile", "DeleteRolePolicy", "DeleteRole", "DeleteParameter",
		"ListInstanceProfilesForRole", "ListRolePolicies",
	} {
		a := land(t)
		abandon(t.Context(), t, a, "b1")
		account := Open(a.Config())
		all, err := account.Leftovers(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		a.Fail(ec2fake.Fault{Call: call, Nth: 1, Err: boom})
		gone := 0
		err = RemoveLeftovers(t.Context(), all, func(Leftover) { gone++ })
		if !errors.Is(err, boom) || !strings.Contains(err.Error(), "remove ") || gone != len(all)-1 {
			t.Errorf("%s fails: %d of %d are gone: %v", call, gone, len(all), err)
		}
	}
}

// TestLeftoversThatAreNotKnown has each question fail.
func TestLeftoversThatAreNotKnown(t *testing.T) {
	boom := errors.New("boom")
	for _, call := range []string{
		"DescribeInstances", "DescribeKeyPairs", "DescribeImages", "DescribeSnapshots", "DescribeVolumes",
		"DescribeSecurityGroups", "ListRoles", "GetParametersByPath",
	} {
		a := land(t)
		a.Fail(ec2fake.Fault{Call: call, Err: boom})
		if _, err := Open(a.Config()).Leftovers(t.Context(), 0); !errors.Is(err, boom) {
			t.Errorf("%s fails: got %v", call, err)
		}
	}
}

// TestRoleOfAnotherProfile has somebody have put a build's role into a profile of their own.
func TestRoleOfAnotherProfile(t *testing.T) {
	a := land(t)
	abandon(t.Context(), t, a, "b1")
	roles := iam.NewFromConfig(a.Config())
	_, first := roles.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{
		InstanceProfileName: aws.String("a-mine"),
	})
	_, second := roles.AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{
		InstanceProfileName: aws.String("a-mine"),
		RoleName:            aws.String("goldsmith-build-b1"),
	})
	all, third := Open(a.Config()).Leftovers(t.Context(), 0)
	if err := errors.Join(first, second, third); err != nil {
		t.Fatal(err)
	}
	err := RemoveLeftovers(t.Context(), all, func(Leftover) {})
	if err == nil || !strings.Contains(err.Error(), "a-mine") {
		t.Errorf("got %v", err)
	}
	if !slices.Contains(a.Things(), "instance-profile/a-mine") {
		t.Error("somebody's profile is removed")
	}
}
