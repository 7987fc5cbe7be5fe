package api

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
	"time"
)

// health is how a target answered lately.
type health struct {
	healthy   bool
	good, bad int // in a row
	reason    string
}

// target is an instance of a target group.
type target struct {
	group, instance string // group is the target group's ARN
	record          targetGroupRecord
}

func (t target) key() string { return t.group + " " + t.instance }

// targets are the instances of the groups that have target groups, draining ones too.
func (s *Server) targets() []target {
	var all []target
	s.view(func(o *overlay) {
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

func (s *Server) isDraining(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drained[id]
}

// drain has instances get no new connections once the network is applied, until undrain.
func (s *Server) drain(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.drained[id] = true
	}
}

func (s *Server) undrain(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.drained, id)
	}
}

// checkTargets asks each target once, and returns whether one is healthy now that was not, or the other way round.
func (s *Server) checkTargets(ctx context.Context) (changed bool) {
	targets := s.targets()
	results := make([]chan error, len(targets))
	asked := map[string]chan error{} // two target groups may ask for the same
	for i, t := range targets {
		question := fmt.Sprintf("%s %d %s %s", t.instance, t.record.HealthPort, t.record.Protocol, t.record.Path)
		if asked[question] == nil {
			asked[question] = make(chan error, len(targets))
			go func(answers chan error) {
				err := s.askTarget(ctx, t)
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
		s.mu.Lock()
		h := s.health[t.key()]
		if h == nil {
			h = &health{}
			s.health[t.key()] = h
		}
		before := h.healthy
		if err == nil {
			h.good, h.bad, h.reason = h.good+1, 0, ""
			h.healthy = h.healthy || h.good >= t.record.Healthy
		} else {
			h.good, h.bad, h.reason = 0, h.bad+1, err.Error()
			h.healthy = h.healthy && h.bad < t.record.Unhealthy
		}
		changed = changed || before != h.healthy
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.health, func(key string, h *health) bool {
		changed = changed || h.healthy && !now[key]
		return !now[key]
	})
	return changed
}

// askTarget looks once whether a target is well.
func (s *Server) askTarget(ctx context.Context, t target) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	at, ok := s.home(t.instance)
	if !ok {
		return fmt.Errorf("instance %s has no interface yet", t.instance)
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return s.machinery.Dial(ctx, at.vpc, netip.AddrPortFrom(at.private, uint16(t.record.HealthPort)))
	}
	scheme := strings.ToLower(t.record.Protocol)
	if scheme != "http" && scheme != "https" {
		conn, err := dial(ctx, "", "")
		if err == nil {
			conn.Close()
		}
		return err
	}
	// AWS's load balancers take any certificate of their targets; nothing but the question for health is sent.
	client := &http.Client{
		Transport:     &http.Transport{DialContext: dial, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+at.private.String()+t.record.Path, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
	if response.StatusCode < 200 || response.StatusCode > 399 {
		return fmt.Errorf("health checks failed with these codes: [%d]", response.StatusCode)
	}
	return nil
}

// healthy are the targets that get connections.
func (s *Server) healthy() []target {
	all := s.targets()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(all, func(t target) bool {
		known := s.health[t.key()]
		return known == nil || !known.healthy || s.drained[t.instance]
	})
}

// healthOf is a target's health as ELB describes it: the state, a code for why, and a text.
func (s *Server) healthOf(t target) (state, reason, description string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.health[t.key()]
	switch {
	case s.drained[t.instance]:
		return "draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"
	case known != nil && known.healthy:
		return "healthy", "", ""
	case known != nil && known.bad >= t.record.Unhealthy:
		return "unhealthy", "Target.FailedHealthChecks", known.reason
	}
	return "initial", "Elb.InitialHealthChecking", "Initial health checks in progress"
}

// isHealthy tells whether all load balancers find an instance well.
func (s *Server) isHealthy(id string) bool {
	for _, t := range s.targets() {
		if t.instance != id {
			continue
		}
		s.mu.Lock()
		known := s.health[t.key()]
		well := known != nil && known.healthy
		s.mu.Unlock()
		if !well {
			return false
		}
	}
	return true
}
