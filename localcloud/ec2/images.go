package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/workqueue"
)

// defaultRootGB is the size of a base image's root volume, as of Debian's own.
const defaultRootGB = 8

// Images answers the calls for images and snapshots.
type Images struct {
	moto      *moto.Client
	records   *records.Store
	queue     *workqueue.Queue
	machinery Machinery
}

// Handlers answer the calls of EC2 for images and snapshots that are more than a record.
func (s *Images) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"CreateImage":                          s.create,
		"DeregisterImage":                      s.deregister,
		"DescribeImages":                       s.describe,
		"ModifyImageAttribute":                 s.modifyAttribute,
		"EnableImageDeprecation":               s.enableDeprecation,
		"DisableImageDeprecation":              s.disableDeprecation,
		"EnableImageDeregistrationProtection":  s.enableProtection,
		"DisableImageDeregistrationProtection": s.disableProtection,
		"ModifySnapshotAttribute":              s.modifySnapshotAttribute,
		"CreateSnapshot":                       s.createSnapshot,
		"DeleteSnapshot":                       s.deleteSnapshot,
		"DescribeSnapshots":                    s.describeSnapshots,
	}
}

// create freezes an instance's disk. The image is pending until that is done.
func (s *Images) create(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	instance := c.Get("InstanceId")
	if err := s.records.InStates([]string{instance}, "imaged", "running", "stopping", "stopped"); err != nil {
		return nil, err
	}
	if err := s.freeName(ctx, c.Get("Name")); err != nil {
		return nil, err
	}
	rest, snapshotTags := splitTags(c, "snapshot")
	rest.Drop("BlockDeviceMapping.")
	answered, err := s.moto.Forward(ctx, rest)
	if err != nil {
		return nil, err
	}
	image := answered.Get("imageId")
	snapshot, err := s.record(ctx, image, instance, snapshotTags)
	if err != nil {
		err = s.moto.Undo(ctx, err, "DeregisterImage", "ImageId", image)
		if snapshot != "" {
			err = s.moto.Undo(ctx, err, "DeleteSnapshot", "SnapshotId", snapshot)
		}
		return nil, errors.Join(err, s.records.Update(func(o *records.State) { delete(o.Images, image) }))
	}
	noReboot := c.Get("NoReboot") == "true"
	s.queue.Enqueue(instance,
		func(ctx context.Context) error { return s.freeze(ctx, instance, image, snapshot, noReboot) })
	return answered, nil
}

// record keeps a new image as pending, and tags its snapshot.
func (s *Images) record(
	ctx context.Context,
	image, instance string,
	snapshotTags []string,
) (snapshot string, err error) {
	described, err := s.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeImages", "ImageId.1", image))
	if err != nil {
		return "", err
	}
	item, err := described.One("imagesSet")
	if err != nil {
		return "", err
	}
	device, err := item.One("blockDeviceMapping")
	if err != nil {
		return "", err
	}
	snapshot = device.Get("ebs", "snapshotId")
	of, _ := s.records.Instance(instance)
	err = s.records.Update(func(o *records.State) {
		o.Images[image] = &records.Image{
			State:    "pending",
			Created:  time.Now(),
			SizeGB:   of.RootSizeGB,
			Snapshot: snapshot,
		}
	})
	if err == nil && len(snapshotTags) > 0 {
		parameters := append([]string{"ResourceId.1", snapshot}, snapshotTags...)
		_, err = s.moto.Forward(ctx, awsquery.NewCall("ec2", "CreateTags", parameters...))
	}
	return snapshot, err
}

// freeName refuses an image name that an own image has: moto does not.
func (s *Images) freeName(ctx context.Context, name string) error {
	described, err := s.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeImages", "Owner.1", "self"))
	if err != nil {
		return err
	}
	for _, image := range described.Items("imagesSet") {
		if image.Get("name") == name {
			return awsquery.Fault(apierror.InvalidAMINameDuplicate, name, image.Get("imageId"))
		}
	}
	return nil
}

// freeze makes a pending image real. A running instance is rebooted for it, unless that is not wanted.
func (s *Images) freeze(ctx context.Context, instance, image, snapshot string, noReboot bool) error {
	record, _ := s.records.Instance(instance)
	reboot := record.State == "running" && !noReboot
	var err error
	switch {
	case record.State == "terminated" || record.State == "shutting-down":
		err = fmt.Errorf("instance %s is %s", instance, record.State)
	case reboot:
		err = s.machinery.StopMachine(ctx, instance, false)
	}
	if err == nil {
		err = s.machinery.CreateImage(ctx, instance, image, snapshot)
	}
	state, reason := "available", ""
	if err != nil {
		state, reason = "failed", err.Error()
		err = fmt.Errorf("create image %s: %w", image, err)
	}
	kept := s.records.Update(func(o *records.State) {
		if record := o.Images[image]; record != nil {
			record.State, record.Reason = state, reason
		}
	})
	if reboot {
		err = errors.Join(err, s.machinery.StartMachine(ctx, instance))
	}
	return errors.Join(err, kept)
}

// describe describes images as they really are; a base image that was not made is not there.
func (s *Images) describe(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	rest, filters, err := awsquery.TakeFilters(c, imageFilters)
	if err != nil {
		return nil, err
	}
	rest.Drop("MaxResults", "NextToken")
	described, err := s.moto.Ask(ctx, rest)
	if err != nil {
		return nil, err
	}
	set, launchable := described.At("imagesSet"), s.machinery.Images()
	set.Children = slices.DeleteFunc(set.Children, func(item *awsquery.Node) bool {
		id := item.Get("imageId")
		s.overlayState(item)
		return moto.IsBase(id) && !slices.Contains(launchable, id) || !filters.Pass(item)
	})
	return described, nil
}

func (s *Images) overlayState(item *awsquery.Node) {
	item.Set("ebs", "rootDeviceType")
	item.Set(moto.RootDevice, "rootDeviceName")
	item.Set("true", "enaSupport")
	for _, made := range []string{"kernelId", "ramdiskId"} {
		item.Remove(made)
	}
	if item.Get("description") == "None" {
		item.Set("", "description")
	}
	size, snapshot := defaultRootGB, ""
	if device, err := item.One("blockDeviceMapping"); err == nil {
		snapshot = device.Get("ebs", "snapshotId")
	} else {
		item.Set("", "blockDeviceMapping")
	}
	if record, ok := s.records.Image(item.Get("imageId")); ok {
		size, snapshot = record.SizeGB, record.Snapshot
		item.Remove("imageOwnerAlias")
		item.Set(item.Get("imageOwnerId")+"/"+item.Get("name"), "imageLocation")
		item.Set(record.State, "imageState")
		item.Set(awsquery.Timestamp(record.Created), "creationDate")
		overlayAttributes(item, record)
		if record.Reason != "" {
			item.Set("Server.InternalError", "stateReason", "code")
			item.Set(record.Reason, "stateReason", "message")
		}
	}
	item.At("blockDeviceMapping").Children = []*awsquery.Node{awsquery.Element("item",
		awsquery.Text("deviceName", moto.RootDevice), awsquery.Element("ebs",
			awsquery.Text("snapshotId", snapshot), awsquery.Text("volumeSize", strconv.Itoa(size)),
			awsquery.Text("deleteOnTermination", "true"),
			awsquery.Text("volumeType", "gp3"), awsquery.Text("encrypted", "false")))}
}

func (s *Images) deregister(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	image := c.Get("ImageId")
	if moto.IsBase(image) {
		return nil, awsquery.Faultf(apierror.NotAuthorized,
			"Not authorized for image:%s: it is the local cloud's own", image)
	}
	if record, _ := s.records.Image(image); record.Protection != "" {
		return nil, awsquery.Faultf(apierror.OperationNotPermitted,
			"The image %s is protected from deregistration (%s)", image, record.Protection)
	}
	answered, err := s.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	err = s.records.Update(func(o *records.State) {
		if record := o.Images[image]; record != nil {
			record.Gone = true
		}
	})
	return answered, errors.Join(err, s.machinery.DeleteImage(ctx, image))
}
