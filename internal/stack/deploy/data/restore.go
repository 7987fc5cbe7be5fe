package stack

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// restoreVolume makes a data volume of a snapshot, beside the one that is in use: the new database gets it in place of
// that one. Until the new database serves, nothing of the old one's data is touched.
func (r *rollout) restoreVolume(ctx context.Context) error {
	id := r.d.Snapshot
	out, err := r.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{id}})
	if err != nil {
		return fmt.Errorf("find snapshot %s in %s: %w", id, r.conf.Region, err)
	}
	of := out.Snapshots[0]
	if tagOf(of.Tags, stackTag) != r.name || tagOf(of.Tags, dataTag) == "" {
		return fmt.Errorf("restore snapshot %s: it is not of the data of stack %s, as its tags tell", id, r.name)
	}
	if of.State != types.SnapshotStateCompleted {
		return fmt.Errorf("restore snapshot %s: it is %s (%s); it should be completed", id, of.State, aws.ToString(of.Progress))
	}
	tags := append(r.moreTags("db"), dataTag, candidate, deployTag, r.result.ID)
	if server := tagOf(of.Tags, serverTag); server != "" {
		tags = append(tags, serverTag, server)
	}
	input := r.volumeInput(r.zone)
	input.SnapshotId, input.Size = aws.String(id), aws.Int32(max(aws.ToInt32(input.Size), aws.ToInt32(of.VolumeSize)))
	input.TagSpecifications = r.tagged(types.ResourceTypeVolume, r.name+"-data", tags...)
	made, err := r.ec2.CreateVolume(ctx, input)
	if err != nil {
		return fmt.Errorf("make a volume of snapshot %s: %w", id, err)
	}
	r.held, r.volume = r.volume, aws.ToString(made.VolumeId)
	r.say("made data volume %s of snapshot %s", r.volume, id)
	if r.changes, err = r.tierChanges(r.network, r.wants(), r.old, append(r.d.Replace, "db")); err != nil {
		return err
	}
	return r.volumeAvailable(ctx, r.volume)
}

// heldVolume is the one that the old database has.
func (r *rollout) heldVolume() string {
	if r.held != "" {
		return r.held
	}
	return r.volume
}

// snapshotHint says how to go back to data that the image's server can open, if there is such.
func (r *rollout) snapshotHint(ctx context.Context) string {
	records, err := r.History(ctx)
	if err != nil {
		return ""
	}
	for _, record := range records {
		if record.Snapshot == "" || record.From.Database != r.d.DatabaseImage {
			continue
		}
		return fmt.Sprintf("; or go back to the data as it was at %s, without what was written since: goldsmith rollback --stack %s --to %s --snapshot %s",
			record.Started.Format("2006-01-02 15:04:05 MST"), r.name, goodWith(records, record.From), record.Snapshot)
	}
	return ""
}

// goodWith is the youngest good deployment that led to these images.
func goodWith(records []Record, images Images) string {
	for _, record := range records {
		if record.Result == Done && record.To.Database == images.Database && record.To.Web == images.Web {
			return record.ID
		}
	}
	return images.Release
}

// settleVolumes has the database's volume be the stack's only one. Another is removed if it was never taken, or if what
// is on it is in a snapshot.
func (s *Stack) settleVolumes(ctx context.Context) error {
	v, err := s.dataVolume(ctx)
	if err != nil || v == nil {
		return err
	}
	all, err := s.volumes(ctx, "db,"+candidate)
	if err != nil {
		return err
	}
	if tagOf(v.Tags, dataTag) != "db" {
		_, err := s.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: []string{*v.VolumeId}, Tags: tagList(dataTag, "db")})
		if err != nil {
			return fmt.Errorf("tag %s as the data volume: %w", *v.VolumeId, err)
		}
	}
	for _, other := range all {
		id := aws.ToString(other.VolumeId)
		if id == *v.VolumeId {
			continue
		}
		if tagOf(other.Tags, dataTag) == "db" {
			kept, err := s.hasSnapshot(ctx, id)
			if err != nil {
				return err
			}
			if !kept {
				s.say("%s was the data volume, and no snapshot has what is on it: it stays", id)
				continue
			}
		}
		if err := s.volumeAvailable(ctx, id); err != nil {
			return err
		}
		if _, err := s.ec2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: other.VolumeId}); err != nil {
			return fmt.Errorf("delete volume %s: %w", id, err)
		}
		s.say("removed volume %s, in whose place is %s", id, *v.VolumeId)
	}
	return nil
}

func (s *Stack) hasSnapshot(ctx context.Context, volume string) (bool, error) {
	all, err := s.snapshots(ctx)
	if err != nil {
		return false, err
	}
	for _, snapshot := range all {
		if aws.ToString(snapshot.VolumeId) == volume {
			return true, nil
		}
	}
	return false, nil
}
