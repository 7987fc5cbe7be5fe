// Package version tells which Goldsmith a program is of: the number in the file VERSION, which each program carries,
// and the commit where the build knew one.
//
// A program that goes into an image, and the plugin, whose digest counts among a build's inputs, are built without
// the commit: an image must depend on sources, and not on how they were committed.
package version

import (
	_ "embed"
	"runtime/debug"
	"strings"
)

//go:embed VERSION
var file string

// Number is the version as Semantic Versioning has it, for example 0.2.0. Between releases it is the next one's.
func Number() string { return strings.TrimSpace(file) }

// Long is the number, the commit and the Go version, for people: "0.2.0 (commit 63c867c2fc53, changed, go1.26.3)".
func Long() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Number()
	}
	return Number() + " (" + strings.Join(append(commit(info.Settings), info.GoVersion), ", ") + ")"
}

// commit is the commit of the build, and whether the work tree was changed; empty for a build without VCS stamping.
func commit(settings []debug.BuildSetting) []string {
	var said []string
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision" && s.Value != "":
			said = append([]string{"commit " + s.Value[:min(len(s.Value), 12)]}, said...)
		case s.Key == "vcs.modified" && s.Value == "true":
			said = append(said, "changed")
		}
	}
	return said
}
