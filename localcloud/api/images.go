package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// defaultRootGB is the size of a base image's root volume, as of Debian's own.
const defaultRootGB = 8

// createImage freezes an instance's disk. The image is pending until that is done.
func (s *Server) createImage(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	instance := c.Get("InstanceId")
	if err := s.inStates([]string{instance}, "imaged", "running", "stopping", "stopped"); err != nil {
		return nil, err
	}
	if err := s.freeName(ctx, c.Get("Name")); err != nil {
		return nil, err
	}
	rest, snapshotTags := splitTags(c)
	rest.Drop("BlockDeviceMapping.")
	answered, err := s.forward(ctx, rest)
	if err != nil {
		return nil, err
	}
	image := answered.Get("imageId")
	described, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeImages", "ImageId.1", image))
	if err != nil {
		return nil, err
	}
	item, err := described.One("imagesSet")
	if err != nil {
		return nil, err
	}
	device, err := item.One("blockDeviceMapping")
	if err != nil {
		return nil, err
	}
	snapshot := device.Get("ebs", "snapshotId")
	record, _ := s.instance(instance)
	err = s.update(func(o *overlay) {
		o.Images[image] = &imageRecord{State: "pending", Created: time.Now(), SizeGB: record.RootSizeGB, Snapshot: snapshot}
	})
	if err != nil {
		return nil, s.undo(ctx, err, "DeregisterImage", "ImageId", image)
	}
	if len(snapshotTags) > 0 {
		if _, err := s.forward(ctx, awsquery.NewCall("ec2", "CreateTags", append([]string{"ResourceId.1", snapshot}, snapshotTags...)...)); err != nil {
			return nil, err
		}
	}
	noReboot := c.Get("NoReboot") == "true"
	s.queue.Enqueue(instance, func(ctx context.Context) error { return s.freeze(ctx, instance, image, snapshot, noReboot) })
	return answered, nil
}

// freeName refuses an image name that an own image has: the server behind does not.
func (s *Server) freeName(ctx context.Context, name string) error {
	described, err := s.ask(ctx, awsquery.NewCall("ec2", "DescribeImages", "Owner.1", "self"))
	if err != nil {
		return err
	}
	for _, image := range described.Items("imagesSet") {
		if image.Get("name") == name {
			return awsquery.Fault("InvalidAMIName.Duplicate", "AMI name %s is already in use by AMI %s", name, image.Get("imageId"))
		}
	}
	return nil
}

// freeze makes a pending image real. A running instance is rebooted for it, unless that is not wanted.
func (s *Server) freeze(ctx context.Context, instance, image, snapshot string, noReboot bool) error {
	record, _ := s.instance(instance)
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
	kept := s.update(func(o *overlay) {
		if record := o.Images[image]; record != nil {
			record.State, record.Reason = state, reason
		}
	})
	if reboot {
		err = errors.Join(err, s.machinery.StartMachine(ctx, instance))
	}
	return errors.Join(err, kept)
}

// describeImages describes images as they really are; a base image that was not made is not there.
func (s *Server) describeImages(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	rest, filters, err := awsquery.TakeFilters(c, imageFilters)
	if err != nil {
		return nil, err
	}
	rest.Drop("MaxResults", "NextToken")
	described, err := s.ask(ctx, rest)
	if err != nil {
		return nil, err
	}
	set, launchable := described.At("imagesSet"), s.machinery.Images()
	set.Children = slices.DeleteFunc(set.Children, func(item *awsquery.Node) bool {
		id := item.Get("imageId")
		s.mendImage(item)
		return isBase(id) && !slices.Contains(launchable, id) || !filters.Pass(item)
	})
	return described, nil
}

func (s *Server) mendImage(item *awsquery.Node) {
	item.Set("ebs", "rootDeviceType")
	item.Set(rootDevice, "rootDeviceName")
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
	if record, ok := s.image(item.Get("imageId")); ok {
		size, snapshot = record.SizeGB, record.Snapshot
		item.Remove("imageOwnerAlias")
		item.Set(item.Get("imageOwnerId")+"/"+item.Get("name"), "imageLocation")
		item.Set(record.State, "imageState")
		item.Set(awsquery.Timestamp(record.Created), "creationDate")
		mendAttributes(item, record)
		if record.Reason != "" {
			item.Set("Server.InternalError", "stateReason", "code")
			item.Set(record.Reason, "stateReason", "message")
		}
	}
	item.At("blockDeviceMapping").Children = []*awsquery.Node{awsquery.Element("item", awsquery.Text("deviceName", rootDevice), awsquery.Element("ebs",
		awsquery.Text("snapshotId", snapshot), awsquery.Text("volumeSize", strconv.Itoa(size)), awsquery.Text("deleteOnTermination", "true"),
		awsquery.Text("volumeType", "gp3"), awsquery.Text("encrypted", "false")))}
}

func (s *Server) deregisterImage(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	image := c.Get("ImageId")
	if isBase(image) {
		return nil, awsquery.Fault("AuthFailure", "Not authorized for image:%s: it is the local cloud's own", image)
	}
	if record, _ := s.image(image); record.Protection != "" {
		return nil, awsquery.Fault("OperationNotPermitted", "The image %s is protected from deregistration (%s)", image, record.Protection)
	}
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	err = s.update(func(o *overlay) {
		if record := o.Images[image]; record != nil {
			record.Gone = true
		}
	})
	return answered, errors.Join(err, s.machinery.DeleteImage(ctx, image))
}
