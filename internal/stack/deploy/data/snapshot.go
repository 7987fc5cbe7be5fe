package data

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
)

// snapshot keeps the data as it is at this moment. The volume may be used again at once.
func (v *volumes) snapshot(ctx context.Context, volume string) (string, error) {
	own, err := v.byID(ctx, volume)
	if err != nil {
		return "", err
	}
	tags := []string{stack.DataTag, v.tier.Name, stack.DeployTag, v.run.ID}
	if server := ec2ops.TagValue(own.Tags, stack.ServerTag); server != "" {
		tags = append(tags, stack.ServerTag, server)
	}
	out, err := v.stack.EC2.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{
		VolumeId:          aws.String(volume),
		Description:       aws.String("Data of stack " + v.stack.Name + " before deployment " + v.run.ID),
		TagSpecifications: v.stack.TagsFor(types.ResourceTypeSnapshot, v.stack.Name+"-data before "+v.run.ID, tags...),
	})
	if err != nil {
		return "", fmt.Errorf("make a snapshot of %s: %w", volume, err)
	}
	return aws.ToString(out.SnapshotId), nil
}

// snapshots are those of a tier's data volume, the youngest first.
func snapshots(ctx context.Context, s *stack.Stack, t stack.Tier) ([]types.Snapshot, error) {
	all, err := ec2ops.OwnSnapshots(ctx, s.EC2, s.OwnFilters("tag:"+stack.DataTag, t.Name)...)
	if err != nil {
		return nil, fmt.Errorf("list the snapshots of stack %s: %w", s.Name, err)
	}
	slices.SortFunc(all, func(a, b types.Snapshot) int {
		return strings.Compare(ec2ops.TagValue(b.Tags, stack.DeployTag), ec2ops.TagValue(a.Tags, stack.DeployTag))
	})
	return all, nil
}

// PruneSnapshots removes all snapshots of a tier's data but the youngest, of which so many are yet to be made.
func PruneSnapshots(ctx context.Context, act *plan.Actor, s *stack.Stack, t stack.Tier, keep, coming int) error {
	all, err := snapshots(ctx, s, t)
	if err != nil {
		return err
	}
	var errs []error
	for _, old := range all[min(max(keep-coming, 0), len(all)):] {
		id := aws.ToString(old.SnapshotId)
		change := plan.Change{
			Action: plan.Remove,
			What:   t.Name + " snapshot",
			ID:     id,
			Reason: fmt.Sprintf("%d are kept, and it is older", keep),
		}
		errs = append(errs, act.Do(change, func() (string, error) {
			if err := ec2ops.DeleteSnapshot(ctx, s.EC2, id, ""); err != nil {
				return "", fmt.Errorf("delete snapshot %s: %w", id, err)
			}
			s.Logf("deleted snapshot %s, of before deployment %s", id, ec2ops.TagValue(old.Tags, stack.DeployTag))
			return id, nil
		}))
	}
	return errors.Join(errs...)
}

func (v *volumes) hasSnapshot(ctx context.Context, volume string) (bool, error) {
	all, err := snapshots(ctx, v.stack, v.tier)
	return slices.ContainsFunc(all, func(s types.Snapshot) bool { return aws.ToString(s.VolumeId) == volume }), err
}
