// Command gendoc writes the part of the documentation that describes the kinds of task, by the table of kinds, from
// what packer-sdc made of the comments of each kind's struct. It is run by scripts/docs in the repository's root.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/provisioners/tasks"
)

const (
	module   = "github.com/goldsmith-ami/packer-plugin-goldsmith/"
	partials = "docs-partials"
	page     = "provisioners/tasks/kinds.mdx"
)

func main() {
	text, err := generate()
	if err == nil {
		err = os.WriteFile(filepath.Join(partials, page), []byte(text), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// generate is a section for each kind: what it is, and its attributes.
func generate() (string, error) {
	var sections []string
	for _, kind := range tasks.Kinds() {
		of := reflect.TypeOf(kind.Block)
		base := filepath.Join(partials, strings.TrimPrefix(of.PkgPath(), module), of.Name())
		is, err := os.ReadFile(base + ".mdx")
		if err != nil {
			return "", fmt.Errorf("describe the kind %s: %w", kind.Name, err)
		}
		section := []string{"### " + kind.Name, withoutName(of.Name(), string(is))}
		for _, suffix := range []string{"-required.mdx", "-not-required.mdx"} {
			attributes, err := os.ReadFile(base + suffix)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return "", fmt.Errorf("describe the kind %s: %w", kind.Name, err)
			}
			section = append(section, strings.TrimSpace(string(attributes)))
		}
		sections = append(sections, strings.Join(section, "\n\n"))
	}
	return strings.Join(sections, "\n\n") + "\n", nil
}

// withoutName begins a comment without the struct's name, which is Go's and not the user's: "Link is a symbolic link."
func withoutName(name, comment string) string {
	begins := regexp.MustCompile(`(?m)^` + name + ` is (.)`)
	return strings.TrimSpace(begins.ReplaceAllStringFunc(comment, func(match string) string {
		return strings.ToUpper(match[len(match)-1:])
	}))
}
