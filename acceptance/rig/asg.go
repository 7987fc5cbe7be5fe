//go:build acceptance

package rig

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// SeveralName is a stack of its own, whose web tier is an Auto Scaling group.
const SeveralName = "several"

// WriteSeveral writes its stack file, with the images of the tests' stack.
func WriteSeveral(t testing.TB, path, web, deploy string) {
	t.Helper()
	text := fmt.Sprintf(`name = %q
tier "db" { ami = %q }
tier "web" {
  ami = %q
  %s
}
health_check { healthy_threshold = 2 }
deploy {
  bake_time  = "1s"
  drain_time = "1s"
  %s
}
`, SeveralName, *Tier(t, "db").ImageId, *Tier(t, "web").ImageId, web, deploy)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Members are the group's instances.
func Members(t testing.TB) []types.Instance {
	t.Helper()
	out, err := API.DescribeInstances(context.Background(), &ec2.DescribeInstancesInput{Filters: []types.Filter{
		{Name: aws.String("tag:aws:autoscaling:groupName"), Values: []string{"goldsmith-" + SeveralName + "-web"}},
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped"}}}})
	if err != nil {
		t.Fatal(err)
	}
	var all []types.Instance
	for _, reservation := range out.Reservations {
		all = append(all, reservation.Instances...)
	}
	return all
}
