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

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

// dataDevice is the device name that the data volume is attached as.
const dataDevice = "/dev/sdf"

// volumes are a tier's data volume, its snapshots, and leftovers of other volumes.
type volumes struct {
	run   *tier.Run
	stack *stack.Stack
	tier  stack.Tier
}

// current is the volume that the instance which serves is made for or, where none serves, the one with the tag;
// nil where there is none yet.
func (v *volumes) current(ctx context.Context, all []stack.Instance) (*types.Volume, error) {
	if own := stack.ServingOf(all, v.tier.Name).Detail.Volume; own != "" {
		return v.byID(ctx, own)
	}
	found, err := v.tagged(ctx, v.tier.Name)
	switch {
	case err != nil || len(found) == 0:
		return nil, err
	case len(found) == 1:
		return &found[0], nil
	}
	return nil, fmt.Errorf("find the data volume of stack %s: %s and %s both have the tag %s=%s; one should",
		v.stack.Name,
		aws.ToString(found[0].VolumeId), aws.ToString(found[1].VolumeId), stack.DataTag, v.tier.Name)
}

// tagged are the stack's data volumes whose tag has one of some comma-separated values.
func (v *volumes) tagged(ctx context.Context, values string) ([]types.Volume, error) {
	filters := v.stack.OwnFilters("tag:"+stack.DataTag, values)
	all, err := ec2ops.Volumes(ctx, v.stack.EC2, &ec2.DescribeVolumesInput{Filters: filters})
	if err != nil {
		return nil, fmt.Errorf("find the data volumes of stack %s: %w", v.stack.Name, err)
	}
	return slices.DeleteFunc(all, func(v types.Volume) bool {
		return v.State == types.VolumeStateDeleting || v.State == types.VolumeStateDeleted
	}), nil
}

func (v *volumes) byID(ctx context.Context, id string) (*types.Volume, error) {
	found, err := ec2ops.Volume(ctx, v.stack.EC2, id)
	if err != nil {
		return nil, fmt.Errorf("find the data volume of stack %s: %w", v.stack.Name, err)
	}
	return &found, nil
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

// ensure makes the data volume where there is none, in the zone of the tier's subnet, and tells its zone. One that is
// there is changed to the stack file's size, type and limits.
func (v *volumes) ensure(ctx context.Context) (id, zone string, err error) {
	own, err := v.current(ctx, v.run.Instances)
	if err != nil {
		return "", "", err
	}
	if own != nil {
		return aws.ToString(own.VolumeId), aws.ToString(own.AvailabilityZone), v.change(ctx, own)
	}
	subnet, err := v.run.Network.SubnetOf(v.stack, v.tier, "")
	if err != nil {
		return "", "", err
	}
	wanted := v.tier.Data.Volume
	change := plan.Change{
		Action: plan.Create,
		What:   fmt.Sprintf("data volume of %d GiB, %s", wanted.Size, wanted.Type),
		Reason: plan.Missing,
	}
	err = v.run.Act.Do(change, func() (string, error) {
		id, err = v.create(ctx, v.input(subnet.Zone), stack.DataTag, v.tier.Name)
		if err != nil {
			return "", fmt.Errorf("make the data volume of stack %s: %w", v.stack.Name, err)
		}
		v.stack.Logf("made data volume %s of %d GiB", id, wanted.Size)
		return id, v.available(ctx, id)
	})
	return id, subnet.Zone, err
}

// create makes a data volume with tags, as keys and values in turn.
func (v *volumes) create(ctx context.Context, input *ec2.CreateVolumeInput, tags ...string) (string, error) {
	all := append(v.tier.TagPairs(), tags...)
	input.TagSpecifications = v.stack.TagsFor(types.ResourceTypeVolume, v.stack.Name+"-data", all...)
	made, err := v.stack.EC2.CreateVolume(ctx, input)
	if err != nil {
		return "", err
	}
	return aws.ToString(made.VolumeId), nil
}

// input asks for a volume as the stack file describes it.
func (v *volumes) input(zone string) *ec2.CreateVolumeInput {
	wanted := v.tier.Data.Volume
	input := &ec2.CreateVolumeInput{
		AvailabilityZone: aws.String(zone),
		Size:             aws.Int32(wanted.Size),
		VolumeType:       types.VolumeType(wanted.Type),
		Encrypted:        aws.Bool(wanted.Encrypted),
		ClientToken:      aws.String(uuid.NewString()),
	}
	if wanted.IOPS > 0 {
		input.Iops = aws.Int32(wanted.IOPS)
	}
	if wanted.Throughput > 0 {
		input.Throughput = aws.Int32(wanted.Throughput)
	}
	if wanted.KMSKeyID != "" {
		input.KmsKeyId = aws.String(wanted.KMSKeyID)
	}
	return input
}

// differences are the properties of a volume that differ from the stack file, as sentences; one that EC2 cannot change
// is an error.
func (v *volumes) differences(own *types.Volume) (different []string, err error) {
	is, wanted := own, v.tier.Data.Volume
	// One that is encrypted although nobody wants it is in an account that encrypts every volume.
	if wanted.Encrypted && !aws.ToBool(is.Encrypted) {
		return nil, fmt.Errorf("data volume %s: it is not encrypted, and the stack file wants that it is; a volume "+
			"cannot be changed so\nhint: encrypted = false in data_volume keeps it as it is",
			aws.ToString(own.VolumeId))
	}
	if aws.ToInt32(is.Size) > wanted.Size {
		return nil, fmt.Errorf("data volume %s: it has %d GiB, and the stack file wants %d; a volume cannot be "+
			"made smaller",
			aws.ToString(own.VolumeId), aws.ToInt32(is.Size), wanted.Size)
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

// change changes the data volume to the stack file's size, type and limits, while it is in use. The file system on it
// grows when the next database takes it.
func (v *volumes) change(ctx context.Context, own *types.Volume) error {
	different, err := v.differences(own)
	if err != nil || len(different) == 0 {
		return err
	}
	id := aws.ToString(own.VolumeId)
	reason := "its " + strings.Join(different, ", its ")
	return v.run.Act.Do(plan.Change{
		Action: plan.Modify,
		What:   "data volume",
		ID:     id,
		Reason: reason,
	}, func() (string, error) {
		input := v.input("")
		_, err := v.stack.EC2.ModifyVolume(ctx, &ec2.ModifyVolumeInput{
			VolumeId:   own.VolumeId,
			Size:       input.Size,
			VolumeType: input.VolumeType,
			Iops:       input.Iops,
			Throughput: input.Throughput,
		})
		if awserr.VolumeNotYet(err) {
			v.stack.Logf("data volume %s stays as it is for now, and its %s: it was changed less than six hours "+
				"ago, or is being changed; a later deployment goes on: %v", id, strings.Join(different, ", its "), err)
			return "", plan.ErrLeft
		}
		if err != nil {
			return "", fmt.Errorf("change data volume %s, whose %s: %w", id, strings.Join(different, ", "), err)
		}
		v.stack.Logf("changed data volume %s, whose %s", id, strings.Join(different, ", "))
		return id, nil
	})
}

// available waits until a volume can be attached. One that was made a moment ago may not be known everywhere.
func (v *volumes) available(ctx context.Context, id string) error {
	limited, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	return ec2ops.UntilVolume(limited, v.stack.EC2, id, time.Now())
}

// attach gives the data volume to an instance. Who had it may be on its way out still.
func (v *volumes) attach(ctx context.Context, volume, id string) error {
	if err := v.available(ctx, volume); err != nil {
		return err
	}
	_, err := v.stack.EC2.AttachVolume(ctx, &ec2.AttachVolumeInput{
		VolumeId:   aws.String(volume),
		InstanceId: aws.String(id),
		Device:     aws.String(dataDevice),
	})
	if err != nil {
		return fmt.Errorf("attach %s to %s: %w", volume, id, err)
	}
	v.run.Observer.Moved("the data volume "+volume, id)
	return nil
}

// detach takes a volume away from whoever has it; it must be unmounted there.
func (v *volumes) detach(ctx context.Context, volume string) error {
	if _, err := v.stack.EC2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: aws.String(volume)}); err != nil {
		// It may be nobody's already: a deployment was killed right here.
		own, failed := v.byID(ctx, volume)
		if failed != nil || attachedTo(own) != "" {
			return errors.Join(fmt.Errorf("detach %s: %w", volume, err), failed)
		}
	}
	return v.available(ctx, volume)
}

// noteServer notes a database server on the instance that has it, or on the volume whose data it opens.
func (v *volumes) noteServer(ctx context.Context, id string, server instance.Server) error {
	tags := ec2ops.TagPairs(stack.ServerTag, server.String())
	if _, err := v.stack.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: tags}); err != nil {
		return fmt.Errorf("tag %s with %s: %w", id, server, err)
	}
	return nil
}

func (v *volumes) remove(ctx context.Context, id string) error {
	if err := v.available(ctx, id); err != nil {
		return err
	}
	if _, err := v.stack.EC2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: aws.String(id)}); err != nil {
		return fmt.Errorf("delete volume %s: %w", id, err)
	}
	return nil
}

// converge has the volume of the instance that serves be the tier's only one. Another is removed if it was never
// taken, or if what is on it is in a snapshot.
func (v *volumes) converge(ctx context.Context, act *plan.Actor, own *types.Volume) error {
	if own == nil {
		return nil
	}
	all, err := v.tagged(ctx, v.tier.Name+","+stack.Candidate)
	if err != nil {
		return err
	}
	id := aws.ToString(own.VolumeId)
	if ec2ops.TagValue(own.Tags, stack.DataTag) != v.tier.Name {
		change := plan.Change{
			Action: plan.Modify,
			What:   "data volume",
			ID:     id,
			Reason: "its tag does not say that it is",
		}
		if err := act.Do(change, func() (string, error) { return id, v.tag(ctx, id) }); err != nil {
			return err
		}
	}
	var errs []error
	for _, other := range all {
		if aws.ToString(other.VolumeId) != id {
			errs = append(errs, v.removeOther(ctx, act, other, id))
		}
	}
	return errors.Join(errs...)
}

func (v *volumes) tag(ctx context.Context, id string) error {
	tags := ec2ops.TagPairs(stack.DataTag, v.tier.Name)
	if _, err := v.stack.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: tags}); err != nil {
		return fmt.Errorf("tag %s as the data volume: %w", id, err)
	}
	return nil
}

// removeOther removes a volume in whose place is another, unless it has data that is nowhere else.
func (v *volumes) removeOther(ctx context.Context, act *plan.Actor, other types.Volume, kept string) error {
	id := aws.ToString(other.VolumeId)
	if ec2ops.TagValue(other.Tags, stack.DataTag) == v.tier.Name {
		saved, err := v.hasSnapshot(ctx, id)
		if err != nil {
			return err
		}
		if !saved {
			v.stack.Logf("%s was the data volume, and no snapshot has what is on it: it stays", id)
			return nil
		}
	}
	change := plan.Change{
		Action: plan.Remove,
		What:   "volume",
		ID:     id,
		Reason: "in its place is " + kept,
	}
	return act.Do(change, func() (string, error) {
		if err := v.remove(ctx, id); err != nil {
			return "", err
		}
		v.stack.Logf("removed volume %s, in whose place is %s", id, kept)
		return id, nil
	})
}
