package targets

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/records"
)

// Checker asks the targets of load balancers for their health.
type Checker struct {
	records   *records.Store
	machinery Dialer
	pace      Pace

	mu      sync.Mutex
	health  map[string]*health // by target group and instance
	drained map[string]bool    // instances that get no new connections any more
}

// Dialer reaches instances.
type Dialer interface {
	// Dial connects to a private address in a VPC.
	Dial(ctx context.Context, vpc string, private netip.AddrPort) (net.Conn, error)
}

// Pace says how long a load balancer takes with a target before it may find it healthy.
type Pace interface {
	TargetTakes(target string) time.Duration
}

// New makes a checker that has asked nobody yet.
func New(records *records.Store, machinery Dialer, pace Pace) *Checker {
	return &Checker{
		records:   records,
		machinery: machinery,
		pace:      pace,
		health:    map[string]*health{},
		drained:   map[string]bool{},
	}
}

// health counts a target's last answers.
type health struct {
	healthy   bool
	good, bad int // in a row
	reason    string
	since     time.Time // that it may be healthy
}

// target is an instance of a target group.
type target struct {
	Group, Instance string // group is the target group's ARN
	Record          records.TargetGroup
}

func (t target) key() string { return t.Group + " " + t.Instance }

// Targets are the instances of the groups that have target groups, draining ones too.
func (c *Checker) Targets() []target {
	var all []target
	c.records.View(func(o *records.State) {
		for id, instance := range o.Instances {
			group := o.Groups[instance.Group]
			if group == nil || instance.State != "running" && instance.State != "pending" {
				continue
			}
			for _, arn := range group.TargetGroups {
				if record := o.TargetGroups[arn]; record != nil {
					all = append(all, target{arn, id, *record})
				}
			}
		}
	})
	slices.SortFunc(all, func(a, b target) int { return strings.Compare(a.key(), b.key()) })
	return all
}

// IsDraining tells whether an instance gets no new connections.
func (c *Checker) IsDraining(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.drained[id]
}

// Drain has instances get no new connections once the network is applied, until undrain.
func (c *Checker) Drain(ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.drained[id] = true
	}
}

// Undrain ends what Drain began.
func (c *Checker) Undrain(ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		delete(c.drained, id)
	}
}

// Check asks each target once, and returns whether one is healthy now that was not, or the other way round.
func (c *Checker) Check(ctx context.Context) (changed bool) {
	targets := c.Targets()
	results := make([]chan error, len(targets))
	asked := map[string]chan error{} // two target groups may ask for the same
	for i, t := range targets {
		question := fmt.Sprintf("%s %d %s %s", t.Instance, t.Record.HealthPort, t.Record.Protocol, t.Record.Path)
		if asked[question] == nil {
			asked[question] = make(chan error, len(targets))
			go func(answers chan error) {
				err := c.ask(ctx, t)
				for range len(targets) {
					answers <- err
				}
			}(asked[question])
		}
		results[i] = asked[question]
	}
	now := map[string]bool{}
	for i, t := range targets {
		err := <-results[i]
		now[t.key()] = true
		c.mu.Lock()
		h := c.health[t.key()]
		if h == nil {
			h = &health{since: time.Now().Add(c.pace.TargetTakes(t.key()))}
			c.health[t.key()] = h
		}
		before := h.healthy
		if err == nil {
			h.good, h.bad, h.reason = h.good+1, 0, ""
			h.healthy = h.healthy || h.good >= t.Record.Healthy && !time.Now().Before(h.since)
		} else {
			h.good, h.bad, h.reason = 0, h.bad+1, err.Error()
			h.healthy = h.healthy && h.bad < t.Record.Unhealthy
		}
		changed = changed || before != h.healthy
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.health, func(key string, h *health) bool {
		changed = changed || h.healthy && !now[key]
		return !now[key]
	})
	return changed
}

// ask looks once whether a target is well.
func (c *Checker) ask(ctx context.Context, t target) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	at, ok := c.records.Home(t.Instance)
	if !ok {
		return fmt.Errorf("instance %s has no interface yet", t.Instance)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return c.machinery.Dial(ctx, at.VPC, netip.AddrPortFrom(at.Private, uint16(t.Record.HealthPort)))
	}
	scheme := strings.ToLower(t.Record.Protocol)
	if scheme != "http" && scheme != "https" {
		conn, err := dial(ctx, "", "")
		if err == nil {
			conn.Close()
		}
		return err
	}
	client := &http.Client{
		Transport: &http.Transport{
			DialContext:       dial,
			DisableKeepAlives: true,
			// AWS's load balancers take any certificate of their targets; nothing but the question for health is sent.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+at.Private.String()+t.Record.Path, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return fmt.Errorf("health checks failed with these codes: [%d]", response.StatusCode)
	}
	return nil
}

// Healthy are the targets that get connections.
func (c *Checker) Healthy() []target {
	all := c.Targets()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(all, func(t target) bool {
		known := c.health[t.key()]
		return known == nil || !known.healthy || c.drained[t.Instance]
	})
}

// HealthOf is a target's health as ELB describes it: the state, a code for why, and a text.
func (c *Checker) HealthOf(t target) (state, reason, description string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.health[t.key()]
	switch {
	case c.drained[t.Instance]:
		return "draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"
	case known != nil && time.Now().Before(known.since):
		return "initial", "Elb.RegistrationInProgress", "Target registration is in progress"
	case known != nil && known.healthy:
		return "healthy", "", ""
	case known != nil && known.bad >= t.Record.Unhealthy:
		return "unhealthy", "Target.FailedHealthChecks", known.reason
	}
	return "initial", "Elb.InitialHealthChecking", "Initial health checks in progress"
}

// Settling tells whether a load balancer takes its time with an instance, whatever its health is.
func (c *Checker) Settling(id string) bool {
	all := c.Targets()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(all, func(t target) bool {
		known := c.health[t.key()]
		return t.Instance == id && known != nil && time.Now().Before(known.since)
	})
}

// IsHealthy tells whether all load balancers find an instance well.
func (c *Checker) IsHealthy(id string) bool {
	for _, t := range c.Targets() {
		if t.Instance != id {
			continue
		}
		c.mu.Lock()
		known := c.health[t.key()]
		well := known != nil && known.healthy
		c.mu.Unlock()
		if !well {
			return false
		}
	}
	return true
}
