// Package service redeploys a service tier: either one instance with an elastic address, or an Auto Scaling group
// behind a network load balancer at that address.
package service

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/probe"
)

// gap is why Goldsmith does not make a group of a single instance, or the other way round.
const gap = "an elastic IP cannot be moved onto a load balancer that is there, so that the tier would be away for " +
	"as long as AWS needs to make one, some minutes"

// New returns a service tier of a deployment. It refuses, before anything is changed, what a deployment could not
// bring to a good end: another kind of tier than the one that serves, checkpoints that take longer than it may, an API
// without instance refreshes. all are the stack's instances.
func New(ctx context.Context, run *tier.Run, t stack.Tier, all []stack.Instance) (tier.Tier, error) {
	if !t.Service.Group {
		inGroup := func(i stack.Instance) bool { return i.Tier == t.Name && i.Detail.Group != "" }
		if i := slices.IndexFunc(all, inGroup); i >= 0 {
			return nil, fmt.Errorf("deploy stack %s: its %s tier is the Auto Scaling group %s, and the stack file "+
				"wants a single instance; Goldsmith does not change one into the other: %s\n"+
				"hint: to do it with that gap: "+
				"aws autoscaling delete-auto-scaling-group --auto-scaling-group-name %[3]s --force-delete, "+
				"then goldsmith deploy",
				run.Stack.Name, t.Name, all[i].Detail.Group, gap)
		}
		return newSingle(run, t), nil
	}
	if single := stack.ServingOf(all, t.Name); single.ID != "" {
		return nil, fmt.Errorf("deploy stack %s: its %s tier is the single instance %s, and the stack file wants "+
			"an Auto Scaling group; Goldsmith does not change one into the other: %s\n"+
			"hint: to do it with that gap: "+
			"aws ec2 terminate-instances --instance-ids %[3]s, then goldsmith deploy",
			run.Stack.Name, t.Name, single.ID, gap)
	}
	g := newGroup(run, t)
	return g, g.check(ctx)
}

// CurrentImage is the image that serves a tier that is a group; empty where none does.
func CurrentImage(ctx context.Context, s *stack.Stack, t stack.Tier) (string, error) {
	g := newGroup(&tier.Run{Stack: s}, t)
	found, err := g.find(ctx)
	if err != nil || found == nil || found.serving == "" {
		return "", err
	}
	return g.templateImage(ctx, found, found.serving)
}

// certificates are the SHA-256 digests of certificates that a tier's instances reported, and their longest boot time.
type certificates struct {
	mu   sync.Mutex
	all  map[string]string // by instance
	boot time.Duration     // the shortest
}

func (c *certificates) add(id, digest string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]string{}
	}
	c.all[id] = digest
}

// booted notes how long an instance took from its start to its report. The shortest time counts: others waited for
// something that has nothing to do with a boot, such as a database that was still being made.
func (c *certificates) booted(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if took > 0 && (c.boot == 0 || took < c.boot) {
		c.boot = took
	}
}

// shortestBoot is 0 where none was noted.
func (c *certificates) shortestBoot() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.boot
}

func (c *certificates) of(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[id]
}

// fingerprints are those that the tier may show.
func (c *certificates) fingerprints() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var digests []string
	for _, digest := range c.all {
		digests = append(digests, digest)
	}
	slices.Sort(digests)
	return digests
}

// newProbe asks a tier whose certificates are noted in c.
func newProbe(run *tier.Run, t stack.Tier, c *certificates) probe.Probe {
	return probe.Probe{
		Check:        t.Service.Probe,
		Fingerprints: c.fingerprints,
		Get:          run.Reach.Get,
		Ports:        t.Service.Ports,
	}
}

// setURL notes where the tier is found.
func setURL(o *tier.Outcome, address types.Address) {
	o.URL = "https://" + aws.ToString(address.PublicIp) + "/"
}

// watch keeps asking a tier's address for the stack file's bake time.
func watch(ctx context.Context, run *tier.Run, t stack.Tier, p probe.Probe, address types.Address) error {
	bake := run.Stack.Settings.Deploy.BakeTime
	if bake <= 0 {
		return nil
	}
	run.Stack.Logf("watching for %s", bake)
	step := tier.StepOf(t, "watch", "watch")
	step.Tier = "" // it is about the whole stack
	return run.Timed(step, func() error { return p.Watch(ctx, aws.ToString(address.PublicIp), bake) })
}

// clientOf speaks to Auto Scaling.
func clientOf(s *stack.Stack) *autoscaling.Client { return autoscaling.NewFromConfig(s.Config) }

// seconds rounds up: AWS takes whole ones.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) }

// Removable returns a service tier that is only to be removed, whatever serves it.
func Removable(run *tier.Run, t stack.Tier) tier.Tier { return newSingle(run, t) }
