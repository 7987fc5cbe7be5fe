package data

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
)

// restore makes a data volume of the snapshot that the data is to go back to, if it is to. A snapshot that is not fit
// for it is refused before anything is made.
func (d *data) restore(ctx context.Context) error {
	if d.run.Snapshot == "" {
		return nil
	}
	of, err := d.wantedSnapshot(ctx)
	if err != nil {
		return err
	}
	change := plan.Change{
		Action: plan.Create,
		What:   d.tier.Name + " data volume",
		Reason: "the data goes back to " + d.run.Snapshot,
	}
	return d.run.Act.Do(change, func() (string, error) {
		step := d.step("restore", "make the volume of a snapshot")
		err := d.run.Timed(step, func() error { return d.restoreVolume(ctx, of) })
		return d.volume, err
	})
}

// wantedSnapshot is the snapshot that the data is to go back to.
func (d *data) wantedSnapshot(ctx context.Context) (of types.Snapshot, err error) {
	id := d.run.Snapshot
	out, err := d.stack.EC2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{id}})
	if awserr.NotFound(err) || err == nil && len(out.Snapshots) == 0 {
		return of, fmt.Errorf("go back to snapshot %s: there is none in %s\nhint: goldsmith history --stack %s --json "+
			"has the snapshots of each deployment", id, d.stack.Config.Region, d.stack.Name)
	}
	if err != nil {
		return of, fmt.Errorf("find snapshot %s in %s: %w", id, d.stack.Config.Region, err)
	}
	of = out.Snapshots[0]
	if ec2ops.TagValue(of.Tags, stack.StackTag) != d.stack.Name || ec2ops.TagValue(of.Tags, stack.DataTag) == "" {
		return of, fmt.Errorf("go back to snapshot %s: it is not of the data of stack %s, as its tags tell", id,
			d.stack.Name)
	}
	if of.State != types.SnapshotStateCompleted {
		return of, fmt.Errorf("go back to snapshot %s: it is %s (%s); it should be completed", id, of.State,
			aws.ToString(of.Progress))
	}
	return of, nil
}

// restoreVolume makes a data volume of a snapshot, beside the one that is in use: the new instance gets it in place of
// that one. Until the new instance serves, nothing of the old one's data is touched.
func (d *data) restoreVolume(ctx context.Context, of types.Snapshot) error {
	id := aws.ToString(of.SnapshotId)
	tags := []string{stack.DataTag, stack.Candidate, stack.DeployTag, d.run.ID}
	if server := ec2ops.TagValue(of.Tags, stack.ServerTag); server != "" {
		tags = append(tags, stack.ServerTag, server)
	}
	input := d.volumes.input(d.zone)
	input.SnapshotId = aws.String(id)
	input.Size = aws.Int32(max(aws.ToInt32(input.Size), aws.ToInt32(of.VolumeSize)))
	made, err := d.volumes.create(ctx, input, tags...)
	if err != nil {
		return fmt.Errorf("make a volume of snapshot %s: %w", id, err)
	}
	d.held, d.volume = d.volume, made
	d.stack.Logf("made data volume %s of snapshot %s", made, id)
	if err := d.decide(); err != nil {
		return err
	}
	return d.volumes.available(ctx, made)
}

// heldVolume is the one that the old instance has.
func (d *data) heldVolume() string {
	if d.held != "" {
		return d.held
	}
	return d.volume
}

// snapshotHint says how to go back to data that the image's server can open, if there is such.
func (d *data) snapshotHint(ctx context.Context) string {
	records, err := record.History(ctx, d.stack)
	if err != nil {
		return ""
	}
	for _, r := range records {
		if r.Snapshot == "" || r.From.Tiers[d.tier.Name] != d.decision.Launch.Image {
			continue
		}
		return fmt.Sprintf("; or go back to the data as it was at %s, without what was written since: "+
			"goldsmith rollback --stack %s --to %s --snapshot %s",
			r.Started.Format("2006-01-02 15:04:05 MST"), d.stack.Name, goodWith(records, r.From), r.Snapshot)
	}
	return ""
}

// goodWith is the youngest good deployment that led to these images.
func goodWith(records []record.Record, images record.Images) string {
	for _, r := range records {
		if r.Result == record.Done && r.To.Same(images) {
			return r.ID
		}
	}
	return images.Release
}
