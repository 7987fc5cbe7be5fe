//go:build acceptance

package acceptance

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// TestImagesHoldNoSecret mounts a copy of each image's disk on the db instance and looks for what must not be in it.
func TestImagesHoldNoSecret(t *testing.T) {
	for _, name := range []string{"db", "web"} {
		t.Run(name, func(t *testing.T) {
			root := mountImage(t, aws.ToString(tier(t, name).ImageId))
			for what, shell := range map[string]string{
				"host keys":        `ls etc/ssh/ssh_host_*`,
				"authorized keys":  `find root home -name authorized_keys -size +0`,
				"machine-id":       `find etc/machine-id -size +0`,
				"private keys":     `grep -rlE -e '-----BEGIN ([A-Z]+ )?PRIVATE KEY-----' etc var/lib/goldsmith var/lib/cloud var/lib/mysql root home`,
				"user-data":        `ls -d var/lib/cloud/instance*/*`,
				"agent of a bake":  `find root home -name '.goldsmith-agent*'`,
				"server's UUID":    `ls var/lib/mysql/auto.cnf`,
				"run-time secrets": `ls run/goldsmith`,
			} {
				if out, _ := onInstance(t, "db", "cd "+root+" && sudo sh -c "+quote(shell)+" 2>/dev/null || true"); out != "" {
					t.Errorf("%s: %s", what, out)
				}
			}
			if out := mustOnInstance(t, "db", "cd "+root+" && ls etc/goldsmith/image.d"); out == "" {
				t.Errorf("the disk of the %s image is not there: nothing was looked at", name)
			}
		})
	}
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// mountImage attaches a volume made from the image's snapshot to the db instance and mounts it there, read-only. It
// returns the directory that is the image's root.
func mountImage(t *testing.T, imageID string) string {
	t.Helper()
	ctx := context.Background()
	db := tier(t, "db")
	image, err := api.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{imageID}})
	if err != nil {
		t.Fatal(err)
	}
	volume, err := api.CreateVolume(ctx, &ec2.CreateVolumeInput{AvailabilityZone: db.Placement.AvailabilityZone, SnapshotId: image.Images[0].BlockDeviceMappings[0].Ebs.SnapshotId})
	if err != nil {
		t.Fatal(err)
	}
	volumes := &ec2.DescribeVolumesInput{VolumeIds: []string{*volume.VolumeId}}
	t.Cleanup(func() {
		if _, err := api.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: volume.VolumeId}); err != nil {
			t.Error(err)
		}
	})
	if err := ec2.NewVolumeAvailableWaiter(api).Wait(ctx, volumes, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := api.AttachVolume(ctx, &ec2.AttachVolumeInput{InstanceId: db.InstanceId, VolumeId: volume.VolumeId, Device: aws.String("/dev/sdg")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		mustOnInstance(t, "db", "sudo umount /mnt/image")
		if _, err := api.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: volume.VolumeId}); err != nil {
			t.Error(err)
		}
		if err := ec2.NewVolumeAvailableWaiter(api).Wait(ctx, volumes, time.Minute); err != nil {
			t.Error(err)
		}
	})
	mustOnInstance(t, "db", "until test -b /dev/sdg; do sleep 0.1; done; sudo mkdir -p /mnt/image && sudo mount -o ro,noload /dev/sdg /mnt/image")
	// The local cloud keeps an overlay's upper layer on the volume, AWS a whole root file system.
	return mustOnInstance(t, "db", "if sudo test -d /mnt/image/upper; then echo /mnt/image/upper; else echo /mnt/image; fi")
}

// TestSecondRunChangesNothing runs each provisioner twice in one bake; the second time every task must be ok.
func TestSecondRunChangesNothing(t *testing.T) {
	provisioners := fmt.Sprintf(`
provisioner "goldsmith-mysql" {
  config = "%[1]s/files/mysql/goldsmith.cnf.tmpl"
  seed   = "%[1]s/files/mysql/seed.sql"
}
provisioner "goldsmith-webapp" {
  binary = "%[1]s/.build/webapp-linux-amd64"
  unit   = "%[1]s/files/systemd/goldsmith-webapp.service.tmpl"
}
provisioner "goldsmith-nginx" {
  site = "%[1]s/files/nginx/site.conf.tmpl"
}
`, repository)
	before := inventory(t)
	out, err := bake{provisioners: provisioners + provisioners}.run(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	deregisterNow(t, imageNamed(t, "t-*"))
	assertNothingLeft(t, before)
	recaps := regexp.MustCompile(`PLAY RECAP.*changed=(\d+)`).FindAllStringSubmatch(out, -1)
	if len(recaps) != 6 {
		t.Fatalf("%d recaps, want 6:\n%s", len(recaps), out)
	}
	for i, recap := range recaps {
		if unchanged := recap[1] == "0"; unchanged != (i >= 3) {
			t.Errorf("run %d of 2: %s", i/3+1, strings.TrimSpace(recap[0]))
		}
	}
	if t.Failed() {
		t.Logf("output:\n%s", out)
	}
}
