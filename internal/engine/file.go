package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/diff"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// diffLimit is the size from which a file's content is not shown but counted.
const diffLimit = 64 << 10

// attributes are a file's mode and owner.
type attributes struct {
	mode     fs.FileMode // permission and special bits
	uid, gid int
}

// wantedAttributes reads what a task says; what it does not say is root's, or of the current user where that is not
// root.
func wantedAttributes(mode, owner, group, defaultMode string) (attributes, error) {
	if mode == "" {
		mode = defaultMode
	}
	bits, err := strconv.ParseUint(mode, 8, 32)
	if err != nil {
		return attributes{}, fmt.Errorf("mode %q: %w", mode, err)
	}
	a := attributes{mode: fs.FileMode(bits & 0o777), uid: os.Geteuid(), gid: os.Getegid()}
	for bit, flag := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			a.mode |= flag
		}
	}
	if owner != "" {
		found, err := user.Lookup(owner)
		if err != nil {
			return attributes{}, fmt.Errorf("owner: %w", err)
		}
		a.uid, _ = strconv.Atoi(found.Uid)
	}
	if group != "" {
		found, err := user.LookupGroup(group)
		if err != nil {
			return attributes{}, fmt.Errorf("group: %w", err)
		}
		a.gid, _ = strconv.Atoi(found.Gid)
	}
	return a, nil
}

func attributesOf(info fs.FileInfo) attributes {
	stat := info.Sys().(*syscall.Stat_t)
	return attributes{mode: info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky), uid: int(stat.Uid), gid: int(stat.Gid)}
}

// diff says what is different, a line each.
func (a attributes) diff(wanted attributes) string {
	var lines []string
	if a.mode != wanted.mode {
		lines = append(lines, fmt.Sprintf("mode: %v -> %v", a.mode, wanted.mode))
	}
	if a.uid != wanted.uid || a.gid != wanted.gid {
		lines = append(lines, fmt.Sprintf("owner: %d:%d -> %d:%d", a.uid, a.gid, wanted.uid, wanted.gid))
	}
	return strings.Join(lines, "\n")
}

// set changes mode and owner. The owner goes first: changing it clears set-id bits.
func (a attributes) set(path string) error {
	return errors.Join(os.Lchown(path, a.uid, a.gid), os.Chmod(path, a.mode))
}

type fileCheck struct {
	task.File
	run runner
}

func (f fileCheck) check(context.Context) (*change, error) {
	if f.State == task.Absent {
		return absent(f.Path, os.Remove, false)
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
	info, err := os.Lstat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		shown, err := contentDiff(f.Path, nil, content, f.Content.Size)
		return &change{diff: shown, apply: func(ctx context.Context) error { return f.write(ctx, wanted) }}, err
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("write %s: it is there and no regular file, but %s", f.Path, info.Mode().Type())
	}
	shown, err := f.compare(info, content)
	if err != nil {
		return nil, err
	}
	if attributes := attributesOf(info).diff(wanted); attributes != "" && shown == "" {
		return &change{diff: attributes, apply: func(context.Context) error { return wanted.set(f.Path) }}, nil
	}
	if shown == "" {
		return nil, nil
	}
	return &change{diff: shown, apply: func(ctx context.Context) error { return f.write(ctx, wanted) }}, nil
}

// compare shows the difference of content; empty means there is none. A file of the right size is compared by digest.
func (f fileCheck) compare(info fs.FileInfo, content io.Reader) (string, error) {
	is, err := os.Open(f.Path)
	if err != nil {
		return "", err
	}
	defer is.Close()
	if info.Size() == f.Content.Size {
		there, err := task.FileBlob(f.Path)
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

func (f fileCheck) write(ctx context.Context, wanted attributes) error {
	content, err := f.Content.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	return replaceFile(f.Path, content, wanted, func(temporary string) error {
		if len(f.Test) == 0 {
			return nil
		}
		argv := make([]string, len(f.Test))
		for i, argument := range f.Test {
			argv[i] = strings.ReplaceAll(argument, "%s", temporary)
		}
		if err := f.run.call(ctx, argv...); err != nil {
			return fmt.Errorf("validate the new %s: %w", f.Path, err)
		}
		return nil
	})
}

// replaceFile puts content in a file's place as a whole or not at all: into a temporary file beside it, to the disk,
// and then under the name. test sees the temporary file before.
func replaceFile(path string, content io.Reader, wanted attributes, test func(temporary string) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".goldsmith-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := wanted.set(f.Name()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := test(f.Name()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func untested(string) error { return nil }

// absent is the removal of what is at a path.
func absent(path string, remove func(string) error, all bool) (*change, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() != all {
		return nil, fmt.Errorf("remove %s: it is %s, another kind of thing than the task says", path, info.Mode().Type())
	}
	return &change{diff: "remove " + path, apply: func(context.Context) error { return remove(path) }}, nil
}

type directoryCheck struct{ task.Directory }

func (d directoryCheck) check(context.Context) (*change, error) {
	if d.State == task.Absent {
		return absent(d.Path, os.RemoveAll, true)
	}
	wanted, err := wantedAttributes(d.Mode, d.Owner, d.Group, "0755")
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return &change{diff: "create directory " + d.Path, apply: func(context.Context) error {
			if err := os.MkdirAll(d.Path, 0o755); err != nil {
				return err
			}
			return wanted.set(d.Path)
		}}, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("make directory %s: it is there and no directory", d.Path)
	}
	if shown := attributesOf(info).diff(wanted); shown != "" {
		return &change{diff: shown, apply: func(context.Context) error { return wanted.set(d.Path) }}, nil
	}
	return nil, nil
}

type linkCheck struct{ task.Link }

func (l linkCheck) check(context.Context) (*change, error) {
	info, err := os.Lstat(l.Path)
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if there && info.Mode().Type() != fs.ModeSymlink {
		return nil, fmt.Errorf("link %s: it is there and no symbolic link", l.Path)
	}
	if l.State == task.Absent {
		if !there {
			return nil, nil
		}
		return &change{diff: "remove " + l.Path, apply: func(context.Context) error { return os.Remove(l.Path) }}, nil
	}
	target := ""
	if there {
		if target, err = os.Readlink(l.Path); err != nil {
			return nil, err
		}
	}
	if target == l.Target {
		return nil, nil
	}
	return &change{diff: fmt.Sprintf("%s: %q -> %q", l.Path, target, l.Target), apply: func(context.Context) error {
		temporary := l.Path + ".goldsmith-new"
		return errors.Join(os.Symlink(l.Target, temporary), os.Rename(temporary, l.Path))
	}}, nil
}
