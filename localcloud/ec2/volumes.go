package ec2

import (
	"context"
	"errors"
	"strconv"
	"syscall"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/tool"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// Volumes answers the calls for volumes.
type Volumes struct {
	moto      *moto.Client
	records   *records.Store
	images    *Images
	machinery Disks
}

// Handlers answer the calls of EC2 for volumes that are more than a record.
func (s *Volumes) Handlers() map[string]awsquery.Handler {
	return map[string]awsquery.Handler{
		"CreateVolume": s.create,
		"DeleteVolume": s.delete,
		"AttachVolume": s.attach,
		"DetachVolume": s.detach,
		"ModifyVolume": s.modify,
	}
}

// volumeSize reads a size in GiB.
func volumeSize(given string) (int, error) {
	size, err := strconv.Atoi(given)
	if err != nil || size < 1 || size > 16384 {
		return 0, awsquery.Faultf(apierror.InvalidParameterValue,
			"Volume size %q: a number of GiB from 1 to 16384 is needed", given)
	}
	return size, nil
}

func (s *Volumes) create(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	c = c.Clone()
	snapshot, given := c.Get("SnapshotId"), c.Get("Size")
	least := 0
	if snapshot != "" || given == "" {
		var err error
		if least, err = s.images.snapshotSize(ctx, snapshot); err != nil {
			return nil, err
		}
	}
	size := least
	if given != "" {
		var err error
		if size, err = volumeSize(given); err != nil {
			return nil, err
		}
	}
	if size < least {
		return nil, awsquery.Faultf(apierror.InvalidParameterValue,
			"Volume of %dGiB is smaller than snapshot %s, expect size >= %d", size, snapshot, least)
	}
	c.Set("Size", strconv.Itoa(size))
	answered, err := s.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	id := answered.Get("volumeId")
	if err := s.machinery.CreateVolume(ctx, id, size, snapshot); err != nil {
		return nil, s.moto.Undo(ctx, err, "DeleteVolume", "VolumeId", id)
	}
	return answered, nil
}

func (s *Volumes) delete(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := s.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := s.machinery.DeleteVolume(ctx, c.Get("VolumeId")); err != nil {
		return nil, &moto.UnrealError{Err: err}
	}
	return answered, nil
}

// attachment finds the instance and the device that a volume is attached to; both are empty for a free one.
func (s *Volumes) attachment(ctx context.Context, volume string) (instance, device string, err error) {
	described, err := s.moto.Ask(ctx, awsquery.NewCall("ec2", "DescribeVolumes", "VolumeId.1", volume))
	if err != nil {
		return "", "", err
	}
	for _, item := range described.Items("volumeSet") {
		for _, attached := range item.Items("attachmentSet") {
			return attached.Get("instanceId"), attached.Get("device"), nil
		}
	}
	return "", "", nil
}

func (s *Volumes) attach(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	volume, instance, device := c.Get("VolumeId"), c.Get("InstanceId"), c.Get("Device")
	if err := s.records.InStates([]string{instance}, "given a volume", "running", "stopped"); err != nil {
		return nil, err
	}
	holder, _, err := s.attachment(ctx, volume)
	if err != nil {
		return nil, err
	}
	if holder != "" {
		return nil, awsquery.Fault(apierror.VolumeAttached, volume).Adding("(%s)", holder)
	}
	item, err := s.moto.Instance(ctx, instance)
	if err != nil {
		return nil, err
	}
	if volumeAt(item, device) != "" {
		return nil, awsquery.Faultf(apierror.InvalidParameterValue,
			"Invalid value '%[1]s' for unixDevice. Attachment point %[1]s is already in use", device)
	}
	if err = s.machinery.AttachVolume(ctx, volume, instance, device); err != nil {
		return nil, awsquery.Faultf(apierror.InvalidParameterValue, "%s", tool.Public(err))
	}
	answered, err := s.moto.Forward(ctx, c)
	if err != nil {
		return nil, errors.Join(err, s.machinery.DetachVolume(ctx, instance, device, true))
	}
	return answered, nil
}

func (s *Volumes) detach(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	volume := c.Get("VolumeId")
	instance, device, err := s.attachment(ctx, volume)
	if err != nil {
		return nil, err
	}
	if instance == "" || c.Get("InstanceId") != "" && c.Get("InstanceId") != instance {
		return nil, awsquery.Faultf(apierror.IncorrectState, "Volume '%s' is not attached there.", volume)
	}
	if record, _ := s.records.Instance(instance); record.RootVolume == volume {
		return nil, awsquery.Faultf(apierror.OperationNotPermitted,
			"The root volume %s of %s cannot be detached in the local cloud", volume, instance)
	}
	c = c.Clone()
	c.Set("InstanceId", instance)
	c.Set("Device", device)
	err = s.machinery.DetachVolume(ctx, instance, device, c.Get("Force") == "true")
	if errors.Is(err, syscall.EBUSY) {
		return nil, awsquery.Faultf(apierror.IncorrectState,
			"Volume '%s' is mounted by instance '%s'. Unmount it, or force the detachment", volume, instance)
	}
	if err != nil {
		return nil, err
	}
	return s.moto.Forward(ctx, c)
}

// modify refuses what would be a record only.
func (s *Volumes) modify(_ context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	return nil, awsquery.Faultf(apierror.UnsupportedOperation,
		"a volume of the local cloud keeps its size and type: make one of a snapshot of %s", c.Get("VolumeId"))
}
