package ec2fake

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2fake/resource"
)

// storage are images, snapshots and volumes.
type storage struct {
	images    resource.Table[types.Image]
	snapshots resource.Table[types.Snapshot]
	volumes   resource.Table[types.Volume]
	// launchers may launch an image, and copiers make volumes of a snapshot.
	launchers map[string][]types.LaunchPermission
	copiers   map[string][]types.CreateVolumePermission
	// held is how many DeleteSnapshot calls still find a snapshot in use, and by which image, by snapshot id.
	held map[string]hold
	// ready is the time at which a pending image, snapshot or volume is complete, by id.
	ready map[string]time.Time
}

type hold struct {
	by    string
	times int
}

func newStorage(store *resource.Store) storage {
	return storage{
		images: resource.Table[types.Image]{
			Store:   store,
			Missing: apierror.InvalidAMIIDNotFound,
			Tags:    func(i *types.Image) *[]types.Tag { return &i.Tags },
			Values:  imageValues,
		},
		snapshots: resource.Table[types.Snapshot]{
			Store:   store,
			Missing: apierror.InvalidSnapshotNotFound,
			Tags:    func(s *types.Snapshot) *[]types.Tag { return &s.Tags },
			Values: func(s *types.Snapshot, name string) []string {
				return map[string][]string{
					"description": {aws.ToString(s.Description)},
					"status":      {string(s.State)},
					"volume-id":   {aws.ToString(s.VolumeId)},
				}[name]
			},
		},
		volumes: resource.Table[types.Volume]{
			Store:   store,
			Missing: apierror.InvalidVolumeNotFound,
			Tags:    func(v *types.Volume) *[]types.Tag { return &v.Tags },
			Values: func(v *types.Volume, name string) []string {
				return map[string][]string{
					"status":            {string(v.State)},
					"availability-zone": {aws.ToString(v.AvailabilityZone)},
				}[name]
			},
		},
		launchers: map[string][]types.LaunchPermission{},
		copiers:   map[string][]types.CreateVolumePermission{},
		held:      map[string]hold{},
		ready:     map[string]time.Time{},
	}
}

func (s *storage) things() []string {
	return slices.Concat(s.images.IDs(), s.snapshots.IDs(), s.volumes.IDs())
}

func imageValues(i *types.Image, name string) []string {
	switch name {
	case "name":
		return []string{aws.ToString(i.Name)}
	case "image-id":
		return []string{aws.ToString(i.ImageId)}
	case "state":
		return []string{string(i.State)}
	case "architecture":
		return []string{string(i.Architecture)}
	case "root-device-type":
		return []string{string(i.RootDeviceType)}
	case "virtualization-type":
		return []string{string(i.VirtualizationType)}
	}
	return nil
}

var imageOperations = resource.Join(
	resource.Op(describeImages), resource.Op(createImage), resource.Op(copyImage), resource.Op(registerImage),
	resource.Op(deregisterImage), resource.Op(enableImageDeprecation),
	resource.Op(enableImageDeregistrationProtection), resource.Op(disableImageDeregistrationProtection),
)

func describeImages(r *Region, in *ec2.DescribeImagesInput) (*ec2.DescribeImagesOutput, error) {
	r.storage.ripen()
	found, err := r.storage.images.Describe(in.ImageIds, in.Filters)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(i types.Image) bool {
		owner := aws.ToString(i.OwnerId)
		return len(in.Owners) > 0 && !slices.Contains(in.Owners, owner) &&
			(owner != Number || !slices.Contains(in.Owners, "self"))
	})
	found, next := resource.Page(r.account.Behaviour, found, in.NextToken)
	return &ec2.DescribeImagesOutput{Images: found, NextToken: next}, nil
}

// ripen completes pending resources whose time has come.
func (s *storage) ripen() {
	for id, at := range s.ready {
		if time.Now().Before(at) {
			continue
		}
		delete(s.ready, id)
		if i := s.images.Get(id); i != nil && i.State == types.ImageStatePending {
			i.State = types.ImageStateAvailable
		}
		if s := s.snapshots.Get(id); s != nil && s.State == types.SnapshotStatePending {
			s.State, s.Progress = types.SnapshotStateCompleted, aws.String("100%")
		}
		if v := s.volumes.Get(id); v != nil && v.State == types.VolumeStateCreating {
			v.State = types.VolumeStateAvailable
		}
	}
}

func (s *storage) freeName(name *string) error {
	for _, row := range s.images.Rows {
		if aws.ToString(row.Value.Name) == aws.ToString(name) && aws.ToString(row.Value.OwnerId) == Number {
			return Err(apierror.InvalidAMINameDuplicate, aws.ToString(name), row.ID)
		}
	}
	return nil
}

// newImage makes an image with a snapshot of its own for each disk.
func (r *Region) newImage(
	name, description *string,
	disks []types.BlockDeviceMapping,
	specs []types.TagSpecification,
	made string, // what the snapshots' descriptions begin with; %s is the image
) *types.Image {
	image := r.storage.images.Create("ami", types.ResourceTypeImage, specs, func(id string) *types.Image {
		return &types.Image{
			ImageId:        aws.String(id),
			Name:           name,
			Description:    description,
			OwnerId:        aws.String(Number),
			State:          types.ImageStatePending,
			CreationDate:   aws.String(time.Now().UTC().Format("2006-01-02T15:04:05.000Z")),
			RootDeviceType: types.DeviceTypeEbs,
			RootDeviceName: aws.String("/dev/xvda"),
			Public:         aws.Bool(false),
		}
	})
	r.storage.ready[*image.ImageId] = time.Now().Add(r.account.Pace)
	for _, disk := range disks {
		if disk.Ebs == nil {
			continue
		}
		snapshot := r.newSnapshot(fmt.Sprintf(made, *image.ImageId), "", specs)
		ebs := *disk.Ebs
		ebs.SnapshotId = snapshot.SnapshotId
		image.BlockDeviceMappings = append(image.BlockDeviceMappings,
			types.BlockDeviceMapping{DeviceName: disk.DeviceName, Ebs: &ebs})
	}
	return image
}

func (r *Region) newSnapshot(description, volume string, specs []types.TagSpecification) *types.Snapshot {
	made := r.storage.snapshots.Create("snap", types.ResourceTypeSnapshot, specs,
		func(id string) *types.Snapshot {
			return &types.Snapshot{
				SnapshotId:  aws.String(id),
				Description: aws.String(description),
				VolumeId:    some(volume),
				OwnerId:     aws.String(Number),
				StartTime:   aws.Time(time.Now()),
				State:       types.SnapshotStatePending,
			}
		})
	r.storage.ready[*made.SnapshotId] = time.Now().Add(r.account.Pace)
	return made
}

func createImage(r *Region, in *ec2.CreateImageInput) (*ec2.CreateImageOutput, error) {
	r.settle()
	i, err := r.compute.instances.Find(in.InstanceId)
	if err != nil {
		return nil, err
	}
	if i.State.Name != types.InstanceStateNameRunning && i.State.Name != types.InstanceStateNameStopped {
		return nil, Errf(apierror.IncorrectState, "The instance '%s' is %s", *i.InstanceId, i.State.Name)
	}
	if err := r.storage.freeName(in.Name); err != nil {
		return nil, err
	}
	disks := slices.Clone(r.storage.images.Get(*i.ImageId).BlockDeviceMappings)
	for _, more := range in.BlockDeviceMappings {
		disks = slices.DeleteFunc(disks, func(d types.BlockDeviceMapping) bool {
			return aws.ToString(d.DeviceName) == aws.ToString(more.DeviceName)
		})
		if more.NoDevice == nil {
			disks = append(disks, more)
		}
	}
	made := r.newImage(in.Name, in.Description, disks, in.TagSpecifications,
		"Created by CreateImage("+*i.InstanceId+") for %s")
	return &ec2.CreateImageOutput{ImageId: made.ImageId}, nil
}

func copyImage(r *Region, in *ec2.CopyImageInput) (*ec2.CopyImageOutput, error) {
	source, err := r.account.in(aws.ToString(in.SourceRegion)).storage.images.Find(in.SourceImageId)
	if err != nil {
		return nil, err
	}
	if err := r.storage.freeName(in.Name); err != nil {
		return nil, err
	}
	disks := slices.Clone(source.BlockDeviceMappings)
	for i, disk := range disks {
		if disk.Ebs != nil && in.Encrypted != nil {
			ebs := *disk.Ebs
			ebs.Encrypted, ebs.KmsKeyId = in.Encrypted, in.KmsKeyId
			disks[i].Ebs = &ebs
		}
	}
	made := r.newImage(in.Name, in.Description, disks, in.TagSpecifications,
		"Copied for DestinationAmi %s from SourceAmi "+*source.ImageId)
	return &ec2.CopyImageOutput{ImageId: made.ImageId}, nil
}

func registerImage(r *Region, in *ec2.RegisterImageInput) (*ec2.RegisterImageOutput, error) {
	if err := r.storage.freeName(in.Name); err != nil {
		return nil, err
	}
	for _, disk := range in.BlockDeviceMappings {
		if disk.Ebs == nil || disk.Ebs.SnapshotId == nil {
			continue
		}
		if _, err := r.storage.snapshots.Find(disk.Ebs.SnapshotId); err != nil {
			return nil, err
		}
		if disk.Ebs.Encrypted != nil {
			return nil, Errf(apierror.InvalidBlockDeviceMapping, "the encrypted flag cannot be given with a snapshot")
		}
	}
	made := r.newImage(in.Name, in.Description, nil, in.TagSpecifications, "%s")
	made.BlockDeviceMappings, made.RootDeviceName = in.BlockDeviceMappings, in.RootDeviceName
	return &ec2.RegisterImageOutput{ImageId: made.ImageId}, nil
}

func deregisterImage(r *Region, in *ec2.DeregisterImageInput) (*ec2.DeregisterImageOutput, error) {
	image, err := r.storage.images.Find(in.ImageId)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(aws.ToString(image.DeregistrationProtection), "enabled") {
		return nil, Errf(apierror.OperationNotPermitted, "%s is protected from being deregistered", *image.ImageId)
	}
	r.storage.images.Remove(*image.ImageId)
	return nil, nil
}

func enableImageDeprecation(
	r *Region, in *ec2.EnableImageDeprecationInput,
) (*ec2.EnableImageDeprecationOutput, error) {
	image, err := r.storage.images.Find(in.ImageId)
	if err != nil {
		return nil, err
	}
	image.DeprecationTime = aws.String(in.DeprecateAt.UTC().Format(time.RFC3339))
	return nil, nil
}

func enableImageDeregistrationProtection(
	r *Region, in *ec2.EnableImageDeregistrationProtectionInput,
) (*ec2.EnableImageDeregistrationProtectionOutput, error) {
	image, err := r.storage.images.Find(in.ImageId)
	if err != nil {
		return nil, err
	}
	image.DeregistrationProtection = aws.String("enabled-without-cooldown")
	if aws.ToBool(in.WithCooldown) {
		image.DeregistrationProtection = aws.String("enabled-with-cooldown")
	}
	return nil, nil
}

func disableImageDeregistrationProtection(
	r *Region, in *ec2.DisableImageDeregistrationProtectionInput,
) (*ec2.DisableImageDeregistrationProtectionOutput, error) {
	image, err := r.storage.images.Find(in.ImageId)
	if err != nil {
		return nil, err
	}
	image.DeregistrationProtection = aws.String("disabled")
	return nil, nil
}

var sharingOperations = resource.Join(
	resource.Op(describeImageAttribute), resource.Op(modifyImageAttribute), resource.Op(modifySnapshotAttribute),
)

func describeImageAttribute(
	r *Region, in *ec2.DescribeImageAttributeInput,
) (*ec2.DescribeImageAttributeOutput, error) {
	if _, err := r.storage.images.Find(in.ImageId); err != nil {
		return nil, err
	}
	return &ec2.DescribeImageAttributeOutput{
		ImageId:           in.ImageId,
		LaunchPermissions: r.storage.launchers[*in.ImageId],
	}, nil
}

func modifyImageAttribute(r *Region, in *ec2.ModifyImageAttributeInput) (*ec2.ModifyImageAttributeOutput, error) {
	image, err := r.storage.images.Find(in.ImageId)
	if err != nil {
		return nil, err
	}
	if in.ImdsSupport != nil {
		image.ImdsSupport = types.ImdsSupportValues(aws.ToString(in.ImdsSupport.Value))
	}
	if in.LaunchPermission != nil {
		r.storage.launchers[*in.ImageId] = append(r.storage.launchers[*in.ImageId], in.LaunchPermission.Add...)
	}
	return nil, nil
}

func modifySnapshotAttribute(
	r *Region, in *ec2.ModifySnapshotAttributeInput,
) (*ec2.ModifySnapshotAttributeOutput, error) {
	if _, err := r.storage.snapshots.Find(in.SnapshotId); err != nil {
		return nil, err
	}
	if p := in.CreateVolumePermission; p != nil {
		r.storage.copiers[*in.SnapshotId] = append(r.storage.copiers[*in.SnapshotId], p.Add...)
	}
	return nil, nil
}

// AddImage puts an image into the account, with what it leaves out: an id, an owner, a state, a date, and a disk of
// 8 GiB with a snapshot. The tags are the image's own.
func (r *Region) AddImage(image types.Image) *types.Image {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	if image.ImageId == nil {
		image.ImageId = aws.String(r.store.Numbers.ID("ami"))
	}
	if image.OwnerId == nil {
		image.OwnerId = aws.String(Number)
	}
	if image.State == "" {
		image.State = types.ImageStateAvailable
	}
	if image.CreationDate == nil {
		image.CreationDate = aws.String(time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	if image.RootDeviceType == "" {
		image.RootDeviceType = types.DeviceTypeEbs
	}
	if image.BlockDeviceMappings == nil {
		snapshot := r.store.Numbers.ID("snap")
		r.storage.snapshots.Put(snapshot, time.Time{}, &types.Snapshot{
			SnapshotId: aws.String(snapshot),
			OwnerId:    image.OwnerId,
			StartTime:  aws.Time(time.Now()),
			State:      types.SnapshotStateCompleted,
		})
		image.RootDeviceName = aws.String("/dev/xvda")
		image.BlockDeviceMappings = []types.BlockDeviceMapping{{
			DeviceName: image.RootDeviceName,
			Ebs:        &types.EbsBlockDevice{SnapshotId: aws.String(snapshot), VolumeSize: aws.Int32(8)},
		}}
	}
	r.store.SetTags(*image.ImageId, time.Time{}, image.Tags)
	r.storage.images.Put(*image.ImageId, time.Time{}, &image)
	return &image
}

// Image is an image as EC2 would describe it, or nil.
func (r *Region) Image(id string) *types.Image {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	r.storage.ripen()
	if r.storage.images.Get(id) == nil {
		return nil
	}
	return r.storage.images.Tagged(id)
}

// SetImage changes an image.
func (r *Region) SetImage(id string, set func(*types.Image)) {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	set(r.storage.images.Get(id))
}

// ImageNamed is the account's image of a name, or nil.
func (r *Region) ImageNamed(name string) *types.Image {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	for _, row := range r.storage.images.Rows {
		if aws.ToString(row.Value.Name) == name && aws.ToString(row.Value.OwnerId) == Number {
			return r.storage.images.Tagged(row.ID)
		}
	}
	return nil
}

// LaunchPermissions are those of an image.
func (r *Region) LaunchPermissions(image string) []types.LaunchPermission {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	return slices.Clone(r.storage.launchers[image])
}

// SetLaunchPermissions lets others launch an image.
func (r *Region) SetLaunchPermissions(image string, all ...types.LaunchPermission) {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	r.storage.launchers[image] = all
}

// VolumePermissions are those of a snapshot.
func (r *Region) VolumePermissions(snapshot string) []types.CreateVolumePermission {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	return slices.Clone(r.storage.copiers[snapshot])
}

// AddSnapshot puts a snapshot into the account, as CreateImage makes one for an image before that names it.
func (r *Region) AddSnapshot(snapshot types.Snapshot) string {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	if snapshot.SnapshotId == nil {
		snapshot.SnapshotId = aws.String(r.store.Numbers.ID("snap"))
	}
	snapshot.OwnerId, snapshot.State = aws.String(Number), types.SnapshotStateCompleted
	if snapshot.StartTime == nil {
		snapshot.StartTime = aws.Time(time.Now())
	}
	r.store.SetTags(*snapshot.SnapshotId, time.Time{}, snapshot.Tags)
	r.storage.snapshots.Put(*snapshot.SnapshotId, time.Time{}, &snapshot)
	return *snapshot.SnapshotId
}

// Hold has a snapshot be in use by an image when it is to be deleted, so many times.
func (r *Region) Hold(snapshot, image string, times int) {
	r.account.mu.Lock()
	defer r.account.mu.Unlock()
	r.storage.held[snapshot] = hold{image, times}
}
