// Package status tells how a stack is at this moment. It asks EC2 and the instances' own answers, and changes nothing.
package status

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/images"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/launch"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/probe"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/record"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/stack/release"
)

// Status is a stack at this moment.
type Status struct {
	Stack  string
	Region string
	// Release is the current one, which deploy would take.
	Release string
	// URL is that of the service, at the address that moves from one instance to the next.
	URL string
	// Addresses are the service addresses of data tiers, by tier; in JSON each is a member: the tier's name and
	// _address.
	Addresses map[string]string
	Instances []Instance
	// Deploying is the deployment that is under way.
	Deploying *Deploying
	// Silent are the ids of deployments that ended without a word, and whose rest the next one puts right.
	Silent []string
}

// MarshalJSON leaves out what is empty, but for the instances.
func (s Status) MarshalJSON() ([]byte, error) {
	members := map[string]any{"stack": s.Stack, "region": s.Region, "instances": append([]Instance{}, s.Instances...)}
	for _, text := range []struct{ name, value string }{{"release", s.Release}, {"url", s.URL}} {
		if text.value != "" {
			members[text.name] = text.value
		}
	}
	for tier, address := range s.Addresses {
		members[tier+"_address"] = address
	}
	if s.Deploying != nil {
		members["deploying"] = s.Deploying
	}
	if len(s.Silent) > 0 {
		members["ended_without_a_word"] = s.Silent
	}
	return json.Marshal(members)
}

// Deploying is the deployment that is under way, and who runs it.
type Deploying struct {
	ID    string    `json:"id"`
	Who   string    `json:"who"` // user@host
	Since time.Time `json:"since"`
}

// Instance is one of the stack's, and how it is.
type Instance struct {
	stack.Instance
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

// askLimit is how long one instance may take to answer.
const askLimit = 5 * time.Second

// Of asks EC2 for the stack's instances, and each instance of a service tier how it is.
func Of(ctx context.Context, s *stack.Stack) (Status, error) { return of(ctx, s, probe.Get) }

type getter = func(ctx context.Context, q probe.Question, fingerprints ...string) error

func of(ctx context.Context, s *stack.Stack, get getter) (Status, error) {
	now := Status{Stack: s.Name, Region: s.Config.Region, Addresses: map[string]string{}}
	current, _, err := release.Current(ctx, s)
	if err != nil {
		return now, err
	}
	now.Release = current.Name
	if now.URL, err = serviceURL(ctx, s); err != nil {
		return now, err
	}
	if err = addDeployments(ctx, s, &now); err != nil {
		return now, err
	}
	all, err := s.Instances(ctx)
	if err != nil {
		return now, err
	}
	for _, t := range s.Tiers {
		if address := stack.ServingOf(all, t.Name).Detail.Service; t.Kind == stack.DataTier && address != "" {
			now.Addresses[t.Name] = address
		}
	}
	releases, err := s.ImageTags(ctx, images.ReleaseTag, all...)
	if err != nil {
		return now, fmt.Errorf("find the releases of the instances: %w", err)
	}
	for _, i := range all {
		now.Instances = append(now.Instances, Instance{Instance: i, Release: releases[i.Image]})
	}
	askAll(ctx, s, get, now.Instances)
	return now, nil
}

// addDeployments adds the deployment that is under way, and those that ended without a word.
func addDeployments(ctx context.Context, s *stack.Stack, now *Status) error {
	holder, active, err := record.ActiveHolder(ctx, s)
	if err != nil {
		return err
	}
	if active {
		now.Deploying = &Deploying{ID: holder.ID, Who: holder.Who + "@" + holder.Host, Since: holder.Since}
	}
	records, err := record.Told(ctx, s)
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Result == record.Silent {
			now.Silent = append(now.Silent, r.ID)
		}
	}
	return nil
}

// serviceURL is that of the first service tier that has an elastic address; empty where none has.
func serviceURL(ctx context.Context, s *stack.Stack) (string, error) {
	address, err := serviceAddress(ctx, s)
	if err != nil || address == "" {
		return "", err
	}
	return "https://" + address + "/", nil
}

func serviceAddress(ctx context.Context, s *stack.Stack) (string, error) {
	for _, t := range s.Tiers {
		if t.Kind != stack.ServiceTier {
			continue
		}
		found, err := s.ElasticAddress(ctx, t)
		if err != nil {
			return "", err
		}
		if found != nil && found.PublicIp != nil {
			return *found.PublicIp, nil
		}
	}
	return "", nil
}

// askAll finds out the health of instances: first of the service tiers', each from outside, then of the data tiers',
// which the others' answers tell of.
func askAll(ctx context.Context, s *stack.Stack, get getter, all []Instance) {
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() { all[i].Health, all[i].Reason = ask(ctx, s, get, all[i].Instance) })
	}
	group.Wait()
	for i := range all {
		t := s.Tier(all[i].Tier)
		if t.Kind == stack.DataTier && all[i].Role == stack.Serving && all[i].Health == Good {
			all[i].Health, all[i].Reason = seenBy(t, clientsOf(s, t, all))
		}
	}
}

// clientsOf are the instances that serve a tier that needs this one.
func clientsOf(s *stack.Stack, t stack.Tier, all []Instance) []Instance {
	var clients []Instance
	for _, i := range all {
		if i.Role == stack.Serving && slices.Contains(s.Tier(i.Tier).Needs, t.Name) {
			clients = append(clients, i)
		}
	}
	return clients
}

// seenBy is the health of a data tier that was well when it came up, as the instances see it now that need it.
func seenBy(t stack.Tier, clients []Instance) (health, reason string) {
	for _, i := range clients {
		switch {
		case i.Health == Good:
			return Good, ""
		case i.Health == Bad && strings.Contains(i.Reason, `"`+t.Data.ProbeName+`"`):
			return Bad, "as " + i.ID + " sees it: " + i.Reason
		}
	}
	return Unknown, "it was good when it came up; no instance that uses it can tell how it is now"
}

// ask finds out the health of one instance: by its report and, where it has a public address, by its answers to
// the health check and to what its image describes.
func ask(ctx context.Context, s *stack.Stack, get getter, i stack.Instance) (health, reason string) {
	if i.State != "running" {
		return Bad, notRunning(s, i.State)
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	text, err := launch.Console(ctx, s, i.ID)
	if err != nil {
		return Unknown, err.Error()
	}
	t := s.Tier(i.Tier)
	report, ok := instance.FindReport(text)
	switch {
	case !ok:
		return Unknown, "it has not reported yet" + prefixed("; it waits for: ", instance.FindWaiting(text))
	case !report.Ready:
		return Bad, launch.Failures(report)
	case t.Kind == stack.DataTier:
		return Good, ""
	case i.Public == "":
		return Unknown, "it was good when it came up, and has no public address to ask it by"
	}
	questions := append([]probe.Question{probe.Health(t.Service.Probe, i.Public)},
		probe.Described(report.Answers, t.Service.Ports, i.Public)...)
	for _, q := range questions {
		if err := get(ctx, q, launch.CertificateOf(report)); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("no answer in %s", askLimit)
			}
			return Bad, err.Error()
		}
	}
	return Good, ""
}

// notRunning says that an instance is in another state, and what starts it where that can be.
func notRunning(s *stack.Stack, state string) string {
	if state != "stopped" {
		return "it is " + state
	}
	return "it is stopped; goldsmith deploy --stack " + s.Name + " starts it, if it serves"
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// Page returns the URL of the service, and the SHA-256 of the certificate that the instance behind it reported.
func Page(ctx context.Context, s *stack.Stack) (url, fingerprint string, err error) {
	address, err := serviceAddress(ctx, s)
	if err != nil {
		return "", "", err
	}
	name := ""
	for _, t := range s.Tiers {
		if t.Kind == stack.ServiceTier {
			name = cmp.Or(name, t.Name)
		}
	}
	i, err := Find(ctx, s, name)
	if err != nil {
		return "", "", err
	}
	text, err := launch.Console(ctx, s, i.ID)
	if err != nil {
		return "", "", err
	}
	report, _ := instance.FindReport(text)
	return "https://" + cmp.Or(address, i.Public) + "/", launch.CertificateOf(report), nil
}

// Find is a running instance by its id or its tier: of a tier the one that serves, or else the youngest.
func Find(ctx context.Context, s *stack.Stack, name string) (stack.Instance, error) {
	all, err := s.Instances(ctx)
	if err != nil {
		return stack.Instance{}, err
	}
	var found stack.Instance
	state := ""
	for _, i := range all {
		if i.ID != name && i.Tier != name {
			continue
		}
		if state = cmp.Or(state, i.State); i.State != "running" {
			continue
		}
		better := i.Role == stack.Serving && found.Role != stack.Serving
		if found.ID == "" || better || i.Role == found.Role && i.Since.After(found.Since) {
			found = i
		}
	}
	if found.ID == "" && state != "" {
		return found, fmt.Errorf("find %s in stack %s: %s", name, s.Name, notRunning(s, state))
	}
	if found.ID == "" {
		return found, fmt.Errorf("find %s in stack %s: no instance is of that tier or id\nhint: goldsmith status "+
			"--stack %s",
			name, s.Name, s.Name)
	}
	return found, nil
}
