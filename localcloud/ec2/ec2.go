package ec2

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/metadata"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/vpc"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/workqueue"
)

// Config holds the dependencies of EC2's parts.
type Config struct {
	Moto      *moto.Client
	Records   *records.Store
	Queue     *workqueue.Queue
	VPC       *vpc.VPC
	Metadata  *metadata.Service
	Machinery Machinery
	// Change is held by each changing call from its checks to its answer.
	Change *sync.Mutex
	// Gone is told of each instance that has ended or is about to.
	Gone func(records.Instance)
	Log  *slog.Logger
}

// EC2 are the calls for instances and what they are made of, by kind of resource.
type EC2 struct {
	Instances *Instances
	Launches  *Launches
	Images    *Images
	Volumes   *Volumes
	KeyPairs  *KeyPairs
	Offerings *Offerings
}

// Machinery makes machines and disks real.
type Machinery interface {
	MachineLives
	MachineStates
	Disks
	ImageStore
}

// MachineLives makes and ends machines.
type MachineLives interface {
	RunMachine(context.Context, host.Machine) error
	StartMachine(context.Context, string) error
	StopMachine(ctx context.Context, id string, force bool) error
	RebootMachine(context.Context, string) error
	TerminateMachine(ctx context.Context, id string, keepRoot bool) error
}

// MachineStates tells of machines, and changes what they are.
type MachineStates interface {
	UpdateMachine(id string, change func(*host.Machine)) error
	// Machines are all machines, and whether each is running.
	Machines() map[string]bool
	Console(string) ([]byte, time.Time, error)
	Exits() <-chan host.Exit
}

// Disks makes volumes real, and plugs them.
type Disks interface {
	CreateVolume(ctx context.Context, id string, sizeGB int, snapshot string) error
	DeleteVolume(context.Context, string) error
	AttachVolume(ctx context.Context, volume, machine, device string) error
	DetachVolume(ctx context.Context, machine, device string, force bool) error
}

// ImageStore makes images and snapshots real.
type ImageStore interface {
	CreateSnapshot(ctx context.Context, id, volume string) error
	DeleteSnapshot(context.Context, string) error
	CreateImage(ctx context.Context, machine, image, snapshot string) error
	DeleteImage(context.Context, string) error
	// Images are the images that can be launched, base images that have been made among them.
	Images() []string
}

// RunInstances launches instances. The caller holds Change.
func (e *EC2) RunInstances(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	return e.Launches.Run(ctx, c)
}

// TerminateInstances ends instances. The caller holds Change.
func (e *EC2) TerminateInstances(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	return e.Instances.Terminate(ctx, c)
}

// New makes the parts.
func New(c Config) *EC2 {
	keyPairs := &KeyPairs{moto: c.Moto, public: map[string]string{}}
	images := &Images{
		moto:      c.Moto,
		records:   c.Records,
		queue:     c.Queue,
		machinery: c.Machinery,
	}
	volumes := &Volumes{
		moto:      c.Moto,
		records:   c.Records,
		images:    images,
		machinery: c.Machinery,
	}
	instances := &Instances{
		moto:           c.Moto,
		records:        c.Records,
		queue:          c.Queue,
		network:        c.VPC.Network,
		addresses:      c.VPC.Addresses,
		securityGroups: c.VPC.SecurityGroups,
		metadata:       c.Metadata,
		machinery:      c.Machinery,
		change:         c.Change,
		gone:           c.Gone,
		log:            c.Log,
	}
	launches := &Launches{
		moto:      c.Moto,
		records:   c.Records,
		queue:     c.Queue,
		network:   c.VPC.Network,
		instances: instances,
		images:    images,
		keyPairs:  keyPairs,
		machinery: c.Machinery,
	}
	return &EC2{
		Instances: instances,
		Launches:  launches,
		Images:    images,
		Volumes:   volumes,
		KeyPairs:  keyPairs,
		Offerings: &Offerings{moto: c.Moto},
	}
}

// Handlers answer the calls that are more than a record, by action.
func (e *EC2) Handlers() map[string]awsquery.Handler {
	all := map[string]awsquery.Handler{}
	for _, resource := range []map[string]awsquery.Handler{
		e.Instances.Handlers(),
		e.Launches.Handlers(),
		e.Images.Handlers(),
		e.Volumes.Handlers(),
		e.KeyPairs.Handlers(),
		e.Offerings.Handlers(),
	} {
		maps.Copy(all, resource)
	}
	return all
}
