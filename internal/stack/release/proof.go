package release

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awserr"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/launch"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/network"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/parameters"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/roles"
)

// Proof is one build's part in a release.
type Proof struct {
	// Release is the name that the builds of one release share.
	Release string
	// Tier is the name of the tier whose image this build makes.
	Tier string
	// BuildTag and Build are the key and the value of the tag on instances that the proof launches.
	BuildTag, Build string
	// InstanceTypes are the types that will do for the instances, the first being wanted most.
	InstanceTypes []string
	// Revision is the git revision, where there is one.
	Revision string
	// Timeout is how long fresh instances may take until they are ready.
	Timeout time.Duration
	// Step is told how long each step took.
	Step func(name string, took time.Duration)

	stack *stack.Stack
	stop  func()
}

// ErrUnproved says that an image did not prove itself, or could not.
var ErrUnproved = errors.New("the image is not proved")

// Begin says that this build is at work, so that those of other tiers wait for it, and goes on saying so until End. It
// fails if the proof cannot come to a good end: without a network, say.
func Begin(ctx context.Context, s *stack.Stack, p Proof) (*Proof, error) {
	n, err := network.Find(ctx, s)
	if err != nil {
		return nil, err
	}
	if len(n.Missing(s.Tiers)) > 0 {
		return nil, fmt.Errorf("prove in stack %s: its network is missing or incomplete\nhint: goldsmith network "+
			"up --stack %s",
			s.Name, s.Name)
	}
	p.stack = s
	if _, used, err := readCandidate(ctx, s, p.Release, p.Tier); err != nil || used {
		if err == nil {
			err = fmt.Errorf("prove in stack %s: an earlier build of the %s image was for release %s; each build "+
				"needs a new name",
				s.Name, p.Tier, p.Release)
		}
		return nil, err
	}
	return &p, p.announce(ctx, Candidate{State: Baking})
}

// announce writes what this build's candidate is now, and repeats it while it is not final.
func (p *Proof) announce(ctx context.Context, c Candidate) error {
	p.stopRepeating()
	if err := announce(ctx, p.stack, p.Release, p.Tier, c); err != nil {
		return err
	}
	if c.State == Baking || c.State == Baked {
		p.stop = p.repeat(ctx, p.Tier, c)
	}
	return nil
}

// repeat writes something again and again, until what it returns is called: a build that is interrupted still has to
// clean up, and says how it ended.
func (p *Proof) repeat(begun context.Context, part string, c Candidate) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(begun))
	var group sync.WaitGroup
	group.Go(func() {
		for await.Sleep(ctx, stack.Heartbeat) == nil {
			if err := announce(ctx, p.stack, p.Release, part, c); err != nil && ctx.Err() == nil {
				p.stack.Logf("say that this build goes on: %v", err)
			}
		}
	})
	return func() { cancel(); group.Wait() }
}

func (p *Proof) stopRepeating() {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

// Unchanged says that this build needs no new image: the other tiers' are proved with this one.
func (p *Proof) Unchanged(ctx context.Context, image string) error {
	return p.announce(ctx, Candidate{State: Proved, Image: image})
}

// End says how a build ended that has not come to Prove, or did not succeed there.
func (p *Proof) End(ctx context.Context, reason error) error {
	return p.announce(ctx, Candidate{State: Failed, Reason: reason.Error()})
}

// Prove proves an image that was just made, and returns when it is released, or with ErrUnproved. The images of one
// release are proved together, by whichever build comes last; the others wait for the outcome. A tier whose image is
// not of this release takes part with that of the current one.
func (p *Proof) Prove(ctx context.Context, image string) error {
	if err := p.announce(ctx, Candidate{State: Baked, Image: image}); err != nil {
		return err
	}
	defer p.stopRepeating()
	found := map[string]string{p.Tier: image}
	for _, other := range othersOf(p.stack, p.Tier) {
		made, err := p.awaitImage(ctx, other)
		if err != nil {
			return err
		}
		if made != "" {
			found[other] = made
		}
	}
	if len(found) == 1 {
		return p.proveAlone(ctx, image)
	}
	elected, err := claim(ctx, p.stack, p.Release, proofPart, Candidate{State: Proving})
	if err != nil {
		return err
	}
	if !elected {
		return p.awaitOutcome(ctx, image)
	}
	if err := p.addCurrent(ctx, found); err != nil {
		return err
	}
	return p.proveTogether(ctx, p.releaseOf(found))
}

// awaitImage is the image that the build of another tier has made for this release, once that has ended; empty where it
// makes none.
func (p *Proof) awaitImage(ctx context.Context, tier string) (string, error) {
	for told := false; ; told = true {
		c, ok, err := readCandidate(ctx, p.stack, p.Release, tier)
		switch {
		case err != nil || !ok:
			return "", err
		case c.State == Baked || c.State == Proved:
			return c.Image, nil
		case c.State != Baking:
			p.stack.Logf("the %s image of release %s failed: %s", tier, p.Release, c.Reason)
			return "", nil
		case !told:
			p.stack.Logf("waiting for the %s image of release %s: both are proved together", tier, p.Release)
		}
		if err := await.Sleep(ctx, poll); err != nil {
			return "", err
		}
	}
}

// addCurrent adds the current release's images of tiers that have none yet, if they are still there.
func (p *Proof) addCurrent(ctx context.Context, found map[string]string) error {
	current, _, err := Current(ctx, p.stack)
	if err != nil {
		return err
	}
	for _, other := range othersOf(p.stack, p.Tier) {
		counterpart := current.Images[other]
		if found[other] != "" || counterpart == "" {
			continue
		}
		exists, err := imageExists(ctx, p.stack, counterpart)
		if err != nil {
			return err
		}
		if !exists {
			p.stack.Logf("the current release's %s image %s is gone", other, counterpart)
			continue
		}
		found[other] = counterpart
	}
	return nil
}

func (p *Proof) releaseOf(found map[string]string) Release {
	created := time.Now().UTC().Truncate(time.Second)
	return Release{
		Name:     p.Release,
		Images:   found,
		Created:  created,
		Revision: p.Revision,
	}
}

// proveTogether proves all images and tells the builds that wait.
func (p *Proof) proveTogether(ctx context.Context, r Release) error {
	stop := p.repeat(ctx, proofPart, Candidate{State: Proving})
	err := p.proveAndPublish(ctx, r)
	stop()
	outcome := Candidate{State: Proved}
	if err != nil {
		outcome = Candidate{State: Failed, Reason: err.Error()}
	}
	// The other builds must learn it also when this one was interrupted.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err = errors.Join(err, announce(last, p.stack, p.Release, proofPart, outcome))
	if err == nil {
		return p.announce(last, Candidate{State: Proved, Image: r.Images[p.Tier]})
	}
	return err
}

// unseen is how long a parameter may not be read that another build has just made.
const unseen = 10 * time.Second

// awaitOutcome waits for the proof that another build makes.
func (p *Proof) awaitOutcome(ctx context.Context, image string) error {
	p.stack.Logf("the build of another image proves both")
	for began := time.Now(); ; {
		outcome, ok, err := readCandidate(ctx, p.stack, p.Release, proofPart)
		switch {
		case err != nil:
			return err
		case ok && outcome.State == Proved:
			return p.announce(ctx, Candidate{State: Proved, Image: image})
		case !ok && time.Since(began) < unseen: // it was there a moment ago, when it could not be claimed
		case !ok || outcome.State == Failed:
			return fmt.Errorf("%w: %s", ErrUnproved, outcome.Reason)
		}
		if err := await.Sleep(ctx, poll); err != nil {
			return err
		}
	}
}

// proveAlone proves an image whose counterparts are not being made.
func (p *Proof) proveAlone(ctx context.Context, image string) error {
	found := map[string]string{p.Tier: image}
	if err := p.addCurrent(ctx, found); err != nil {
		return err
	}
	for _, needed := range p.stack.Tier(p.Tier).Needs {
		if found[needed] == "" {
			return fmt.Errorf("%w: a %s image is proved together with one of tier %s, and stack %s has no release "+
				"yet\nhint: build both images at once", ErrUnproved, p.Tier, needed, p.stack.Name)
		}
	}
	if err := p.proveAndPublish(ctx, p.releaseOf(found)); err != nil {
		return err
	}
	return p.announce(ctx, Candidate{State: Proved, Image: image})
}

// proveAndPublish launches fresh instances, reads their reports, and releases the images if all is well. Where a tier
// has no image the others are proved, and marked, and nothing is released.
func (p *Proof) proveAndPublish(ctx context.Context, r Release) error {
	if err := p.prove(ctx, r); err != nil {
		return err
	}
	if len(r.Images) < len(p.stack.Tiers) {
		p.stack.Logf("proved %s alone; a release is made when images of all tiers are proved together",
			strings.Join(r.ids(), ", "))
		return markProved(ctx, p.stack, r.Name, r.ids()...)
	}
	if err := publish(ctx, p.stack, r); err != nil {
		return err
	}
	p.stack.Logf("release %s of stack %s: %s", r.Name, p.stack.Name, r.described(p.stack))
	return forget(ctx, p.stack, r.Name)
}

// endLimit is how long the instances of a proof may take to end.
const endLimit = 5 * time.Minute

// prove launches an instance of each image and waits until all say that they are ready.
func (p *Proof) prove(ctx context.Context, r Release) (err error) {
	n, err := network.Find(ctx, p.stack)
	if err != nil {
		return err
	}
	act := plan.NewActor(false)
	if err = parameters.Ensure(ctx, p.stack, act); err != nil {
		return err
	}
	if err = roles.Ensure(ctx, p.stack, act); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	var launched []string
	defer func() {
		soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), endLimit)
		defer cancel()
		err = errors.Join(err, launch.Terminate(soon, p.stack, launched...))
	}()
	ready, rctx := errgroup.WithContext(ctx)
	started, addresses := time.Now(), map[string]string{}
	for _, t := range p.stack.Tiers {
		if r.Images[t.Name] == "" {
			continue
		}
		i, err := p.launch(ctx, n, t, r.Images[t.Name], addresses)
		if err != nil {
			return errors.Join(fmt.Errorf("%w: %w", ErrUnproved, err), ready.Wait())
		}
		launched = append(launched, i.ID)
		addresses[t.Name] = i.Private
		ready.Go(func() error {
			report, err := launch.WaitReady(rctx, p.stack, i.ID, time.Time{})
			if err != nil && rctx.Err() != nil && ctx.Err() == nil {
				return nil // another one failed, and says so
			}
			if err != nil {
				return fmt.Errorf("%w: %s, of %s: %w", ErrUnproved, i.Tier, i.Image, err)
			}
			p.tell(i, report, time.Since(started))
			return nil
		})
	}
	return ready.Wait()
}

// launch launches an instance of an image, in its tier's subnet. addresses are those of the tiers that it needs.
func (p *Proof) launch(
	ctx context.Context, n network.Network, t stack.Tier, image string, addresses map[string]string,
) (stack.Instance, error) {
	subnet, err := n.SubnetOf(p.stack, t, "")
	if err != nil {
		return stack.Instance{}, err
	}
	clients, err := n.Clients(p.stack, t)
	if err != nil {
		return stack.Instance{}, err
	}
	tags := ec2ops.TagPairs(stack.NameTag, "goldsmith proof of "+image, p.BuildTag, p.Build)
	wanted := launch.Launch{
		Tier:      t,
		Image:     image,
		Subnet:    subnet,
		Clients:   clients,
		Addresses: addresses,
		Tags: []types.TagSpecification{
			{ResourceType: types.ResourceTypeInstance, Tags: tags},
			{ResourceType: types.ResourceTypeVolume, Tags: tags},
		},
	}
	if t.Kind == stack.ServiceTier { // what it needs boots beside it
		wanted.Deadline = p.Timeout
	}
	i, err := p.launchSomehow(ctx, n, wanted)
	if err == nil {
		p.stack.Logf("proving %s: launched %s in the %s tier's subnet", image, i.ID, t.Name)
	}
	return i, err
}

// launchSomehow launches the instance on the first type that EC2 has room for: the bake may have had to take another
// than the first, too.
func (p *Proof) launchSomehow(
	ctx context.Context, n network.Network, wanted launch.Launch,
) (i stack.Instance, err error) {
	var errs []error
	for _, wanted.InstanceType = range p.InstanceTypes {
		i, err = launch.Run(ctx, p.stack, n, wanted)
		if awserr.Shortage(err) == awserr.NoShortage {
			return i, err
		}
		p.stack.Logf("no room for %s: %v", wanted.InstanceType, err)
		errs = append(errs, fmt.Errorf("%s: %w", wanted.InstanceType, err))
	}
	return i, errors.Join(errs...)
}

// tell shows an instance's report.
func (p *Proof) tell(i stack.Instance, report instance.Report, took time.Duration) {
	p.stack.Logf("%s %s is ready after %.1f s:", i.Tier, i.ID, took.Seconds())
	for _, check := range report.Checks {
		p.stack.Logf("  %-28s %s", check.Name, check.Detail)
	}
	p.Step("prove "+i.Tier, took)
}
