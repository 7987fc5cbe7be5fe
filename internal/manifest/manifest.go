// Package manifest says what is in an image: packages, units, sockets, SUID files, and every file that is not as its
// package made it. It is made when the image is sealed, and lies in the image; two images are compared by their
// manifests.
package manifest

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/osrelease"
)

// Directory is the image's directory of manifest.json, sbom.cdx.json and sbom.spdx.json.
const Directory = "/usr/share/goldsmith"

// Manifest lists the contents of an image.
type Manifest struct {
	// Name is the image's name, where the one who sealed it knew it.
	Name    string    `json:"name,omitempty"`
	Created time.Time `json:"created"`
	// Source is the id of the AMI that the image was made from.
	Source string `json:"source,omitempty"`
	OS     OS     `json:"os"`
	// Packages are sorted by name.
	Packages []Package `json:"packages"`
	// Units are all unit files with their state, as systemctl list-unit-files has it: enabled, disabled, masked,
	// static.
	Units map[string]string `json:"units"`
	// Running are the units that were active when the image was sealed.
	Running []string `json:"running"`
	// Sockets are the addresses that were listened to when the image was sealed, for example "tcp 127.0.0.1:5000".
	Sockets []string `json:"sockets"`
	// Programs are Go programs that no package brought.
	Programs []Program `json:"programs,omitempty"`
	// Files are those that no package brought, that are not as their package brought them, or that are SUID or SGID.
	Files []File `json:"files"`
}

// OS is from os-release(5).
type OS struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	Name    string `json:"name"`
	Arch    string `json:"arch"`
}

// Package is an installed Debian package.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
	Source  string `json:"source,omitempty"`
	// Conffiles are its configuration files with their MD5 as packaged. They are not part of the JSON.
	Conffiles map[string]string `json:"-"`
}

// File is one file.
type File struct {
	Path   string `json:"path"`
	Mode   string `json:"mode"`  // octal, with the SUID and SGID bits
	Owner  string `json:"owner"` // uid:gid
	Size   int64  `json:"size"`
	Digest string `json:"digest,omitempty"` // sha256:…
	Link   string `json:"link,omitempty"`   // of a symbolic link, where it points
	// Package says that a package brought it, and Changed that it is not as that package brought it.
	Package bool `json:"package,omitempty"`
	Changed bool `json:"changed,omitempty"`
}

// SUID says whether the file runs as its owner or group.
func (f File) SUID() bool { return len(f.Mode) == 4 && strings.ContainsAny(f.Mode[:1], "24567") }

// Documents are the manifest and the bills of materials as they lie in the image's Directory, by their names, and the
// manifest's digest, sha256:….
func (m *Manifest) Documents() (documents map[string][]byte, digest string, err error) {
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, "", fmt.Errorf("encode the manifest: %w", err)
	}
	text = append(text, '\n')
	sum := sha256.Sum256(text)
	digest = "sha256:" + hex.EncodeToString(sum[:])
	cyclone, err := m.cycloneDX()
	if err != nil {
		return nil, "", err
	}
	spdx, err := m.spdx(digest)
	if err != nil {
		return nil, "", err
	}
	return map[string][]byte{"manifest.json": text, "sbom.cdx.json": cyclone, "sbom.spdx.json": spdx}, digest, nil
}

// ReadPackages reads dpkg's list of what is installed in the system at root. A system without dpkg has no packages.
func ReadPackages(root string) ([]Package, error) {
	file, err := os.Open(filepath.Join(root, "/var/lib/dpkg/status"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the installed packages: %w", err)
	}
	defer file.Close()
	var r statusReader
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 4<<20)
	for scanner.Scan() {
		r.line(scanner.Text())
	}
	r.line("")
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("read the installed packages: %w", err)
	}
	return r.all, nil
}

// statusReader reads dpkg's status file line by line.
type statusReader struct {
	all       []Package
	current   Package
	installed bool
	field     string // that continued lines belong to
}

func (r *statusReader) line(text string) {
	switch {
	case text == "": // the end of a package
		if r.installed && r.current.Name != "" {
			r.all = append(r.all, r.current)
		}
		r.current, r.installed, r.field = Package{}, false, ""
	case strings.HasPrefix(text, " "):
		r.continued(strings.Fields(text))
	default:
		field, value, _ := strings.Cut(text, ":")
		r.field = field
		r.value(strings.TrimSpace(value))
	}
}

// continued is a line of the list of a package's configuration files, with their MD5 digests.
func (r *statusReader) continued(parts []string) {
	if r.field != "Conffiles" || len(parts) < 2 || len(parts[1]) != 32 {
		return
	}
	if r.current.Conffiles == nil {
		r.current.Conffiles = map[string]string{}
	}
	r.current.Conffiles[parts[0]] = parts[1]
}

func (r *statusReader) value(value string) {
	switch r.field {
	case "Package":
		r.current.Name = value
	case "Version":
		r.current.Version = value
	case "Architecture":
		r.current.Arch = value
	case "Source":
		r.current.Source = value
	case "Status":
		r.installed = strings.HasSuffix(value, " installed")
	}
}

// ReadOS reads os-release(5) of the system at root.
func ReadOS(root, arch string) (OS, error) {
	text, err := os.ReadFile(filepath.Join(root, "/usr/lib/os-release"))
	if err != nil {
		return OS{}, fmt.Errorf("read what system it is: %w", err)
	}
	values := osrelease.Parse(string(text))
	return OS{Arch: arch, ID: values["ID"], Version: values["VERSION_ID"], Name: values["PRETTY_NAME"]}, nil
}
