// Package instance has the formats that an instance of a Goldsmith image shares with the program that launches it: the
// settings in its user-data, the lines on its console, among them the report that it is ready, and the names of its
// units and directories.
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

// SettingsVersion is the version of the settings that this package writes and reads. An image's agent takes no other:
// it is of the same goldsmith as the image's description.
const SettingsVersion = 2

// Kinds of tier.
const (
	// KindData has state on a volume of its own.
	KindData = "data"
	// KindService is stateless.
	KindService = "service"
)

// Settings are an instance's settings from its launch, in its user-data. It never holds a secret: user-data can be read
// by every process of the instance.
type Settings struct {
	// Version is set by UserData.
	Version int `json:"version"`
	// Stack is the stack's name, for example golden.
	Stack string `json:"stack"`
	// Tier is the tier's name.
	Tier string `json:"tier"`
	// Kind is KindData or KindService.
	Kind string `json:"kind"`
	// Parameters is the prefix of the stack's SSM parameters, for example /goldsmith/golden.
	Parameters string `json:"parameters"`
	// Needs are the addresses of the other tiers that this one may reach.
	Needs []TierAddress `json:"needs,omitempty"`
	// Clients are the ranges that may connect to the tier, for example 10.0.1.0/24.
	Clients []string `json:"clients,omitempty"`
	// ServiceAddress is an address that the tier is reached by and that moves from one instance to the next: of a data
	// tier a secondary private one, which its server listens on, of a service tier an elastic one. Empty where there is
	// none.
	ServiceAddress string `json:"service_address,omitempty"`
	// DataVolume is the id of the volume that a data tier's data is on, for example vol-0123456789abcdef0; empty where
	// it is on the root volume.
	DataVolume string `json:"data_volume,omitempty"`
	// Deadline is how many seconds the instance may take, from the first of its checks on, to be ready; 0 leaves it to
	// the instance. Who launched it waits as long: what it needs may have to be launched and filled first.
	Deadline int `json:"deadline_seconds,omitempty"`
}

// TierAddress is the address and port of a tier.
type TierAddress struct {
	Tier string `json:"tier"`
	// Address is an IP address or a host name.
	Address string `json:"address"`
	// Port is 0 for the one that the image's description has.
	Port int `json:"port,omitempty"`
}

// Report is the result of an instance's checks of itself, on its serial console.
type Report struct {
	Ready      bool    `json:"ready"`
	Tier       string  `json:"tier,omitempty"`
	InstanceID string  `json:"instance_id,omitempty"`
	ImageID    string  `json:"image_id,omitempty"`
	Checks     []Check `json:"checks"`
	// Answers are the HTTP requests that instances of the image answer, from the image's description.
	Answers []Answer  `json:"answers,omitempty"`
	Time    time.Time `json:"time"`
	// Uptime is seconds from the kernel's start (in a container, the machine's) to the report.
	Uptime float64 `json:"uptime"`
}

// Check is one thing that was verified from inside.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // what was found; never a secret
}

// Answer is an HTTP request that an instance answers to others.
type Answer struct {
	Name string `json:"name"`
	Port int    `json:"port"`
	// TLS is with the certificate of the report.
	TLS  bool   `json:"tls,omitempty"`
	Path string `json:"path"`
	// Status is the HTTP status that is wanted.
	Status int `json:"status"`
}

// maxAnswers is how many requests one report may name: whoever broke into an instance may write reports.
const maxAnswers = 16

// whole tells whether the answer can be asked for.
func (a Answer) whole() bool {
	return a.Port > 0 && a.Port <= 65535 && strings.HasPrefix(a.Path, "/") && a.Path == plaintext.Line(a.Path)
}

// ReportPrefix starts the console line that carries a Report, by ConsoleLine.
const ReportPrefix = "GOLDSMITH-READY "

// WaitingPrefix starts a console line that says what an instance waits for before it can say that it is ready.
const WaitingPrefix = "GOLDSMITH-WAITING "

// NoRoom begins what a database instance says whose data volume is full.
const NoRoom = "no space left on the data volume"

// ExitNoRoom is the exit code of `goldsmith-agent data room` on an instance whose data volume is full. Any other
// failure of the agent is 1, and a wrong call of it is 2.
const ExitNoRoom = 3

// StandbyPrefix starts the console line that carries a Standby, by ConsoleLine.
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

// Standby is the console line of a database instance that lacks nothing but its data volume.
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

// Opens tells what is wrong with having this server open data that another wrote last, if anything is. A server
// upgrades the data of an older series when it opens it; no server opens what a newer series wrote:
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
		return Server{}, fmt.Errorf("database server %q: a kind and a version such as 11.8.3 are needed", text)
	}
	return s, nil
}

// FindStandby is the last standby line on a console, if there is one.
func FindStandby(console []byte) (s Standby, ok bool) {
	ok = findLine(console, StandbyPrefix, &s)
	s.Volume = plaintext.Line(s.Volume)
	s.Server.Flavor, s.Server.Version = plaintext.Line(s.Server.Flavor), plaintext.Line(s.Server.Version)
	return s, ok
}

// FindWaiting is the text of the last waiting line on a console; empty if there is none.
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

// noEffect is a cloud-config setting with cloud-init's default. A cloud-config of comments alone is empty to
// cloud-init, and an error.
const noEffect = "disable_ec2_metadata: false"

// ErrNotConfigured says that user-data holds no settings: the machine is no instance of a stack, but one on which an
// image is being baked, say.
var ErrNotConfigured = errors.New("user-data holds no #goldsmith line")

// UserData is the settings as user-data that cloud-init reads without effect, with more user-data of the user's own: a
// cloud-config or a script, or nothing.
func (s Settings) UserData(more string) ([]byte, error) {
	s.Version = SettingsVersion
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
		part, err := parts.CreatePart(
			textproto.MIMEHeader{"Content-Type": {kind + `; charset="utf-8"`}, "Content-Transfer-Encoding": {"8bit"}},
		)
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
		if s.Version != SettingsVersion {
			return Settings{}, fmt.Errorf(
				"read the #goldsmith line of user-data: it is of version %d, and this image reads version %d"+
					"\nhint: deploy with the goldsmith that baked the image, or bake it anew",
				s.Version,
				SettingsVersion,
			)
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

var tierName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

func (s Settings) validate() error {
	var errs []error
	if !stackName.MatchString(s.Stack) {
		errs = append(errs, fmt.Errorf("stack %q: 1 to 32 lower-case letters, digits and dashes are needed", s.Stack))
	}
	if !tierName.MatchString(s.Tier) {
		errs = append(errs, fmt.Errorf("tier %q: 1 to 32 lower-case letters, digits and dashes are needed", s.Tier))
	}
	if s.Kind != KindData && s.Kind != KindService {
		errs = append(errs, fmt.Errorf("kind %q of tier %q: data or service is needed", s.Kind, s.Tier))
	}
	if !strings.HasPrefix(s.Parameters, "/") || strings.HasSuffix(s.Parameters, "/") {
		errs = append(errs, fmt.Errorf("parameters %q: a prefix such as /goldsmith/golden is needed", s.Parameters))
	}
	if s.Deadline < 0 {
		errs = append(errs, fmt.Errorf("deadline_seconds %d: 0 or more is needed", s.Deadline))
	}
	return errors.Join(append(errs, s.addressFaults()...)...)
}

func (s Settings) addressFaults() []error {
	var errs []error
	for _, client := range s.Clients {
		if prefix, err := netip.ParsePrefix(client); err != nil || !prefix.Addr().Is4() {
			errs = append(errs, fmt.Errorf("clients %q: an IPv4 range such as 10.0.1.0/24 is needed", client))
		}
	}
	if s.Kind == KindData && len(s.Clients) == 0 {
		errs = append(errs, errors.New("clients: a data tier needs a range at least"))
	}
	for _, need := range s.Needs {
		errs = append(errs, need.faults()...)
	}
	if address, err := netip.ParseAddr(s.ServiceAddress); s.ServiceAddress != "" && (err != nil || !address.Is4()) {
		errs = append(errs, fmt.Errorf("service_address %q: an IPv4 address is needed", s.ServiceAddress))
	}
	if s.DataVolume != "" && (s.Kind != KindData || !volumeID.MatchString(s.DataVolume)) {
		errs = append(errs, fmt.Errorf(
			"data_volume %q: a volume's id such as vol-0123456789abcdef0 is needed, and a data tier", s.DataVolume))
	}
	return errs
}

func (t TierAddress) faults() []error {
	var errs []error
	if !tierName.MatchString(t.Tier) || t.Address == "" || strings.ContainsAny(t.Address, " \t\r\n\"'\\") {
		errs = append(errs,
			fmt.Errorf("needs: tier %q at %q: a tier's name and an address are needed", t.Tier, t.Address))
	}
	if t.Port < 0 || t.Port > 65535 {
		errs = append(errs, fmt.Errorf("needs: tier %s: port %d should be within 1 and 65535", t.Tier, t.Port))
	}
	return errs
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
	r.Answers = slices.DeleteFunc(r.Answers, func(a Answer) bool { return !a.whole() })
	r.Answers = r.Answers[:min(len(r.Answers), maxAnswers)]
	for i, a := range r.Answers {
		r.Answers[i].Name = plaintext.Line(a.Name)
	}
	return r, true
}
