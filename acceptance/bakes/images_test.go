//go:build acceptance

package bakes

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// TestImagesHoldNoSecret mounts a copy of each image's disk on the db instance and looks for what must not be in it.
func TestImagesHoldNoSecret(t *testing.T) {
	for _, name := range []string{"db", "web"} {
		t.Run(name, func(t *testing.T) {
			root := mountImage(t, aws.ToString(rig.Tier(t, name).ImageId))
			for what, shell := range map[string]string{
				"host keys":       `ls etc/ssh/ssh_host_*`,
				"authorized keys": `find root home -name authorized_keys -size +0`,
				"machine-id":      `find etc/machine-id -size +0`,
				"private keys": `grep -rlE -e '-----BEGIN ([A-Z]+ )?PRIVATE KEY-----' etc var/lib/goldsmith ` +
					`var/lib/cloud var/lib/mysql root home`,
				"user-data":        `ls -d var/lib/cloud/instance*/*`,
				"agent of a bake":  `find root home -name '.goldsmith-agent*'`,
				"server's UUID":    `ls var/lib/mysql/auto.cnf`,
				"run-time secrets": `ls run/goldsmith`,
				"logs":             `find var/log -type f -size +0`,
				"journal":          `ls var/log/journal/*`,
				"random seed":      `ls var/lib/systemd/random-seed var/lib/systemd/credential.secret`,
				"apt lists":        `find var/lib/apt/lists var/cache/apt -type f`,
				"rights of a bake": `ls etc/sudoers.d/90-cloud-init-users`,
			} {
				if out, _ := rig.OnInstance(
					t,
					"db",
					"cd "+root+" && sudo sh -c "+rig.Quote(shell)+" 2>/dev/null || true",
				); out != "" {
					t.Errorf("%s: %s", what, out)
				}
			}
			for _, document := range []string{"manifest.json", "sbom.cdx.json", "sbom.spdx.json"} {
				var content map[string]any
				rig.Decode(
					t,
					strings.NewReader(rig.MustOnInstance(t, "db", "cat "+root+"/usr/share/goldsmith/"+document)),
					&content,
				)
			}
			if out := rig.MustOnInstance(t, "db", "cd "+root+" && ls etc/goldsmith/image.d"); out == "" {
				t.Errorf("the disk of the %s image is not there: nothing was looked at", name)
			}
		})
	}
}

// TestSealRefuses plants what must not be in an image in places that a seal does not clean, and wants no image of it.
func TestSealRefuses(t *testing.T) {
	const canary = "kWq7vR2mXz94pLs8"
	key := rig.Must(t, "sh", "-c", "d=$(mktemp -d) && ssh-keygen -q -t ed25519 -N '' -f $d/k && cat $d/k && rm -r $d")
	for _, c := range []struct {
		name, plant, provisioner, want string
		more                           bool // of a kind that another case shows too
	}{
		{
			"host key under another name",
			"install -d /opt/keys\ncat >/opt/keys/host.bak <<'EOF'\n" + key + "EOF",
			"",
			`private key: /opt/keys/host\.bak`,
			true,
		},
		{
			"secret of the build in a file",
			"printf 'x=%s' " + canary + " | base64 >/usr/local/share/notes",
			"secrets = [\"" + canary + "\"]",
			`/usr/local/share/notes: secret 1 of this build`,
			false,
		},
		{
			"token that a scanner's rule knows",
			"printf 'export AWS_ACCESS_KEY_ID=%s%s\\n' AKIA Z7Q2M4N6P3R5T2V4 >/etc/profile.d/cloud.sh",
			"",
			`secret scanner: /etc/profile\.d/cloud\.sh: line 1: aws`,
			false,
		},
		{
			"written after the seal",
			"true",
			"}\nprovisioner \"shell\" {\ninline = [\"mkdir -m 700 -p ~/.ssh && echo 'ssh-ed25519 AAAA x' " +
				">~/.ssh/authorized_keys && touch -d 2020-01-01 ~/.ssh/*\"]",
			`written after goldsmith-seal had looked:\s+(\S+ +)?(/\S+\s+)*/home/admin/\.ssh/authorized_keys`,
			false,
		},
		{
			"account with a password",
			"useradd --create-home guest\necho guest:Wq7vR2mXz94 | chpasswd",
			"",
			`password hashes: .*guest has a password`,
			true, // as in TestSealWithoutItsProvisioner
		},
	} {
		if c.more && rig.Sampled() {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			before := rig.Inventory(t)
			out, err := rig.Bake{
				Provisioners: rig.Command(c.plant) + "provisioner \"goldsmith-seal\" {\n" + c.provisioner + "\n}",
			}.Run(t)
			if err == nil {
				t.Error("an image was made")
			}
			if !regexp.MustCompile(c.want).MatchString(out) {
				t.Errorf("the output does not match %s:\n%s", c.want, rig.End(t, out))
			}
			if sealed, _, _ := strings.Cut(out, "Terminating"); strings.Contains(
				sealed[strings.Index(sealed, "Sealing"):],
				canary,
			) {
				t.Error("the output shows the secret")
			}
			rig.AssertNothingLeft(t, before)
		})
	}
}

// TestSealWithoutItsProvisioner has the builder seal by itself, and refuse as well.
func TestSealWithoutItsProvisioner(t *testing.T) {
	before := rig.Inventory(t)
	out, err := rig.Bake{Provisioners: rig.Command("useradd guest\necho guest:Wq7vR2mXz94 | chpasswd")}.Run(t)
	if err == nil || !strings.Contains(out, "guest has a password") {
		t.Errorf("%v:\n%s", err, rig.End(t, out))
	}
	rig.AssertNothingLeft(t, before)
}

// TestInstancesOfOneImageDiffer launches two instances of the db image and compares what must be each one's own.
func TestInstancesOfOneImageDiffer(t *testing.T) {
	image := aws.ToString(rig.Tier(t, "db").ImageId)
	rig.LaunchDatabase(t, image, "twin-1", "10.0.2.41")
	rig.LaunchDatabase(t, image, "twin-2", "10.0.2.42")
	for what, shell := range map[string]string{
		"machine-id":    "cat /etc/machine-id",
		"SSH host keys": "cat /etc/ssh/ssh_host_ed25519_key.pub",
		"server's id": "sudo sh -c 'cat /var/lib/mysql/auto.cnf 2>/dev/null || mariadb -NBe \"SELECT " +
			"@@server_uid\"'",
		"TLS certificate": "sudo cat /run/goldsmith/tls/db.crt",
	} {
		one, two := rig.MustOnInstance(t, "twin-1", shell), rig.MustOnInstance(t, "twin-2", shell)
		if one == "" || one == two {
			t.Errorf("%s: %q and %q", what, one, two)
		}
	}
}

// mountImage attaches a volume made from the image's snapshot to the db instance and mounts it there, read-only. It
// returns the directory that is the image's root.
func mountImage(t *testing.T, imageID string) string {
	t.Helper()
	ctx := context.Background()
	db := rig.Tier(t, "db")
	image, err := rig.API.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{imageID}})
	if err != nil {
		t.Fatal(err)
	}
	volume, err := rig.API.CreateVolume(
		ctx,
		&ec2.CreateVolumeInput{
			AvailabilityZone: db.Placement.AvailabilityZone,
			SnapshotId:       image.Images[0].BlockDeviceMappings[0].Ebs.SnapshotId,
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	volumes := &ec2.DescribeVolumesInput{VolumeIds: []string{*volume.VolumeId}}
	t.Cleanup(func() {
		if _, err := rig.API.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: volume.VolumeId}); err != nil {
			t.Error(err)
		}
	})
	if err := rig.WaitAvailable(ctx, volumes); err != nil {
		t.Fatal(err)
	}
	if _, err := rig.API.AttachVolume(
		ctx,
		&ec2.AttachVolumeInput{InstanceId: db.InstanceId, VolumeId: volume.VolumeId, Device: aws.String("/dev/sdg")},
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		rig.MustOnInstance(t, "db", "sudo umount /mnt/image")
		if _, err := rig.API.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: volume.VolumeId}); err != nil {
			t.Error(err)
		}
		if err := rig.WaitAvailable(ctx, volumes); err != nil {
			t.Error(err)
		}
	})
	rig.MustOnInstance(
		t,
		"db",
		"until test -b /dev/sdg; do sleep 0.1; done; sudo mkdir -p /mnt/image && sudo mount -o ro,noload /dev/sdg "+
			"/mnt/image",
	)
	// The local cloud keeps an overlay's upper layer on the volume, AWS a whole root file system.
	return rig.MustOnInstance(
		t,
		"db",
		"if sudo test -d /mnt/image/upper; then echo /mnt/image/upper; else echo /mnt/image; fi",
	)
}

// TestSecondRunChangesNothing runs each provisioner twice in one bake; the second time every task must be ok.
func TestSecondRunChangesNothing(t *testing.T) {
	provisioners := fmt.Sprintf(`
provisioner "goldsmith-mysql" {
  config  = "%[1]s/files/mysql/goldsmith.cnf.tmpl"
  drop_in = "%[1]s/files/mysql/hardening.conf.tmpl"
  seed    = "%[1]s/files/mysql/seed.sql"
}
provisioner "goldsmith-webapp" {
  binary = "%[1]s/.build/webapp-linux-amd64"
  unit   = "%[1]s/files/systemd/goldsmith-webapp.service.tmpl"
}
provisioner "goldsmith-nginx" {
  site = "%[1]s/files/nginx/site.conf.tmpl"
}
`, rig.Repository)
	before := rig.Inventory(t)
	out, err := rig.Bake{Provisioners: provisioners + provisioners}.Run(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, rig.End(t, out))
	}
	rig.DeregisterNow(t, rig.ImageNamed(t, "t-*"))
	rig.AssertNothingLeft(t, before)
	recaps := regexp.MustCompile(`PLAY RECAP.*changed=(\d+)`).FindAllStringSubmatch(out, -1)
	if len(recaps) != 6 {
		t.Fatalf("%d recaps, want 6:\n%s", len(recaps), rig.End(t, out))
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
