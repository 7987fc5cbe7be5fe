//go:build acceptance

package stacks

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// TestCloudSurvives takes the local cloud down, and then kills it, and each time finds everything again that was made.
func TestCloudSurvives(t *testing.T) {
	volume := attachedVolume(t, "survivor")
	for _, c := range []struct {
		name string
		end  func(*testing.T)
	}{
		{"down and up", func(t *testing.T) {
			out, err := rig.Output(rig.Goldsmith(), "cloud", "down", "--destroy")
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(out, "hint: say --yes") {
				t.Fatalf("removing the cloud where nobody can be asked: %v: %s", err, out)
			}
			rig.Must(t, rig.Goldsmith(), "cloud", "down")
			if left := rig.KernelState(); len(left) > 0 {
				t.Errorf("left on the host after cloud down:\n%s", strings.Join(left, "\n"))
			}
		}},
		{"kill -9 and up", killDaemon},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := account(t)
			c.end(t)
			rig.Must(t, rig.Goldsmith(), "cloud", "up")
			if after := account(t); !slices.Equal(before, after) {
				t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
			rig.Must(t, rig.Goldsmith(), "deploy", "--stack", rig.StackName)
			address := aws.ToString(rig.Tier(t, "web").PublicIpAddress)
			if names := users(t, browser(t, address), address).names(); !slices.Contains(names, "admin") {
				t.Errorf("the application has lost its users: %v", names)
			}
		})
	}
	if got := rig.MustOnInstance(
		t,
		"db",
		"sudo mkdir -p /mnt/v && sudo mount /dev/sdg /mnt/v && sudo cat /mnt/v/note; sudo umount /mnt/v",
	); got != "kept" {
		t.Errorf("volume %s holds %q, want %q", volume, got, "kept")
	}
}

// attachedVolume makes a volume with a file system and a note on it, attached to the db instance as /dev/sdg.
func attachedVolume(t *testing.T, name string) string {
	t.Helper()
	ctx := context.Background()
	db := rig.Tier(t, "db")
	volume, err := rig.API.CreateVolume(
		ctx,
		&ec2.CreateVolumeInput{
			AvailabilityZone: db.Placement.AvailabilityZone,
			Size:             aws.Int32(1),
			TagSpecifications: []types.TagSpecification{
				{ResourceType: types.ResourceTypeVolume, Tags: []types.Tag{{Key: aws.String("Name"), Value: &name}}},
			},
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := rig.API.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: volume.VolumeId}); err != nil {
			t.Error(err)
		}
		if err := rig.WaitAvailable(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{*volume.VolumeId}}); err != nil {
			t.Error(err)
		}
		if _, err := rig.API.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: volume.VolumeId}); err != nil {
			t.Error(err)
		}
	})
	if _, err := rig.API.AttachVolume(
		ctx,
		&ec2.AttachVolumeInput{InstanceId: db.InstanceId, VolumeId: volume.VolumeId, Device: aws.String("/dev/sdg")},
	); err != nil {
		t.Fatal(err)
	}
	rig.MustOnInstance(
		t,
		"db",
		"until test -b /dev/sdg; do sleep 0.1; done; sudo mkfs.ext4 -q /dev/sdg && sudo mkdir -p /mnt/v && sudo "+
			"mount /dev/sdg /mnt/v && echo kept | sudo tee /mnt/v/note && sudo umount /mnt/v",
	)
	return *volume.VolumeId
}

// account lists the API's resources without states and public addresses, which stopping changes.
func account(t *testing.T) []string {
	t.Helper()
	ctx := context.Background()
	var all []string
	for _, list := range []func(context.Context) ([]string, error){
		rig.Instances, rig.KeyPairs, rig.SecurityGroups, rig.Volumes, rig.ImagesAndSnapshots, rig.Addresses,
	} {
		found, err := list(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range found {
			all = append(all, strings.Join(strings.Fields(line)[:2], " "))
		}
	}
	conf, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		t.Fatal(err)
	}
	parameter, err := ssm.NewFromConfig(conf).
		GetParameter(ctx, &ssm.GetParameterInput{
			Name:           aws.String("/goldsmith/" + rig.StackName + "/db/app_password"),
			WithDecryption: aws.Bool(true),
		})
	if err != nil {
		t.Fatal(err)
	}
	return append(all, "password "+aws.ToString(parameter.Parameter.Value), "type "+string(parameter.Parameter.Type))
}

// killDaemon ends the local cloud as a crash would: its machines stay without it, until the next start clears them
// away.
func killDaemon(t *testing.T) {
	t.Helper()
	pid := rig.DaemonPID(t)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range 1200 {
		if _, err := os.Stat("/proc/" + strconv.Itoa(pid)); os.IsNotExist(err) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("process %d is still there", pid)
}
