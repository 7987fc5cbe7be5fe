// Package seal makes an image fit to be shared: it removes from a machine what belongs to this one machine or to its
// build, checks that it is gone, looks for secrets in files and free blocks, and writes the image's manifest. It runs
// on the machine, as root and last.
package seal

import (
	"fmt"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/manifest"
)

// Marker is the file that a sealed machine has until it is stopped; anybody may read it. It holds a Mark.
const Marker = "/run/goldsmith-sealed.json"

// HostKeyData is the name by which a builder tells its provisioners the SSH host key that it gave the machine.
const HostKeyData = "SSHHostPrivateKey"

// Request is a request to seal a machine.
type Request struct {
	// Name and Source go into the manifest: the image's name, and the id of the AMI that it is made from.
	Name   string `json:"name,omitempty"`
	Source string `json:"source,omitempty"`
	// Secrets are values of this build that must be nowhere on the disk, in any encoding. They are only held in memory.
	Secrets [][]byte `json:"secrets,omitempty"`
	// Keep are patterns, as filepath.Match has them, of paths that are not removed.
	Keep []string `json:"keep,omitempty"`
	// ZeroFreeSpace fills the free blocks with zeros. An EBS snapshot then has all blocks of the volume, and is billed
	// so.
	ZeroFreeSpace bool `json:"zero_free_space,omitempty"`
}

// Judge applies a secret scanner's rules to what no package brought.
type Judge func([]Text) ([]Fault, error)

// Result is the result of a Request. With a fault the machine is not sealed, and no image must be made of it.
type Result struct {
	Faults []Fault `json:"faults,omitempty"`
	// Notes name files that could not be searched, with the reason.
	Notes []string `json:"notes,omitempty"`
	Mark
	Manifest *manifest.Manifest `json:"manifest,omitempty"`
}

// Mark is the content of the marker.
type Mark struct {
	// Digest is the manifest's, sha256:….
	Digest string `json:"digest"`
	// Packages and Files are how many the manifest has.
	Packages int `json:"packages"`
	Files    int `json:"files"`
	// Description is the version of the image's description; 0 where it has none.
	Description int `json:"description,omitempty"`
}

// Fault is something that must not be in an image, and is.
type Fault struct {
	// Item is the hygiene rule, or what looked.
	Item string `json:"item"`
	// Path is the file's path; it may be empty.
	Path string `json:"path,omitempty"`
	// Text says what is wrong. It never holds a secret.
	Text string `json:"text"`
}

// String is the fault in one line.
func (f Fault) String() string {
	if f.Path == "" {
		return f.Item + ": " + f.Text
	}
	return fmt.Sprintf("%s: %s: %s", f.Item, f.Path, f.Text)
}

// Text is a text file that no package brought: what configuration and programs left, to be judged by a scanner's rules.
type Text struct {
	Path    string `json:"path"`
	Content []byte `json:"content"`
}

// Since is a named pipe from which anybody can read a sealed machine's Changes. It is a pipe since a sealed machine
// lets nobody become root any more: a process of root's waits there for a reader.
const Since = "/run/goldsmith-sealed.since"

// Changes are the files that were made or written after a machine was sealed, and so were never searched.
type Changes struct {
	// Paths are the first of them, sorted.
	Paths []string `json:"paths"`
	// Count is the number of all of them.
	Count int `json:"count"`
}
