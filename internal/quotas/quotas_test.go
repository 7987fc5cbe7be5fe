package quotas

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
)

const region = "us-east-1"

// TestInstances has three t3.small run, which have six vCPUs.
func TestInstances(t *testing.T) {
	for _, c := range []struct {
		name  string
		quota float64
		sets  [][]string
		want  string // of the warning
	}{
		{"room enough", 10, [][]string{{"t3.small", "t3.small"}}, ""},
		{"not enough", 8, [][]string{{"t3.small"}, {"t3.small", "t3.small"}},
			"for 2 of the 4 vCPUs that this build needs"},
		{"one after the other", 8, [][]string{{"t3.small"}, {"t3.small"}}, ""},
		{"more than there may be", 5, [][]string{{"t3.small"}}, "for 0 of the 2 vCPUs"},
		{"of another quota", 5, [][]string{{"g5.xlarge", "inf1.xlarge"}}, ""},
		{"no such quota", 0, [][]string{{"t3.small"}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ec2fake.New(t)
			if c.quota > 0 {
				a.Quotas = map[string]float64{"L-1216C47A": c.quota}
			}
			image := a.In(region).AddImage(types.Image{Name: aws.String("debian")})
			subnet := a.In(region).AddSubnet(types.Subnet{})
			_, err := ec2.NewFromConfig(a.Config()).RunInstances(t.Context(), &ec2.RunInstancesInput{
				ImageId:      image.ImageId,
				InstanceType: types.InstanceTypeT3Small,
				SubnetId:     aws.String(subnet),
				MinCount:     aws.Int32(3),
				MaxCount:     aws.Int32(3),
			})
			if err != nil {
				t.Fatal(err)
			}
			got := Open(a.Config()).ForInstances(t.Context(), "this build", c.sets...)
			if text := strings.Join(got, "; "); (c.want == "") != (text == "") || !strings.Contains(text, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestDeniedLookup: who may not ask is told that nothing was checked, and that is all.
func TestDeniedLookup(t *testing.T) {
	for _, call := range []string{"GetServiceQuota", "DescribeInstances", "DescribeInstanceTypes"} {
		a := ec2fake.New(t)
		a.Quotas = map[string]float64{"L-1216C47A": 5}
		a.Fail(ec2fake.Fault{Call: call, Err: ec2fake.Errf(apierror.AccessDeniedException, "not for you")})
		got := Open(a.Config()).ForInstances(t.Context(), "this build", []string{"t3.small"})
		if len(got) != 1 || !strings.Contains(got[0], "was not checked") ||
			!strings.Contains(got[0], "AccessDeniedException: not for you") {
			t.Errorf("%s: got %q", call, got)
		}
	}
}

func TestNetwork(t *testing.T) {
	a := ec2fake.New(t)
	a.Quotas = map[string]float64{"L-0263D0A3": 2, "L-F678F1CE": 5}
	api := ec2.NewFromConfig(a.Config())
	_, err := api.AllocateAddress(t.Context(), &ec2.AllocateAddressInput{Domain: types.DomainTypeVpc})
	if err != nil {
		t.Fatal(err)
	}
	got := Open(a.Config()).ForNetwork(t.Context(), "this stack", 1, 2)
	if len(got) != 1 || !strings.Contains(got[0], "for 1 of the 2 elastic IPs that this stack needs") {
		t.Errorf("got %q", got)
	}
	if asked := a.Calls("DescribeVpcs"); len(asked) != 1 {
		t.Errorf("VPCs were counted %d times", len(asked))
	}
	if got := Open(a.Config()).ForNetwork(t.Context(), "this stack", 0, 0); !slices.Equal(got, nil) {
		t.Errorf("for nothing: %q", got)
	}
}
