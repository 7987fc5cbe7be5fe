// Package render makes configuration files of templates, on the operator's side, before anything is changed. Templates
// are text/template with sprig's functions; a variable that nobody gave is an error that names it, its place, and what
// there is.
package render

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// File renders the template in a file.
func File(path string, data map[string]any) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read template: %w", err)
	}
	return Text(path, string(text), data)
}

// Text renders a template; name is its name in errors.
func Text(name, text string, data map[string]any) ([]byte, error) {
	// Functions that read this process's environment or the network have no place in an image's configuration.
	functions := sprig.TxtFuncMap()
	for _, unwanted := range []string{"env", "expandenv", "getHostByName"} {
		delete(functions, unwanted)
	}
	parsed, err := template.New(filepath.Base(name)).Option("missingkey=error").Funcs(functions).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("parse template %s: %w", name, tidy(err))
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, data); err != nil {
		return nil, fmt.Errorf("render template %s: %w; there are: %s", name, tidy(err),
			strings.Join(known(data), ", "))
	}
	return out.Bytes(), nil
}

var prefix = regexp.MustCompile(`^template: `)

// tidy takes the library's own prefix away; what is left begins with file:line.
func tidy(err error) error {
	return fmt.Errorf("%s", prefix.ReplaceAllString(err.Error(), ""))
}

// known are the names that a template can use, those of the nested maps with a dot.
func known(data map[string]any) []string {
	var names []string
	for _, key := range slices.Sorted(maps.Keys(data)) {
		switch value := data[key].(type) {
		case map[string]any:
			for _, inner := range slices.Sorted(maps.Keys(value)) {
				names = append(names, key+"."+inner)
			}
		case map[string]string:
			for _, inner := range slices.Sorted(maps.Keys(value)) {
				names = append(names, key+"."+inner)
			}
		default:
			names = append(names, key)
		}
	}
	return names
}

// Facts are a machine's facts as templates see them, under "facts".
func Facts(f task.Facts) map[string]any {
	return map[string]any{
		"os_id": f.OS.ID, "os_version": f.OS.Version, "os_codename": f.OS.Codename, "arch": f.Arch,
		"memory_mb": f.MemoryMB, "cpus": f.CPUs, "hostname": f.Hostname,
	}
}

// SampleFacts stand for a machine's while there is none: with them a template is rendered when a build is validated, so
// that its mistakes show before anything is launched.
func SampleFacts() task.Facts {
	return task.Facts{
		OS:       task.OSFacts{ID: "debian", Version: "13", Codename: "trixie"},
		Arch:     "amd64",
		MemoryMB: 2048,
		CPUs:     2,
		Hostname: "sample",
	}
}
