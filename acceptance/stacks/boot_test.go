//go:build acceptance

package stacks

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// TestWebBootsBeforeItsDatabase launches a web instance whose database is not there yet: it says what it waits for, and
// becomes ready by itself when the database comes.
func TestWebBootsBeforeItsDatabase(t *testing.T) {
	const address = "10.0.2.77"
	ctx := context.Background()
	web := rig.Tier(t, "web")
	settings := instance.Settings{
		Stack:      rig.StackName,
		Tier:       "web",
		Kind:       instance.KindService,
		Parameters: "/goldsmith/" + rig.StackName,
		Needs:      []instance.TierAddress{{Tier: "db", Address: address}},
	}
	userData, err := settings.UserData("")
	if err != nil {
		t.Fatal(err)
	}
	out, err := rig.API.RunInstances(ctx, &ec2.RunInstancesInput{
		ImageId:      web.ImageId,
		InstanceType: web.InstanceType,
		MinCount:     aws.Int32(1),
		MaxCount:     aws.Int32(1),
		NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{
			{DeviceIndex: aws.Int32(0), SubnetId: web.SubnetId, Groups: []string{*web.SecurityGroups[0].GroupId},
				AssociatePublicIpAddress: aws.Bool(true), DeleteOnTermination: aws.Bool(true)},
		},
		IamInstanceProfile: &types.IamInstanceProfileSpecification{Arn: web.IamInstanceProfile.Arn},
		UserData:           aws.String(base64.StdEncoding.EncodeToString(userData)),
	})
	if err != nil {
		t.Fatal(err)
	}
	id := *out.Instances[0].InstanceId
	rig.TerminateAtEnd(t, id)
	waitForConsole(
		t,
		id,
		func(console []byte) bool { return strings.Contains(instance.FindWaiting(console), "health") },
	)
	rig.LaunchDatabase(t, aws.ToString(rig.Tier(t, "db").ImageId), "late-db", address)
	waitForConsole(t, id, func(console []byte) bool {
		report, ok := instance.FindReport(console)
		return ok && report.Ready
	})
}

// waitForConsole waits for something on an instance's console, for two minutes.
func waitForConsole(t *testing.T, id string, there func(console []byte) bool) {
	t.Helper()
	var console []byte
	for range 240 {
		out, err := rig.API.GetConsoleOutput(context.Background(), &ec2.GetConsoleOutputInput{InstanceId: &id})
		if err != nil {
			t.Fatal(err)
		}
		if console, err = base64.StdEncoding.DecodeString(aws.ToString(out.Output)); err != nil {
			t.Fatal(err)
		}
		if there(console) {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	t.Fatalf("what is waited for does not come on the console of %s, which is:\n%s", id, console)
}
