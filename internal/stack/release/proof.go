package stack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// Proof is one build's part in a release.
type Proof struct {
	// Release is the name that the builds of one release share.
	Release string
	// Tier is db or web: what this build makes.
	Tier string
	// Build is the tag that what the proof launches gets, as key and value.
	BuildTag, Build string
	InstanceType    string
	// Revision is the git revision, where there is one.
	Revision string
	// Timeout is how long fresh instances may take until they are ready.
	Timeout time.Duration
	// Step is told how long each step took.
	Step func(name string, took time.Duration)

	stack *Stack
	stop  func()
}

// ErrUnproved says that an image did not prove itself, or could not.
var ErrUnproved = errors.New("the image is not proved")

// Begin says that this build is at work, so that the one of the other tier waits for it, and goes on saying so until
// End. It fails if the proof cannot come to a good end: without a network, say.
func (s *Stack) Begin(ctx context.Context, p Proof) (*Proof, error) {
	n, err := s.FindNetwork(ctx)
	if err != nil {
		return nil, err
	}
	if !n.complete() {
		return nil, fmt.Errorf("prove in stack %s: its network is missing or incomplete\nhint: goldsmith network up --stack %s", s.name, s.name)
	}
	p.stack = s
	if _, used, err := s.candidate(ctx, p.Release, p.Tier); err != nil || used {
		if err == nil {
			err = fmt.Errorf("prove in stack %s: an earlier build of the %s image was for release %s; each build needs a new name", s.name, p.Tier, p.Release)
		}
		return nil, err
	}
	return &p, p.say(ctx, Candidate{State: Baking})
}

// say writes what this build's candidate is now, and repeats it while it is not final.
func (p *Proof) say(ctx context.Context, c Candidate) error {
	p.quiet()
	if err := p.stack.announce(ctx, p.Release, p.Tier, c); err != nil {
		return err
	}
	if c.State == Baking || c.State == Baked {
		p.stop = p.repeat(p.Tier, c)
	}
	return nil
}

// repeat writes something again and again, until what it returns is called.
func (p *Proof) repeat(part string, c Candidate) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for sleep(ctx, heartbeat) == nil {
			if err := p.stack.announce(ctx, p.Release, part, c); err != nil && ctx.Err() == nil {
				p.stack.say("say that this build goes on: %v", err)
			}
		}
	})
	return func() { cancel(); group.Wait() }
}

func (p *Proof) quiet() {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

// Unchanged says that this build needs no new image: the other tier's is proved with this one.
func (p *Proof) Unchanged(ctx context.Context, image string) error {
	return p.say(ctx, Candidate{State: Proved, Image: image})
}

// End says how a build ended that has not come to Prove, or did not succeed there.
func (p *Proof) End(ctx context.Context, reason error) error {
	return p.say(ctx, Candidate{State: Failed, Reason: reason.Error()})
}

// Prove proves an image that was just made, and returns when it is released, or with ErrUnproved. A db and a web image of
// one release are proved together, by whichever build comes second; the other waits for the outcome. An image whose
// counterpart is not of this release is proved with that of the current one.
func (p *Proof) Prove(ctx context.Context, image string) error {
	if err := p.say(ctx, Candidate{State: Baked, Image: image}); err != nil {
		return err
	}
	defer p.quiet()
	other := map[string]string{"db": "web", "web": "db"}[p.Tier]
	for told := false; ; {
		c, ok, err := p.stack.candidate(ctx, p.Release, other)
		if err != nil {
			return err
		}
		switch {
		case ok && (c.State == Baked || c.State == Proved):
			mine, err := p.stack.claimProof(ctx, p.Release)
			if err != nil {
				return err
			}
			if !mine {
				return p.await(ctx, image, other)
			}
			return p.together(ctx, p.pair(image, c.Image))
		case ok && c.State == Baking:
			if !told {
				p.stack.say("waiting for the %s image of release %s: both are proved together", other, p.Release)
				told = true
			}
			if err := sleep(ctx, 300*time.Millisecond); err != nil {
				return err
			}
			continue
		case ok:
			p.stack.say("the %s image of release %s failed: %s", other, p.Release, c.Reason)
		}
		return p.alone(ctx, image, other)
	}
}

// pair puts this build's image and its counterpart in order.
func (p *Proof) pair(own, other string) Release {
	r := Release{Name: p.Release, Created: time.Now().UTC().Truncate(time.Second), Revision: p.Revision, Database: own, Web: other}
	if p.Tier == "web" {
		r.Database, r.Web = other, own
	}
	return r
}

// together proves both images and tells the build that waits.
func (p *Proof) together(ctx context.Context, r Release) error {
	stop := p.repeat("proof", Candidate{State: Proving})
	err := p.stack.proveAndPublish(ctx, p, r)
	stop()
	outcome := Candidate{State: Proved}
	if err != nil {
		outcome = Candidate{State: Failed, Reason: err.Error()}
	}
	// The other build must learn it also when this one was interrupted.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err = errors.Join(err, p.stack.announce(last, p.Release, "proof", outcome))
	if err == nil {
		return p.say(last, Candidate{State: Proved, Image: map[string]string{"db": r.Database, "web": r.Web}[p.Tier]})
	}
	return err
}

// await waits for the proof that another build makes.
func (p *Proof) await(ctx context.Context, image, other string) error {
	p.stack.say("the build of the %s image proves both", other)
	for {
		outcome, ok, err := p.stack.candidate(ctx, p.Release, "proof")
		switch {
		case err != nil:
			return err
		case ok && outcome.State == Proved:
			return p.say(ctx, Candidate{State: Proved, Image: image})
		case !ok || outcome.State == Failed:
			return fmt.Errorf("%w: %s", ErrUnproved, outcome.Reason)
		}
		if err := sleep(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
}

// alone proves an image whose counterpart is not being made.
func (p *Proof) alone(ctx context.Context, image, other string) error {
	current, _, err := p.stack.CurrentRelease(ctx)
	if err != nil {
		return err
	}
	counterpart := current.image(other)
	if counterpart != "" && !p.stack.imageExists(ctx, counterpart) {
		p.stack.say("the current release's %s image %s is gone", other, counterpart)
		counterpart = ""
	}
	r := p.pair(image, counterpart)
	if counterpart == "" && p.Tier == "web" {
		return fmt.Errorf("%w: a web image is proved together with a database, and stack %s has no release yet\nhint: build both images at once", ErrUnproved, p.stack.name)
	}
	if err := p.stack.proveAndPublish(ctx, p, r); err != nil {
		return err
	}
	return p.say(ctx, Candidate{State: Proved, Image: image})
}

func (s *Stack) imageExists(ctx context.Context, image string) bool {
	out, err := s.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{image}})
	return err == nil && len(out.Images) == 1 && out.Images[0].State == types.ImageStateAvailable
}

// proveAndPublish launches fresh instances, reads their reports, and releases the images if all is well. Without a web
// image the database is proved alone, and marked, and nothing is released.
func (s *Stack) proveAndPublish(ctx context.Context, p *Proof, r Release) error {
	if err := s.prove(ctx, p, r); err != nil {
		return err
	}
	if r.Web == "" {
		s.say("proved %s alone; a release is made when a web image is proved with it", r.Database)
		return s.markProved(ctx, r.Name, r.Database)
	}
	if err := s.publish(ctx, r); err != nil {
		return err
	}
	s.say("release %s of stack %s: db %s, web %s", r.Name, s.name, r.Database, r.Web)
	return s.forget(ctx, r.Name)
}

func (s *Stack) prove(ctx context.Context, p *Proof, r Release) (err error) {
	n, err := s.FindNetwork(ctx)
	if err != nil {
		return err
	}
	if err := s.ensureParameters(ctx); err != nil {
		return err
	}
	if err := s.ensureRoles(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	var launched []string
	defer func() {
		soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
		defer cancel()
		err = errors.Join(err, s.terminate(soon, launched...))
	}()
	started := time.Now()
	clients, err := s.clients(n)
	if err != nil {
		return err
	}
	run := func(tier, image, database string) (Instance, error) {
		subnet, err := s.subnetOf(n, tier, "")
		if err != nil {
			return Instance{}, err
		}
		name := fmt.Sprintf("goldsmith proof of %s", image)
		tags := []types.Tag{{Key: aws.String("Name"), Value: aws.String(name)}, {Key: aws.String(p.BuildTag), Value: aws.String(p.Build)}}
		i, err := s.launch(ctx, n, launch{tier: tier, image: image, instanceType: p.InstanceType, subnet: subnet, clients: clients, database: database,
			tags: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: tags}, {ResourceType: types.ResourceTypeVolume, Tags: tags}}})
		if err == nil {
			launched = append(launched, i.ID)
			s.say("proving %s: launched %s in the %s tier's subnet", image, i.ID, tier)
		}
		return i, err
	}
	database, err := run("db", r.Database, "")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnproved, err)
	}
	ready, rctx := errgroup.WithContext(ctx)
	wait := func(i Instance) {
		ready.Go(func() error {
			report, err := s.waitReady(rctx, i.ID, time.Time{})
			if err != nil && rctx.Err() != nil && ctx.Err() == nil {
				return nil // the other one failed, and says so
			}
			if err != nil {
				return fmt.Errorf("%w: %s, of %s: %w", ErrUnproved, i.Tier, i.Image, err)
			}
			s.tell(i, report, time.Since(started))
			p.Step("prove "+i.Tier, time.Since(started))
			return nil
		})
	}
	wait(database)
	if r.Web != "" {
		web, err := run("web", r.Web, database.Private)
		if err != nil {
			return errors.Join(fmt.Errorf("%w: %w", ErrUnproved, err), ready.Wait())
		}
		wait(web)
	}
	return ready.Wait()
}

// tell shows what an instance reported.
func (s *Stack) tell(i Instance, report instance.Report, took time.Duration) {
	s.say("%s %s is ready after %.1f s:", i.Tier, i.ID, took.Seconds())
	for _, check := range report.Checks {
		s.say("  %-28s %s", check.Name, check.Detail)
	}
}
