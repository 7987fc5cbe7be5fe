// Package imagespec is the description that an image carries of itself: what it runs, listens on, answers, reads and
// needs. Each provisioner writes a fragment of it into the image; the seal, first boot and verify read the fragments
// merged, and know no service but by them.
//
// Limits of version 1: an image has at most one certificate, one data directory and one setup for a kind of tier, and
// only TCP ports are described.
package imagespec

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// Version is the one version of the description that this package reads and writes.
const Version = 1

// Tag is the tag of an AMI that tells the version of the description in it.
const Tag = "goldsmith:description"

// Addresses of a Port that are no IP address.
const (
	// AnyAddress is every address of the instance.
	AnyAddress = "any"
	// InstanceAddress is the tier's service address or, where it has none, the instance's private address.
	InstanceAddress = "instance"
)

// Description is an image's description, and each fragment of one.
type Description struct {
	Version int `json:"version"`
	// Kind is the kind of tier that the fragment is for: instance.KindData or instance.KindService. Instances of the
	// other kind leave the fragment out. Empty is for both.
	Kind string `json:"kind,omitempty"`
	// Units are verified to be active, in this order.
	Units        []Unit        `json:"units,omitempty"`
	Ports        []Port        `json:"ports,omitempty"`
	Probes       []Probe       `json:"probes,omitempty"`
	Secrets      []Secret      `json:"secrets,omitempty"`
	Certificate  *Certificate  `json:"certificate,omitempty"`
	Needs        []Need        `json:"needs,omitempty"`
	Environments []Environment `json:"environments,omitempty"`
	Logs         []Log         `json:"logs,omitempty"`
	Data         *Data         `json:"data,omitempty"`
	Setup        *Setup        `json:"setup,omitempty"`
}

// Unit is a systemd unit that runs on an instance.
type Unit struct {
	Name string `json:"name"`
	// Clients has first boot let the tier's clients through to the unit (IPAddressAllow=), whose own file denies them.
	Clients bool `json:"clients,omitempty"`
}

// Port is a TCP port that is listened on.
type Port struct {
	Name string `json:"name"`
	Port int    `json:"port"`
	// Address is AnyAddress, InstanceAddress or an IP address. But for AnyAddress nothing may listen on another.
	Address string `json:"address"`
	// TLS says that the port speaks TLS, with the image's Certificate.
	TLS bool `json:"tls,omitempty"`
}

// Probe is a question whose answer tells that the instance works. It is an HTTP request to Port if it has a Path, a
// command if it has Argv or Shell, and else a TCP connection to Port.
type Probe struct {
	Name string `json:"name"`
	// Port is the name of a Port.
	Port string `json:"port,omitempty"`
	Path string `json:"path,omitempty"`
	// Status is the HTTP status that is wanted; 0 is 200.
	Status int `json:"status,omitempty"`
	// Argv, Shell, Output and Timeout are as those of an instance.Assertion. The command finds the address that
	// InstanceAddress stands for in the variable GOLDSMITH_ADDRESS.
	Argv    []string `json:"argv,omitempty"`
	Shell   string   `json:"shell,omitempty"`
	Output  string   `json:"output,omitempty"`
	Timeout string   `json:"timeout,omitempty"`
}

// Command is the probe as an assertion, if it is a command.
func (p Probe) Command() (instance.Assertion, bool) {
	a := instance.Assertion{
		Name:    p.Name,
		Argv:    p.Argv,
		Shell:   p.Shell,
		Output:  p.Output,
		Timeout: p.Timeout,
	}
	return a, len(p.Argv) > 0 || p.Shell != ""
}

// Answers are the probes that can be asked from other machines: HTTP requests to a port that is not on loopback.
func (d Description) Answers() []instance.Answer {
	var all []instance.Answer
	for _, p := range d.Probes {
		at := slices.IndexFunc(d.Ports, func(port Port) bool { return port.Name == p.Port })
		if p.Path == "" || at < 0 {
			continue
		}
		port := d.Ports[at]
		if ip, err := netip.ParseAddr(port.Address); err == nil && ip.IsLoopback() {
			continue
		}
		all = append(all, instance.Answer{
			Name:   p.Name,
			Port:   port.Port,
			TLS:    port.TLS,
			Path:   p.Path,
			Status: cmp.Or(p.Status, http.StatusOK),
		})
	}
	return all
}

// Secret is a parameter of the stack that the instance reads with its own role.
type Secret struct {
	// Tier is the tier whose parameter it is; empty is the instance's own.
	Tier string `json:"tier,omitempty"`
	// Parameter is the last part of the parameter's name, behind the stack's prefix and the tier.
	Parameter string `json:"parameter"`
	// Path is the file in memory that gets the value, for LoadCredential= of a unit. Without one only the image's Setup
	// gets it.
	Path string `json:"path,omitempty"`
	// Mode is octal; the default is 0600.
	Mode string `json:"mode,omitempty"`
	// Owner and Group are root unless they are named.
	Owner string `json:"owner,omitempty"`
	Group string `json:"group,omitempty"`
}

// Certificate is a TLS server's certificate and key. They are read from two parameters of the tier, if these are there,
// and else made by the instance for its own addresses.
type Certificate struct {
	Parameter    string `json:"parameter"`
	KeyParameter string `json:"key_parameter"`
	Path         string `json:"path"`
	KeyPath      string `json:"key_path"`
	// Group may read the key.
	Group string `json:"group,omitempty"`
}

// Need is another tier whose address the image has to be told.
type Need struct {
	Tier string `json:"tier"`
	// Port is taken where the stack names none.
	Port int `json:"port,omitempty"`
	// Units are let through to the address (IPAddressAllow=), and their own files deny all others.
	Units []string `json:"units,omitempty"`
}

// Environment is a file for EnvironmentFile= of a unit, written at each boot.
type Environment struct {
	Path      string     `json:"path"`
	Variables []Variable `json:"variables"`
}

// Variable is a variable of an Environment: a value, or the address or the port of a needed tier.
type Variable struct {
	Name      string `json:"name"`
	Value     string `json:"value,omitempty"`
	AddressOf string `json:"address_of,omitempty"`
	PortOf    string `json:"port_of,omitempty"`
}

// Log is a source of an instance's logs, beside the whole journal: what a unit says in files or, without a Path, in the
// journal.
type Log struct {
	// Name is the one that the source is asked for by. It is not Journal.
	Name string `json:"name"`
	Unit string `json:"unit"`
	// Path is a file, or a pattern of files.
	Path string `json:"path,omitempty"`
}

// Journal is the name of the source that every instance has: all of systemd's journal.
const Journal = "journal"

// Data is a directory that is on the data volume of the tier, if it has one.
type Data struct {
	// Unit has the data open.
	Unit string `json:"unit"`
	Path string `json:"path"`
	// Name is the directory's name on the volume.
	Name string `json:"name"`
	// User owns it.
	User string `json:"user"`
}

// Setup names code of first boot that knows one kind of server, and has the settings for it.
type Setup struct {
	Name     string          `json:"name"`
	Settings json.RawMessage `json:"settings,omitempty"`
}

// Task is the task that writes a fragment into an image: NAME.json among the others.
func Task(name string, fragment Description) (task.Task, error) {
	fragment.Version = Version
	path := filepath.Join(instance.DescriptionDir, name+".json")
	if err := fragment.validate(); err != nil {
		return task.Task{}, fmt.Errorf("describe %s: %w", name, err)
	}
	text, err := json.MarshalIndent(fragment, "", "  ")
	if err != nil {
		return task.Task{}, fmt.Errorf("describe %s: %w", name, err)
	}
	content := task.Bytes(append(text, '\n'))
	return task.Task{Name: "describe " + name, Spec: task.File{Path: path, Content: content}}, nil
}
