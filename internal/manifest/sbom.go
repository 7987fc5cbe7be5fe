package manifest

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/version"
)

// Program is a Go program that no package brought, and the modules that it was built of.
type Program struct {
	Path    string   `json:"path"`
	Go      string   `json:"go"`
	Modules []Module `json:"modules"`
}

// Module is a Go module.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
}

// ReadProgram reads what a Go program says it was built of; ok is false for a file that is none.
func ReadProgram(path, as string) (program Program, ok bool) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return Program{}, false
	}
	program = Program{Path: as, Go: info.GoVersion, Modules: []Module{{info.Main.Path, info.Main.Version}}}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		program.Modules = append(program.Modules, Module{dep.Path, dep.Version})
	}
	return program, true
}

// component is one thing of which a bill of materials consists.
type component struct{ name, version, purl, kind string }

// components are the packages and, once each, the modules. Package URLs are as the purl specification has them for deb
// and golang.
func (m *Manifest) components() []component {
	var all []component
	distro := url.Values{}
	if m.OS.ID != "" {
		distro.Set("distro", m.OS.ID+"-"+m.OS.Version)
	}
	for _, p := range m.Packages {
		query := url.Values{"arch": {p.Arch}, "distro": distro["distro"]}
		all = append(
			all,
			component{
				p.Name,
				p.Version,
				fmt.Sprintf(
					"pkg:deb/%s/%s@%s?%s",
					url.PathEscape(m.OS.ID),
					escape(p.Name),
					escape(p.Version),
					query.Encode(),
				),
				"deb",
			},
		)
	}
	seen := map[Module]bool{}
	for _, program := range m.Programs {
		for _, module := range append([]Module{{"stdlib", strings.TrimPrefix(program.Go, "go")}}, program.Modules...) {
			if !seen[module] {
				seen[module] = true
				all = append(
					all,
					component{
						module.Path,
						module.Version,
						"pkg:golang/" + module.Path + "@" + escape(module.Version),
						"golang",
					},
				)
			}
		}
	}
	return all
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "%3A", ":") }

// cycloneDX is the bill of materials in CycloneDX 1.6, as JSON.
func (m *Manifest) cycloneDX() ([]byte, error) {
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: m.Created.UTC().Format(time.RFC3339),
		Component: &cyclonedx.Component{
			BOMRef:      "image",
			Type:        cyclonedx.ComponentTypeOS,
			Name:        m.name(),
			Version:     m.OS.Version,
			Description: m.OS.Name,
		},
		Tools: &cyclonedx.ToolsChoice{
			Components: &[]cyclonedx.Component{
				{Type: cyclonedx.ComponentTypeApplication, Name: "goldsmith", Version: version.Number()},
			},
		},
	}
	var list []cyclonedx.Component
	for _, c := range m.components() {
		list = append(
			list,
			cyclonedx.Component{
				BOMRef:     c.purl,
				Type:       cyclonedx.ComponentTypeLibrary,
				Name:       c.name,
				Version:    c.version,
				PackageURL: c.purl,
			},
		)
	}
	bom.Components = &list
	var out bytes.Buffer
	encoder := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true)
	if err := encoder.EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("make the CycloneDX bill of materials: %w", err)
	}
	return out.Bytes(), nil
}

func (m *Manifest) name() string {
	if m.Name != "" {
		return m.Name
	}
	return "image"
}

var notInSPDXID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// spdx is the bill of materials in SPDX 2.3, as JSON. digest is the manifest's, which makes the namespace unique.
func (m *Manifest) spdx(digest string) ([]byte, error) {
	const noAssertion = "NOASSERTION"
	document := v2_3.Document{
		SPDXVersion:    v2_3.Version,
		DataLicense:    v2_3.DataLicense,
		SPDXIdentifier: "DOCUMENT",
		DocumentName:   m.name(),
		DocumentNamespace: "https://github.com/goldsmith-ami/packer-plugin-goldsmith/spdx/" + strings.TrimPrefix(
			digest,
			"sha256:",
		),
		CreationInfo: &v2_3.CreationInfo{
			Created:  m.Created.UTC().Format(time.RFC3339),
			Creators: []common.Creator{{CreatorType: "Tool", Creator: "goldsmith-" + version.Number()}},
		},
	}
	add := func(id common.ElementID, name, version, purl, purpose string) {
		p := &v2_3.Package{
			PackageName:             name,
			PackageSPDXIdentifier:   id,
			PackageVersion:          version,
			PackageDownloadLocation: noAssertion,
			PackageLicenseConcluded: noAssertion,
			PackageLicenseDeclared:  noAssertion,
			PackageCopyrightText:    noAssertion,
			PrimaryPackagePurpose:   purpose,
		}
		if purl != "" {
			p.PackageExternalReferences = []*v2_3.PackageExternalReference{
				{Category: "PACKAGE-MANAGER", RefType: "purl", Locator: purl},
			}
		}
		document.Packages = append(document.Packages, p)
	}
	relate := func(a common.ElementID, kind string, b common.ElementID) {
		document.Relationships = append(
			document.Relationships,
			&v2_3.Relationship{
				RefA:         common.DocElementID{ElementRefID: a},
				RefB:         common.DocElementID{ElementRefID: b},
				Relationship: kind,
			},
		)
	}
	add("image", m.name(), m.OS.Version, "", "OPERATING-SYSTEM")
	relate("DOCUMENT", "DESCRIBES", "image")
	for i, c := range m.components() {
		id := common.ElementID(fmt.Sprintf("%s-%d-%s", c.kind, i+1, notInSPDXID.ReplaceAllString(c.name, "-")))
		add(id, c.name, c.version, c.purl, "LIBRARY")
		relate("image", "CONTAINS", id)
	}
	text, err := json.MarshalIndent(document, "", " ")
	if err != nil {
		return nil, fmt.Errorf("make the SPDX bill of materials: %w", err)
	}
	return append(text, '\n'), nil
}
