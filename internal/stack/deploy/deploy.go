package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/await"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// Deployment is what to run. How it is done is said in the stack file.
type Deployment struct {
	// Images by tier. Where one is empty it is what the stack file names, or that of the current release or, in a stack
	// that never had one, the youngest.
	DatabaseImage, WebImage string
	// Replace are tiers whose instance is replaced though its image is the wanted one.
	Replace []string
	// Snapshot is what the data volume is made of anew; empty leaves the data as it is.
	Snapshot string
	// Kind is deploy or rollback.
	Kind string
	// Report is the file that the report goes to. Without one it is in its usual place, beside the keys; NoReport is for none.
	Report string
	// Step is told of each step that begins; what it returns, of its end. It may be called from several goroutines.
	Step func(name string) (done func(error))
}

// Deployed is what runs then.
type Deployed struct {
	ID       string   `json:"id"`
	Database Instance `json:"db"`
	Web      Instance `json:"web"`
	// WebGroup are all instances of an Auto Scaling group; Web is the first of them.
	WebGroup []Instance `json:"web_group,omitempty"`
	URL      string     `json:"url"`
	// Fingerprint is the SHA-256 of the certificate that the web instance shows.
	Fingerprint string `json:"certificate_sha256"`
	// Snapshot holds the data as it was when the database was replaced.
	Snapshot string `json:"snapshot,omitempty"`
	// Interruption is how long the database took no writes, in milliseconds.
	Interruption int64 `json:"interruption_ms,omitempty"`
	// Report is the file with the report; empty where none was wanted or it could not be written.
	Report string `json:"report,omitempty"`
}

// ErrNeedsPerson says that a deployment failed and that the stack could not be brought back to what it was.
var ErrNeedsPerson = errors.New("a person is needed")

// takeBackLimit is how long a failed deployment may take to go back.
const takeBackLimit = 5 * time.Minute

// Deploy makes the stack run two images: one instance of each, in its subnet. No running instance is changed: new ones are
// launched, and when they are ready the database's volume and the service addresses move to them. What fails, an
// interrupt too, goes back: the old instances still run until all is well, and get back what had moved. What a
// deployment left that was killed is put right first.
func (s *Stack) Deploy(ctx context.Context, d Deployment) (deployed Deployed, err error) {
	id := deploymentID()
	ctx, unlock, err := s.lock(ctx, id)
	if err != nil {
		return Deployed{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	who, host := whoami()
	from, err := s.runs(ctx)
	if err != nil {
		return Deployed{}, err
	}
	j, err := s.openJournal(ctx, Record{ID: id, Kind: cmp.Or(d.Kind, "deploy"), Who: who + "@" + host, Started: time.Now().UTC(), From: from, Result: Running}, d.Step)
	if err != nil {
		return Deployed{}, err
	}
	r := &rollout{Stack: s, d: d, journal: j, result: Deployed{ID: id}}
	s.observer = nil
	if d.Report != NoReport {
		s.observer = s.observe(ctx)
	}
	result, err := r.whole(ctx)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	closed := errors.Join(j.close(last, result, err), s.forgetHistory(last))
	r.result.Report = r.leaveReport(last, err)
	return r.result, errors.Join(err, closed)
}

// runs is what the stack runs now.
func (s *Stack) runs(ctx context.Context) (Images, error) {
	all, err := s.Instances(ctx)
	if err != nil {
		return Images{}, err
	}
	images := Images{Database: servingOf(all, "db").Image, Web: servingOf(all, "web").Image}
	if s.scaled() && images.Web == "" {
		images.Web, err = s.groupRuns(ctx)
	}
	return images, err
}

// servingOf is the instance that serves a tier by itself; without one it is empty. Of two, where the end of the older one broke off,
// it is the younger.
func servingOf(all []Instance, tier string) Instance {
	var found Instance
	for _, i := range all {
		if i.Tier == tier && i.Role == serving && i.group == "" && (found.ID == "" || i.deploy > found.deploy) {
			found = i
		}
	}
	return found
}

// rollout is one deployment under way.
type rollout struct {
	*Stack
	*journal
	d       Deployment
	network Network
	address types.Address // the web tier's elastic one
	volume  string        // the data volume
	zone    string        // where that is
	held    string        // the one that the old database has, if that is another
	stopped bool          // the old database was told to stop
	old     map[string]Instance
	changes map[string]change
	result  Deployed

	// Of a web tier that is an Auto Scaling group: it, nil before it is made, and the version of the launch template that
	// is to serve.
	group   *webGroup
	version string
	baked   bool // EC2 waited for the bake time, and the page was asked meanwhile

	mu           sync.Mutex
	launched     []Instance
	certificates map[string]string // digests, by the instance that reported it
}

// whole runs a deployment, and goes back if it fails.
func (r *rollout) whole(ctx context.Context) (result string, err error) {
	limited, cancel := context.WithTimeout(ctx, r.file.Deploy.Timeout)
	defer cancel()
	if err := r.prepare(limited); errors.Is(err, ErrNeedsPerson) {
		return NeedsPerson, err
	} else if err != nil {
		return RolledBack, err
	}
	err = r.run(limited)
	if err == nil {
		err = r.commit(context.WithoutCancel(ctx))
	}
	if errors.Is(err, errKept) {
		return NeedsPerson, err
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", err, cause)
		}
		soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.takeBackTime())
		defer cancel()
		r.say("going back: %v", err)
		if settled := r.timed("go back", func() error { return r.settle(soon, r.stopped) }); settled != nil {
			return NeedsPerson, fmt.Errorf("%w; %w: going back failed: %w\nhint: when its cause is mended, goldsmith rollback goes on with it", err, ErrNeedsPerson, settled)
		}
		return RolledBack, err
	}
	return Done, r.finish(ctx)
}

// prepare finds and makes what a deployment needs, and changes nothing of what runs.
func (r *rollout) prepare(ctx context.Context) error {
	return r.timed("images, parameters, roles", func() error {
		if err := r.checkScaling(ctx); err != nil {
			return err
		}
		release, _, err := r.CurrentRelease(ctx)
		if err != nil {
			return err
		}
		for tier, image := range map[string]*string{"db": &r.d.DatabaseImage, "web": &r.d.WebImage} {
			if *image, err = r.findImage(ctx, tier, *image, release); err != nil {
				return err
			}
		}
		r.set(func(record *Record) {
			record.To = Images{Database: r.d.DatabaseImage, Web: r.d.WebImage}
			if record.To.Database == release.Database && record.To.Web == release.Web {
				record.To.Release = release.Name
			}
		})
		if r.network, _, err = r.bringNetwork(ctx, false); err != nil {
			return err
		}
		if err := r.ensureKey(ctx); err != nil {
			return err
		}
		if err := r.ensureParameters(ctx); err != nil {
			return err
		}
		if err := r.ensureRoles(ctx); err != nil {
			return err
		}
		if r.address, err = r.ensureAddress(ctx); err != nil {
			return err
		}
		if err := r.putRight(ctx); err != nil {
			return fmt.Errorf("put right what an earlier deployment left: %w; %w", err, ErrNeedsPerson)
		}
		if r.volume, r.zone, err = r.ensureVolume(ctx, r.network); err != nil {
			return err
		}
		all, err := r.Instances(ctx)
		if err != nil {
			return err
		}
		r.old = map[string]Instance{"db": servingOf(all, "db"), "web": servingOf(all, "web")}
		old := maps.Clone(r.old)
		if r.group, old["web"], err = r.groupAsOld(ctx, all, old["web"]); err != nil {
			return err
		}
		if r.changes, err = r.tierChanges(r.network, r.wants(), old, r.d.Replace); err != nil {
			return err
		}
		return r.tagOld(ctx)
	})
}

// tagOld gives instances that stay the tags that the stack file adds.
func (r *rollout) tagOld(ctx context.Context) error {
	for tier, c := range r.changes {
		wanted := tagList(r.moreTags(tier)...)
		if c.replace || len(missingTags(c.old.tags, wanted)) == 0 {
			continue
		}
		ids := []string{c.old.ID}
		if c.old.group != "" {
			ids = r.group.ids()
		}
		if _, err := r.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: wanted}); err != nil {
			return fmt.Errorf("tag %s %s: %w", tier, c.old.ID, err)
		}
	}
	return nil
}

// wants is what the deployment was asked for, with what it found and made.
func (r *rollout) wants() wants {
	return wants{images: map[string]string{"db": r.d.DatabaseImage, "web": r.d.WebImage}, volume: r.volume, zone: r.zone, address: aws.ToString(r.address.PublicIp)}
}

// putRight ends what deployments left that were killed, and says so in their records.
func (r *rollout) putRight(ctx context.Context) error {
	records, err := r.History(ctx)
	if err != nil {
		return err
	}
	killed := slices.DeleteFunc(records, func(record Record) bool { return record.Result != Running || record.ID == r.result.ID })
	if err := r.settle(ctx, len(killed) > 0); err != nil {
		return err
	}
	for _, record := range killed {
		record.Result, record.Reason = RolledBack, "it ended without a word; "+r.result.ID+" put right what it left"
		if err := r.writeRecord(ctx, record); err != nil {
			return err
		}
	}
	return nil
}

// run brings both tiers to the wanted images. New instances boot side by side; then first the database moves, then the
// traffic.
func (r *rollout) run(ctx context.Context) error {
	if r.d.Snapshot != "" {
		if err := r.timed("make the volume of a snapshot", func() error { return r.restoreVolume(ctx) }); err != nil {
			return err
		}
	}
	db, web := r.changes["db"], r.changes["web"]
	if !db.replace && !web.replace {
		return r.keepBoth(ctx)
	}
	tiers, tctx := errgroup.WithContext(ctx)
	var report instance.Report
	tiers.Go(func() error { return r.bringDatabase(tctx, db) })
	tiers.Go(func() (err error) { report, err = r.bringWeb(tctx, web); return err })
	if err := tiers.Wait(); err != nil {
		return err
	}
	if db.replace && db.old.ID != "" {
		if err := r.withoutReplacing(ctx, func() error { return r.moveDatabase(ctx, db.old) }); err != nil {
			return err
		}
	}
	if err := r.moveTraffic(ctx, web, report); err != nil {
		return err
	}
	if db.old.ID != "" || web.old.ID != "" {
		return r.watch(ctx)
	}
	return nil
}

// keepBoth has instances that stay run, and ready.
func (r *rollout) keepBoth(ctx context.Context) error {
	tiers, tctx := errgroup.WithContext(ctx)
	var report instance.Report
	tiers.Go(func() error { _, err := r.start(tctx, r.old["db"]); return err })
	web := r.changes["web"]
	tiers.Go(func() (err error) { report, err = r.bringWeb(tctx, web); return err })
	if err := tiers.Wait(); err != nil {
		return err
	}
	r.result.Database = r.latest(ctx, r.old["db"].ID)
	return r.moveTraffic(ctx, web, report)
}

// latest is an instance as it is now; what it was launched as is certain, so a failure to look is told later.
func (r *rollout) latest(ctx context.Context, id string) Instance {
	var found Instance
	err := await.Until(ctx, await.Settle, func(ctx context.Context) (_ bool, err error) {
		found, err = r.describe(ctx, id)
		return err == nil, err
	})
	if err != nil {
		return Instance{ID: id}
	}
	return found
}

// start has an instance that stays run, and ready. Of one that was stopped the console may still show the report of its
// last boot: another is waited for.
func (r *rollout) start(ctx context.Context, kept Instance) (instance.Report, error) {
	var last instance.Report
	if kept.State != "running" && kept.State != "pending" {
		console, err := r.console(ctx, kept.ID)
		if err != nil {
			return instance.Report{}, err
		}
		last, _ = instance.FindReport(console)
		r.say("starting %s %s", kept.Tier, kept.ID)
		if _, err := r.ec2.StartInstances(ctx, &ec2.StartInstancesInput{InstanceIds: []string{kept.ID}}); err != nil {
			return instance.Report{}, fmt.Errorf("start %s: %w", kept.ID, err)
		}
	} else {
		r.say("%s %s runs %s already", kept.Tier, kept.ID, kept.Image)
	}
	var report instance.Report
	err := r.timed(kept.Tier+" ready", func() (err error) { report, err = r.waitReady(ctx, kept.ID, last.Time); return err })
	return report, err
}

// launchTier launches an instance as a candidate.
func (r *rollout) launchTier(ctx context.Context, c change) (Instance, error) {
	var launched Instance
	err := r.timed("launch "+c.tier, func() (err error) {
		l, digest := c.launch, c.settings
		tags := append(r.moreTags(c.tier), tierTag, c.tier, deployTag, r.result.ID)
		own := append(slices.Clone(tags), roleTag, candidate, settingsTag, digest)
		if c.tier == "db" {
			own = append(own, addressTag, l.service, volumeTag, l.volume)
		}
		l.key = r.keyName()
		l.tags = append(r.tagged(types.ResourceTypeInstance, r.name+"-"+c.tier, own...), r.tagged(types.ResourceTypeVolume, r.name+"-"+c.tier, tags...)...)
		launched, err = r.launch(ctx, r.network, l)
		return err
	})
	if err != nil {
		return Instance{}, err
	}
	r.mu.Lock()
	r.launched = append(r.launched, launched)
	r.mu.Unlock()
	r.say("launched %s %s of %s", c.tier, launched.ID, c.image)
	return launched, nil
}

// finish ends the old instances, and keeps no more snapshots than wanted.
func (r *rollout) finish(ctx context.Context) error {
	if len(r.launched) == 0 {
		return nil
	}
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.takeBackTime())
	defer cancel()
	if r.old["web"].ID != "" && r.old["web"].ID != r.result.Web.ID {
		if err := r.timed("drain", func() error { return sleep(ctx, r.file.Deploy.DrainTime) }); err != nil {
			r.say("the old web instance is not drained: %v", err)
		}
	}
	return r.timed("end the old ones", func() error {
		return errors.Join(r.settle(whole, false), r.pruneSnapshots(whole, int(r.file.Deploy.KeepSnapshots)))
	})
}

// commit makes the new instances the ones that serve. They are tagged all at once, before the old ones: from the first of
// the two calls on there is no way back by itself.
func (r *rollout) commit(ctx context.Context) error {
	var fresh, ended []string
	for _, i := range r.launched {
		fresh = append(fresh, i.ID)
		if old := r.old[i.Tier]; old.ID != "" {
			ended = append(ended, old.ID)
		}
	}
	before := ""
	if r.group != nil {
		before = r.group.serving
	}
	if err := r.commitGroup(ctx, before, r.version); err != nil {
		return err
	}
	if err := r.setRole(ctx, serving, fresh...); err != nil {
		return errors.Join(err, r.commitGroup(ctx, r.version, before))
	}
	if err := r.setRole(ctx, retired, ended...); err != nil {
		r.say("%v; the younger of two that serve counts", err)
	}
	return nil
}

func (s *Stack) setRole(ctx context.Context, role string, ids ...string) error {
	if len(ids) == 0 {
		return nil
	}
	_, err := s.ec2.CreateTags(ctx, &ec2.CreateTagsInput{Resources: ids, Tags: []types.Tag{{Key: aws.String(roleTag), Value: aws.String(role)}}})
	if err != nil {
		return fmt.Errorf("tag %s as %s: %w", strings.Join(ids, ", "), role, err)
	}
	return nil
}
