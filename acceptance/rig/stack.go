//go:build acceptance

package rig

import (
	"context"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// DatabaseAddress is the service address of the stack's database.
const DatabaseAddress = "10.0.2.10"

// Tier finds the stack's one running instance of a tier.
func Tier(t testing.TB, name string) types.Instance {
	t.Helper()
	out, err := API.DescribeInstances(context.Background(), &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("tag:goldsmith:stack"), Values: []string{StackName}},
		{Name: aws.String("tag:goldsmith:tier"), Values: []string{name}},
		{Name: aws.String("instance-state-name"), Values: []string{"running"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var found []types.Instance
	for _, reservation := range out.Reservations {
		found = append(found, reservation.Instances...)
	}
	if len(found) != 1 {
		t.Fatalf("%d running instances of tier %s, want 1", len(found), name)
	}
	return found[0]
}

func WaitForSSH(t testing.TB, name string) {
	t.Helper()
	var err error
	for range 60 {
		if _, err = OnInstance(t, name, "true"); err == nil {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Fatal(err)
}

func BaseImage(t testing.TB, name string) *string {
	t.Helper()
	out, err := API.DescribeImages(
		context.Background(),
		&ec2.DescribeImagesInput{Filters: []types.Filter{{Name: aws.String("name"), Values: []string{name}}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Images) != 1 {
		t.Fatalf("%d images named %s, want 1", len(out.Images), name)
	}
	return out.Images[0].ImageId
}
