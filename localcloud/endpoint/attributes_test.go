package endpoint

import (
	"net/url"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto/mototest"
)

func TestImageAttributes(t *testing.T) {
	b, m := newGallery(t), newMachinery(t, "RunMachine", "CreateImage", "DeleteImage")
	b.Answers["ModifySnapshotAttribute"] = mototest.Canned("<return>true</return>")
	b.Answers["ModifyImageAttribute"] = func(form url.Values) string { return "<return>true</return>" }
	s := newServer(t, b, m)
	mustRequest(t, s, "RunInstances", launchWith()...)
	waitForState(t, s, first, "running")
	mustRequest(t, s, "CreateImage", "InstanceId", first, "Name", "made", "NoReboot", "true")
	waitForImage(t, s, "available")
	described := func() *awsquery.Node {
		return mustRequest(t, s, "DescribeImages", "ImageId.1", madeImage).Items("imagesSet")[0]
	}
	if image := described(); image.Get("deregistrationProtection") != "disabled" || image.Get("imdsSupport") != "" ||
		image.Get("deprecationTime") != "" {
		t.Errorf("at first it is %s", image.Bytes())
	}
	at := time.Now().AddDate(1, 0, 0).UTC().Truncate(time.Hour)
	mustRequest(t, s, "ModifyImageAttribute", "ImageId", madeImage, "ImdsSupport.Value", "v2.0")
	mustRequest(t, s, "EnableImageDeprecation", "ImageId", madeImage, "DeprecateAt", at.Format(time.RFC3339))
	mustRequest(t, s, "EnableImageDeregistrationProtection", "ImageId", madeImage)
	if image := described(); image.Get("deregistrationProtection") != "enabled-without-cooldown" ||
		image.Get("imdsSupport") != "v2.0" || image.Get("deprecationTime") != awsquery.Timestamp(at) {
		t.Errorf("it is %s", image.Bytes())
	}
	if form := b.Form("ModifyImageAttribute"); form != nil {
		t.Errorf("moto, which does not know imdsSupport, got %v", form)
	}
	mustRequest(t, s, "ModifyImageAttribute", "ImageId", madeImage, "LaunchPermission.Add.1.UserId", "123456789012")
	if form := b.Form("ModifyImageAttribute"); form.Get("LaunchPermission.Add.1.UserId") != "123456789012" {
		t.Errorf("moto got %v", form)
	}
	mustRequest(t, s, "ModifySnapshotAttribute", "SnapshotId", madeSnapshot, "CreateVolumePermission.Add.1.UserId",
		"123456789012", "CreateVolumePermission.Add.2.Group", "all")
	if form := b.Form("ModifySnapshotAttribute"); form.Get("OperationType") != "add" ||
		form.Get("UserId.1") != "123456789012" || form.Get("UserGroup.1") != "all" {
		t.Errorf("moto got %v", form)
	}
	refused(t, s, "OperationNotPermitted", "DeregisterImage", "ImageId", madeImage)
	refused(t, s, "InvalidParameterValue", "EnableImageDeprecation", "ImageId", madeImage, "DeprecateAt",
		"2020-01-01T00:00:00Z")
	refused(t, s, "InvalidParameterValue", "ModifyImageAttribute", "ImageId", madeImage, "ImdsSupport.Value", "v1.0")
	refused(t, s, "AuthFailure", "EnableImageDeregistrationProtection", "ImageId", moto.BaseImages["trixie"].ID)
	refused(t, s, "InvalidAMIID.NotFound", "EnableImageDeregistrationProtection", "ImageId", "ami-00000000000000099")
	mustRequest(t, s, "DisableImageDeprecation", "ImageId", madeImage)
	mustRequest(t, s, "DisableImageDeregistrationProtection", "ImageId", madeImage)
	if image := described(); image.Get("deregistrationProtection") != "disabled" || image.Get("deprecationTime") != "" {
		t.Errorf("in the end it is %s", image.Bytes())
	}
	mustRequest(t, s, "DeregisterImage", "ImageId", madeImage)
	refused(t, s, "InvalidAMIID.NotFound", "EnableImageDeprecation", "ImageId", madeImage, "DeprecateAt",
		at.Format(time.RFC3339))
}

func TestOneRegionAndNoBareMetal(t *testing.T) {
	s := newServer(t, newRegion(t), newMachinery(t))
	if regions := mustRequest(t, s, "DescribeRegions").Items("regionInfo"); len(regions) != 1 ||
		regions[0].Get("regionName") != awsquery.Region {
		t.Errorf("%d regions", len(regions))
	}
	refused(t, s, "InvalidParameterValue", "DescribeRegions", "RegionName.1", "eu-west-1")
	refused(t, s, "InsufficientInstanceCapacity", "RunInstances", launchWith("InstanceType", "m5.metal")...)
}
