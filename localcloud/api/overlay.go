package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"time"
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

func (o *overlay) load(path string) error {
	*o = overlay{path: path}
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

// setState moves an instance on; a terminated one stays so. It is called from work that nobody waits for: that the
// state could not be written is told in the log, and the next start sees what is really there.
func (s *Server) setState(id, state, reason string) {
	var left instanceRecord
	err := s.update(func(o *overlay) {
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
		if state != "pending" && state != "running" {
			left = *record
		}
	})
	s.left(left)
	if err != nil {
		s.config.Log.Error("keep an instance's state", "instance", id, "state", state, "error", err)
	}
}
