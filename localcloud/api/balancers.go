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
	"strconv"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
)

// Network load balancers pass connections to those instances of Auto Scaling groups that are healthy: each is asked in
// earnest, at the port and the path of its target group. A load balancer is reached at the elastic addresses that it was
// made with, and at no other; its DNS name leads nowhere. Targets that are registered by hand are records.

// balancerRecord is a load balancer.
type balancerRecord struct {
	Name        string         `json:"name"`
	VPC         string         `json:"vpc"`
	Allocations []string       `json:"allocations"` // of elastic addresses
	Listeners   map[int]string `json:"listeners"`   // target groups, by port
	Ports       map[string]int `json:"ports"`       // of listeners, by their ARN
}

// targetGroupRecord is where targets listen, and when they are healthy.
type targetGroupRecord struct {
	Port, HealthPort   int
	Protocol, Path     string // of the health check
	Healthy, Unhealthy int    // answers in a row
	Delay              int    // seconds that a target goes on after it gets no new connections
}

// balancerHandlers answer calls of Elastic Load Balancing; others go to the server behind.
var balancerHandlers = map[string]handler{
	"CreateLoadBalancer":          (*Server).createBalancer,
	"DeleteLoadBalancer":          (*Server).deleteBalancer,
	"CreateTargetGroup":           (*Server).createTargetGroup,
	"ModifyTargetGroupAttributes": (*Server).modifyTargetGroup,
	"DeleteTargetGroup":           (*Server).deleteTargetGroup,
	"CreateListener":              (*Server).createListener,
	"DeleteListener":              (*Server).deleteListener,
	"DescribeTargetHealth":        (*Server).describeTargetHealth,
}

const balancerSpace = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"

func (s *Server) createBalancer(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	record := &balancerRecord{Name: c.Get("Name"), Listeners: map[int]string{}, Ports: map[string]int{}}
	for i := 1; c.Get(fmt.Sprintf("SubnetMappings.member.%d.SubnetId", i)) != ""; i++ {
		allocation := c.Get(fmt.Sprintf("SubnetMappings.member.%d.AllocationId", i))
		if allocation == "" {
			continue
		}
		address, err := s.address(ctx, awsquery.NewCall("ec2", "DescribeAddresses", "AllocationId", allocation))
		if err != nil {
			return nil, awsquery.Fault("AllocationIdNotFound", "The allocation ID %s does not exist", allocation)
		}
		if address.Get("associationId") != "" || s.balancerAt(allocation) != "" {
			return nil, awsquery.Fault("InvalidConfigurationRequest", "The allocation ID %s is in use", allocation)
		}
		record.Allocations = append(record.Allocations, allocation)
	}
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	made, err := answered.One("CreateLoadBalancerResult", "LoadBalancers")
	if err != nil {
		return nil, err
	}
	record.VPC = made.Get("VpcId")
	if err := s.update(func(o *overlay) { o.Balancers[made.Get("LoadBalancerArn")] = record }); err != nil {
		return nil, err
	}
	return answered, s.applyNetwork(ctx)
}

// balancerAt is the name of the load balancer that has an elastic address, or empty.
func (s *Server) balancerAt(allocation string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, balancer := range s.overlay.Balancers {
		if slices.Contains(balancer.Allocations, allocation) {
			return balancer.Name
		}
	}
	return ""
}

// describeAddresses shows addresses of load balancers as associated, with no instance of the caller's.
func (s *Server) describeAddresses(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	described, err := s.ask(ctx, c)
	if err != nil {
		return nil, err
	}
	for _, item := range described.Items("addressesSet") {
		if allocation := item.Get("allocationId"); s.balancerAt(allocation) != "" {
			item.Set("eipassoc-"+strings.TrimPrefix(allocation, "eipalloc-"), "associationId")
			item.Set("amazon-elb", "networkInterfaceOwnerId")
		}
	}
	return described, nil
}

func (s *Server) deleteBalancer(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := s.update(func(o *overlay) { delete(o.Balancers, c.Get("LoadBalancerArn")) }); err != nil {
		return nil, err
	}
	return answered, s.applyNetwork(ctx)
}

func (s *Server) createTargetGroup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	record := &targetGroupRecord{Protocol: c.Get("HealthCheckProtocol"), Path: c.Get("HealthCheckPath"), Healthy: 3, Unhealthy: 3, Delay: 300}
	for parameter, into := range map[string]*int{"Port": &record.Port, "HealthCheckPort": &record.HealthPort, "HealthyThresholdCount": &record.Healthy, "UnhealthyThresholdCount": &record.Unhealthy} {
		if value, err := strconv.Atoi(c.Get(parameter)); err == nil { // traffic-port is the default
			*into = value
		}
	}
	if record.HealthPort == 0 {
		record.HealthPort = record.Port
	}
	made, err := answered.One("CreateTargetGroupResult", "TargetGroups")
	if err != nil {
		return nil, err
	}
	return answered, s.update(func(o *overlay) { o.TargetGroups[made.Get("TargetGroupArn")] = record })
}

func (s *Server) modifyTargetGroup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, s.update(func(o *overlay) {
		record := o.TargetGroups[c.Get("TargetGroupArn")]
		for i := 1; record != nil && c.Get(fmt.Sprintf("Attributes.member.%d.Key", i)) != ""; i++ {
			delay, err := strconv.Atoi(c.Get(fmt.Sprintf("Attributes.member.%d.Value", i)))
			if err == nil && c.Get(fmt.Sprintf("Attributes.member.%d.Key", i)) == "deregistration_delay.timeout_seconds" {
				record.Delay = delay
			}
		}
	})
}

func (s *Server) deleteTargetGroup(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	arn := c.Get("TargetGroupArn")
	s.mu.Lock()
	for _, balancer := range s.overlay.Balancers {
		if slices.Contains(slices.Collect(maps.Values(balancer.Listeners)), arn) {
			s.mu.Unlock()
			return nil, awsquery.Fault("ResourceInUse", "Target group '%s' is currently in use by a listener or a rule", arn)
		}
	}
	s.mu.Unlock()
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	return answered, s.update(func(o *overlay) { delete(o.TargetGroups, arn) })
}

func (s *Server) createListener(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	port, err := strconv.Atoi(c.Get("Port"))
	if err != nil {
		return nil, awsquery.Fault("ValidationError", "Port %q should be a number", c.Get("Port"))
	}
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	made, err := answered.One("CreateListenerResult", "Listeners")
	if err != nil {
		return nil, err
	}
	arn := made.Get("ListenerArn")
	err = s.update(func(o *overlay) {
		if balancer := o.Balancers[c.Get("LoadBalancerArn")]; balancer != nil {
			balancer.Listeners[port], balancer.Ports[arn] = c.Get("DefaultActions.member.1.TargetGroupArn"), port
		}
	})
	if err != nil {
		return nil, err
	}
	return answered, s.applyNetwork(ctx)
}

func (s *Server) deleteListener(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	answered, err := s.forward(ctx, c)
	if err != nil {
		return nil, err
	}
	err = s.update(func(o *overlay) {
		for _, balancer := range o.Balancers {
			if port, ok := balancer.Ports[c.Get("ListenerArn")]; ok {
				delete(balancer.Listeners, port)
				delete(balancer.Ports, c.Get("ListenerArn"))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return answered, s.applyNetwork(ctx)
}

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
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []target
	for id, instance := range s.overlay.Instances {
		group := s.overlay.Groups[instance.Group]
		if group == nil || instance.State != "running" && instance.State != "pending" {
			continue
		}
		for _, arn := range group.TargetGroups {
			if record := s.overlay.TargetGroups[arn]; record != nil {
				all = append(all, target{arn, id, *record})
			}
		}
	}
	slices.SortFunc(all, func(a, b target) int { return strings.Compare(a.key(), b.key()) })
	return all
}

func (s *Server) isDraining(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drained[id]
}

// drain gives an instance no new connections, for as long as its target groups say.
func (s *Server) drain(ctx context.Context, name string, ids []string) error {
	group, err := s.group(name)
	if err != nil {
		return nil
	}
	longest := 0
	s.mu.Lock()
	for _, id := range ids {
		s.drained[id] = true
	}
	for _, arn := range group.TargetGroups {
		if record := s.overlay.TargetGroups[arn]; record != nil {
			longest = max(longest, record.Delay)
		}
	}
	s.mu.Unlock()
	if err := s.applyNetwork(ctx); err != nil {
		return err
	}
	return wait(ctx, time.Duration(longest)*time.Second)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// checkEvery is the time between two looks at targets. It is shorter than any that AWS takes, so that nobody waits here.
const checkEvery = 500 * time.Millisecond

// watchTargets keeps asking all targets, and passes connections to the healthy ones.
func (s *Server) watchTargets(ctx context.Context) {
	for wait(ctx, checkEvery) == nil {
		if s.checkTargets(ctx) {
			if err := s.applyNetwork(ctx); err != nil && ctx.Err() == nil {
				s.config.Log.Error("pass connections to the healthy targets", "error", err)
			}
		}
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
	s.mu.Lock()
	at, ok := s.overlay.homes[t.instance]
	s.mu.Unlock()
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

// describeTargetHealth adds the instances of groups to the targets that were registered by hand.
func (s *Server) describeTargetHealth(ctx context.Context, c *awsquery.Call) (*awsquery.Node, error) {
	described, err := s.ask(ctx, c)
	if err != nil {
		return nil, err
	}
	arn := c.Get("TargetGroupArn")
	list := described.At("DescribeTargetHealthResult", "TargetHealthDescriptions")
	for _, t := range s.targets() {
		if t.group != arn {
			continue
		}
		s.mu.Lock()
		known, draining := s.health[t.key()], s.drained[t.instance]
		state, reason, said := "initial", "Elb.InitialHealthChecking", "Initial health checks in progress"
		switch {
		case draining:
			state, reason, said = "draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"
		case known == nil:
		case known.healthy:
			state, reason, said = "healthy", "", ""
		case known.bad >= t.record.Unhealthy:
			state, reason, said = "unhealthy", "Target.FailedHealthChecks", known.reason
		}
		s.mu.Unlock()
		told := awsquery.Element("TargetHealth", awsquery.Text("State", state))
		if reason != "" {
			told.Children = append(told.Children, awsquery.Text("Reason", reason), awsquery.Text("Description", said))
		}
		list.Children = append(list.Children, awsquery.Element("member", awsquery.Text("HealthCheckPort", strconv.Itoa(t.record.HealthPort)), told,
			awsquery.Element("Target", awsquery.Text("Id", t.instance), awsquery.Text("Port", strconv.Itoa(t.record.Port)))))
	}
	return described, nil
}

// addBalancers has the elastic addresses of load balancers lead to the healthy targets of each listener.
func (s *Server) addBalancers(t *host.Topology, r *records) {
	homes := r.homes()
	public := map[string]netip.Addr{} // by allocation
	for _, item := range r.addresses {
		if address, err := netip.ParseAddr(item.Get("publicIp")); err == nil {
			public[item.Get("allocationId")] = address
		}
	}
	healthy := map[string][]netip.AddrPort{} // by target group
	for _, each := range s.targets() {
		s.mu.Lock()
		known := s.health[each.key()]
		well := known != nil && known.healthy && !s.drained[each.instance]
		s.mu.Unlock()
		if at, ok := homes[each.instance]; ok && well {
			healthy[each.group] = append(healthy[each.group], netip.AddrPortFrom(at.private, uint16(each.record.Port)))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, balancer := range s.overlay.Balancers {
		to := host.Target{VPC: balancer.VPC, Balanced: map[uint16][]netip.AddrPort{}}
		for port, group := range balancer.Listeners {
			to.Balanced[uint16(port)] = healthy[group]
		}
		for _, allocation := range balancer.Allocations {
			if address, ok := public[allocation]; ok {
				t.Public[address] = to
			}
		}
	}
}
