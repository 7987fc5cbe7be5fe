package task

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/diff"
)

// File is a regular file with this content, mode and owner.
type File struct {
	Path    string `json:"path"`
	Content Blob   `json:"-"`
	// Mode is octal, as in "0644" (default).
	Mode  string `json:"mode,omitempty"`
	Owner string `json:"owner,omitempty"` // default root
	Group string `json:"group,omitempty"` // default root
	// Test is a command that must succeed with the new content before it takes the file's place; %s in an argument
	// stands for the temporary file. Ansible and the wire call it validate.
	Test []string `json:"validate,omitempty"`
	// State is present (default) or absent.
	State string `json:"state,omitempty"`
}

// FileBlock is a file with this content, mode and owner.
type FileBlock struct {
	// Where it is on the instance.
	Path string `mapstructure:"path" required:"true"`
	// The content. Either this or `source`.
	Content string `mapstructure:"content"`
	// A file on this machine with the content. Either this or `content`.
	Source string `mapstructure:"source"`
	// The mode in octal. The default is `0644`.
	Mode string `mapstructure:"mode"`
	// The owner. The default is root.
	Owner string `mapstructure:"owner"`
	// The group. The default is root.
	Group string `mapstructure:"group"`
	// A command that must succeed with the new content before it takes the file's place; `%s` is the new file.
	Validate []string `mapstructure:"validate"`
	// `present` (the default) or `absent`.
	State string `mapstructure:"state"`
}

// Kind is "file".
func (File) Kind() string { return "file" }

// Kind is "file".
func (FileBlock) Kind() string { return "file" }

// Spec takes the content as it is, without rendering it.
func (b FileBlock) Spec(func(string) ([]byte, error)) (Spec, error) {
	spec := File{
		Path:  b.Path,
		Mode:  b.Mode,
		Owner: b.Owner,
		Group: b.Group,
		Test:  b.Validate,
		State: b.State,
	}
	if b.State == Absent {
		return spec, nil
	}
	if b.Content != "" && b.Source != "" {
		return nil, errors.New("content: it cannot go with source; take one out")
	}
	spec.Content = Bytes([]byte(b.Content))
	if b.Source != "" {
		blob, err := FileBlob(b.Source)
		if err != nil {
			return nil, fmt.Errorf("source: %w", err)
		}
		spec.Content = blob
	}
	return spec, nil
}

// Validate reports what is wrong with the description.
func (f File) Validate() error {
	return errors.Join(checkPath("path", f.Path), checkMode(f.Mode),
		optional(f.Owner, checkName("owner", userName, f.Owner)),
		optional(f.Group, checkName("group", userName, f.Group)), oneOf("state", f.State, Present, Absent),
		checkContent(f.State, f.Content))
}

func (f File) content() Blob { return f.Content }

func (f File) withContent(blob Blob) (Spec, error) {
	f.Content = blob
	return f, nil
}

// Check compares the file's content by its digest, and its mode and owner.
func (f File) Check(context.Context, Machine) (Difference, error) {
	if f.State == Absent {
		return checkAbsent(f.Path, false)
	}
	wanted, err := wantedAttributes(f.Mode, f.Owner, f.Group, "0644")
	if err != nil {
		return nil, err
	}
	content, err := f.Content.Open()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	write := writeFile{path: f.Path, content: f.Content, wanted: wanted, test: f.Test}
	info, err := os.Lstat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		write.shown, err = contentDiff(f.Path, nil, content, f.Content.Size)
		return write, err
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("write %s: it is there and no regular file, but %s", f.Path, info.Mode().Type())
	}
	if write.shown, err = f.compare(info, content); err != nil {
		return nil, err
	}
	if write.shown != "" {
		return write, nil
	}
	if shown := attributesOf(info).diff(wanted); shown != "" {
		return setAttributes{path: f.Path, wanted: wanted, shown: shown}, nil
	}
	return nil, nil
}

// compare shows the difference of content; empty means there is none. A file of the right size is compared by digest.
func (f File) compare(info fs.FileInfo, content io.Reader) (string, error) {
	is, err := os.Open(f.Path)
	if err != nil {
		return "", err
	}
	defer is.Close()
	if info.Size() == f.Content.Size {
		there, err := FileBlob(f.Path)
		if err != nil {
			return "", err
		}
		if there.Digest == f.Content.Digest {
			return "", nil
		}
	}
	if info.Size() > diffLimit || f.Content.Size > diffLimit {
		return fmt.Sprintf("content: %d bytes -> %d bytes (%s)", info.Size(), f.Content.Size, f.Content.Digest), nil
	}
	return contentDiff(f.Path, is, content, f.Content.Size)
}

// diffLimit is the size from which a content is not shown but counted.
const diffLimit = 64 << 10

// contentDiff shows two texts in the unified format, and of binary or large content the size.
func contentDiff(path string, is, should io.Reader, size int64) (string, error) {
	if size > diffLimit {
		return fmt.Sprintf("content: %d bytes", size), nil
	}
	var before []byte
	if is != nil {
		var err error
		if before, err = io.ReadAll(is); err != nil {
			return "", err
		}
	}
	after, err := io.ReadAll(should)
	if err != nil {
		return "", err
	}
	if bytes.IndexByte(before, 0) >= 0 || bytes.IndexByte(after, 0) >= 0 {
		return fmt.Sprintf("content: %d bytes -> %d bytes, binary", len(before), len(after)), nil
	}
	if shown := diff.Diff(path, before, path, after); len(shown) > 0 {
		return string(shown), nil
	}
	return "create " + path, nil
}

// writeFile is the difference of a file that is not there, or has another content.
type writeFile struct {
	path    string
	content Blob
	wanted  attributes
	test    []string // File.Test
	shown   string
}

func (d writeFile) String() string { return d.shown }

// Apply puts the content in the file's place as a whole or not at all: into a temporary file beside it, to the disk,
// and then under the name. The temporary file is closed before the test, which may want to run it; that is why
// renameio, which closes it last, does not do this.
func (d writeFile) Apply(ctx context.Context, m Machine) error {
	content, err := d.content.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	f, err := os.CreateTemp(filepath.Dir(d.path), "."+filepath.Base(d.path)+".goldsmith-")
	if err != nil {
		return fmt.Errorf("write %s: %w", d.path, err)
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", d.path, err)
	}
	if err := d.wanted.set(f.Name()); err != nil {
		return fmt.Errorf("write %s: %w", d.path, err)
	}
	if err := d.runTest(ctx, m, f.Name()); err != nil {
		return fmt.Errorf("validate the new %s: %w", d.path, err)
	}
	return os.Rename(f.Name(), d.path)
}

func (d writeFile) runTest(ctx context.Context, m Machine, temporary string) error {
	if len(d.test) == 0 {
		return nil
	}
	argv := make([]string, len(d.test))
	for i, argument := range d.test {
		argv[i] = strings.ReplaceAll(argument, "%s", temporary)
	}
	return m.Run.Call(ctx, argv...)
}

// checkAbsent is the difference to nothing at a path; a directory is removed with all that is in it.
func checkAbsent(path string, directory bool) (Difference, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() != directory {
		return nil, fmt.Errorf(
			"remove %s: it is %s, another kind of thing than the task says",
			path,
			info.Mode().Type(),
		)
	}
	return removePath{path: path, directory: directory}, nil
}

// removePath is the difference of what should not be there.
type removePath struct {
	path      string
	directory bool
}

func (d removePath) String() string { return "remove " + d.path }

func (d removePath) Apply(context.Context, Machine) error {
	if d.directory {
		return os.RemoveAll(d.path)
	}
	return os.Remove(d.path)
}
