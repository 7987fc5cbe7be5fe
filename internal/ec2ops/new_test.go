package ec2ops

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake"
)

// vpc makes a VPC that is not found for a while.
func vpc(t *testing.T, lag time.Duration) (api *ec2.Client, id string) {
	t.Helper()
	a := ec2fake.New(t)
	a.Lag = lag
	api = ec2.NewFromConfig(a.Config(), AwaitNew)
	made, err := api.CreateVpc(t.Context(), &ec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	return api, *made.Vpc.VpcId
}

func attribute(ctx context.Context, api *ec2.Client, id string) error {
	_, err := api.DescribeVpcAttribute(ctx, &ec2.DescribeVpcAttributeInput{
		VpcId:     aws.String(id),
		Attribute: types.VpcAttributeNameEnableDnsHostnames,
	})
	return err
}

func TestNewIsNotYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, id := vpc(t, 30*time.Second)
		subnet, err := api.CreateSubnet(t.Context(), &ec2.CreateSubnetInput{VpcId: aws.String(id)})
		if err != nil || attribute(t.Context(), api, id) != nil {
			t.Fatalf("got %v", err)
		}
		tags := &ec2.CreateTagsInput{Resources: []string{*subnet.Subnet.SubnetId}, Tags: TagPairs("a", "b")}
		if _, err := api.CreateTags(t.Context(), tags); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatIsNotNewIsNotAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, id := vpc(t, time.Hour)
		began := time.Now()
		if err := attribute(t.Context(), api, "vpc-0123abcd"); !awserr.NotFound(err) || time.Since(began) > 0 {
			t.Errorf("of another: after %s got %v", time.Since(began), err)
		}
		ctx, interrupt := context.WithTimeout(t.Context(), 10*time.Second)
		defer interrupt()
		if err := attribute(ctx, api, id); err == nil || time.Since(began) != 10*time.Second {
			t.Errorf("interrupted: after %s got %v", time.Since(began), err)
		}
		if err := attribute(t.Context(), api, id); !awserr.NotFound(err) || time.Since(began) > 2*await.Settle {
			t.Errorf("never: after %s got %v", time.Since(began), err)
		}
	})
}

// TestWhatIsDeletedIsNotAwaited: who waits until something is gone would wait for it to come.
func TestWhatIsDeletedIsNotAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, id := vpc(t, 0)
		remove := &ec2.DeleteVpcInput{VpcId: aws.String(id)}
		if _, err := api.DeleteVpc(t.Context(), remove); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, again := api.DeleteVpc(t.Context(), remove)
		if err := errors.Join(again, attribute(t.Context(), api, id)); !awserr.NotFound(err) || time.Since(began) > 0 {
			t.Errorf("after %s got %v", time.Since(began), err)
		}
	})
}
