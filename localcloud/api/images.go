package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// defaultRootGB is the size of a base image's root volume, as of Debian's own.
const defaultRootGB = 8

// createImage freezes an instance's disk. The image is pending until that is done.
func (s *Server) createImage(ctx context.Context, c *call) (*node, error) {
	instance := c.get("InstanceId")
	if err := s.inStates([]string{instance}, "imaged", "running", "stopping", "stopped"); err != nil {
		return nil, err
	}
	if err := s.freeName(ctx, c.get("Name")); err != nil {
		return nil, err
	}
	rest, snapshotTags := splitTags(c)
	rest.drop("BlockDeviceMapping.")
	answered, err := s.forward(ctx, rest)
	if err != nil {
		return nil, err
	}
	image := answered.get("imageId")
	described, err := s.ask(ctx, newCall("ec2", "DescribeImages", "ImageId.1", image))
	if err != nil {
		return nil, err
	}
	item, err := described.one("imagesSet")
	if err != nil {
		return nil, err
	}
	device, err := item.one("blockDeviceMapping")
	if err != nil {
		return nil, err
	}
	snapshot := device.get("ebs", "snapshotId")
	record, _ := s.instance(instance)
	err = s.update(func(o *overlay) {
		o.Images[image] = &imageRecord{State: "pending", Created: time.Now(), SizeGB: record.RootSizeGB, Snapshot: snapshot}
	})
	if err != nil {
		return nil, s.undo(ctx, err, "DeregisterImage", "ImageId", image)
	}
	if len(snapshotTags) > 0 {
		if _, err := s.forward(ctx, newCall("ec2", "CreateTags", append([]string{"ResourceId.1", snapshot}, snapshotTags...)...)); err != nil {
			return nil, err
		}
	}
	noReboot := c.get("NoReboot") == "true"
	s.later(instance, func(ctx context.Context) error { return s.freeze(ctx, instance, image, snapshot, noReboot) })
	return answered, nil
}

// freeName refuses an image name that an own image has: the server behind does not.
func (s *Server) freeName(ctx context.Context, name string) error {
	described, err := s.ask(ctx, newCall("ec2", "DescribeImages", "Owner.1", "self"))
	if err != nil {
		return err
	}
	for _, image := range described.items("imagesSet") {
		if image.get("name") == name {
			return fault("InvalidAMIName.Duplicate", "AMI name %s is already in use by AMI %s", name, image.get("imageId"))
		}
	}
	return nil
}

// splitTags takes the tags of snapshots out of a CreateImage call, as parameters of CreateTags: the server behind
// cannot take them with the image's.
func splitTags(c *call) (rest *call, snapshot []string) {
	rest = c.clone()
	rest.drop("TagSpecification.")
	kept := 0
	for i := 1; c.get(fmt.Sprintf("TagSpecification.%d.ResourceType", i)) != ""; i++ {
		prefix := fmt.Sprintf("TagSpecification.%d.", i)
		if c.get(prefix+"ResourceType") != "snapshot" {
			kept++
			for name, values := range c.form {
				if tail, ok := strings.CutPrefix(name, prefix); ok {
					rest.form[fmt.Sprintf("TagSpecification.%d.%s", kept, tail)] = values
				}
			}
			continue
		}
		for n := 1; c.get(fmt.Sprintf("%sTag.%d.Key", prefix, n)) != ""; n++ {
			for _, part := range []string{"Key", "Value"} {
				snapshot = append(snapshot, fmt.Sprintf("Tag.%d.%s", n, part), c.get(fmt.Sprintf("%sTag.%d.%s", prefix, n, part)))
			}
		}
	}
	return rest, snapshot
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
func (s *Server) describeImages(ctx context.Context, c *call) (*node, error) {
	rest, filters, err := takeFilters(c, imageFilters)
	if err != nil {
		return nil, err
	}
	rest.drop("MaxResults", "NextToken")
	described, err := s.ask(ctx, rest)
	if err != nil {
		return nil, err
	}
	set, launchable := described.at("imagesSet"), s.machinery.Images()
	set.children = slices.DeleteFunc(set.children, func(item *node) bool {
		id := item.get("imageId")
		s.mendImage(item)
		return isBase(id) && !slices.Contains(launchable, id) || !passAll(filters, item)
	})
	return described, nil
}

func (s *Server) mendImage(item *node) {
	item.set("ebs", "rootDeviceType")
	item.set(rootDevice, "rootDeviceName")
	item.set("true", "enaSupport")
	for _, made := range []string{"kernelId", "ramdiskId"} {
		item.remove(made)
	}
	if item.get("description") == "None" {
		item.set("", "description")
	}
	size, snapshot := defaultRootGB, ""
	if device, err := item.one("blockDeviceMapping"); err == nil {
		snapshot = device.get("ebs", "snapshotId")
	} else {
		item.set("", "blockDeviceMapping")
	}
	if record, ok := s.image(item.get("imageId")); ok {
		size, snapshot = record.SizeGB, record.Snapshot
		item.remove("imageOwnerAlias")
		item.set(item.get("imageOwnerId")+"/"+item.get("name"), "imageLocation")
		item.set(record.State, "imageState")
		item.set(timestamp(record.Created), "creationDate")
		mendAttributes(item, record)
		if record.Reason != "" {
			item.set("Server.InternalError", "stateReason", "code")
			item.set(record.Reason, "stateReason", "message")
		}
	}
	item.at("blockDeviceMapping").children = []*node{element("item", text("deviceName", rootDevice), element("ebs",
		text("snapshotId", snapshot), text("volumeSize", strconv.Itoa(size)), text("deleteOnTermination", "true"),
		text("volumeType", "gp3"), text("encrypted", "false")))}
}

func (s *Server) deregisterImage(ctx context.Context, c *call) (*node, error) {
	image := c.get("ImageId")
	if isBase(image) {
		return nil, fault("AuthFailure", "Not authorized for image:%s: it is the local cloud's own", image)
	}
	if record, _ := s.image(image); record.Protection != "" {
		return nil, fault("OperationNotPermitted", "The image %s is protected from deregistration (%s)", image, record.Protection)
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

func (s *Server) createSnapshot(ctx context.Context, c *call) (*node, error) {
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	id := answered.get("snapshotId")
	if err := s.machinery.CreateSnapshot(ctx, id, c.get("VolumeId")); err != nil {
		return nil, s.undo(ctx, err, "DeleteSnapshot", "SnapshotId", id)
	}
	return answered, nil
}

func (s *Server) deleteSnapshot(ctx context.Context, c *call) (*node, error) {
	snapshot := c.get("SnapshotId")
	if image, record := s.imageOf(snapshot); image != "" && !record.Gone {
		return nil, fault("InvalidSnapshot.InUse", "The snapshot %s is currently in use by %s", snapshot, image)
	}
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, s.machinery.DeleteSnapshot(ctx, snapshot)
}

// imageOf is the image that a snapshot came with.
func (s *Server) imageOf(snapshot string) (string, imageRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, image := range s.overlay.Images {
		if image.Snapshot == snapshot {
			return id, *image
		}
	}
	return "", imageRecord{}
}

// describeSnapshots gives the snapshots of images their size and state.
func (s *Server) describeSnapshots(ctx context.Context, c *call) (*node, error) {
	described, err := s.ask(ctx, c)
	if err != nil {
		return nil, err
	}
	set := described.at("snapshotSet")
	set.children = slices.DeleteFunc(set.children, ofBase)
	for _, item := range set.children {
		image, record := s.imageOf(item.get("snapshotId"))
		if image == "" {
			continue
		}
		item.set(strconv.Itoa(record.SizeGB), "volumeSize")
		item.set(timestamp(record.Created), "startTime")
		switch record.State {
		case "pending":
			item.set("pending", "status")
		case "failed":
			item.set("error", "status")
		}
	}
	return described, nil
}

// ofBase tells whether a snapshot came with a base image: the server behind makes one for each, as if it were a user's.
func ofBase(snapshot *node) bool {
	for _, base := range BaseImages {
		if strings.HasSuffix(snapshot.get("description"), base.ID) {
			return true
		}
	}
	return false
}
