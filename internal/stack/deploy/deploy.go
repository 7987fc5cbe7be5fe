// Package deploy makes a stack run images: it replaces each tier's instances, or keeps them, goes back if that fails,
// and recovers what a deployment left that was killed. It orders the tiers; what happens to one is in the packages
// below.
package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"golang.org/x/sync/errgroup"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/ec2ops"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/data"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/service"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deploy/tier"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/deployreport"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/plan"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
)

// Deployment is a request to deploy images. The stack file says how it is done.
type Deployment struct {
	// Images are image ids by tier. A tier without one gets the image that the stack file names, or that of the current
	// release or, in a stack that has no release, the youngest, a proved one if there is one.
	Images map[string]string
	// Replace are tiers whose instance is replaced though its image is the wanted one; all is every tier.
	Replace []string
	// Snapshot is the id of the snapshot to restore the data volume from; empty leaves the data as it is.
	Snapshot string
	// Kind is deploy or rollback.
	Kind string
	// Report is the file that the report goes to. Without one it is in its usual place, beside the keys;
	// deployreport.NoReport is for none.
	Report string
	// Step is told of each step that begins; what it returns, of its end. It may be called from several goroutines.
	Step func(name string) (done func(error))

	// reach is tier.DirectReach but in tests.
	reach *tier.Reach
}

// Deployed is the result of a deployment.
type Deployed struct {
	ID string
	// Instances are those that serve, by tier; in JSON each tier has a member with the first of them and, if it is an
	// Auto Scaling group, one with the suffix _group with all.
	Instances map[string][]stack.Instance
	URL       string
	// Fingerprint is the SHA-256 of the certificate that the service shows.
	Fingerprint string
	// Snapshot holds the data as it was when the database was replaced.
	Snapshot string
	// Interruption is how long the database took no writes.
	Interruption time.Duration
	// Report is the file with the report; empty where none was wanted or it could not be written.
	Report string
	// Changes are those that were made.
	Changes []plan.Change
}

// MarshalJSON leaves out what is empty.
func (d Deployed) MarshalJSON() ([]byte, error) {
	members := map[string]any{"id": d.ID, "url": d.URL, "certificate_sha256": d.Fingerprint}
	for name, instances := range d.Instances {
		if len(instances) == 0 {
			continue
		}
		members[name] = instances[0]
		if instances[0].Detail.Group != "" {
			members[name+"_group"] = instances
		}
	}
	for _, text := range []struct{ name, value string }{{"snapshot", d.Snapshot}, {"report", d.Report}} {
		if text.value != "" {
			members[text.name] = text.value
		}
	}
	if d.Interruption > 0 {
		members["interruption_ms"] = d.Interruption.Milliseconds()
	}
	return json.Marshal(members)
}

// ErrNeedsPerson says that a deployment failed and that the stack could not be brought back to its former state.
var ErrNeedsPerson = tier.ErrNeedsPerson

// rollbackLimit is how long a failed deployment may take to go back.
const rollbackLimit = 5 * time.Minute

// closeLimit is how long it may take to write down how a deployment ended.
const closeLimit = time.Minute

// Run makes the stack run images. No running instance is changed: new ones are launched, and when they are ready the
// data tiers' volumes and the service addresses move to them. What fails, an interrupt too, goes back: the old
// instances still run until all is well, and get back what had moved. Before that it recovers the stack if a deployment
// was killed.
func Run(ctx context.Context, s *stack.Stack, d Deployment) (deployed Deployed, err error) {
	id := record.NewID()
	ctx, unlock, err := record.Lock(ctx, s, id)
	if err != nil {
		return Deployed{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	all, err := s.Instances(ctx)
	if err != nil {
		return Deployed{}, err
	}
	from, err := currentImages(ctx, s, all)
	if err != nil {
		return Deployed{}, err
	}
	who, host := record.Caller()
	began := record.Record{
		ID:      id,
		Kind:    cmp.Or(d.Kind, "deploy"),
		Who:     who + "@" + host,
		Started: time.Now().UTC(),
		From:    from,
		Result:  record.Running,
	}
	journal, err := record.Open(ctx, s, began, d.Step)
	if err != nil {
		return Deployed{}, err
	}
	r := newRollout(s, d, id, plan.NewActor(false))
	r.run.Journal = journal
	if d.Report != deployreport.NoReport {
		r.run.Observer = observe(ctx, s, all)
	}
	result, err := r.deployOrRollBack(ctx, all)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	closed := errors.Join(journal.Close(last, result, err), record.Prune(last, s))
	deployed = r.deployed()
	deployed.Report = deployreport.Leave(last, s, r.run.Observer, deployreport.Deployment{
		Record: journal.Record(),
		Reason: err,
		Known:  r.known(),
		File:   d.Report,
	})
	return deployed, errors.Join(err, closed)
}

// observe begins to probe the first service tier for the report.
func observe(ctx context.Context, s *stack.Stack, all []stack.Instance) *deployreport.Observer {
	for _, t := range s.Tiers {
		if t.Kind == stack.ServiceTier {
			return deployreport.Observe(ctx, s, t, all)
		}
	}
	return nil
}

// currentImages are the ids of the images that the tiers run now, by tier.
func currentImages(ctx context.Context, s *stack.Stack, all []stack.Instance) (record.Images, error) {
	images := record.Images{Tiers: map[string]string{}}
	for _, t := range s.Tiers {
		image := stack.ServingOf(all, t.Name).Image
		if image == "" && t.Service.Group {
			var err error
			if image, err = service.CurrentImage(ctx, s, t); err != nil {
				return images, err
			}
		}
		if image != "" {
			images.Tiers[t.Name] = image
		}
	}
	if images.Complete(s.Tiers) {
		return images, nil
	}
	// Right after a deployment EC2 shows tags of before: what that one led to is in its record.
	records, err := record.History(ctx, s)
	if err != nil {
		return images, err
	}
	last := slices.IndexFunc(records, func(r record.Record) bool { return r.Result == record.Done })
	for _, t := range s.Tiers {
		if last >= 0 && images.Tiers[t.Name] == "" {
			images.Tiers[t.Name] = records[last].To.Tiers[t.Name]
		}
	}
	return images, nil
}

// rollout is one deployment under way.
type rollout struct {
	stack *stack.Stack
	d     Deployment
	run   *tier.Run
	tiers []tier.Tier // in the order of the stack's
	// committed says that the new instances serve.
	committed bool
}

func newRollout(s *stack.Stack, d Deployment, id string, act *plan.Actor) *rollout {
	reach := tier.DirectReach
	if d.reach != nil {
		reach = *d.reach
	}
	return &rollout{stack: s, d: d, run: &tier.Run{
		Stack:     s,
		ID:        id,
		Act:       act,
		Reach:     reach,
		Images:    map[string]string{},
		Replace:   d.Replace,
		Snapshot:  d.Snapshot,
		Addresses: map[string]string{},
	}}
}

// deployOrRollBack runs a deployment, and goes back if it fails.
func (r *rollout) deployOrRollBack(ctx context.Context, all []stack.Instance) (result string, err error) {
	limited, cancel := await.WithLimit(ctx, r.stack.Settings.Deploy.Timeout)
	defer cancel()
	prepare := plan.Step{ID: "prepare", Title: "images, parameters, roles"}
	err = r.run.Timed(prepare, func() error { return r.prepare(limited, all) })
	if errors.Is(err, ErrNeedsPerson) {
		return record.NeedsPerson, err
	}
	if err != nil {
		return record.RolledBack, err
	}
	if err = r.replace(limited); err == nil {
		err = r.commit(context.WithoutCancel(ctx))
	}
	if errors.Is(err, tier.ErrKept) {
		return record.NeedsPerson, err
	}
	if err != nil {
		return r.rollBack(ctx, err)
	}
	return record.Done, r.finish(ctx)
}

// rollBack brings the stack back to the state that its roles give, after a deployment that failed.
func (r *rollout) rollBack(ctx context.Context, err error) (result string, reason error) {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	soon, cancel := await.WithLimit(context.WithoutCancel(ctx), r.rollbackTime())
	defer cancel()
	r.stack.Logf("going back: %v", err)
	stopped := slices.ContainsFunc(r.tiers, func(t tier.Tier) bool { return t.Outcome().Stopped })
	failed := r.run.Timed(plan.Step{ID: "rollback", Title: "go back"}, func() error {
		return r.converge(soon, plan.NewActor(false), stopped)
	})
	if failed != nil {
		return record.NeedsPerson, fmt.Errorf("%w; %w: going back failed: %w\nhint: when its cause is mended, "+
			"goldsmith rollback goes on with it", err, ErrNeedsPerson, failed)
	}
	return record.RolledBack, err
}

// rollbackTime is how long a deployment of this stack may take to go back. A group is refreshed for that.
func (r *rollout) rollbackTime() time.Duration {
	if slices.ContainsFunc(r.stack.Tiers, func(t stack.Tier) bool { return t.Service.Group }) {
		return max(rollbackLimit, r.stack.Settings.Deploy.Timeout)
	}
	return rollbackLimit
}

// replace brings all tiers to the wanted images. New instances boot side by side; then the tiers move, each after those
// that it needs.
func (r *rollout) replace(ctx context.Context) error {
	bring, tctx := errgroup.WithContext(ctx)
	for _, t := range r.tiers {
		bring.Go(func() error { return t.Bring(tctx) })
	}
	if err := bring.Wait(); err != nil {
		return err
	}
	replaced, served := false, false
	for _, t := range r.tiers {
		o := t.Outcome()
		replaced, served = replaced || o.Replaced, served || o.Old.ID != ""
	}
	for i, t := range r.tiers {
		if err := r.shift(ctx, i, t); err != nil {
			return err
		}
	}
	if !replaced || !served {
		return nil
	}
	for _, t := range r.tiers {
		if w, ok := t.(tier.Watcher); ok {
			if err := w.Watch(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// shift moves a tier. While a data tier moves AWS replaces no instance of others.
func (r *rollout) shift(ctx context.Context, i int, t tier.Tier) error {
	o, work := t.Outcome(), func() error { return t.Shift(ctx) }
	if r.stack.Tiers[i].Kind == stack.DataTier && o.Replaced && o.Old.ID != "" {
		for _, other := range r.tiers {
			if h, ok := other.(tier.Holder); ok {
				inner := work
				work = func() error { return h.Hold(ctx, inner) }
			}
		}
	}
	return work()
}

// finish ends the old instances, and keeps no more snapshots than wanted.
func (r *rollout) finish(ctx context.Context) error {
	launched, drain := false, plan.Step{ID: "drain", Title: "drain"}
	for i, t := range r.tiers {
		o := t.Outcome()
		launched = launched || len(o.Launched) > 0
		if r.stack.Tiers[i].Kind == stack.ServiceTier && len(o.Launched) > 0 && o.Old.ID != "" {
			drain.Tier = r.stack.Tiers[i].Name
		}
	}
	if !launched {
		return nil
	}
	soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.rollbackTime())
	defer cancel()
	if drain.Tier != "" {
		wait := r.stack.Settings.Deploy.DrainTime
		if err := r.run.Timed(drain, func() error { return await.Sleep(ctx, wait) }); err != nil {
			r.stack.Logf("the old %s instance is not drained: %v", drain.Tier, err)
		}
	}
	return r.run.Timed(plan.Step{ID: "end", Title: "end the old ones"}, func() error {
		return errors.Join(r.converge(soon, plan.NewActor(false), false), r.prune(soon))
	})
}

// prune removes the snapshots of data tiers that are more than are kept.
func (r *rollout) prune(ctx context.Context) error {
	var errs []error
	for i, t := range r.stack.Tiers {
		if t.Kind != stack.DataTier {
			continue
		}
		coming := 0
		if o := r.tiers[i].Outcome(); r.run.Act.Dry() && o.Replaced && o.Old.ID != "" {
			coming = 1
		}
		keep := int(r.stack.Settings.Deploy.KeepSnapshots)
		errs = append(errs, data.PruneSnapshots(ctx, r.run.Act, r.stack, t, keep, coming))
	}
	return errors.Join(errs...)
}

// commit makes the new instances the ones that serve. They are tagged all at once, before the old ones: from the first
// of the two calls on there is no way back by itself.
func (r *rollout) commit(ctx context.Context) error {
	var fresh, ended []string
	for _, t := range r.tiers {
		o := t.Outcome()
		for _, i := range o.Launched {
			fresh = append(fresh, i.ID)
			if o.Old.ID != "" {
				ended = append(ended, o.Old.ID)
			}
		}
	}
	committed, err := r.commitTiers(ctx)
	if err == nil {
		err = setRole(ctx, r.stack, stack.Serving, fresh...)
	}
	if err != nil {
		for _, c := range committed {
			err = errors.Join(err, c.Uncommit(ctx))
		}
		return err
	}
	r.committed = true
	if err := setRole(ctx, r.stack, stack.Retired, ended...); err != nil {
		r.stack.Logf("%v; the younger of two that serve counts", err)
	}
	return nil
}

// commitTiers has the tiers commit that have something to, and returns them: also one that failed, as it may have done
// so and not know.
func (r *rollout) commitTiers(ctx context.Context) (committed []tier.Committer, err error) {
	for _, t := range r.tiers {
		c, ok := t.(tier.Committer)
		if !ok {
			continue
		}
		committed = append(committed, c)
		if err := c.Commit(ctx); err != nil {
			return committed, err
		}
	}
	return committed, nil
}

func setRole(ctx context.Context, s *stack.Stack, role string, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	input := &ec2.CreateTagsInput{Resources: ids, Tags: ec2ops.TagPairs(stack.RoleTag, role)}
	if _, err := s.EC2.CreateTags(ctx, input); err != nil {
		return fmt.Errorf("tag %s as %s: %w", strings.Join(ids, ", "), role, err)
	}
	return nil
}

// deployed joins the outcomes of the tiers.
func (r *rollout) deployed() Deployed {
	all := Deployed{ID: r.run.ID, Instances: map[string][]stack.Instance{}, Changes: r.run.Act.Changes()}
	for i, t := range r.tiers {
		o := t.Outcome()
		all.Instances[r.stack.Tiers[i].Name] = o.Serving
		all.URL, all.Fingerprint = cmp.Or(all.URL, o.URL), cmp.Or(all.Fingerprint, o.Fingerprint)
		all.Snapshot, all.Interruption = cmp.Or(all.Snapshot, o.Snapshot), cmp.Or(all.Interruption, o.Interruption)
	}
	return all
}

// known are the instances that served before and those that were launched.
func (r *rollout) known() []stack.Instance {
	var all []stack.Instance
	for _, t := range r.tiers {
		o := t.Outcome()
		all = append(all, o.Old)
		all = append(all, o.Launched...)
	}
	return all
}
