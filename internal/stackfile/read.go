package stackfile

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// sizeLimit is far more than the longest file with a meaning has.
const sizeLimit = 128 << 10

// Read reads a stack file. What is wrong with its content comes as Faults.
func Read(path string) (*File, error) {
	source, err := readLimited(path, sizeLimit)
	if err != nil {
		return nil, fmt.Errorf("read the stack file: %w", err)
	}
	return parse(path, source)
}

// Default is the stack of an empty file, and of none at all.
func Default() *File {
	f, err := parse("", nil)
	if err != nil {
		panic(err) // no input leads here
	}
	return f
}

// Named is the default stack under another name.
func Named(name string) (*File, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	f := Default()
	f.Name = name
	return f, nil
}

// CheckName tells what is wrong with a stack's name, if anything is.
func CheckName(name string) error {
	if !stackName.MatchString(name) {
		return fmt.Errorf("stack %q: 1 to 32 lower-case letters, digits and dashes are needed", name)
	}
	return nil
}

// readLimited reads a regular file. Another would be waited for, a pipe say, or never end.
func readLimited(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s should be a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes, which are all that is taken", path, limit)
	}
	return content, nil
}

// Faults are all that is wrong with a file, in its order.
type Faults hcl.Diagnostics

// Error is a line for each: the place, what it is about, what is wrong and what would be right.
func (f Faults) Error() string {
	var lines []string
	for _, d := range f {
		lines = append(
			lines,
			fmt.Sprintf("%s:%d,%d: %s: %s", d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column,
				d.Summary, d.Detail),
		)
	}
	return strings.Join(lines, "\n")
}

// parse decodes and checks a file's content. path is its name in messages; other files are relative to its directory.
func parse(path string, source []byte) (*File, error) {
	r := &reader{directory: filepath.Dir(path)}
	if deep := tooDeep(path, source); deep != nil {
		r.faultAt(*deep, newBlock("", *deep), "nesting",
			"more than %d brackets and operators are open here; there should be a few", depthLimit)
		return nil, r.sorted(r.faults)
	}
	parsed, diags := hclsyntax.ParseConfig(source, path, hcl.InitialPos)
	if diags.HasErrors() {
		// What follows from a broken syntax would only hide it.
		return nil, r.sorted(diags)
	}
	f := defaults()
	top := newBlock("", parsed.Body.MissingItemRange())
	r.decode(top, parsed.Body, reflect.ValueOf(f).Elem())
	r.checkFile(f, top)
	if len(r.faults) > 0 {
		return nil, r.sorted(r.faults)
	}
	return f, nil
}

// reader reads one file, and collects its faults.
type reader struct {
	directory string
	faults    hcl.Diagnostics
}

func (r *reader) sorted(faults hcl.Diagnostics) Faults {
	for _, d := range faults {
		if d.Subject == nil {
			d.Subject = &hcl.Range{Start: hcl.InitialPos}
		}
	}
	slices.SortStableFunc(
		faults,
		func(a, b *hcl.Diagnostic) int { return cmp.Compare(a.Subject.Start.Byte, b.Subject.Start.Byte) },
	)
	return Faults(faults)
}

// block is a block of the file, or the file itself: its place, and those of its attributes and blocks.
type block struct {
	title string    // of messages, such as `tier "db": data_volume`; empty for the file itself
	place hcl.Range // of the block's head
	// values are the places of the attributes that are given, and of their elements: tags, tags["team"],
	// checkpoints[0].
	values map[string]hcl.Range
	blocks map[string][]*block // by their heads, such as `tier "db"`
	faulty map[string]bool     // attributes that something is wrong with
}

func newBlock(title string, place hcl.Range) *block {
	return &block{
		title:  title,
		place:  place,
		values: map[string]hcl.Range{},
		blocks: map[string][]*block{},
		faulty: map[string]bool{},
	}
}

// child is the block of this head, or an empty one.
func (b *block) child(head string) *block {
	if found := b.blocks[head]; len(found) > 0 {
		return found[0]
	}
	return newBlock(head, b.place)
}

// given tells whether the attribute is in the file, right or wrong.
func (b *block) given(name string) bool {
	_, ok := b.values[name]
	return ok
}

// good tells whether nothing is known to be wrong with these attributes.
func (b *block) good(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return b.faulty[name] })
}

// fault says what is wrong with an attribute, at its place, or at the block's if it is missing; without a name, with
// the block. The first fault of an attribute is told; another would most likely follow from it.
func (r *reader) fault(b *block, name, format string, args ...any) {
	place, ok := b.values[name]
	if !ok {
		place = b.place
	}
	r.faultAt(place, b, name, format, args...)
}

func (r *reader) faultAt(place hcl.Range, b *block, name, format string, args ...any) {
	if b.faulty[name] {
		return
	}
	b.faulty[name] = true
	about := slices.DeleteFunc([]string{b.title, name}, func(part string) bool { return part == "" })
	r.faults = append(
		r.faults,
		&hcl.Diagnostic{
			Severity: hcl.DiagError,
			Summary:  strings.Join(about, ": "),
			Detail:   fmt.Sprintf(format, args...),
			Subject:  &place,
		},
	)
}
