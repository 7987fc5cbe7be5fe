package data

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

// Converge implements tier.Tier: one instance serves, with the volume and the address; the tier has one volume.
func (d *data) Converge(ctx context.Context, act *plan.Actor, all []stack.Instance, stopped bool) error {
	keeper := stack.ServingOf(all, d.tier.Name)
	rest := stack.Others(all, d.tier.Name, keeper)
	v, err := d.currentVolume(ctx, all)
	if err != nil {
		return err
	}
	if keeper.ID != "" && v != nil && (len(rest) > 0 || keeper.State == "running") {
		if err := d.giveBack(ctx, act, v, keeper, all, stopped); err != nil {
			return err
		}
	}
	if err := d.run.End(ctx, act, rest); err != nil {
		return err
	}
	return d.convergeVolumes(ctx, act, v)
}

// giveBack gives the instance that serves its volume and its address, and has it serve again.
func (d *data) giveBack(
	ctx context.Context, act *plan.Actor, v *types.Volume, keeper stack.Instance, all []stack.Instance, stopped bool,
) error {
	found, err := d.hasAddress(ctx, keeper)
	if err != nil {
		return err
	}
	holder := attachedTo(v)
	if holder == keeper.ID && found && !stopped {
		return nil
	}
	change := plan.Change{
		Action: plan.Modify,
		What:   d.tier.Name + " instance",
		ID:     keeper.ID,
		Reason: "an earlier deployment may have stopped it, or taken its volume or its address",
	}
	return act.Do(change, func() (string, error) {
		if holder != keeper.ID {
			if err := d.returnVolume(ctx, v, keeper, all); err != nil {
				return "", err
			}
		}
		if err := d.giveAddress(ctx, keeper); err != nil {
			return "", err
		}
		// One that never stopped is not touched by this.
		if err := d.resume(ctx, keeper); err != nil {
			return "", fmt.Errorf("have the database on %s serve again: %w", keeper.ID, err)
		}
		d.run.Observer.WritesResume()
		return keeper.ID, nil
	})
}

// returnVolume takes the data volume from whoever has it. Data that the keeper cannot open any more is not forced on
// it.
func (d *data) returnVolume(ctx context.Context, v *types.Volume, keeper stack.Instance, all []stack.Instance) error {
	volume := aws.ToString(v.VolumeId)
	var holder stack.Instance
	for _, i := range all {
		if i.ID == attachedTo(v) {
			holder = i
		}
	}
	own, ownErr := instance.ParseServer(keeper.Detail.Server)
	written, dataErr := instance.ParseServer(stack.TagOf(v.Tags, stack.ServerTag))
	if ownErr == nil && dataErr == nil && own.Opens(written) != nil {
		return fmt.Errorf("the data on %s is of %s by now, and %s on %s cannot open it\n"+
			"hint: to keep %s, tag it: aws ec2 create-tags --resources %s --tags Key=%s,Value=%s; the data of "+
			"before is in the "+
			"snapshot with the tag %s=%s, to which goldsmith rollback --snapshot goes back then",
			volume, written, own, keeper.ID, holder.ID, holder.ID, stack.RoleTag, stack.Serving,
			stack.DeployTag, holder.Detail.Deploy)
	}
	if holder.ID != "" {
		if err := d.handOver(ctx, holder); err != nil {
			return err
		}
	}
	if attachedTo(v) != "" {
		if err := d.detach(ctx, volume); err != nil {
			return err
		}
	}
	d.stack.Logf("%s goes to %s", volume, keeper.ID)
	return d.attach(ctx, volume, keeper.ID)
}

// convergeVolumes has the volume of the instance that serves be the tier's only one. Another is removed if it was never
// taken, or if what is on it is in a snapshot.
func (d *data) convergeVolumes(ctx context.Context, act *plan.Actor, v *types.Volume) error {
	if v == nil {
		return nil
	}
	all, err := d.volumes(ctx, d.tier.Name+","+stack.Candidate)
	if err != nil {
		return err
	}
	id := aws.ToString(v.VolumeId)
	if stack.TagOf(v.Tags, stack.DataTag) != d.tier.Name {
		change := plan.Change{
			Action: plan.Modify,
			What:   "data volume",
			ID:     id,
			Reason: "its tag does not say that it is",
		}
		if err := act.Do(change, func() (string, error) { return id, d.tagVolume(ctx, id) }); err != nil {
			return err
		}
	}
	var errs []error
	for _, other := range all {
		if aws.ToString(other.VolumeId) != id {
			errs = append(errs, d.removeOther(ctx, act, other, id))
		}
	}
	return errors.Join(errs...)
}

func (d *data) tagVolume(ctx context.Context, id string) error {
	tags := stack.TagList(stack.DataTag, d.tier.Name)
	if _, err := d.stack.EC2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: tags}); err != nil {
		return fmt.Errorf("tag %s as the data volume: %w", id, err)
	}
	return nil
}

// removeOther removes a volume in whose place is another, unless it has data that is nowhere else.
func (d *data) removeOther(ctx context.Context, act *plan.Actor, other types.Volume, kept string) error {
	id := aws.ToString(other.VolumeId)
	if stack.TagOf(other.Tags, stack.DataTag) == d.tier.Name {
		saved, err := d.hasSnapshot(ctx, id)
		if err != nil {
			return err
		}
		if !saved {
			d.stack.Logf("%s was the data volume, and no snapshot has what is on it: it stays", id)
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
		if err := d.deleteVolume(ctx, id); err != nil {
			return "", err
		}
		d.stack.Logf("removed volume %s, in whose place is %s", id, kept)
		return id, nil
	})
}
