package ec2

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
)

// modifySnapshotAttribute puts permissions as moto reads them.
func (s *Images) modifySnapshotAttribute(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	rest := c.Clone()
	rest.Drop("CreateVolumePermission.")
	for _, operation := range []string{"add", "remove"} {
		name := strings.ToUpper(operation[:1]) + operation[1:]
		users, groups := permissionsIn(c, "CreateVolumePermission."+name, "UserId"), permissionsIn(c,
			"CreateVolumePermission."+name, "Group")
		if len(users)+len(groups) == 0 {
			continue
		}
		one := rest.With("UserId", users...).With("UserGroup", groups...)
		one.Set("OperationType", operation)
		if _, err := s.moto.Forward(ctx, one); err != nil {
			return nil, err
		}
	}
	if c.Get("OperationType") != "" {
		return s.moto.Forward(ctx, c)
	}
	return awsquery.Done(c.Action()), nil
}

func permissionsIn(c *awsquery.Call, list, field string) []string {
	var values []string
	for name := range c.Form {
		if strings.HasPrefix(name, list+".") && strings.HasSuffix(name, "."+field) {
			values = append(values, c.Get(name))
		}
	}
	slices.Sort(values)
	return values
}

func (s *Images) createSnapshot(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := s.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	id := answered.Get("snapshotId")
	if err := s.machinery.CreateSnapshot(ctx, id, c.Get("VolumeId")); err != nil {
		return nil, s.moto.Undo(ctx, err, "DeleteSnapshot", "SnapshotId", id)
	}
	return answered, nil
}

func (s *Images) deleteSnapshot(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	snapshot := c.Get("SnapshotId")
	if image, record := s.records.ImageOf(snapshot); image != "" && !record.Gone {
		return nil, awsquery.Fault(apierror.InvalidSnapshotInUse, snapshot, image)
	}
	answered, err := s.moto.Forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, s.machinery.DeleteSnapshot(ctx, snapshot)
}

// describeSnapshots gives the snapshots of images their size and state.
func (s *Images) describeSnapshots(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	described, err := s.moto.Ask(ctx, c)
	if err != nil {
		return nil, err
	}
	set := described.At("snapshotSet")
	set.Children = slices.DeleteFunc(set.Children, ofBase)
	for _, item := range set.Children {
		image, record := s.records.ImageOf(item.Get("snapshotId"))
		if image == "" {
			continue
		}
		item.Set(strconv.Itoa(record.SizeGB), "volumeSize")
		item.Set(awsquery.Timestamp(record.Created), "startTime")
		switch record.State {
		case "pending":
			item.Set("pending", "status")
		case "failed":
			item.Set("error", "status")
		}
	}
	return described, nil
}

// ofBase tells whether a snapshot came with a base image: moto makes one for each, as if it were a user's.
func ofBase(snapshot *awsquery.Node) bool {
	for _, base := range moto.BaseImages {
		if strings.HasSuffix(snapshot.Get("description"), base.ID) {
			return true
		}
	}
	return false
}

// snapshotSize is a snapshot's size in GiB; of one that came with an image, moto does not know it.
func (s *Images) snapshotSize(ctx context.Context, snapshot string) (int, error) {
	if snapshot == "" {
		return 0, awsquery.Faultf(apierror.MissingParameters,
			"The request must contain the size of the volume or a snapshot")
	}
	described, err := s.describeSnapshots(ctx, awsquery.NewCall("ec2", "DescribeSnapshots", "SnapshotId.1", snapshot))
	if err != nil {
		return 0, err
	}
	for _, item := range described.Items("snapshotSet") {
		return strconv.Atoi(item.Get("volumeSize"))
	}
	return 0, awsquery.Fault(apierror.InvalidSnapshotNotFound, snapshot)
}
