// Package seal makes an image fit to be shared: it removes from a machine what belongs to this one machine or to its
// build, checks that it is gone, looks for secrets in files and free blocks, and writes the image's manifest. It runs
// on the machine, as root and last.
package seal

import (
	"fmt"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/manifest"
)

// Marker is where a sealed machine says so until it is stopped; anybody may read it. It holds a Mark.
const Marker = "/run/goldsmith-sealed.json"

// HostKeyData is the name by which a builder tells its provisioners the SSH host key that it gave the machine.
const HostKeyData = "SSHHostPrivateKey"

// Request is how a machine is sealed.
type Request struct {
	// Name and Source go into the manifest: the image's name, and what it is made from.
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

// Result is what came of it. With a fault the machine is not sealed, and no image must be made of it.
type Result struct {
	Faults []Fault `json:"faults,omitempty"`
	// Notes are what could not be looked at, and why.
	Notes []string `json:"notes,omitempty"`
	Mark
	Manifest *manifest.Manifest `json:"manifest,omitempty"`
}

// Mark is what the marker holds.
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
	// Path is where; it may be empty.
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

// Since is where a sealed machine says what was changed after the seal, to everybody who reads it; it answers Changes.
// It is a named pipe: a sealed machine lets nobody become root any more, so root waits there for the question.
const Since = "/run/goldsmith-sealed.since"

// Changes are what was made or written on a machine after it was sealed, and so was never looked at.
type Changes struct {
	// Paths are the first of them, sorted.
	Paths []string `json:"paths"`
	// Count is how many there are.
	Count int `json:"count"`
}
