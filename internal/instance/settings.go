// Package instance is what an instance of a Goldsmith image knows about itself: the settings that it gets at launch,
// the description that its image carries, what it does at first boot, and the report by which it says that it is ready.
package instance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/netip"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
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
	// ServiceAddress is an address that the tier is reached by and that moves from one instance to the next: of the db tier
	// a secondary private one, which the database listens on, of the web tier an elastic one. Empty where there is none.
	ServiceAddress string `json:"service_address,omitempty"`
	// DataVolume is the id of the volume that the database's data is on, for example vol-0123456789abcdef0; empty where it is
	// on the root volume.
	DataVolume string `json:"data_volume,omitempty"`
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

// NoRoom begins what a database instance says whose data volume is full.
const NoRoom = "no space left on the data volume"

// ExitNoRoom is the exit code of `goldsmith-agent data room` on an instance whose data volume is full. Any other failure
// of the agent is 1, and a wrong call of it is 2.
const ExitNoRoom = 3

// StandbyPrefix starts the console line that carries a Standby as JSON.
const StandbyPrefix = "GOLDSMITH-STANDBY "

// HostKeysBegin and HostKeysEnd are the lines around the SSH host keys on a console. They are cloud-init's.
const (
	HostKeysBegin = "-----BEGIN SSH HOST KEY KEYS-----"
	HostKeysEnd   = "-----END SSH HOST KEY KEYS-----"
)

// HostKeys are public SSH host keys as an instance writes them to its console.
func HostKeys(keys []string) string {
	return HostKeysBegin + "\n" + strings.Join(keys, "\n") + "\n" + HostKeysEnd
}

// Standby is what a database instance says once nothing is missing but its data volume.
type Standby struct {
	Volume string `json:"volume"`
	// Server would open the data.
	Server Server    `json:"server"`
	Time   time.Time `json:"time"`
}

// Server is a database server's kind and version.
type Server struct {
	Flavor  string `json:"flavor"`  // mysql or mariadb
	Version string `json:"version"` // for example 11.8.3
}

// String is the server as in "mariadb 11.8.3".
func (s Server) String() string { return s.Flavor + " " + s.Version }

// Opens tells what is wrong with having this server open data that another wrote last, if anything is. A server upgrades
// the data of an older series when it opens it; no server opens what a newer series wrote:
// https://mariadb.com/docs/server/server-management/install-and-upgrade-mariadb/downgrading-between-major-versions-of-mariadb
// https://dev.mysql.com/doc/refman/8.4/en/downgrading.html
func (s Server) Opens(data Server) error {
	if s.Flavor != data.Flavor {
		return fmt.Errorf("the data is of %s, and %s cannot open it", data, s)
	}
	own, err := s.series()
	if err != nil {
		return err
	}
	theirs, err := data.series()
	if err != nil {
		return err
	}
	if slices.Compare(own, theirs) < 0 {
		return fmt.Errorf("the data is of %s, and %s is older", data, s)
	}
	return nil
}

// series is the part of a version within which data can be opened forth and back: the first two numbers.
func (s Server) series() ([]int, error) {
	parts := strings.SplitN(s.Version, ".", 3)
	if len(parts) < 2 {
		return nil, fmt.Errorf("version %q of %s: at least two numbers are needed", s.Version, s.Flavor)
	}
	var numbers []int
	for _, part := range parts[:2] {
		n, err := strconv.Atoi(part)
		if err != nil {
			return nil, fmt.Errorf("version %q of %s: %w", s.Version, s.Flavor, err)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// ParseServer reads what Server.String wrote.
func ParseServer(text string) (Server, error) {
	flavor, version, ok := strings.Cut(text, " ")
	s := Server{Flavor: flavor, Version: version}
	if _, err := s.series(); !ok || err != nil {
		return Server{}, fmt.Errorf("database server %q: a kind and a version such as %q are needed", text, "mariadb 11.8.3")
	}
	return s, nil
}

// FindStandby is the last standby line on a console, if there is one.
func FindStandby(console []byte) (s Standby, ok bool) {
	ok = findLine(console, StandbyPrefix, &s)
	s.Volume, s.Server.Flavor, s.Server.Version = plaintext.Line(s.Volume), plaintext.Line(s.Server.Flavor), plaintext.Line(s.Server.Version)
	return s, ok
}

// FindWaiting is what the console last said that is waited for, or empty.
func FindWaiting(console []byte) string {
	i := bytes.LastIndex(console, []byte(WaitingPrefix))
	if i < 0 {
		return ""
	}
	line, _, _ := bytes.Cut(console[i+len(WaitingPrefix):], []byte("\n"))
	return plaintext.Line(string(line))
}

// directive starts the line of user-data that carries the settings; to cloud-init it is a comment.
const directive = "#goldsmith: "

// noEffect is what cloud-init does anyhow. A cloud-config with comments alone is an empty one to it, and an error.
const noEffect = "disable_ec2_metadata: false"

// ErrNotConfigured says that user-data holds no settings: the machine is no instance of a stack, but one on which an
// image is being baked, say.
var ErrNotConfigured = errors.New("user-data holds no #goldsmith line")

// UserData is the settings as user-data that cloud-init reads without effect, with more user-data of the user's own: a
// cloud-config or a script, or nothing.
func (s Settings) UserData(more string) ([]byte, error) {
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("make user-data: %w", err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("make user-data: %w", err)
	}
	own := fmt.Appendf(nil, "#cloud-config\n%s%s\n%s\n", directive, text, noEffect)
	if more == "" {
		return own, nil
	}
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	// The same settings make the same user-data.
	if err := parts.SetBoundary("goldsmith-settings-and-more"); err != nil {
		return nil, err
	}
	for _, content := range [][]byte{own, []byte(more)} {
		kind := "text/x-shellscript"
		if bytes.HasPrefix(content, []byte("#cloud-config")) {
			kind = "text/cloud-config"
		}
		part, err := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {kind + `; charset="utf-8"`}, "Content-Transfer-Encoding": {"8bit"}})
		if err == nil {
			_, err = part.Write(content)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := parts.Close(); err != nil {
		return nil, err
	}
	head := fmt.Sprintf("Content-Type: multipart/mixed; boundary=%q\nMIME-Version: 1.0\n\n", parts.Boundary())
	return append([]byte(head), body.Bytes()...), nil
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

var volumeID = regexp.MustCompile(`^vol-[0-9a-f]{8,17}$`)

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
	if address, err := netip.ParseAddr(s.ServiceAddress); s.ServiceAddress != "" && (err != nil || !address.Is4()) {
		errs = append(errs, fmt.Errorf("service_address %q: an IPv4 address is needed", s.ServiceAddress))
	}
	if s.DataVolume != "" && (s.Tier != "db" || !volumeID.MatchString(s.DataVolume)) {
		errs = append(errs, fmt.Errorf("data_volume %q: a volume's id such as vol-0123456789abcdef0 is needed, and the tier db", s.DataVolume))
	}
	if s.Tier == "web" && s.DatabaseHost == "" {
		errs = append(errs, errors.New("database_host: it is missing"))
	}
	return errors.Join(errs...)
}

// FindReport is the last report on a console, if there is one.
func FindReport(console []byte) (Report, bool) {
	var r Report
	if !findLine(console, ReportPrefix, &r) {
		return Report{}, false
	}
	r.Tier, r.InstanceID, r.ImageID = plaintext.Line(r.Tier), plaintext.Line(r.InstanceID), plaintext.Line(r.ImageID)
	for i, c := range r.Checks {
		r.Checks[i].Name, r.Checks[i].Detail = plaintext.Line(c.Name), plaintext.Lines(c.Detail)
	}
	return r, true
}

// findLine reads the JSON of the last line with a prefix, if that line is whole.
func findLine(console []byte, prefix string, into any) bool {
	i := bytes.LastIndex(console, []byte(prefix))
	if i < 0 {
		return false
	}
	line, _, whole := bytes.Cut(console[i+len(prefix):], []byte("\n"))
	return whole && json.Unmarshal(bytes.TrimSpace(line), into) == nil
}
