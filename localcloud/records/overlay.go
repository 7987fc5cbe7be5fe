package records

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
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/apierror"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/awsquery"
)

// State holds the records that moto does not have, or would forget. It is one file, replaced as a whole at each change.
type State struct {
	path      string
	Instances map[string]*Instance `json:"instances"`
	Images    map[string]*Image    `json:"images"`
	// Launches are by client token.
	Launches map[string]Launch `json:"launches"`
	// Templates are launch templates, by id and version, as parameters of RunInstances.
	Templates map[string]map[string]url.Values `json:"templates"`
	Groups    map[string]*Group                `json:"groups"` // Auto Scaling groups, by name
	// Balancers and TargetGroups are by ARN.
	Balancers    map[string]*Balancer    `json:"balancers"`
	TargetGroups map[string]*TargetGroup `json:"target_groups"`
	// AccessKeys are users' keys, by id.
	AccessKeys map[string]*AccessKey `json:"access_keys"`
	// Reservations are ranges of subnets, by id.
	Reservations map[string]Reservation `json:"reservations,omitempty"`

	public netip.Prefix // of automatic and elastic addresses
	// As of the last time that the network was applied: by elastic address, the instance that has it, or nothing; and
	// where instances are.
	elastic map[netip.Addr]string
	homes   map[string]Home
}

// Instance is an instance. What is embedded is in the file as if it were not.
type Instance struct {
	State      string     `json:"state"` // EC2's names
	Reason     string     `json:"reason,omitempty"`
	Public     netip.Addr `json:"public"` // automatic public address, while it runs
	WantPublic bool       `json:"want_public"`
	Root
	Launched time.Time `json:"launched"`
	Ended    time.Time `json:"ended"`
	// TerminateOnShutdown is the instance-initiated shutdown behaviour.
	TerminateOnShutdown bool `json:"terminate_on_shutdown,omitempty"`
	MetadataOptions
	UserData    []byte `json:"user_data,omitempty"`
	PublicKey   string `json:"public_key,omitempty"`
	ClientToken string `json:"client_token,omitempty"`
	// Group is the Auto Scaling group that launched it, Template what from.
	Group    string   `json:"group,omitempty"`
	Template Template `json:"template,omitzero"`
}

// Root is an instance's root volume.
type Root struct {
	RootVolume string `json:"root_volume"`
	RootSizeGB int    `json:"root_size_gb"`
	KeepRoot   bool   `json:"keep_root,omitempty"`
}

// MetadataOptions say how an instance's metadata service may be used.
type MetadataOptions struct {
	TokensRequired   bool `json:"tokens_required,omitempty"`
	MetadataDisabled bool `json:"metadata_disabled,omitempty"`
	MetadataTags     bool `json:"metadata_tags,omitempty"`
}

// Image is an image that was made here.
type Image struct {
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

// Home is the place of an instance in the network.
type Home struct {
	VPC     string
	Private netip.Addr
}

// Launch records a RunInstances call that had a client token.
type Launch struct {
	Request   string   `json:"request"` // digest
	Instances []string `json:"instances"`
}

// StateCodes are the codes of instance states.
var StateCodes = map[string]string{
	"pending":       "0",
	"running":       "16",
	"shutting-down": "32",
	"terminated":    "48",
	"stopping":      "64",
	"stopped":       "80",
}

func (o *State) load(path string, public netip.Prefix) error {
	*o = State{path: path, public: public}
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, o)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read %s: %w", path, err)
	}
	// A file of another version may lack any of them.
	if o.Instances == nil {
		o.Instances = map[string]*Instance{}
	}
	if o.Images == nil {
		o.Images = map[string]*Image{}
	}
	if o.Launches == nil {
		o.Launches = map[string]Launch{}
	}
	if o.Templates == nil {
		o.Templates = map[string]map[string]url.Values{}
	}
	if o.Groups == nil {
		o.Groups = map[string]*Group{}
	}
	if o.Balancers == nil {
		o.Balancers = map[string]*Balancer{}
	}
	if o.AccessKeys == nil {
		o.AccessKeys = map[string]*AccessKey{}
	}
	if o.Reservations == nil {
		o.Reservations = map[string]Reservation{}
	}
	if o.TargetGroups == nil {
		o.TargetGroups = map[string]*TargetGroup{}
	}
	return nil
}

func (o *State) save() error {
	content, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	if err := renameio.WriteFile(o.path, content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", o.path, err)
	}
	return nil
}

// Update changes the overlay and makes the change last.
func (s *Store) Update(change func(*State)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
	return s.state.save()
}

// ChangeGroup changes what is kept of a group. One that was deleted meanwhile is no error: there is nothing to keep.
func (s *Store) ChangeGroup(name string, change func(*Group)) error {
	return s.Update(func(o *State) {
		if group, ok := o.Groups[name]; ok {
			change(group)
		}
	})
}

// ChangeInstance changes what is kept of an instance, if it is still known.
func (s *Store) ChangeInstance(id string, change func(*Instance)) error {
	return s.Update(func(o *State) {
		if record, ok := o.Instances[id]; ok {
			change(record)
		}
	})
}

// Instance is a copy of what is known of an instance.
func (s *Store) Instance(id string) (Instance, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.state.Instances[id]
	if !ok {
		return Instance{}, false
	}
	return *record, true
}

// Image is a copy of what is known of an image that was made here.
func (s *Store) Image(id string) (Image, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.state.Images[id]
	if !ok {
		return Image{}, false
	}
	return *record, true
}

// View reads the overlay.
func (s *Store) View(read func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	read(&s.state)
}

// GroupNames are the names of all Auto Scaling groups, in order.
func (s *Store) GroupNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.state.Groups))
}

// Launch finds the launch that was made with a client token.
func (s *Store) Launch(token string) (Launch, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.state.Launches[token]
	return record, ok
}

// AccessKey finds a user's access key.
func (s *Store) AccessKey(id string) (AccessKey, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.state.AccessKeys[id]
	if !ok {
		return AccessKey{}, false
	}
	return *record, true
}

// Home finds an instance in the network, as of the last time that the network was applied.
func (s *Store) Home(id string) (Home, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.state.homes[id]
	return at, ok
}

// SetAddresses keeps who has which elastic address, and where instances are.
func (s *Store) SetAddresses(elastic map[netip.Addr]string, homes map[string]Home) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.elastic, s.state.homes = elastic, homes
}

// FreePublic is a public address that nobody has: neither an instance, nor as an elastic one. The zero address says
// that there is none left.
func (o *State) FreePublic() netip.Addr {
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

// HasElastic tells whether an instance has an elastic address.
func (o *State) HasElastic(id string) bool {
	for _, holder := range o.elastic {
		if holder == id {
			return true
		}
	}
	return false
}

// PublicOf is the address by which an instance is reached from outside: its elastic one, else its automatic one.
func (s *Store) PublicOf(id string, record Instance) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if record.State == "terminated" {
		return ""
	}
	for address, holder := range s.state.elastic {
		if holder == id {
			return address.String()
		}
	}
	if record.Public.IsValid() {
		return record.Public.String()
	}
	return ""
}

// Balancer is a load balancer.
type Balancer struct {
	Name        string         `json:"name"`
	VPC         string         `json:"vpc"`
	Allocations []string       `json:"allocations"` // of elastic addresses
	Listeners   map[int]string `json:"listeners"`   // target groups, by port
	Ports       map[string]int `json:"ports"`       // of listeners, by their ARN
}

// TargetGroup says at which port targets listen, and when they count as healthy.
type TargetGroup struct {
	Port, HealthPort   int
	Protocol, Path     string // of the health check
	Healthy, Unhealthy int    // answers in a row
	Delay              int    // seconds that a target goes on after it gets no new connections
}

// BalancerAt is the name of the load balancer that has an elastic address, or empty.
func (s *Store) BalancerAt(allocation string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, balancer := range s.state.Balancers {
		if slices.Contains(balancer.Allocations, allocation) {
			return balancer.Name
		}
	}
	return ""
}

// AccessKey has the parts of a user's access key that moto forgets, or would let everybody guess: its random numbers
// are no secret.
type AccessKey struct {
	Secret   string `json:"secret"`
	User     string `json:"user"`
	Inactive bool   `json:"inactive,omitempty"`
}

// Group is the desired state of an Auto Scaling group.
type Group struct {
	Min          int        `json:"min"`
	Max          int        `json:"max"`
	Desired      int        `json:"desired"`
	Grace        int        `json:"grace"` // seconds
	Template     Template   `json:"template"`
	Subnets      []string   `json:"subnets"`
	TargetGroups []string   `json:"target_groups"`
	Refreshes    []*Refresh `json:"refreshes,omitempty"` // the youngest first
}

// Group is a copy of what is known of a group.
func (s *Store) Group(name string) (Group, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.state.Groups[name]
	if !ok {
		return Group{}, awsquery.Fault(apierror.GroupNotFound, "no such group: "+name)
	}
	group := *record
	group.Refreshes = nil
	for _, r := range record.Refreshes {
		copied := *r
		group.Refreshes = append(group.Refreshes, &copied)
	}
	return group, nil
}

// Members are the instances of a group that are there, the oldest first.
func (s *Store) Members(name string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, record := range s.state.Instances {
		if record.Group == name && record.State != "terminated" && record.State != "shutting-down" {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b string) int {
		return cmp.Or(s.state.Instances[a].Launched.Compare(s.state.Instances[b].Launched), strings.Compare(a, b))
	})
	return ids
}

// ImageOf is the image that a snapshot came with.
func (s *Store) ImageOf(snapshot string) (string, Image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, image := range s.state.Images {
		if image.Snapshot == snapshot {
			return id, *image
		}
	}
	return "", Image{}
}

// InStates checks that all instances exist and are in one of these states, or says EC2's error.
func (s *Store) InStates(ids []string, verb string, states ...string) error {
	if len(ids) == 0 {
		return awsquery.Fault(apierror.MissingParameter, "InstanceId")
	}
	for _, id := range ids {
		record, ok := s.Instance(id)
		if !ok {
			return awsquery.Fault(apierror.InvalidInstanceIDNotFound, id)
		}
		if !slices.Contains(states, record.State) {
			return awsquery.Fault(apierror.InstanceNotStartable, id, verb).Adding("It is %s.", record.State)
		}
	}
	return nil
}

// Stopped are the instances that do not run.
func (s *Store) Stopped() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var stopped []string
	for id, record := range s.state.Instances {
		if record.State == "stopped" || record.State == "stopping" {
			stopped = append(stopped, id)
		}
	}
	slices.Sort(stopped)
	return stopped
}

// Refresh is an instance refresh.
type Refresh struct {
	ID      string    `json:"id"`
	Status  string    `json:"status"` // EC2's names
	Reason  string    `json:"reason,omitempty"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	Percent int       `json:"percent"`
	Left    int       `json:"left"` // instances to update
	Before  Template  `json:"before"`
	Wanted  Template  `json:"wanted"`
	Preferences
	Ending string `json:"ending,omitempty"` // Cancelled or RollbackSuccessful: what somebody asked for
}

// Preferences say how a refresh goes on.
type Preferences struct {
	MinHealthy   int   `json:"min_healthy"`
	Checkpoints  []int `json:"checkpoints,omitempty"`
	Delay        int   `json:"delay"` // seconds, at a checkpoint
	Warmup       int   `json:"warmup"`
	Bake         int   `json:"bake"`
	AutoRollback bool  `json:"auto_rollback,omitempty"`
	SkipMatching bool  `json:"skip_matching,omitempty"`
}

var activeStatus = []string{"Pending", "InProgress", "Baking", "Cancelling", "RollbackInProgress"}

// ActiveRefresh is the refresh that is under way, or nil.
func ActiveRefresh(all []*Refresh) *Refresh {
	for _, r := range all {
		if slices.Contains(activeStatus, r.Status) {
			return r
		}
	}
	return nil
}

// ChangeRefresh changes a refresh, if it is still known.
func (s *Store) ChangeRefresh(name, id string, change func(*Refresh)) error {
	return s.Update(func(o *State) {
		if group := o.Groups[name]; group != nil {
			for _, r := range group.Refreshes {
				if r.ID == id {
					change(r)
				}
			}
		}
	})
}

// Refresh is a copy of a refresh as it is.
func (s *Store) Refresh(name, id string) Refresh {
	s.mu.Lock()
	defer s.mu.Unlock()
	if group := s.state.Groups[name]; group != nil {
		for _, r := range group.Refreshes {
			if r.ID == id {
				return *r
			}
		}
	}
	return Refresh{Ending: "Cancelled"} // the group was deleted
}

// Template is one version of a launch template.
type Template struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version string `json:"version"`
}

// TemplateValues are the parameters of a template's version, or nil if there is none.
func (s *Store) TemplateValues(t Template) url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Templates[t.ID][t.Version]
}

// SetState moves an instance on, and returns its record after that; a terminated one stays so, and one that is not
// known gives an empty record.
func (s *Store) SetState(id, state, reason string) (Instance, error) {
	var after Instance
	err := s.Update(func(o *State) {
		record := o.Instances[id]
		if record == nil || record.State == "terminated" {
			return
		}
		record.State, record.Reason = state, reason
		if state == "stopped" || state == "terminated" {
			record.Public = netip.Addr{}
		}
		if state == "terminated" {
			record.Ended = time.Now()
		}
		after = *record
	})
	return after, err
}

// Store keeps the records.
type Store struct {
	mu    sync.Mutex
	state State
}

// Open reads the records from a file. Public addresses are given out of a prefix, without its first two.
func (s *Store) Open(path string, public netip.Prefix) error { return s.state.load(path, public) }
