// Package instance is what an instance of a Goldsmith image knows about itself: the settings that it gets at launch,
// the description that its image carries, what it does at first boot, and the report by which it says that it is ready.
package instance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

// Settings is what an instance is told at launch, in its user-data. It never holds a secret: user-data can be read by
// every process of the instance.
type Settings struct {
	// Stack is the stack's name, for example golden.
	Stack string `json:"stack"`
	// Tier is db or web.
	Tier string `json:"tier"`
	// Parameters is the prefix of the stack's SSM parameters, for example /goldsmith/golden.
	Parameters string `json:"parameters"`
	// DatabaseHost and DatabasePort say where the web tier finds the database.
	DatabaseHost string `json:"database_host,omitempty"`
	DatabasePort int    `json:"database_port,omitempty"`
	// ClientCIDR is the range that the application's account may connect from, for example 10.0.1.0/24.
	ClientCIDR string `json:"client_cidr,omitempty"`
}

// Report is what an instance says about itself on its serial console once it has checked itself.
type Report struct {
	Ready      bool      `json:"ready"`
	Tier       string    `json:"tier,omitempty"`
	InstanceID string    `json:"instance_id,omitempty"`
	ImageID    string    `json:"image_id,omitempty"`
	Checks     []Check   `json:"checks"`
	Time       time.Time `json:"time"`
	// Uptime is seconds from the kernel's start (in a container, the machine's) to the report.
	Uptime float64 `json:"uptime"`
}

// Check is one thing that was verified from inside.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // what was found; never a secret
}

// ReportPrefix starts the console line that carries a Report as JSON.
const ReportPrefix = "GOLDSMITH-READY "

// WaitingPrefix starts a console line that says what an instance waits for before it can say that it is ready.
const WaitingPrefix = "GOLDSMITH-WAITING "

// FindWaiting is what the console last said that is waited for, or empty.
func FindWaiting(console []byte) string {
	i := bytes.LastIndex(console, []byte(WaitingPrefix))
	if i < 0 {
		return ""
	}
	line, _, _ := bytes.Cut(console[i+len(WaitingPrefix):], []byte("\n"))
	return string(bytes.TrimSpace(line))
}

// directive starts the line of user-data that carries the settings; to cloud-init it is a comment.
const directive = "#goldsmith: "

// ErrNotConfigured says that user-data holds no settings: the machine is no instance of a stack, but one on which an
// image is being baked, say.
var ErrNotConfigured = errors.New("user-data holds no #goldsmith line")

// UserData is the settings as user-data that cloud-init reads without effect.
func (s Settings) UserData() ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("make user-data: %w", err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("make user-data: %w", err)
	}
	return fmt.Appendf(nil, "#cloud-config\n%s%s\n", directive, text), nil
}

// ParseSettings finds the settings in user-data, or ErrNotConfigured.
func ParseSettings(userData []byte) (Settings, error) {
	for line := range bytes.Lines(userData) {
		text, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte(directive))
		if !ok {
			continue
		}
		var s Settings
		if err := json.Unmarshal(text, &s); err != nil {
			return Settings{}, fmt.Errorf("read the #goldsmith line of user-data: %w", err)
		}
		if err := s.validate(); err != nil {
			return Settings{}, fmt.Errorf("read the #goldsmith line of user-data: %w", err)
		}
		return s, nil
	}
	return Settings{}, ErrNotConfigured
}

var stackName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

func (s Settings) validate() error {
	var errs []error
	if !stackName.MatchString(s.Stack) {
		errs = append(errs, fmt.Errorf("stack %q: 1 to 32 lower-case letters, digits and dashes are needed", s.Stack))
	}
	if s.Tier != "db" && s.Tier != "web" {
		errs = append(errs, fmt.Errorf("tier %q: db or web is needed", s.Tier))
	}
	if !strings.HasPrefix(s.Parameters, "/") || strings.HasSuffix(s.Parameters, "/") {
		errs = append(errs, fmt.Errorf("parameters %q: a prefix such as /goldsmith/golden is needed", s.Parameters))
	}
	if s.Tier == "db" {
		if prefix, err := netip.ParsePrefix(s.ClientCIDR); err != nil || !prefix.Addr().Is4() {
			errs = append(errs, fmt.Errorf("client_cidr %q: an IPv4 range such as 10.0.1.0/24 is needed", s.ClientCIDR))
		}
	}
	if s.Tier == "web" && s.DatabaseHost == "" {
		errs = append(errs, errors.New("database_host: it is missing"))
	}
	return errors.Join(errs...)
}

// FindReport is the last report on a console, if there is one.
func FindReport(console []byte) (Report, bool) {
	i := bytes.LastIndex(console, []byte(ReportPrefix))
	if i < 0 {
		return Report{}, false
	}
	line, _, whole := bytes.Cut(console[i+len(ReportPrefix):], []byte("\n"))
	var r Report
	if err := json.Unmarshal(bytes.TrimSpace(line), &r); err != nil || !whole {
		return Report{}, false
	}
	return r, true
}
