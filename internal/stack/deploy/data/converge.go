package data

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

// Converge implements tier.Tier: one instance serves, with the volume and the address; the tier has one volume.
func (d *data) Converge(ctx context.Context, act *plan.Actor, all []stack.Instance, stopped bool) error {
	keeper := stack.ServingOf(all, d.tier.Name)
	rest := stack.Others(all, d.tier.Name, keeper)
	v, err := d.volumes.current(ctx, all)
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
	return d.volumes.converge(ctx, act, v)
}

// giveBack gives the instance that serves its volume and its address, and has it serve again. One that this deployment
// gave both has them, whatever EC2 still shows.
func (d *data) giveBack(
	ctx context.Context, act *plan.Actor, v *types.Volume, keeper stack.Instance, all []stack.Instance, stopped bool,
) error {
	if d.took && keeper.ID == d.newest().ID {
		return nil
	}
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
			return "", fmt.Errorf("have the server on %s serve again: %w", keeper.ID, err)
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
	written, dataErr := instance.ParseServer(ec2ops.TagValue(v.Tags, stack.ServerTag))
	if ownErr == nil && dataErr == nil && own.Opens(written) != nil {
		return fmt.Errorf("the data on %s is of %s by now, and %s on %s cannot open it\n"+
			"hint: to keep %s, tag it: aws ec2 create-tags --resources %s --tags Key=%s,Value=%s; the data of "+
			"before is in the snapshot with the tag %s=%s, to which goldsmith rollback --snapshot goes back then",
			volume, written, own, keeper.ID, holder.ID, holder.ID, stack.RoleTag, stack.Serving,
			stack.DeployTag, holder.Detail.Deploy)
	}
	if holder.ID != "" {
		if err := d.handOver(ctx, holder); err != nil {
			return err
		}
	}
	if attachedTo(v) != "" {
		if err := d.volumes.detach(ctx, volume); err != nil {
			return err
		}
	}
	d.stack.Logf("%s goes to %s", volume, keeper.ID)
	return d.volumes.attach(ctx, volume, keeper.ID)
}
