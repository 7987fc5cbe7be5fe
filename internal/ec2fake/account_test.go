package ec2fake

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
)

const source, subnet = "ami-0aaaaaaaa", "subnet-0aaaaaaaa"

// land is an account with an image and a subnet, and its EC2.
func land(t *testing.T) (*Account, *ec2.Client) {
	a := New(t)
	a.In("us-east-1").AddImage(types.Image{ImageId: aws.String(source), Name: aws.String("debian")})
	a.In("us-east-1").AddSubnet(types.Subnet{SubnetId: aws.String(subnet)})
	return a, ec2.NewFromConfig(a.Config())
}

func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func run(t *testing.T, api *ec2.Client, token string) (string, error) {
	t.Helper()
	out, err := api.RunInstances(t.Context(), &ec2.RunInstancesInput{
		ImageId:     aws.String(source),
		SubnetId:    aws.String(subnet),
		MinCount:    aws.Int32(1),
		MaxCount:    aws.Int32(1),
		ClientToken: aws.String(token),
		TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeInstance,
			Tags:         []types.Tag{{Key: aws.String("who"), Value: aws.String("me")}},
		}},
	})
	if err != nil {
		return "", err
	}
	return *out.Instances[0].InstanceId, nil
}

func TestWaitersAndPaginators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, api := land(t)
		a.Lag, a.Pace, a.Page = 5*time.Second, 20*time.Second, 1
		began := time.Now()
		one, err := run(t, api, "one")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run(t, api, "two"); err != nil {
			t.Fatal(err)
		}
		look := &ec2.DescribeInstancesInput{InstanceIds: []string{one}}
		if _, err := api.DescribeInstances(t.Context(), look); codeOf(err) != "InvalidInstanceID.NotFound" {
			t.Errorf("it is found at once: %v", err)
		}
		if err := ec2.NewInstanceRunningWaiter(api).Wait(t.Context(), look, time.Hour); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < a.Pace {
			t.Errorf("it runs after %s", took)
		}
		count := 0
		filter := []types.Filter{{Name: aws.String("tag:who"), Values: []string{"m?"}}}
		pages := ec2.NewDescribeInstancesPaginator(api, &ec2.DescribeInstancesInput{Filters: filter})
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			count += len(page.Reservations)
		}
		if count != 2 || len(a.Calls("DescribeInstances")) < 4 {
			t.Errorf("found %d in %d calls", count, len(a.Calls("DescribeInstances")))
		}
	})
}

func TestFaults(t *testing.T) {
	boom := errors.New("boom")
	a, api := land(t)
	a.Fail(Fault{Call: "RunInstances", Nth: 1, Err: boom})
	a.Fail(Fault{Call: "RunInstances", Nth: 2, Late: true, Err: boom})
	if _, err := run(t, api, "one"); !errors.Is(err, boom) || len(a.In("us-east-1").Instances()) != 0 {
		t.Errorf("a call that is refused: %v, %v", err, a.Things())
	}
	if _, err := run(t, api, "one"); !errors.Is(err, boom) || len(a.In("us-east-1").Instances()) != 1 {
		t.Errorf("a call that is not answered: %v, %v", err, a.Things())
	}
	id, err := run(t, api, "one")
	if err != nil || !slices.Equal(a.In("us-east-1").Instances(), []string{id}) {
		t.Errorf("the same again: %v, %v", err, a.Things())
	}
	a.Forget()
	a.Fail(Fault{Nth: 2, Rest: true, Err: boom})
	var failed []bool
	for range 4 {
		_, err := api.DescribeVpcs(t.Context(), nil)
		failed = append(failed, err != nil)
	}
	if !slices.Equal(failed, []bool{false, true, true, true}) {
		t.Errorf("from the second call on: %v", failed)
	}
}

// silent takes what the account would tell a test.
type silent struct {
	testing.TB
	told int
}

func (s *silent) Errorf(string, ...any) { s.told++ }

func TestWhatNobodyToldOf(t *testing.T) {
	s := &silent{TB: t}
	api := ec2.NewFromConfig(New(s).Config())
	if _, err := api.DescribeFleets(t.Context(), nil); err == nil || s.told != 1 {
		t.Errorf("a call: %v, told %d times", err, s.told)
	}
	filter := []types.Filter{{Name: aws.String("colour"), Values: []string{"red"}}}
	a := New(s)
	a.In("us-east-1").AddSubnet(types.Subnet{})
	api = ec2.NewFromConfig(a.Config())
	if _, err := api.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{Filters: filter}); err != nil || s.told != 2 {
		t.Errorf("a filter: %v, told %d times", err, s.told)
	}
}

func TestImageAndItsEnd(t *testing.T) {
	a, api := land(t)
	before := a.Things()
	id, err := run(t, api, "one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = api.DescribeInstances(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	made, err := api.CreateImage(t.Context(), &ec2.CreateImageInput{InstanceId: aws.String(id), Name: aws.String("n")})
	if err != nil {
		t.Fatal(err)
	}
	image := a.In("us-east-1").Image(*made.ImageId)
	snapshot := image.BlockDeviceMappings[0].Ebs.SnapshotId
	remove := &ec2.DeleteSnapshotInput{SnapshotId: snapshot}
	if _, err := api.DeleteSnapshot(t.Context(), remove); codeOf(err) != "InvalidSnapshot.InUse" {
		t.Errorf("a snapshot that is in use: %v", err)
	}
	_, first := api.DeregisterImage(t.Context(), &ec2.DeregisterImageInput{ImageId: made.ImageId})
	_, second := api.DeleteSnapshot(t.Context(), remove)
	_, third := api.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	if err := errors.Join(first, second, third); err != nil || !slices.Equal(a.Things(), before) {
		t.Errorf("left %v: %v", a.Things(), err)
	}
}

func TestParametersAndRoles(t *testing.T) {
	a := New(t)
	parameters, roles := ssm.NewFromConfig(a.Config()), iam.NewFromConfig(a.Config())
	put := &ssm.PutParameterInput{
		Name:  aws.String("/goldsmith/golden/lock"),
		Value: aws.String("x"),
		Type:  ssmtypes.ParameterTypeString,
	}
	if _, err := parameters.PutParameter(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	_, err := parameters.PutParameter(t.Context(), put)
	var taken *ssmtypes.ParameterAlreadyExists
	if !errors.As(err, &taken) {
		t.Errorf("a parameter that is there: %v", err)
	}
	_, err = roles.GetInstanceProfile(t.Context(), &iam.GetInstanceProfileInput{InstanceProfileName: aws.String("p")})
	if codeOf(err) != "NoSuchEntity" {
		t.Errorf("a profile that is not there: %v", err)
	}
}

// group makes an Auto Scaling group of two behind a target group.
func group(ctx context.Context, t *testing.T, a *Account, api *ec2.Client) string {
	t.Helper()
	data := &types.RequestLaunchTemplateData{ImageId: aws.String(source), InstanceType: types.InstanceTypeT3Small}
	template, err := api.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("g"),
		LaunchTemplateData: data,
	})
	if err != nil {
		t.Fatal(err)
	}
	targets, err := elb.NewFromConfig(a.Config()).CreateTargetGroup(ctx, &elb.CreateTargetGroupInput{
		Name:     aws.String("t"),
		Port:     aws.Int32(443),
		Protocol: elbtypes.ProtocolEnumTcp,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = autoscaling.NewFromConfig(a.Config()).CreateAutoScalingGroup(ctx, &autoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: aws.String("g"),
		MinSize:              aws.Int32(2),
		MaxSize:              aws.Int32(2),
		VPCZoneIdentifier:    aws.String(subnet),
		TargetGroupARNs:      []string{*targets.TargetGroups[0].TargetGroupArn},
		LaunchTemplate: &astypes.LaunchTemplateSpecification{
			LaunchTemplateId: template.LaunchTemplate.LaunchTemplateId,
			Version:          aws.String("1"),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateName: aws.String("g"),
		LaunchTemplateData: data,
	})
	if err != nil {
		t.Fatal(err)
	}
	return *targets.TargetGroups[0].TargetGroupArn
}

func TestRefresh(t *testing.T) {
	for _, healthy := range []bool{true, false} {
		a, api := land(t)
		targets := group(t.Context(), t, a, api)
		a.Healthy = func(types.Instance) bool { return healthy }
		scaling := autoscaling.NewFromConfig(a.Config())
		health, err := elb.NewFromConfig(a.Config()).DescribeTargetHealth(t.Context(),
			&elb.DescribeTargetHealthInput{TargetGroupArn: aws.String(targets)})
		if err != nil || len(health.TargetHealthDescriptions) != 2 {
			t.Errorf("two targets are due: %+v, %v", health, err)
		}
		_, err = scaling.StartInstanceRefresh(t.Context(), &autoscaling.StartInstanceRefreshInput{
			AutoScalingGroupName: aws.String("g"),
			Preferences:          &astypes.RefreshPreferences{AutoRollback: aws.Bool(true)},
			DesiredConfiguration: &astypes.DesiredConfiguration{LaunchTemplate: &astypes.LaunchTemplateSpecification{
				LaunchTemplateName: aws.String("g"),
				Version:            aws.String("2"),
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		out, err := scaling.DescribeInstanceRefreshes(t.Context(),
			&autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: aws.String("g")})
		if err != nil {
			t.Fatal(err)
		}
		status, version := astypes.InstanceRefreshStatusSuccessful, "2"
		if !healthy {
			status, version = astypes.InstanceRefreshStatusRollbackSuccessful, "1"
		}
		members := a.In("us-east-1").ScalingGroup("g").Instances
		if out.InstanceRefreshes[0].Status != status || len(members) != 2 ||
			*members[0].LaunchTemplate.Version != version {
			t.Errorf("healthy %v: %s, %+v", healthy, out.InstanceRefreshes[0].Status, members)
		}
	}
}
