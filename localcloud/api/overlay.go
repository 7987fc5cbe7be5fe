package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// overlay is what the server behind does not know of instances and images, or would forget. It is one file, replaced as
// a whole at each change.
type overlay struct {
	path      string
	Instances map[string]*instanceRecord `json:"instances"`
	Images    map[string]*imageRecord    `json:"images"`
	// Launches are by client token.
	Launches map[string]launchRecord `json:"launches"`
	// Templates are launch templates, by id and version, as parameters of RunInstances.
	Templates map[string]map[string]url.Values `json:"templates"`
	Groups    map[string]*groupRecord          `json:"groups"` // Auto Scaling groups, by name
	// Balancers and TargetGroups are by ARN.
	Balancers    map[string]*balancerRecord    `json:"balancers"`
	TargetGroups map[string]*targetGroupRecord `json:"target_groups"`
	// AccessKeys are users' keys, by id.
	AccessKeys map[string]*accessKeyRecord `json:"access_keys"`

	public netip.Prefix // of automatic and elastic addresses
	// Of the last applyNetwork: by elastic address, the instance that has it, or nothing; and where instances are.
	elastic map[netip.Addr]string
	homes   map[string]home
}

type instanceRecord struct {
	State      string     `json:"state"` // EC2's names
	Reason     string     `json:"reason,omitempty"`
	Public     netip.Addr `json:"public"` // automatic public address, while it runs
	WantPublic bool       `json:"want_public"`
	RootVolume string     `json:"root_volume"`
	RootSizeGB int        `json:"root_size_gb"`
	KeepRoot   bool       `json:"keep_root,omitempty"`
	Launched   time.Time  `json:"launched"`
	Ended      time.Time  `json:"ended"`
	// TerminateOnShutdown is the instance-initiated shutdown behaviour.
	TerminateOnShutdown bool   `json:"terminate_on_shutdown,omitempty"`
	TokensRequired      bool   `json:"tokens_required,omitempty"`
	MetadataDisabled    bool   `json:"metadata_disabled,omitempty"`
	MetadataTags        bool   `json:"metadata_tags,omitempty"`
	UserData            []byte `json:"user_data,omitempty"`
	PublicKey           string `json:"public_key,omitempty"`
	ClientToken         string `json:"client_token,omitempty"`
	// Group is the Auto Scaling group that launched it, Template what from.
	Group    string      `json:"group,omitempty"`
	Template templateRef `json:"template,omitzero"`
}

type imageRecord struct {
	State    string    `json:"state"`
	Reason   string    `json:"reason,omitempty"`
	Created  time.Time `json:"created"`
	SizeGB   int       `json:"size_gb"`
	Snapshot string    `json:"snapshot"`
	Gone     bool      `json:"gone,omitempty"` // deregistered
	// What users said of it after it was made.
	IMDS       string    `json:"imds,omitempty"`
	Deprecated time.Time `json:"deprecated,omitzero"`
	Protection string    `json:"protection,omitempty"` // EC2's name; empty is none
}

// home is where an instance is.
type home struct {
	vpc     string
	private netip.Addr
}

// launchRecord is what a RunInstances call with a client token made.
type launchRecord struct {
	Request   string   `json:"request"` // digest
	Instances []string `json:"instances"`
}

// stateCodes are the codes of instance states.
var stateCodes = map[string]string{"pending": "0", "running": "16", "shutting-down": "32", "terminated": "48", "stopping": "64", "stopped": "80"}

func (o *overlay) load(path string, public netip.Prefix) error {
	*o = overlay{path: path, public: public}
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, o)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	// A file of another version may lack any of them.
	if o.Instances == nil {
		o.Instances = map[string]*instanceRecord{}
	}
	if o.Images == nil {
		o.Images = map[string]*imageRecord{}
	}
	if o.Launches == nil {
		o.Launches = map[string]launchRecord{}
	}
	if o.Templates == nil {
		o.Templates = map[string]map[string]url.Values{}
	}
	if o.Groups == nil {
		o.Groups = map[string]*groupRecord{}
	}
	if o.Balancers == nil {
		o.Balancers = map[string]*balancerRecord{}
	}
	if o.AccessKeys == nil {
		o.AccessKeys = map[string]*accessKeyRecord{}
	}
	if o.TargetGroups == nil {
		o.TargetGroups = map[string]*targetGroupRecord{}
	}
	return nil
}

func (o *overlay) save() error {
	content, err := json.Marshal(o)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(o.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	return os.Rename(o.path+".new", o.path)
}

// update changes the overlay and makes the change last.
func (s *Server) update(change func(*overlay)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.overlay)
	return s.overlay.save()
}

// changeGroup changes what is kept of a group. One that was deleted meanwhile is no error: there is nothing to keep.
func (s *Server) changeGroup(name string, change func(*groupRecord)) error {
	return s.update(func(o *overlay) {
		if group, ok := o.Groups[name]; ok {
			change(group)
		}
	})
}

// changeInstance changes what is kept of an instance, if it is still known.
func (s *Server) changeInstance(id string, change func(*instanceRecord)) error {
	return s.update(func(o *overlay) {
		if record, ok := o.Instances[id]; ok {
			change(record)
		}
	})
}

// instance is a copy of what is known of an instance.
func (s *Server) instance(id string) (instanceRecord, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.overlay.Instances[id]
	if !ok {
		return instanceRecord{}, false
	}
	return *record, true
}

// image is a copy of what is known of an image that was made here.
func (s *Server) image(id string) (imageRecord, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.overlay.Images[id]
	if !ok {
		return imageRecord{}, false
	}
	return *record, true
}

// view reads the overlay.
func (s *Server) view(read func(*overlay)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	read(&s.overlay)
}

// groupNames are the names of all Auto Scaling groups, in order.
func (s *Server) groupNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.overlay.Groups))
}

// launch is what a RunInstances call with a client token made.
func (s *Server) launch(token string) (launchRecord, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.overlay.Launches[token]
	return record, ok
}

// accessKey is what is known of a user's access key.
func (s *Server) accessKey(id string) (accessKeyRecord, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.overlay.AccessKeys[id]
	if !ok {
		return accessKeyRecord{}, false
	}
	return *record, true
}

// home is where an instance is, as of the last time that the network was applied.
func (s *Server) home(id string) (home, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.overlay.homes[id]
	return at, ok
}

// setAddresses keeps who has which elastic address, and where instances are.
func (s *Server) setAddresses(elastic map[netip.Addr]string, homes map[string]home) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.overlay.elastic, s.overlay.homes = elastic, homes
}

// freePublic is a public address that nobody has: neither an instance, nor as an elastic one. The zero address says
// that there is none left.
func (o *overlay) freePublic() netip.Addr {
	taken := map[netip.Addr]bool{}
	for _, record := range o.Instances {
		taken[record.Public] = true
	}
	for address := range o.elastic {
		taken[address] = true
	}
	prefix := o.public.Masked()
	for address := prefix.Addr().Next().Next(); prefix.Contains(address.Next()); address = address.Next() {
		if !taken[address] {
			return address
		}
	}
	return netip.Addr{}
}

// hasElastic tells whether an instance has an elastic address.
func (o *overlay) hasElastic(id string) bool {
	for _, holder := range o.elastic {
		if holder == id {
			return true
		}
	}
	return false
}

// publicOf is the address by which an instance is reached from outside: its elastic one, else its automatic one.
func (s *Server) publicOf(id string, record instanceRecord) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if record.State == "terminated" {
		return ""
	}
	for address, holder := range s.overlay.elastic {
		if holder == id {
			return address.String()
		}
	}
	if record.Public.IsValid() {
		return record.Public.String()
	}
	return ""
}

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

// accessKeyRecord is what the server behind forgets of a user's access key, or would let everybody guess: its random
// numbers are no secret.
type accessKeyRecord struct {
	Secret   string `json:"secret"`
	User     string `json:"user"`
	Inactive bool   `json:"inactive,omitempty"`
}

// groupRecord is what a group should have.
type groupRecord struct {
	Min          int             `json:"min"`
	Max          int             `json:"max"`
	Desired      int             `json:"desired"`
	Grace        int             `json:"grace"` // seconds
	Template     templateRef     `json:"template"`
	Subnets      []string        `json:"subnets"`
	TargetGroups []string        `json:"target_groups"`
	Refreshes    []*refreshState `json:"refreshes,omitempty"` // the youngest first
}

// group is a copy of what is known of a group.
func (s *Server) group(name string) (groupRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.overlay.Groups[name]
	if !ok {
		return groupRecord{}, awsquery.Fault("ValidationError", "AutoScalingGroup name not found - no such group: %s", name)
	}
	group := *record
	group.Refreshes = nil
	for _, r := range record.Refreshes {
		copied := *r
		group.Refreshes = append(group.Refreshes, &copied)
	}
	return group, nil
}

// members are the instances of a group that are there, the oldest first.
func (s *Server) members(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, record := range s.overlay.Instances {
		if record.Group == name && record.State != "terminated" && record.State != "shutting-down" {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(s.overlay.Instances[a].Launched.Compare(s.overlay.Instances[b].Launched), strings.Compare(a, b))
	})
	return ids
}

// imageOf is the image that a snapshot came with.
func (s *Server) imageOf(snapshot string) (string, imageRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, image := range s.overlay.Images {
		if image.Snapshot == snapshot {
			return id, *image
		}
	}
	return "", imageRecord{}
}

// inStates checks that all instances exist and are in one of these states, or says EC2's error.
func (s *Server) inStates(ids []string, verb string, states ...string) error {
	if len(ids) == 0 {
		return awsquery.Fault("MissingParameter", "The request must contain the parameter InstanceId")
	}
	for _, id := range ids {
		record, ok := s.instance(id)
		if !ok {
			return awsquery.NoInstance(id)
		}
		if !slices.Contains(states, record.State) {
			return awsquery.Fault("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be %s: it is %s", id, verb, record.State)
		}
	}
	return nil
}

// stopped are the instances that do not run.
func (s *Server) stopped() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var stopped []string
	for id, record := range s.overlay.Instances {
		if record.State == "stopped" || record.State == "stopping" {
			stopped = append(stopped, id)
		}
	}
	slices.Sort(stopped)
	return stopped
}

// refreshState is an instance refresh.
type refreshState struct {
	ID           string      `json:"id"`
	Status       string      `json:"status"` // EC2's names
	Reason       string      `json:"reason,omitempty"`
	Started      time.Time   `json:"started"`
	Ended        time.Time   `json:"ended,omitzero"`
	Percent      int         `json:"percent"`
	Left         int         `json:"left"` // instances to update
	Before       templateRef `json:"before"`
	Wanted       templateRef `json:"wanted"`
	MinHealthy   int         `json:"min_healthy"`
	Checkpoints  []int       `json:"checkpoints,omitempty"`
	Delay        int         `json:"delay"` // seconds, at a checkpoint
	Warmup       int         `json:"warmup"`
	Bake         int         `json:"bake"`
	AutoRollback bool        `json:"auto_rollback,omitempty"`
	SkipMatching bool        `json:"skip_matching,omitempty"`
	Ending       string      `json:"ending,omitempty"` // Cancelled or RollbackSuccessful: what somebody asked for
}

var activeStatus = []string{"Pending", "InProgress", "Baking", "Cancelling", "RollbackInProgress"}

// active is the refresh that is under way, or nil.
func active(all []*refreshState) *refreshState {
	for _, r := range all {
		if slices.Contains(activeStatus, r.Status) {
			return r
		}
	}
	return nil
}

func (s *Server) setRefresh(name, id string, change func(*refreshState)) error {
	return s.update(func(o *overlay) {
		if group := o.Groups[name]; group != nil {
			for _, r := range group.Refreshes {
				if r.ID == id {
					change(r)
				}
			}
		}
	})
}

// refreshNow is a copy of a refresh as it is.
func (s *Server) refreshNow(name, id string) refreshState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if group := s.overlay.Groups[name]; group != nil {
		for _, r := range group.Refreshes {
			if r.ID == id {
				return *r
			}
		}
	}
	return refreshState{Ending: "Cancelled"} // the group was deleted
}

// templateRef is one version of a launch template.
type templateRef struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version string `json:"version"`
}

func (s *Server) templateValues(t templateRef) url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.overlay.Templates[t.ID][t.Version]
}
