package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// Status is a stack at this moment.
type Status struct {
	Stack  string `json:"stack"`
	Region string `json:"region"`
	// Release is the current one, which deploy would take.
	Release string `json:"release,omitempty"`
	// URL is the page's, at the address that moves from one instance to the next.
	URL string `json:"url,omitempty"`
	// DatabaseAddress is where the web tier finds the database.
	DatabaseAddress string           `json:"db_address,omitempty"`
	Instances       []InstanceStatus `json:"instances"`
	// Deploying is the deployment that is under way.
	Deploying *Deploying `json:"deploying,omitempty"`
	// Silent are the ids of deployments that ended without a word, and whose rest the next one puts right.
	Silent []string `json:"ended_without_a_word,omitempty"`
}

// Deploying is who changes the stack at the moment.
type Deploying struct {
	ID    string    `json:"id"`
	Who   string    `json:"who"` // user@host
	Since time.Time `json:"since"`
}

// InstanceStatus is one instance.
type InstanceStatus struct {
	Instance
	// Release is the one that its image is of.
	Release string `json:"release,omitempty"`
	// Health is good, bad or unknown; Reason is why, unless it is good.
	Health string `json:"health"`
	Reason string `json:"reason,omitempty"`
}

// Kinds of health.
const (
	Good    = "good"
	Bad     = "bad"
	Unknown = "unknown"
)

// statusLimit is how long one instance may take to answer.
const statusLimit = 5 * time.Second

// Status asks EC2 for the stack's instances, and each web instance how it is.
func (s *Stack) Status(ctx context.Context) (Status, error) {
	status := Status{Stack: s.name, Region: s.conf.Region, Instances: []InstanceStatus{}}
	release, _, err := s.CurrentRelease(ctx)
	if err != nil {
		return status, err
	}
	status.Release = release.Name
	page, err := s.webAddress(ctx)
	if err != nil {
		return status, err
	}
	if page != nil && page.PublicIp != nil {
		status.URL = "https://" + *page.PublicIp + "/"
	}
	now, locked, err := s.holder(ctx)
	if err != nil {
		return status, err
	}
	if _, host := whoami(); locked && !now.dead(host) {
		status.Deploying = &Deploying{ID: now.ID, Who: now.Who + "@" + now.Host, Since: now.Since}
	}
	records, err := s.Told(ctx)
	if err != nil {
		return status, err
	}
	for _, r := range records {
		if r.Result == Silent {
			status.Silent = append(status.Silent, r.ID)
		}
	}
	all, err := s.Instances(ctx)
	if err != nil {
		return status, err
	}
	status.DatabaseAddress = servingOf(all, "db").service
	releases, err := s.releasesOf(ctx, all)
	if err != nil {
		return status, err
	}
	for _, i := range all {
		status.Instances = append(status.Instances, InstanceStatus{Instance: i, Release: releases[i.Image]})
	}
	s.askAll(ctx, status.Instances)
	return status, nil
}

// releasesOf are the releases of the images that instances run.
func (s *Stack) releasesOf(ctx context.Context, all []Instance) (map[string]string, error) {
	releases := map[string]string{}
	var ids []string
	for _, i := range all {
		ids = append(ids, i.Image)
	}
	if len(ids) == 0 {
		return releases, nil
	}
	// By a filter: of ids in the request itself, one that is gone would fail the whole.
	out, err := s.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{Filters: []types.Filter{{Name: aws.String("image-id"), Values: ids}}})
	if err != nil {
		return nil, fmt.Errorf("find the releases of %s: %w", strings.Join(ids, ", "), err)
	}
	for _, image := range out.Images {
		if image.ImageId != nil {
			releases[*image.ImageId] = tagOf(image.Tags, images.ReleaseTag)
		}
	}
	return releases, nil
}

// askAll finds out the health of instances: first of the web tier's, each from outside, then of the database, which the
// web tier's answers tell of.
func (s *Stack) askAll(ctx context.Context, all []InstanceStatus) {
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() { all[i].Health, all[i].Reason = s.ask(ctx, all[i].Instance) })
	}
	group.Wait()
	var web []InstanceStatus
	for _, i := range all {
		if i.Tier == "web" && i.Role == serving {
			web = append(web, i)
		}
	}
	for i := range all {
		if all[i].Tier == "db" && all[i].Role == serving && all[i].Health == Good {
			all[i].Health, all[i].Reason = seenBy(web)
		}
	}
}

// seenBy is the health of a database that was well when it came up, as web instances see it now.
func seenBy(web []InstanceStatus) (health, reason string) {
	for _, i := range web {
		switch {
		case i.Health == Good:
			return Good, ""
		case i.Health == Bad && strings.Contains(i.Reason, `"database"`):
			return Bad, "as " + i.ID + " sees it: " + i.Reason
		}
	}
	return Unknown, "it was good when it came up; no web instance can tell how it is now"
}

// ask finds out the health of one instance: by its report and, where it has a public address, by its page.
func (s *Stack) ask(ctx context.Context, i Instance) (health, reason string) {
	if i.State != "running" {
		return Bad, "it is " + i.State
	}
	ctx, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	console, err := s.console(ctx, i.ID)
	if err != nil {
		return Unknown, err.Error()
	}
	report, ok := instance.FindReport(console)
	switch {
	case !ok:
		return Unknown, "it has not reported yet" + prefixed("; it waits for: ", instance.FindWaiting(console))
	case !report.Ready:
		return Bad, failures(report)
	case i.Tier == "db":
		return Good, ""
	case i.Public == "":
		return Unknown, "it was good when it came up, and has no public address to ask it by"
	}
	if err := getHealth(ctx, "https://"+i.Public+s.file.HealthCheck.Path, certificateOf(report)); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer in %s", statusLimit)
		}
		return Bad, err.Error()
	}
	return Good, ""
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// certificateOf is the SHA-256 of the certificate that an instance reported.
func certificateOf(report instance.Report) string {
	for _, check := range report.Checks {
		if check.Name == "certificate" {
			return strings.TrimPrefix(check.Detail, "sha256:")
		}
	}
	return ""
}

// Page is where the page is, and the SHA-256 of the certificate that the instance behind it reported.
func (s *Stack) Page(ctx context.Context) (url, fingerprint string, err error) {
	address, err := s.webAddress(ctx)
	if err != nil {
		return "", "", err
	}
	i, err := s.Find(ctx, "web")
	if err != nil {
		return "", "", err
	}
	console, err := s.console(ctx, i.ID)
	if err != nil {
		return "", "", err
	}
	report, _ := instance.FindReport(console)
	host := i.Public
	if address != nil && address.PublicIp != nil {
		host = *address.PublicIp
	}
	return "https://" + host + "/", certificateOf(report), nil
}

// Find is a running instance by its id or its tier: of a tier the one that serves, or else the youngest.
func (s *Stack) Find(ctx context.Context, name string) (Instance, error) {
	all, err := s.Instances(ctx)
	if err != nil {
		return Instance{}, err
	}
	var found Instance
	state := ""
	for _, i := range all {
		if i.ID != name && i.Tier != name {
			continue
		}
		if state = cmp.Or(state, i.State); i.State != "running" {
			continue
		}
		if found.ID == "" || i.Role == serving && found.Role != serving || i.Role == found.Role && i.Since.After(found.Since) {
			found = i
		}
	}
	if found.ID == "" && state != "" {
		return found, fmt.Errorf("find %s in stack %s: it is %s", name, s.name, state)
	}
	if found.ID == "" {
		return found, fmt.Errorf("find %s in stack %s: no instance is of that tier or id\nhint: goldsmith status --stack %s", name, s.name, s.name)
	}
	return found, nil
}
