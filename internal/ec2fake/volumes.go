package ec2fake

import (
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
)

var volumeOperations = resource.Join(
	resource.Op(createVolume), resource.Op(describeVolumes), resource.Op(attachVolume), resource.Op(detachVolume),
	resource.Op(modifyVolume), resource.Op(deleteVolume), resource.Op(createSnapshot),
	resource.Op(describeSnapshots), resource.Op(deleteSnapshot), resource.Op(describeSnapshotAttribute),
)

func createVolume(r *Region, in *ec2.CreateVolumeInput) (*ec2.CreateVolumeOutput, error) {
	if in.SnapshotId != nil {
		r.storage.ripen()
		snapshot, err := r.storage.snapshots.Find(in.SnapshotId)
		if err != nil {
			return nil, err
		}
		if snapshot.State != types.SnapshotStateCompleted {
			return nil, Errf(apierror.IncorrectState, "Snapshot %s is %s", *in.SnapshotId, snapshot.State)
		}
	}
	made := r.storage.volumes.Create("vol", types.ResourceTypeVolume, in.TagSpecifications,
		func(id string) *types.Volume {
			return &types.Volume{
				VolumeId:         aws.String(id),
				AvailabilityZone: in.AvailabilityZone,
				Size:             in.Size,
				VolumeType:       in.VolumeType,
				Iops:             in.Iops,
				Throughput:       in.Throughput,
				Encrypted:        in.Encrypted,
				KmsKeyId:         in.KmsKeyId,
				SnapshotId:       in.SnapshotId,
				CreateTime:       aws.Time(time.Now()),
				State:            types.VolumeStateCreating,
			}
		})
	r.storage.ready[*made.VolumeId] = time.Now().Add(r.account.Pace)
	return &ec2.CreateVolumeOutput{
		VolumeId:         made.VolumeId,
		AvailabilityZone: made.AvailabilityZone,
		State:            made.State,
		Tags:             r.store.TagsOf(*made.VolumeId),
	}, nil
}

func describeVolumes(r *Region, in *ec2.DescribeVolumesInput) (*ec2.DescribeVolumesOutput, error) {
	r.storage.ripen()
	r.settle()
	found, err := r.storage.volumes.Describe(in.VolumeIds, in.Filters)
	found, next := resource.Page(r.account.Behaviour, found, in.NextToken)
	return &ec2.DescribeVolumesOutput{Volumes: found, NextToken: next}, err
}

// plug attaches a volume to an instance, which shows it among its disks.
func plug(volume *types.Volume, i *types.Instance, device string, goes bool) {
	volume.State = types.VolumeStateInUse
	volume.Attachments = []types.VolumeAttachment{{
		VolumeId:            volume.VolumeId,
		InstanceId:          i.InstanceId,
		Device:              aws.String(device),
		State:               types.VolumeAttachmentStateAttached,
		DeleteOnTermination: aws.Bool(goes),
	}}
	i.BlockDeviceMappings = append(slices.Clone(i.BlockDeviceMappings), types.InstanceBlockDeviceMapping{
		DeviceName: aws.String(device),
		Ebs: &types.EbsInstanceBlockDevice{
			VolumeId:            volume.VolumeId,
			DeleteOnTermination: aws.Bool(goes),
			Status:              types.AttachmentStatusAttached,
		},
	})
}

func attachVolume(r *Region, in *ec2.AttachVolumeInput) (*ec2.AttachVolumeOutput, error) {
	r.storage.ripen()
	r.settle()
	volume, err := r.storage.volumes.Find(in.VolumeId)
	if err != nil {
		return nil, err
	}
	i, err := r.compute.instances.Find(in.InstanceId)
	if err != nil {
		return nil, err
	}
	switch {
	case volume.State == types.VolumeStateInUse:
		return nil, Err(apierror.VolumeAttached, *volume.VolumeId)
	case volume.State != types.VolumeStateAvailable:
		return nil, Err(apierror.VolumeIncorrectState, *volume.VolumeId, volume.State)
	case i.State.Name != types.InstanceStateNameRunning && i.State.Name != types.InstanceStateNameStopped:
		return nil, Err(apierror.InstanceNotRunning, *i.InstanceId)
	case aws.ToString(i.Placement.AvailabilityZone) != aws.ToString(volume.AvailabilityZone):
		return nil, Err(apierror.InvalidVolumeZoneMismatch, *volume.VolumeId, *i.InstanceId)
	}
	plug(volume, i, aws.ToString(in.Device), false)
	return &ec2.AttachVolumeOutput{VolumeId: in.VolumeId, InstanceId: in.InstanceId}, nil
}

func detachVolume(r *Region, in *ec2.DetachVolumeInput) (*ec2.DetachVolumeOutput, error) {
	r.settle()
	volume, err := r.storage.volumes.Find(in.VolumeId)
	if err != nil {
		return nil, err
	}
	if len(volume.Attachments) == 0 {
		return nil, Err(apierror.VolumeIncorrectState, *volume.VolumeId, "available")
	}
	if i := r.compute.instances.Get(aws.ToString(volume.Attachments[0].InstanceId)); i != nil {
		i.BlockDeviceMappings = slices.DeleteFunc(slices.Clone(i.BlockDeviceMappings),
			func(m types.InstanceBlockDeviceMapping) bool {
				return m.Ebs != nil && aws.ToString(m.Ebs.VolumeId) == *volume.VolumeId
			})
	}
	volume.Attachments, volume.State = nil, types.VolumeStateAvailable
	return nil, nil
}

func modifyVolume(r *Region, in *ec2.ModifyVolumeInput) (*ec2.ModifyVolumeOutput, error) {
	volume, err := r.storage.volumes.Find(in.VolumeId)
	if err != nil {
		return nil, err
	}
	if in.Size != nil {
		volume.Size = in.Size
	}
	if in.VolumeType != "" {
		volume.VolumeType = in.VolumeType
	}
	if in.Iops != nil {
		volume.Iops = in.Iops
	}
	if in.Throughput != nil {
		volume.Throughput = in.Throughput
	}
	return nil, nil
}

func deleteVolume(r *Region, in *ec2.DeleteVolumeInput) (*ec2.DeleteVolumeOutput, error) {
	r.settle()
	volume, err := r.storage.volumes.Find(in.VolumeId)
	if err != nil {
		return nil, err
	}
	if len(volume.Attachments) > 0 {
		return nil, Errf(apierror.VolumeInUse, "Volume %s is currently attached to %s", *volume.VolumeId,
			aws.ToString(volume.Attachments[0].InstanceId))
	}
	r.storage.volumes.Remove(*volume.VolumeId)
	return nil, nil
}

func createSnapshot(r *Region, in *ec2.CreateSnapshotInput) (*ec2.CreateSnapshotOutput, error) {
	volume, err := r.storage.volumes.Find(in.VolumeId)
	if err != nil {
		return nil, err
	}
	made := r.newSnapshot(aws.ToString(in.Description), *volume.VolumeId, in.TagSpecifications)
	made.VolumeSize = volume.Size
	return &ec2.CreateSnapshotOutput{SnapshotId: made.SnapshotId, VolumeId: made.VolumeId, State: made.State}, nil
}

func describeSnapshots(r *Region, in *ec2.DescribeSnapshotsInput) (*ec2.DescribeSnapshotsOutput, error) {
	r.storage.ripen()
	found, err := r.storage.snapshots.Describe(in.SnapshotIds, in.Filters)
	found = slices.DeleteFunc(found, func(s types.Snapshot) bool {
		return slices.Contains(in.OwnerIds, "self") && aws.ToString(s.OwnerId) != Number
	})
	found, next := resource.Page(r.account.Behaviour, found, in.NextToken)
	return &ec2.DescribeSnapshotsOutput{Snapshots: found, NextToken: next}, err
}

func describeSnapshotAttribute(
	r *Region, in *ec2.DescribeSnapshotAttributeInput,
) (*ec2.DescribeSnapshotAttributeOutput, error) {
	if _, err := r.storage.snapshots.Find(in.SnapshotId); err != nil {
		return nil, err
	}
	return &ec2.DescribeSnapshotAttributeOutput{
		SnapshotId:              in.SnapshotId,
		CreateVolumePermissions: r.storage.copiers[*in.SnapshotId],
	}, nil
}

func deleteSnapshot(r *Region, in *ec2.DeleteSnapshotInput) (*ec2.DeleteSnapshotOutput, error) {
	snapshot, err := r.storage.snapshots.Find(in.SnapshotId)
	if err != nil {
		return nil, err
	}
	id := *snapshot.SnapshotId
	if h := r.storage.held[id]; h.times > 0 {
		r.storage.held[id] = hold{h.by, h.times - 1}
		return nil, Err(apierror.InvalidSnapshotInUse, id, h.by)
	}
	for _, row := range r.storage.images.Rows {
		for _, disk := range row.Value.BlockDeviceMappings {
			if disk.Ebs != nil && aws.ToString(disk.Ebs.SnapshotId) == id {
				return nil, Err(apierror.InvalidSnapshotInUse, id, row.ID)
			}
		}
	}
	r.storage.snapshots.Remove(id)
	return nil, nil
}

// Volume is a volume as EC2 would describe it, or nil.
func (r *Region) Volume(id string) *types.Volume {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	r.storage.ripen()
	r.settle()
	if r.storage.volumes.Get(id) == nil {
		return nil
	}
	return r.storage.volumes.Tagged(id)
}
