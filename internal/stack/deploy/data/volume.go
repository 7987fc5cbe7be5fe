package stack

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

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// dataDevice is what the data volume is attached as.
const dataDevice = "/dev/sdf"

// dataVolume is the volume of the database's data: the one that the database is made for or, where none serves, the one
// with the tag; nil where there is none yet.
func (s *Stack) dataVolume(ctx context.Context) (*types.Volume, error) {
	all, err := s.Instances(ctx)
	if err != nil {
		return nil, err
	}
	if own := servingOf(all, "db").volume; own != "" {
		return s.volumeByID(ctx, own)
	}
	found, err := s.volumes(ctx, "db")
	switch {
	case err != nil || len(found) == 0:
		return nil, err
	case len(found) == 1:
		return &found[0], nil
	}
	return nil, fmt.Errorf("find the data volume of stack %s: %s and %s both have the tag %s=db; one should", s.name, aws.ToString(found[0].VolumeId), aws.ToString(found[1].VolumeId), dataTag)
}

// volumes are the stack's data volumes of a kind, or of both.
func (s *Stack) volumes(ctx context.Context, kinds string) ([]types.Volume, error) {
	out, err := s.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{Filters: s.mine("tag:"+dataTag, kinds)})
	if err != nil {
		return nil, fmt.Errorf("find the data volumes of stack %s: %w", s.name, err)
	}
	return slices.DeleteFunc(out.Volumes, func(v types.Volume) bool {
		return v.State == types.VolumeStateDeleting || v.State == types.VolumeStateDeleted
	}), nil
}

func (s *Stack) volumeByID(ctx context.Context, id string) (*types.Volume, error) {
	out, err := s.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
	if err != nil {
		return nil, fmt.Errorf("find the data volume %s of stack %s: %w", id, s.name, err)
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

// ensureVolume makes the data volume where there is none, in the zone of the database's subnet, and tells its zone.
func (s *Stack) ensureVolume(ctx context.Context, n Network) (id, zone string, err error) {
	v, err := s.dataVolume(ctx)
	if err != nil {
		return "", "", err
	}
	if v != nil {
		return aws.ToString(v.VolumeId), aws.ToString(v.AvailabilityZone), s.changeVolume(ctx, v)
	}
	subnet, err := s.subnetOf(n, "db", "")
	if err != nil {
		return "", "", err
	}
	zone = subnet.Zone
	input := s.volumeInput(zone)
	input.TagSpecifications = s.tagged(types.ResourceTypeVolume, s.name+"-data", append(s.moreTags("db"), dataTag, "db")...)
	made, err := s.ec2.CreateVolume(ctx, input)
	if err != nil {
		return "", "", fmt.Errorf("make the data volume of stack %s: %w", s.name, err)
	}
	id = aws.ToString(made.VolumeId)
	s.say("made data volume %s of %d GiB", id, s.file.Database.DataVolume.Size)
	return id, zone, s.volumeAvailable(ctx, id)
}

// volumeInput asks for a volume as the stack file describes it.
func (s *Stack) volumeInput(zone string) *ec2.CreateVolumeInput {
	v := s.file.Database.DataVolume
	input := &ec2.CreateVolumeInput{AvailabilityZone: aws.String(zone), Size: aws.Int32(v.Size), VolumeType: types.VolumeType(v.Type), Encrypted: aws.Bool(v.Encrypted), ClientToken: aws.String(randomPassword()[:32])}
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
func (s *Stack) volumeDifferences(v *types.Volume) (different []string, err error) {
	is, wanted := v, s.file.Database.DataVolume
	if aws.ToBool(is.Encrypted) != wanted.Encrypted {
		return nil, fmt.Errorf("data volume %s: its encryption is %v, and the stack file wants %v, to which a volume cannot be changed", aws.ToString(v.VolumeId), aws.ToBool(is.Encrypted), wanted.Encrypted)
	}
	if aws.ToInt32(is.Size) > wanted.Size {
		return nil, fmt.Errorf("data volume %s: it has %d GiB, and the stack file wants %d; a volume cannot be made smaller", aws.ToString(v.VolumeId), aws.ToInt32(is.Size), wanted.Size)
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
func (s *Stack) changeVolume(ctx context.Context, v *types.Volume) error {
	different, err := s.volumeDifferences(v)
	if err != nil || len(different) == 0 {
		return err
	}
	input, id := s.volumeInput(""), aws.ToString(v.VolumeId)
	_, err = s.ec2.ModifyVolume(ctx, &ec2.ModifyVolumeInput{VolumeId: v.VolumeId, Size: input.Size, VolumeType: input.VolumeType, Iops: input.Iops, Throughput: input.Throughput})
	if err != nil {
		return fmt.Errorf("change data volume %s, whose %s: %w", id, strings.Join(different, ", "), err)
	}
	s.say("changed data volume %s, whose %s", id, strings.Join(different, ", "))
	return nil
}

func (s *Stack) volumeAvailable(ctx context.Context, id string) error {
	err := await.Until(ctx, 5*time.Minute, func(ctx context.Context) (bool, error) {
		out, err := s.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
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
func (s *Stack) attach(ctx context.Context, volume, id string) error {
	if err := s.volumeAvailable(ctx, volume); err != nil {
		return err
	}
	_, err := s.ec2.AttachVolume(ctx, &ec2.AttachVolumeInput{VolumeId: aws.String(volume), InstanceId: aws.String(id), Device: aws.String(dataDevice)})
	if err != nil {
		return fmt.Errorf("attach %s to %s: %w", volume, id, err)
	}
	s.observer.moved("the data volume "+volume, id)
	return nil
}

// detach takes a volume away from whoever has it; it must be unmounted there.
func (s *Stack) detach(ctx context.Context, volume string) error {
	if _, err := s.ec2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: aws.String(volume)}); err != nil {
		// It may be nobody's already: a deployment was killed right here.
		v, failed := s.dataVolume(ctx)
		if failed != nil || v == nil || attachedTo(v) != "" {
			return errors.Join(fmt.Errorf("detach %s: %w", volume, err), failed)
		}
	}
	return s.volumeAvailable(ctx, volume)
}

// setServer notes which database server opens a volume's data, or runs on an instance.
func (s *Stack) setServer(ctx context.Context, server instance.Server, ids ...string) error {
	_, err := s.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: []types.Tag{{Key: aws.String(serverTag), Value: aws.String(server.String())}}})
	if err != nil {
		return fmt.Errorf("tag %s with %s: %w", strings.Join(ids, ", "), server, err)
	}
	return nil
}

// snapshot keeps the data as it is at this moment. The volume may be used again at once.
func (s *Stack) snapshot(ctx context.Context, volume, deploy string) (string, error) {
	server, err := s.serverOf(ctx, volume)
	if err != nil {
		return "", err
	}
	out, err := s.ec2.CreateSnapshot(ctx, &ec2.CreateSnapshotInput{VolumeId: aws.String(volume), Description: aws.String("Data of stack " + s.name + " before deployment " + deploy),
		TagSpecifications: s.tagged(types.ResourceTypeSnapshot, s.name+"-data before "+deploy, append(server, dataTag, "db", deployTag, deploy)...)})
	if err != nil {
		return "", fmt.Errorf("make a snapshot of %s: %w", volume, err)
	}
	return aws.ToString(out.SnapshotId), nil
}

// serverOf is the tag of the server that opened a volume's data last, as keys and values; it is on a snapshot too.
func (s *Stack) serverOf(ctx context.Context, volume string) ([]string, error) {
	v, err := s.volumeByID(ctx, volume)
	if err != nil {
		return nil, err
	}
	if server := tagOf(v.Tags, serverTag); server != "" {
		return []string{serverTag, server}, nil
	}
	return nil, nil
}

// snapshots are those of the data volume, the youngest first.
func (s *Stack) snapshots(ctx context.Context) ([]types.Snapshot, error) {
	var all []types.Snapshot
	for pages := ec2.NewDescribeSnapshotsPaginator(s.ec2, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: s.mine("tag:"+dataTag, "db")}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the snapshots of stack %s: %w", s.name, err)
		}
		all = append(all, page.Snapshots...)
	}
	slices.SortFunc(all, func(a, b types.Snapshot) int {
		return strings.Compare(tagOf(b.Tags, deployTag), tagOf(a.Tags, deployTag))
	})
	return all, nil
}

// pruneSnapshots removes all but the youngest.
func (s *Stack) pruneSnapshots(ctx context.Context, keep int) error {
	all, err := s.snapshots(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, old := range all[min(keep, len(all)):] {
		if _, err := s.ec2.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: old.SnapshotId}); err != nil {
			errs = append(errs, fmt.Errorf("delete snapshot %s: %w", aws.ToString(old.SnapshotId), err))
			continue
		}
		s.say("deleted snapshot %s, of before deployment %s", aws.ToString(old.SnapshotId), tagOf(old.Tags, deployTag))
	}
	return errors.Join(errs...)
}

// deleteVolumes removes the stack's data volume.
func (s *Stack) deleteVolumes(ctx context.Context) error {
	out, err := s.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{Filters: s.mine("tag-key", dataTag)})
	if err != nil {
		return fmt.Errorf("find the data volumes of stack %s: %w", s.name, err)
	}
	for _, v := range out.Volumes {
		if err := s.volumeAvailable(ctx, aws.ToString(v.VolumeId)); err != nil {
			return err
		}
		if _, err := s.ec2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: v.VolumeId}); err != nil {
			return fmt.Errorf("delete volume %s: %w", aws.ToString(v.VolumeId), err)
		}
	}
	return nil
}
