package stack

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// Deployment is what to run.
type Deployment struct {
	// Images by tier. Where one is empty it is that of the current release or, in a stack that never had one, the youngest.
	DatabaseImage, WebImage string
	// Replace are tiers whose instance is replaced though its image is the wanted one.
	Replace      []string
	InstanceType string
	// Timeout is how long instances may take until they are ready.
	Timeout time.Duration
	// Step is told how long each step took; it may be called from several goroutines.
	Step func(name string, took time.Duration)
}

// Deployed is what runs then.
type Deployed struct {
	Database Instance `json:"db"`
	Web      Instance `json:"web"`
	URL      string   `json:"url"`
	// Fingerprint is the SHA-256 of the certificate that the web instance shows.
	Fingerprint string `json:"certificate_sha256"`
	// Snapshot holds the data of a database that was replaced.
	Snapshot string `json:"snapshot,omitempty"`
}

// Deploy makes the stack run two images: one instance of each, in its subnet. A new web instance is ready before the
// old one ends; if it never is, the old one stays. A database is replaced by way of a snapshot of the old one's disk.
func (s *Stack) Deploy(ctx context.Context, d Deployment) (Deployed, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	r := &rollout{Stack: s, d: d}
	if err := r.prepare(ctx); err != nil {
		return Deployed{}, err
	}
	err := r.run(ctx)
	if err != nil {
		// What this run launched and is not good goes; nothing else is touched.
		soon, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute)
		defer cancel()
		return Deployed{}, errors.Join(err, r.takeBack(soon))
	}
	return r.result, nil
}

// rollout is one deployment under way.
type rollout struct {
	*Stack
	d       Deployment
	network Network
	fresh   bool // an instance profile was made just now
	old     map[string][]Instance
	result  Deployed

	mu       sync.Mutex
	launched []string
}

// timed runs a step and tells how long it took.
func (r *rollout) timed(name string, step func() error) error {
	started := time.Now()
	if err := step(); err != nil {
		return err
	}
	r.d.Step(name, time.Since(started))
	return nil
}

func (r *rollout) prepare(ctx context.Context) error {
	return r.timed("images, parameters, roles", func() error {
		var err error
		if r.network, err = r.FindNetwork(ctx); err != nil {
			return err
		}
		if !r.network.complete() {
			return fmt.Errorf("deploy stack %s: its network is missing or incomplete\nhint: goldsmith network up --stack %s", r.name, r.name)
		}
		release, _, err := r.CurrentRelease(ctx)
		if err != nil {
			return err
		}
		for tier, image := range map[string]*string{"db": &r.d.DatabaseImage, "web": &r.d.WebImage} {
			if *image == "" {
				*image = release.image(tier)
			}
			if err := r.findImage(ctx, tier, image); err != nil {
				return err
			}
		}
		all, err := r.Instances(ctx)
		if err != nil {
			return err
		}
		r.old = map[string][]Instance{}
		for _, i := range all {
			r.old[i.Tier] = append(r.old[i.Tier], i)
		}
		if err := r.ensureKey(ctx); err != nil {
			return err
		}
		if err := r.ensureParameters(ctx); err != nil {
			return err
		}
		r.fresh, err = r.ensureRoles(ctx)
		return err
	})
}

// findImage checks the image that was asked for, or finds the stack's youngest.
func (r *rollout) findImage(ctx context.Context, tier string, image *string) error {
	input := &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: r.mine("tag:"+tierTag, tier, "state", "available")}
	if *image != "" {
		input = &ec2.DescribeImagesInput{ImageIds: []string{*image}}
	}
	out, err := r.ec2.DescribeImages(ctx, input)
	if err != nil {
		return fmt.Errorf("find the %s image %s: %w", tier, *image, err)
	}
	var youngest types.Image
	for _, found := range out.Images {
		if aws.ToString(found.CreationDate) >= aws.ToString(youngest.CreationDate) {
			youngest = found
		}
	}
	if youngest.ImageId == nil {
		return fmt.Errorf("find the %s image of stack %s: there is none\nhint: packer build -var stack=%s .", tier, r.name, r.name)
	}
	*image = *youngest.ImageId
	return nil
}

// run brings both tiers up side by side: the application waits for its database, whichever is faster.
func (r *rollout) run(ctx context.Context) error {
	tiers, tctx := errgroup.WithContext(ctx)
	tiers.Go(func() error { return r.database(tctx) })
	var report instance.Report
	tiers.Go(func() (err error) { report, err = r.web(tctx); return err })
	if err := tiers.Wait(); err != nil {
		return err
	}
	if err := r.timed("https from outside", func() error { return r.outside(ctx, report) }); err != nil {
		return err
	}
	var ended []string
	for _, old := range r.old["web"] {
		if old.ID != r.result.Web.ID {
			ended = append(ended, old.ID)
		}
	}
	return r.terminate(ctx, ended...)
}

// keeps is the instance that can stay: one of the wanted image that nobody wants replaced.
func (r *rollout) keeps(tier, image string) (Instance, bool) {
	for _, wanted := range r.d.Replace {
		if wanted == tier || wanted == "all" {
			return Instance{}, false
		}
	}
	for _, i := range r.old[tier] {
		if i.Image == image {
			return i, true
		}
	}
	return Instance{}, false
}

func (r *rollout) database(ctx context.Context) error {
	kept, ok := r.keeps("db", r.d.DatabaseImage)
	if ok {
		_, err := r.start(ctx, kept)
		r.result.Database = r.latest(ctx, kept.ID)
		return err
	}
	for _, old := range r.old["db"] {
		err := r.timed("snapshot of the old db", func() error {
			snapshot, err := r.keepData(ctx, old)
			r.result.Snapshot = snapshot
			return err
		})
		if err != nil {
			return err
		}
		r.say("the data of %s is in %s; the new database starts from its image's seed", old.ID, r.result.Snapshot)
		// The address is the old one's until it is gone.
		if err := r.terminate(ctx, old.ID); err != nil {
			return err
		}
	}
	id, _, err := r.bringUp(ctx, "db", r.d.DatabaseImage)
	if err != nil {
		return err
	}
	r.result.Database = r.latest(ctx, id)
	return nil
}

func (r *rollout) web(ctx context.Context) (instance.Report, error) {
	if kept, ok := r.keeps("web", r.d.WebImage); ok {
		report, err := r.start(ctx, kept)
		r.result.Web = r.latest(ctx, kept.ID)
		return report, err
	}
	id, report, err := r.bringUp(ctx, "web", r.d.WebImage)
	if err != nil {
		return report, err
	}
	r.result.Web = r.latest(ctx, id)
	return report, nil
}

// latest is an instance as it is now; what it was launched as is certain, so a failure to look is told later.
func (r *rollout) latest(ctx context.Context, id string) Instance {
	found, err := r.describe(ctx, id)
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

// bringUp launches an instance and waits until it is ready.
func (r *rollout) bringUp(ctx context.Context, tier, image string) (string, instance.Report, error) {
	var id string
	err := r.timed("launch "+tier, func() error {
		l := launch{tier: tier, image: image, instanceType: r.d.InstanceType, database: databaseAddress, key: r.keyName(), patient: r.fresh,
			tags: append(r.tagged(types.ResourceTypeInstance, r.name+"-"+tier, tierTag, tier), r.tagged(types.ResourceTypeVolume, r.name+"-"+tier, tierTag, tier)...)}
		if tier == "db" {
			l.address = databaseAddress
		}
		launched, err := r.launch(ctx, r.network, l)
		id = launched.ID
		return err
	})
	if err != nil {
		return "", instance.Report{}, err
	}
	r.mu.Lock()
	r.launched = append(r.launched, id)
	r.mu.Unlock()
	r.say("launched %s %s of %s", tier, id, image)
	var report instance.Report
	err = r.timed(tier+" ready", func() (err error) { report, err = r.waitReady(ctx, id, time.Time{}); return err })
	return id, report, err
}

// takeBack ends what this run launched.
func (r *rollout) takeBack(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.launched) > 0 {
		r.say("taking back %s", strings.Join(r.launched, ", "))
	}
	return r.terminate(ctx, r.launched...)
}

// outside asks the web instance by its public address. Its certificate must be the one of its report.
func (r *rollout) outside(ctx context.Context, report instance.Report) error {
	for _, check := range report.Checks {
		if check.Name == "certificate" {
			r.result.Fingerprint = strings.TrimPrefix(check.Detail, "sha256:")
		}
	}
	if r.result.Fingerprint == "" || r.result.Web.Public == "" {
		return fmt.Errorf("ask %s from outside: it has no public address, or its report no certificate", r.result.Web.ID)
	}
	r.result.URL = "https://" + r.result.Web.Public + "/"
	var last error
	for range 20 {
		if last = getHealth(ctx, r.result.URL+"health", r.result.Fingerprint); last == nil {
			return nil
		}
		if err := sleep(ctx, 500*time.Millisecond); err != nil {
			break
		}
	}
	return fmt.Errorf("ask %s from outside: %w", r.result.Web.ID, last)
}

func getHealth(ctx context.Context, url, fingerprint string) error {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		// The instance made the certificate itself: instead of a chain, its digest is verified, which came by way of the API.
		InsecureSkipVerify: true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if sum := sha256.Sum256(raw[0]); hex.EncodeToString(sum[:]) != fingerprint {
				return errors.New("the certificate is not the one that the instance reported")
			}
			return nil
		}}}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 500))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", url, response.Status, strings.TrimSpace(string(body)))
	}
	return err
}
