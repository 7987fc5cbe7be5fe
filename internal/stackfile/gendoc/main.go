// Command gendoc writes the reference of the stack file, docs/stack-file.md, from the comments of the structs that it
// is decoded to. It is run in internal/stackfile, by go generate.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

func main() {
	text, err := generate("../..")
	if err == nil {
		err = os.WriteFile("../../docs/stack-file.md", []byte(text), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// sections are the structs in the order of the page.
var sections = []struct{ heading, name string }{
	{"", "File"},
	{"network", "Network"},
	{`tier "db" and tier "web"`, "Tier"},
	{"rule, in a tier", "Rule"},
	{`tier "db"`, "Database"},
	{`data_volume, in tier "db"`, "DataVolume"},
	{`tier "web"`, "Web"},
	{"health_check", "HealthCheck"},
	{"deploy", "Deploy"},
}

const (
	source  = "internal/stackfile/stackfile.go"
	example = "examples/stack.hcl"
)

// generate makes the page of the repository at root.
func generate(root string) (string, error) {
	docs, structs, err := readStructs(filepath.Join(root, source))
	if err != nil {
		return "", err
	}
	sample, err := os.ReadFile(filepath.Join(root, example))
	if err != nil {
		return "", err
	}
	var page strings.Builder
	fmt.Fprintf(&page, "<!-- Code generated from the comments in %s; DO NOT EDIT. -->\n\n# The stack file\n\n", source)
	for _, section := range sections {
		of, ok := structs[section.name]
		if !ok || docs[section.name] == "" {
			return "", fmt.Errorf("%s has no struct %s with a comment", source, section.name)
		}
		delete(structs, section.name)
		if section.heading != "" {
			fmt.Fprintf(&page, "## %s\n\n", section.heading)
		}
		fmt.Fprintf(&page, "%s\n", withoutName(docs[section.name], section.name))
		if section.heading == "" {
			fmt.Fprintf(
				&page,
				"`goldsmith stack validate stack.hcl` checks a file, and shows what it comes to.\n\n```hcl\n%s```\n\n"+
					"## At the top\n\n",
				sample,
			)
		}
		if err := writeFields(&page, section.name, of); err != nil {
			return "", err
		}
	}
	for name := range structs {
		return "", fmt.Errorf("struct %s of %s is in no section of the page", name, source)
	}
	return strings.TrimSpace(page.String()) + "\n", nil
}

// withoutName is a struct's comment without its subject, the name in Go, which is nobody's on the page.
func withoutName(comment, name string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(comment, name+" "), "is ")
	return strings.ToUpper(rest[:1]) + rest[1:]
}

// readStructs are the structs of a Go file, and their comments.
func readStructs(path string) (docs map[string]string, structs map[string]*ast.StructType, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		return nil, nil, err
	}
	docs, structs = map[string]string{}, map[string]*ast.StructType{}
	for _, d := range file.Decls {
		declaration, ok := d.(*ast.GenDecl)
		if !ok || declaration.Tok != token.TYPE {
			continue
		}
		spec := declaration.Specs[0].(*ast.TypeSpec)
		if of, ok := spec.Type.(*ast.StructType); ok {
			docs[spec.Name.Name], structs[spec.Name.Name] = declaration.Doc.Text(), of
		}
	}
	return docs, structs, nil
}

// kinds are the documentation's names of Go's types.
var kinds = map[string]string{
	"string":            "text",
	"int32":             "number",
	"bool":              "bool",
	"time.Duration":     "duration",
	"netip.Prefix":      "CIDR range",
	"netip.Addr":        "IP address",
	"Operator":          "CIDR range or `auto`",
	"[]string":          "list of texts",
	"[]int32":           "list of numbers",
	"map[string]string": "map of texts",
}

func writeFields(page *strings.Builder, name string, of *ast.StructType) error {
	for _, field := range of.Fields.List {
		if len(field.Names) == 0 {
			continue // it is embedded, and has a section of its own
		}
		if field.Tag == nil || field.Doc.Text() == "" {
			return fmt.Errorf("%s.%s needs a tag and a comment", name, field.Names[0].Name)
		}
		tag, err := strconv.Unquote(field.Tag.Value)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", name, field.Names[0].Name, err)
		}
		called, rest, _ := strings.Cut(reflect.StructTag(tag).Get("hcl"), ",")
		kind, label, isBlock := kinds[types.ExprString(field.Type)], "", strings.HasPrefix(rest, "block")
		if isBlock {
			kind, label = "block", strings.TrimPrefix(strings.TrimPrefix(rest, "block"), ",")
		}
		if kind == "" {
			return fmt.Errorf("%s.%s: what does a user call a %s?", name, field.Names[0].Name,
				types.ExprString(field.Type))
		}
		if label != "" {
			called += fmt.Sprintf(" %q", label)
		}
		comment := strings.ReplaceAll(strings.TrimSpace(field.Doc.Text()), "\n", "\n  ")
		fmt.Fprintf(page, "- `%s` (%s) - %s\n\n", called, kind, comment)
	}
	return nil
}
