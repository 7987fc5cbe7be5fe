package data

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/uuid"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

// dataDevice is the device name that the data volume is attached as.
const dataDevice = "/dev/sdf"

// currentVolume is the volume that the instance which serves is made for or, where none serves, the one with the tag;
// nil where there is none yet.
func (d *data) currentVolume(ctx context.Context, all []stack.Instance) (*types.Volume, error) {
	if own := stack.ServingOf(all, d.tier.Name).Detail.Volume; own != "" {
		return d.volumeByID(ctx, own)
	}
	found, err := d.volumes(ctx, d.tier.Name)
	switch {
	case err != nil || len(found) == 0:
		return nil, err
	case len(found) == 1:
		return &found[0], nil
	}
	return nil, fmt.Errorf("find the data volume of stack %s: %s and %s both have the tag %s=%s; one should",
		d.stack.Name,
		aws.ToString(found[0].VolumeId), aws.ToString(found[1].VolumeId), stack.DataTag, d.tier.Name)
}

// volumes are the stack's data volumes whose tag has one of some comma-separated values.
func (d *data) volumes(ctx context.Context, values string) ([]types.Volume, error) {
	var all []types.Volume
	filters := d.stack.OwnFilters("tag:"+stack.DataTag, values)
	for pages := ec2.NewDescribeVolumesPaginator(d.stack.EC2,
		&ec2.DescribeVolumesInput{Filters: filters}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("find the data volumes of stack %s: %w", d.stack.Name, err)
		}
		all = append(all, page.Volumes...)
	}
	return slices.DeleteFunc(all, func(v types.Volume) bool {
		return v.State == types.VolumeStateDeleting || v.State == types.VolumeStateDeleted
	}), nil
}

func (d *data) volumeByID(ctx context.Context, id string) (*types.Volume, error) {
	out, err := d.stack.EC2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
	if err == nil && len(out.Volumes) == 0 {
		err = errors.New("EC2 does not describe it")
	}
	if err != nil {
		return nil, fmt.Errorf("find the data volume %s of stack %s: %w", id, d.stack.Name, err)
	}
	return &out.Volumes[0], nil
}

// attachedTo is the instance that a volume is attached to, or empty.
func attachedTo(v *types.Volume) string {
	for _, a := range v.Attachments {
		if a.State != types.VolumeAttachmentStateDetached {
			return aws.ToString(a.InstanceId)
		}
	}
	return ""
}

// ensureVolume makes the data volume where there is none, in the zone of the tier's subnet, and tells its zone. One
// that is there is made what the stack file says.
func (d *data) ensureVolume(ctx context.Context) (id, zone string, err error) {
	v, err := d.currentVolume(ctx, d.run.Instances)
	if err != nil {
		return "", "", err
	}
	if v != nil {
		return aws.ToString(v.VolumeId), aws.ToString(v.AvailabilityZone), d.changeVolume(ctx, v)
	}
	subnet, err := d.run.Network.SubnetOf(d.stack, d.tier, "")
	if err != nil {
		return "", "", err
	}
	wanted := d.tier.Data.Volume
	change := plan.Change{
		Action: plan.Create,
		What:   fmt.Sprintf("data volume of %d GiB, %s", wanted.Size, wanted.Type),
		Reason: plan.Missing,
	}
	err = d.run.Act.Do(change, func() (string, error) {
		id, err = d.createVolume(ctx, d.volumeInput(subnet.Zone), stack.DataTag, d.tier.Name)
		if err != nil {
			return "", fmt.Errorf("make the data volume of stack %s: %w", d.stack.Name, err)
		}
		d.stack.Logf("made data volume %s of %d GiB", id, wanted.Size)
		return id, d.volumeAvailable(ctx, id)
	})
	return id, subnet.Zone, err
}

// createVolume makes a data volume with tags, as keys and values in turn.
func (d *data) createVolume(ctx context.Context, input *ec2.CreateVolumeInput, tags ...string) (string, error) {
	all := append(d.tier.TagPairs(), tags...)
	input.TagSpecifications = d.stack.TagsFor(types.ResourceTypeVolume, d.stack.Name+"-data", all...)
	made, err := d.stack.EC2.CreateVolume(ctx, input)
	if err != nil {
		return "", err
	}
	return aws.ToString(made.VolumeId), nil
}

// volumeInput asks for a volume as the stack file describes it.
func (d *data) volumeInput(zone string) *ec2.CreateVolumeInput {
	v := d.tier.Data.Volume
	input := &ec2.CreateVolumeInput{
		AvailabilityZone: aws.String(zone),
		Size:             aws.Int32(v.Size),
		VolumeType:       types.VolumeType(v.Type),
		Encrypted:        aws.Bool(v.Encrypted),
		ClientToken:      aws.String(uuid.NewString()),
	}
	if v.IOPS > 0 {
		input.Iops = aws.Int32(v.IOPS)
	}
	if v.Throughput > 0 {
		input.Throughput = aws.Int32(v.Throughput)
	}
	if v.KMSKeyID != "" {
		input.KmsKeyId = aws.String(v.KMSKeyID)
	}
	return input
}

// volumeDifferences are what a volume is otherwise than in the stack file, and what of that cannot be changed.
func (d *data) volumeDifferences(v *types.Volume) (different []string, err error) {
	is, wanted := v, d.tier.Data.Volume
	if aws.ToBool(is.Encrypted) != wanted.Encrypted {
		return nil, fmt.Errorf("data volume %s: its encryption is %v, and the stack file wants %v, to which a "+
			"volume cannot be "+
			"changed", aws.ToString(v.VolumeId), aws.ToBool(is.Encrypted), wanted.Encrypted)
	}
	if aws.ToInt32(is.Size) > wanted.Size {
		return nil, fmt.Errorf("data volume %s: it has %d GiB, and the stack file wants %d; a volume cannot be "+
			"made smaller",
			aws.ToString(v.VolumeId), aws.ToInt32(is.Size), wanted.Size)
	}
	note := func(name string, is, wanted any) {
		different = append(different, fmt.Sprintf("%s is %v and not %v", name, is, wanted))
	}
	if aws.ToInt32(is.Size) != wanted.Size {
		note("size", aws.ToInt32(is.Size), wanted.Size)
	}
	if string(is.VolumeType) != wanted.Type {
		note("type", is.VolumeType, wanted.Type)
	}
	if is.Iops != nil && wanted.IOPS > 0 && *is.Iops != wanted.IOPS {
		note("iops", *is.Iops, wanted.IOPS)
	}
	if is.Throughput != nil && wanted.Throughput > 0 && *is.Throughput != wanted.Throughput {
		note("throughput", *is.Throughput, wanted.Throughput)
	}
	return different, nil
}

// changeVolume makes the data volume what the stack file says, while it is in use. The file system on it grows when the
// next database takes it.
func (d *data) changeVolume(ctx context.Context, v *types.Volume) error {
	different, err := d.volumeDifferences(v)
	if err != nil || len(different) == 0 {
		return err
	}
	id := aws.ToString(v.VolumeId)
	reason := "its " + strings.Join(different, ", its ")
	return d.run.Act.Do(plan.Change{
		Action: plan.Modify,
		What:   "data volume",
		ID:     id,
		Reason: reason,
	}, func() (string, error) {
		input := d.volumeInput("")
		_, err := d.stack.EC2.ModifyVolume(ctx, &ec2.ModifyVolumeInput{
			VolumeId:   v.VolumeId,
			Size:       input.Size,
			VolumeType: input.VolumeType,
			Iops:       input.Iops,
			Throughput: input.Throughput,
		})
		if err != nil {
			return "", fmt.Errorf("change data volume %s, whose %s: %w", id, strings.Join(different, ", "), err)
		}
		d.stack.Logf("changed data volume %s, whose %s", id, strings.Join(different, ", "))
		return id, nil
	})
}

func (d *data) volumeAvailable(ctx context.Context, id string) error {
	err := await.Until(ctx, 5*time.Minute, func(ctx context.Context) (bool, error) {
		out, err := d.stack.EC2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
		if err != nil || len(out.Volumes) == 0 {
			return false, err
		}
		switch state := out.Volumes[0].State; state {
		case types.VolumeStateAvailable:
			return true, nil
		case types.VolumeStateDeleting, types.VolumeStateDeleted, types.VolumeStateError:
			return true, fmt.Errorf("it is in state %s", state)
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("wait for volume %s to be available: %w", id, err)
	}
	return nil
}

// attach gives the data volume to an instance. Who had it may be on its way out still.
func (d *data) attach(ctx context.Context, volume, id string) error {
	if err := d.volumeAvailable(ctx, volume); err != nil {
		return err
	}
	_, err := d.stack.EC2.AttachVolume(ctx, &ec2.AttachVolumeInput{
		VolumeId:   aws.String(volume),
		InstanceId: aws.String(id),
		Device:     aws.String(dataDevice),
	})
	if err != nil {
		return fmt.Errorf("attach %s to %s: %w", volume, id, err)
	}
	d.run.Observer.Moved("the data volume "+volume, id)
	return nil
}

// detach takes a volume away from whoever has it; it must be unmounted there.
func (d *data) detach(ctx context.Context, volume string) error {
	if _, err := d.stack.EC2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: aws.String(volume)}); err != nil {
		// It may be nobody's already: a deployment was killed right here.
		v, failed := d.volumeByID(ctx, volume)
		if failed != nil || attachedTo(v) != "" {
			return errors.Join(fmt.Errorf("detach %s: %w", volume, err), failed)
		}
	}
	return d.volumeAvailable(ctx, volume)
}

// setServer notes the new instance's database server on it, or on the volume whose data it opens.
func (d *data) setServer(ctx context.Context, id string) error {
	tags := stack.TagList(stack.ServerTag, d.server.String())
	if _, err := d.stack.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: tags}); err != nil {
		return fmt.Errorf("tag %s with %s: %w", id, d.server, err)
	}
	return nil
}
