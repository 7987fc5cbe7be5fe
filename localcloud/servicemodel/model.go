// Package servicemodel checks calls against the models of AWS's services: actions, members, their types, and what is
// required. A model is the one that botocore comes with, in the package of Debian that moto's root has; it is read
// from there, a service at its first call, and is no part of this repository.
//
// Limits: it knows what a model says of a member by itself. What members say together, which values a service has of an
// open set, and what exists is for whoever carries a call out. Members that the model has and that EC2 has by now in
// another form are not known here.
package servicemodel

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Dir is the directory of the models of Debian's python3-botocore, below the root of a file system.
const Dir = "usr/lib/python3/dist-packages/botocore/data"

// names are botocore's names for the services, by the name in a signature.
var names = map[string]string{
	"autoscaling":          "autoscaling",
	"ec2":                  "ec2",
	"elasticloadbalancing": "elbv2",
	"iam":                  "iam",
	"ssm":                  "ssm",
	"sts":                  "sts",
}

// Models are the services' models in a directory.
type Models struct {
	services map[string]func() (*service, error)
}

// New is the models in a directory; nothing is read yet.
func New(dir string) *Models {
	m := &Models{services: map[string]func() (*service, error){}}
	for signed, name := range names {
		m.services[signed] = sync.OnceValues(func() (*service, error) { return read(filepath.Join(dir, name)) })
	}
	return m
}

// Load reads all models, so that the first calls do not wait for them.
func (m *Models) Load() error {
	var failures []error
	for _, name := range slices.Sorted(maps.Keys(m.services)) {
		if _, err := m.services[name](); err != nil {
			failures = append(failures, err)
		}
	}
	return errors.Join(failures...)
}

// service is a model, with what is looked at here.
type service struct {
	Metadata struct {
		Protocol string `json:"protocol"`
	} `json:"metadata"`
	Operations map[string]struct {
		Input *reference `json:"input"`
	} `json:"operations"`
	Shapes map[string]*shape `json:"shapes"`
}

// reference is a member's shape, and how it is called on the wire.
type reference struct {
	Shape        string `json:"shape"`
	LocationName string `json:"locationName"`
	QueryName    string `json:"queryName"`
}

type shape struct {
	Type      string               `json:"type"`
	Members   map[string]reference `json:"members"`
	Required  []string             `json:"required"`
	Member    reference            `json:"member"` // of a list
	Flattened bool                 `json:"flattened"`
	Min       *float64             `json:"min"`
	Max       *float64             `json:"max"`
}

// read reads the newest version of a service's model.
func read(dir string) (*service, error) {
	versions, err := filepath.Glob(filepath.Join(dir, "*", "service-2.json*"))
	if err == nil && len(versions) == 0 {
		err = os.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("read the service model in %s: %w", dir, err)
	}
	newest := slices.Max(versions)
	file, err := os.Open(newest)
	if err != nil {
		return nil, fmt.Errorf("read the service model: %w", err)
	}
	defer file.Close()
	var text io.Reader = file
	if filepath.Ext(newest) == ".gz" {
		if text, err = gzip.NewReader(file); err != nil {
			return nil, fmt.Errorf("read the service model %s: %w", newest, err)
		}
	}
	var s service
	if err := json.NewDecoder(text).Decode(&s); err != nil {
		return nil, fmt.Errorf("read the service model %s: %w", newest, err)
	}
	return &s, nil
}

// wireName is a member's name in a request.
// https://smithy.io/2.0/aws/protocols/aws-ec2-query-protocol.html and aws-query-protocol.html have the rules.
func (s *service) wireName(name string, r reference) string {
	switch s.Metadata.Protocol {
	case "ec2":
		if r.QueryName != "" {
			return r.QueryName
		}
		if r.LocationName != "" {
			name = r.LocationName
		}
		return strings.ToUpper(name[:1]) + name[1:]
	case "query":
		target := s.Shapes[r.Shape]
		if target != nil && target.Type == "list" && target.Flattened && target.Member.LocationName != "" {
			return target.Member.LocationName
		}
		if r.LocationName != "" {
			return r.LocationName
		}
	}
	return name
}
