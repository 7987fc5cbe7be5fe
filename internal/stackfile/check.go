package stackfile

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	stackName    = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	regionName   = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+$`)
	profileName  = regexp.MustCompile(`^[^\pC]+$`)
	instanceType = regexp.MustCompile(`^[a-z0-9-]+\.[a-z0-9-]+$`)
	releaseName  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	policyARN    = regexp.MustCompile(`^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[\x21-\x7e]{1,640}$`)
	healthPath   = regexp.MustCompile(`^/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*$`)
)

// checkFile checks a decoded file, and sets the defaults that depend on other values.
func (r *reader) checkFile(f *File, b *block) {
	r.matches(b, "name", f.Name, stackName, "1 to 32 lower-case letters, digits and dashes")
	r.matches(b, "region", f.Region, regionName, "a region such as eu-central-1")
	r.matches(b, "profile", f.Profile, profileName, "the name of a profile")
	r.matches(b, "permissions_boundary", f.PermissionsBoundary, policyARN,
		"the ARN of a policy such as arn:aws:iam::123456789012:policy/goldsmith-boundary")
	if f.CustomEndpointEC2 == "" && b.given("custom_endpoint_ec2") {
		r.fault(b, "custom_endpoint_ec2", `"" should be a URL such as http://127.66.0.1:4566`)
	}
	for _, err := range f.AWS().Validate() {
		r.fault(b, "custom_endpoint_ec2", "%s", strings.TrimPrefix(err.Error(), "custom_endpoint_ec2: "))
	}
	network, db, web := b.child("network"), b.child(`tier "db"`), b.child(`tier "web"`)
	r.checkNetwork(f, network)
	r.checkTier(f, "db", &f.Database.Tier, db)
	r.checkTier(f, "web", &f.Web.Tier, web)
	r.checkServiceAddress(f, db, network)
	r.checkVolume(&f.Database.DataVolume, db.child("data_volume"))
	r.checkCount(f, web, network)
	completeGroup(f, b.child("health_check"), b.child("deploy"))
	r.checkHealth(&f.HealthCheck, b.child("health_check"))
	r.checkDeploy(f, b.child("deploy"))
}

const (
	// groupDeadline is how long the instances of a group may take, where the file does not say. Until a load balancer
	// finds the first targets healthy "can take a few minutes", twice: for their registration, and for the checks.
	// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html
	groupDeadline = 10 * time.Minute
	// memberTime is the time that an instance refresh takes for each instance: launch, boot, registration, the load
	// balancer's checks, and the end of the one before.
	memberTime = 6 * time.Minute
	// longest is the longest duration that the file may have.
	longest = 24 * time.Hour
)

// completeGroup gives a group the times that AWS takes for one, where the file does not say others.
func completeGroup(f *File, health, deploy *block) {
	if f.Web.Scaling != "asg" {
		return
	}
	if !health.given("deadline") {
		f.HealthCheck.Deadline = groupDeadline
	}
	d := &f.Deploy
	if deploy.given("timeout") {
		return
	}
	pause := d.CheckpointDelay
	if !deploy.given("checkpoint_delay") {
		pause = d.BakeTime
	}
	pauses := time.Duration(len(d.Checkpoints))*pause + d.BakeTime
	d.Timeout = min(d.Timeout+time.Duration(f.Web.Count)*memberTime+pauses, longest)
}

func (r *reader) checkHealth(h *HealthCheck, b *block) {
	r.matches(b, "path", h.Path, healthPath, "a path such as /health")
	within(r, b, "interval", h.Interval, 100*time.Millisecond, 5*time.Minute)
	within(r, b, "timeout", h.Timeout, 100*time.Millisecond, 5*time.Minute)
	within(r, b, "healthy_threshold", h.HealthyThreshold, 1, 100)
	within(r, b, "deadline", h.Deadline, time.Second, longest)
	if least := time.Duration(
		h.HealthyThreshold-1,
	) * h.Interval; b.good("interval", "healthy_threshold", "deadline") &&
		h.Deadline < least {
		r.fault(b, "deadline", "%v is too short for %d checks in a row, one every %v; it should be %v or more",
			h.Deadline, h.HealthyThreshold, h.Interval, least)
	}
}

func (r *reader) checkDeploy(f *File, b *block) {
	d := &f.Deploy
	within(r, b, "bake_time", d.BakeTime, 0, longest)
	within(r, b, "drain_time", d.DrainTime, 0, time.Hour)
	if d.KeepSnapshots < 1 {
		r.fault(b, "keep_snapshots", "%d should be 1 or more: without a snapshot there is no way back", d.KeepSnapshots)
	}
	within(r, b, "timeout", d.Timeout, time.Second, longest)
	if least := d.BakeTime + d.DrainTime; b.good("bake_time", "drain_time", "timeout") && d.Timeout <= least {
		r.fault(b, "timeout", "%v should be longer than bake_time and drain_time together, which are %v", d.Timeout,
			least)
	}
	if f.Web.Scaling == "single" {
		for _, name := range []string{"min_healthy_percentage", "checkpoints", "checkpoint_delay", "auto_rollback"} {
			if b.given(name) {
				r.fault(b, name, `it goes with scaling = "asg" in tier "web", where it is "single"`)
			}
		}
	}
	within(r, b, "min_healthy_percentage", d.MinHealthyPercentage, 0, 100)
	last := int32(0)
	for i, percentage := range d.Checkpoints {
		name := fmt.Sprintf("checkpoints[%d]", i)
		within(r, b, name, percentage, 1, 100)
		if percentage <= last {
			r.fault(b, name, "%d should be more than the %d before it", percentage, last)
		}
		last = percentage
	}
	r.checkDelay(d, b)
}

func (r *reader) checkDelay(d *Deploy, b *block) {
	if !b.given("checkpoint_delay") {
		d.CheckpointDelay = d.BakeTime.Round(time.Second)
		return
	}
	within(r, b, "checkpoint_delay", d.CheckpointDelay, 0, 48*time.Hour)
	if d.CheckpointDelay%time.Second != 0 {
		r.fault(b, "checkpoint_delay", "%v should be whole seconds", d.CheckpointDelay)
	}
	if !b.given("checkpoints") {
		r.fault(b, "checkpoint_delay", "it goes with checkpoints, which are missing")
	}
}

// matches holds a text to a pattern, if it is given.
func (r *reader) matches(b *block, name, value string, pattern *regexp.Regexp, wanted string) {
	if b.given(name) && !pattern.MatchString(value) {
		r.fault(b, name, "%q should be %s", value, wanted)
	}
}

func (r *reader) oneOf(b *block, name, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		r.fault(b, name, "%q should be one of %s", value, strings.Join(choices, ", "))
	}
}

// within holds a number or a duration to its range.
func within[T cmp.Ordered](r *reader, b *block, name string, value, least, most T) {
	if value < least || value > most {
		r.fault(b, name, "%v should be within %v and %v", value, least, most)
	}
}
