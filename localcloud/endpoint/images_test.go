package endpoint

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

const (
	madeImage    = "ami-00000000000000001"
	madeSnapshot = "snap-00000000000000007"
)

// newGallery is a region that can make one image.
func newGallery(t *testing.T) *mototest.Moto {
	b := newRegion(t)
	base := b.Answers["DescribeImages"]
	made := "<item><imageId>" + madeImage +
		"</imageId><name>made</name><imageState>available</imageState><rootDeviceType>standard</rootDeviceType>" +
		"<rootDeviceName>/dev/sda1</rootDeviceName><blockDeviceMapping><item><ebs><snapshotId>" + madeSnapshot +
		"</snapshotId></ebs></item></blockDeviceMapping></item>"
	exists := false
	b.Answers["DescribeImages"] = func(form url.Values) string {
		if exists && (form.Get("ImageId.1") == madeImage || form.Get("Owner.1") == "self") {
			return "<imagesSet>" + made + "</imagesSet>"
		}
		return base(form)
	}
	b.Answers["CreateImage"] = func(url.Values) string { exists = true; return "<imageId>" + madeImage + "</imageId>" }
	b.Answers["DeregisterImage"] = mototest.Canned("<return>true</return>")
	b.Answers["CreateTags"] = mototest.Canned("<return>true</return>")
	b.Answers["DeleteSnapshot"] = mototest.Canned("<return>true</return>")
	b.Answers["DescribeSnapshots"] = mototest.Canned("<snapshotSet><item><snapshotId>" + madeSnapshot +
		"</snapshotId><volumeSize>15</volumeSize></item>" +
		"<item><snapshotId>snap-00000000000000009</snapshotId><description>Auto-created snapshot for AMI " +
		moto.BaseImages["sid"].ID + "</description></item></snapshotSet>")
	return b
}

func waitForImage(t *testing.T, s *Server, state string) records.Image {
	t.Helper()
	var record records.Image
	if eventually(func() bool { record, _ = s.records.Image(madeImage); return record.State == state }) {
		return record
	}
	t.Fatalf("the image is %s (%s), want %s", record.State, record.Reason, state)
	return record
}

func TestCreateImage(t *testing.T) {
	for _, c := range []struct {
		name  string
		stop  bool
		with  []string
		doing []string // of the machinery, after the instance runs or is stopped
	}{
		{"of a stopped instance", true, nil, []string{"CreateImage " + first + " " + madeImage + " " + madeSnapshot}},
		{"of a running one, which is rebooted", false, nil,
			[]string{"StopMachine " + first + " false", "CreateImage " + first + " " + madeImage + " " + madeSnapshot,
				"StartMachine " + first}},
		{"of a running one, which is not", false, []string{"NoReboot", "true"},
			[]string{"CreateImage " + first + " " + madeImage + " " + madeSnapshot}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, m := newGallery(t), newMachinery(t, "RunMachine", "StopMachine", "StartMachine", "CreateImage",
				"DeleteImage", "DeleteSnapshot")
			s := newServer(t, b, m)
			mustRequest(t, s, "RunInstances",
				launchWith("BlockDeviceMapping.1.DeviceName", "/dev/xvda", "BlockDeviceMapping.1.Ebs.VolumeSize",
					"12")...)
			waitForState(t, s, first, "running")
			if c.stop {
				mustRequest(t, s, "StopInstances", "InstanceId.1", first)
				waitForState(t, s, first, "stopped")
			}
			before := len(m.called())
			mustRequest(t, s, "CreateImage", append([]string{"InstanceId", first, "Name", "made",
				"TagSpecification.1.ResourceType", "snapshot", "TagSpecification.1.Tag.1.Key", "s",
				"TagSpecification.1.Tag.1.Value", "1",
				"TagSpecification.2.ResourceType", "image", "TagSpecification.2.Tag.1.Key", "i",
				"TagSpecification.2.Tag.1.Value", "2"}, c.with...)...)
			waitForImage(t, s, "available")
			s.queue.Wait()
			if got := m.called()[before:]; !slices.Equal(got, c.doing) {
				t.Errorf("the machinery did %v, want %v", got, c.doing)
			}
			if form := b.Form("CreateImage"); form.Get("TagSpecification.1.ResourceType") != "image" ||
				form.Get("TagSpecification.2.ResourceType") != "" {
				t.Errorf("moto, which cannot tag snapshots here, got %v", form)
			}
			if form := b.Form("CreateTags"); form.Get("ResourceId.1") != madeSnapshot || form.Get("Tag.1.Key") != "s" {
				t.Errorf("the snapshot's tags: %v", form)
			}
			described := mustRequest(t, s, "DescribeImages", "ImageId.1", madeImage).Items("imagesSet")[0]
			if described.Get("rootDeviceType") != "ebs" ||
				described.Get("blockDeviceMapping", "item", "ebs", "volumeSize") != "12" ||
				described.Get("rootDeviceName") != "/dev/xvda" {
				t.Errorf("described as %s", described.Bytes())
			}
			snapshots := mustRequest(t, s, "DescribeSnapshots").Items("snapshotSet")
			if len(snapshots) != 1 || snapshots[0].Get("volumeSize") != "12" {
				t.Errorf("snapshots: %d, the first of %s GB", len(snapshots), snapshots[0].Get("volumeSize"))
			}
			refused(t, s, "InvalidAMIName.Duplicate", "CreateImage", "InstanceId", first, "Name", "made")
			refused(t, s, "InvalidSnapshot.InUse", "DeleteSnapshot", "SnapshotId", madeSnapshot)
			mustRequest(t, s, "DeregisterImage", "ImageId", madeImage)
			mustRequest(t, s, "DeleteSnapshot", "SnapshotId", madeSnapshot)
		})
	}
}

// TestImageWhoseSnapshotCannotBeTagged: the call fails, and nothing is left of the image.
func TestImageWhoseSnapshotCannotBeTagged(t *testing.T) {
	b, m := newGallery(t), newMachinery(t, "RunMachine")
	s := newServer(t, b, m)
	mustRequest(t, s, "RunInstances", launchWith()...)
	waitForState(t, s, first, "running")
	b.Set("CreateTags", "<Errors><Error><Code>TagLimitExceeded</Code><Message>no</Message></Error></Errors>")
	refused(
		t,
		s,
		"TagLimitExceeded",
		"CreateImage",
		"InstanceId",
		first,
		"Name",
		"made",
		"TagSpecification.1.ResourceType",
		"snapshot",
		"TagSpecification.1.Tag.1.Key",
		"k",
		"TagSpecification.1.Tag.1.Value",
		"v",
	)
	if record, known := s.records.Image(madeImage); known {
		t.Errorf("the image is %s", record.State)
	}
	if got := b.Form("DeregisterImage").Get("ImageId"); got != madeImage {
		t.Errorf("moto forgot the image %q, want %s", got, madeImage)
	}
	if got := b.Form("DeleteSnapshot").Get("SnapshotId"); got != madeSnapshot {
		t.Errorf("moto forgot the snapshot %q, want %s", got, madeSnapshot)
	}
}

func TestImageThatCannotBeMade(t *testing.T) {
	b, m := newGallery(t), newMachinery(t, "RunMachine")
	m.allowed["CreateImage"] = errors.New("no space left on device")
	s := newServer(t, b, m)
	mustRequest(t, s, "RunInstances", launchWith()...)
	waitForState(t, s, first, "running")
	mustRequest(t, s, "CreateImage", "InstanceId", first, "Name", "made", "NoReboot", "true")
	waitForImage(t, s, "failed")
	image := mustRequest(t, s, "DescribeImages", "ImageId.1", madeImage).Items("imagesSet")[0]
	if image.Get("imageState") != "failed" || !strings.Contains(image.Get("stateReason", "message"), "no space left") {
		t.Errorf("described as %s", image.Bytes())
	}
	refused(t, s, "InvalidAMIID.Unavailable", "RunInstances", "ImageId", madeImage, "MinCount", "1", "MaxCount", "1")
}

func TestBaseImages(t *testing.T) {
	b := mototest.New(t, map[string]func(url.Values) string{"DescribeImages": func(url.Values) string {
		var all strings.Builder
		for _, base := range moto.BaseImages {
			all.WriteString("<item><imageId>" + base.ID + "</imageId><imageOwnerId>" + base.Owner +
				"</imageOwnerId><name>" + base.Name +
				"</name><blockDeviceMapping><item/></blockDeviceMapping></item>")
		}
		return "<imagesSet>" + all.String() + "</imagesSet>"
	}})
	s := newServer(t, b, newMachinery(t))
	if got := mustRequest(t, s, "DescribeImages").All("imagesSet", "*", "imageId"); !slices.Equal(got,
		[]string{moto.BaseImages["trixie"].ID}) {
		t.Errorf("shown are %v; sid was not made", got)
	}
	if got := mustRequest(t, s, "DescribeImages", "Filter.1.Name", "name", "Filter.1.Value.1",
		"debian-12-*"); len(got.Items("imagesSet")) != 0 {
		t.Errorf("a filter that matches nothing found %s", got.Bytes())
	}
	refused(t, s, "AuthFailure", "DeregisterImage", "ImageId", moto.BaseImages["trixie"].ID)
}
