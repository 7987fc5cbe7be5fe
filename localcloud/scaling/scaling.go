package scaling

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/moto"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/targets"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/vpc"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/workqueue"
)

// EC2Calls launches and ends instances, as calls of EC2's do.
type EC2Calls interface {
	RunInstances(context.Context, *awsquery.Call) (*awsquery.Node, error)
	TerminateInstances(context.Context, *awsquery.Call) (*awsquery.Node, error)
}

// Pace says how long instance refreshes take beside what they do.
type Pace interface {
	// RefreshTakes is how long one waits until it believes that a group's new instances are healthy.
	RefreshTakes(group string) time.Duration
}

// Config holds the dependencies of the parts of Auto Scaling and load balancing.
type Config struct {
	Moto    *moto.Client
	Records *records.Store
	Queue   *workqueue.Queue
	Targets *targets.Checker
	VPC     *vpc.VPC
	EC2     EC2Calls
	Pace    Pace
	// Change is held by each changing call from its checks to its answer.
	Change *sync.Mutex
	Log    *slog.Logger
}

// Scaling are the calls of Auto Scaling, of Elastic Load Balancing and for launch templates.
type Scaling struct {
	Groups    *Groups
	Balancers *Balancers
	Templates *Templates
}

// New makes the parts.
func New(c Config) *Scaling {
	templates := &Templates{moto: c.Moto, records: c.Records}
	return &Scaling{
		Templates: templates,
		Balancers: &Balancers{
			moto:      c.Moto,
			records:   c.Records,
			targets:   c.Targets,
			network:   c.VPC.Network,
			addresses: c.VPC.Addresses,
			log:       c.Log,
		},
		Groups: &Groups{
			moto:      c.Moto,
			records:   c.Records,
			queue:     c.Queue,
			targets:   c.Targets,
			network:   c.VPC.Network,
			templates: templates,
			ec2:       c.EC2,
			pace:      c.Pace,
			change:    c.Change,
			log:       c.Log,
		},
	}
}
