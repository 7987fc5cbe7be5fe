package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Copy is a request to copy files or directories.
type Copy struct {
	Sources []string
	// Target is a directory that is there or, for a single source, also the name of the copy.
	Target string
	// Recursive has directories copied, too.
	Recursive bool
	// Report is told how far a file has come. It may be nil.
	Report func(Progress)
}

// Progress is the progress of one file's copy, in bytes.
type Progress struct {
	// Name is the source's.
	Name string
	Done int64
	// Total is the size that the file had at the start. A log may have grown since.
	Total int64
	// End says that the file is copied.
	End bool
}

// chunk is the number of bytes that are read, and then written, at once: enough for SFTP to have many requests under
// way. When the copying of a larger file breaks off, its copied part stays; the next copy goes on at the last whole
// chunk, as the requests of one chunk may be done in any order.
const chunk = 2 << 20

// names has the path rules of one side of a copy: of this machine or of an instance.
type names interface {
	join(dir, name string) string
	split(name string) (dir, base string)
	// real is a path without links and dots.
	real(name string) (string, error)
	// label is a path for people.
	label(name string) string
}

// source is the side that files come from.
type source interface {
	names
	stat(name string) (fs.FileInfo, error)
	list(dir string) ([]fs.FileInfo, error)
	open(name string) (io.ReadCloser, error)
}

// target is the side that files go to.
type target interface {
	names
	stat(name string) (fs.FileInfo, error)
	list(dir string) ([]fs.FileInfo, error)
	// mkdir makes a directory that only its owner may enter, if the mode says so.
	mkdir(name string, mode fs.FileMode) error
	// write opens a file for writing. One that it makes is for nobody who may not have one of that mode.
	write(name string, flag int, mode fs.FileMode) (io.WriteCloser, error)
	// settle gives a finished file its mode and its name, in place of an older file, which is nil if there is none.
	settle(part, name string, mode fs.FileMode, old fs.FileInfo) error
	remove(name string) error
}

// copier copies files from one side to the other.
type copier struct {
	from      source
	to        target
	recursive bool
	report    func(Progress)
	buffer    []byte
}

// all copies all that can be copied, and returns what could not.
func (c *copier) all(ctx context.Context, sources []string, dest string) error {
	info, err := c.to.stat(dest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look at %s: %w", c.to.label(dest), err)
	}
	into := err == nil && info.IsDir()
	wanted := len(sources) > 1 || strings.HasSuffix(dest, "/") || strings.HasSuffix(dest, string(os.PathSeparator))
	if wanted && !into {
		return fmt.Errorf("copy to %s: it is no directory", c.to.label(dest))
	}
	var errs []error
	for _, name := range sources {
		to := dest
		if into {
			base, err := c.base(name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			to = c.to.join(dest, base)
		}
		errs = append(errs, c.one(ctx, name, to, nil))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// base is the name that a source has in the directory that it is copied into.
func (c *copier) base(name string) (string, error) {
	_, base := c.from.split(name)
	if base == "." || base == ".." {
		whole, err := c.from.real(name)
		if err != nil {
			return "", fmt.Errorf("read %s: %w", c.from.label(name), err)
		}
		_, base = c.from.split(whole)
	}
	return base, checkName(base)
}

// checkName refuses names by which an instance would have a file written somewhere else.
func checkName(name string) error {
	if name == "." || strings.ContainsAny(name, "/"+string(os.PathSeparator)) || !filepath.IsLocal(name) {
		return fmt.Errorf("copy %q: that is no name of a file in a directory", name)
	}
	return nil
}

// one copies a file or a directory; above are the directories that it lies in, as far as they are copied too.
func (c *copier) one(ctx context.Context, from, to string, above []string) error {
	if ctx.Err() != nil {
		return fmt.Errorf("copy %s: %w", c.from.label(from), context.Cause(ctx))
	}
	info, err := c.from.stat(from)
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", c.from.label(from), err)
	case info.IsDir() && !c.recursive:
		return fmt.Errorf("copy %s: it is a directory\nhint: --recursive copies directories too", c.from.label(from))
	case info.IsDir():
		return c.directory(ctx, from, to, info.Mode(), above)
	case !info.Mode().IsRegular():
		return fmt.Errorf("copy %s: it is no regular file", c.from.label(from))
	}
	return c.file(ctx, from, to, info)
}

func (c *copier) directory(ctx context.Context, from, to string, mode fs.FileMode, above []string) error {
	whole, err := c.from.real(from)
	if err != nil {
		return fmt.Errorf("read %s: %w", c.from.label(from), err)
	}
	if slices.Contains(above, whole) {
		return fmt.Errorf("copy %s: it is a link to a directory that it lies in", c.from.label(from))
	}
	entries, err := c.from.list(from)
	if err != nil {
		return fmt.Errorf("read %s: %w", c.from.label(from), err)
	}
	if info, err := c.to.stat(to); err != nil {
		if err := c.to.mkdir(to, mode.Perm()|0o700); err != nil {
			return fmt.Errorf("make directory %s: %w", c.to.label(to), err)
		}
	} else if !info.IsDir() {
		return fmt.Errorf("copy to %s: it is no directory", c.to.label(to))
	}
	slices.SortFunc(entries, func(a, b fs.FileInfo) int { return strings.Compare(a.Name(), b.Name()) })
	var errs []error
	for _, entry := range entries {
		if err := checkName(entry.Name()); err != nil {
			errs = append(errs, err)
			continue
		}
		below := append(slices.Clone(above), whole)
		errs = append(errs, c.one(ctx, c.from.join(from, entry.Name()), c.to.join(to, entry.Name()), below))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// file copies a file to a part beside its target, which takes the target's place when it is whole.
func (c *copier) file(ctx context.Context, from, to string, info fs.FileInfo) error {
	in, err := c.from.open(from)
	if err != nil {
		return fmt.Errorf("read %s: %w", c.from.label(from), err)
	}
	defer in.Close()
	old, err := c.to.stat(to)
	if err != nil {
		old = nil
	} else {
		switch {
		case old.IsDir():
			return fmt.Errorf("copy to %s: it is a directory", c.to.label(to))
		case !old.Mode().IsRegular(): // a device, say, of which there is no other
			return c.stream(ctx, in, from, to, info)
		}
		if to, err = c.to.real(to); err != nil {
			return fmt.Errorf("look at %s: %w", c.to.label(to), err)
		}
	}
	part, offset, err := c.part(from, to, info)
	if err != nil {
		return err
	}
	if err := c.fill(ctx, in, from, part, offset, info); err != nil {
		return c.abandon(part, info.Size(), err)
	}
	if err := c.to.settle(part, to, info.Mode().Perm(), old); err != nil {
		return errors.Join(fmt.Errorf("replace %s: %w", c.to.label(to), err), c.to.remove(part))
	}
	c.tell(Progress{Name: from, Done: info.Size(), Total: info.Size(), End: true})
	return nil
}

// abandon keeps what was copied of a large file.
func (c *copier) abandon(part string, size int64, err error) error {
	if size <= chunk {
		_ = c.to.remove(part) // which fails where the connection is gone; it is begun anew then
		return err
	}
	return fmt.Errorf("%w\nhint: what was copied is kept; the same command goes on from there", err)
}

// part is the file that is filled instead of the target, and how much of it is there from a copying that broke off. Its
// name tells the file and its state, so that what is left of another state is not continued, but removed.
func (c *copier) part(from, to string, info fs.FileInfo) (part string, offset int64, err error) {
	whole, err := c.from.real(from)
	if err != nil {
		return "", 0, fmt.Errorf("read %s: %w", c.from.label(from), err)
	}
	state := []string{
		c.from.label(whole),
		strconv.FormatInt(info.Size(), 10),
		strconv.FormatInt(info.ModTime().Unix(), 10),
	}
	sum := sha256.Sum256([]byte(strings.Join(state, "\x00")))
	dir, base := c.to.split(to)
	prefix, name := "."+base+".", "."+base+"."+hex.EncodeToString(sum[:4])+".part"
	part = c.to.join(dir, name)
	if info.Size() <= chunk {
		return part, 0, nil
	}
	entries, err := c.to.list(dir)
	if err != nil {
		return part, 0, nil // what can be written to need not be readable
	}
	for _, entry := range entries {
		switch other := entry.Name(); {
		case other == name && entry.Mode().IsRegular():
			offset = max(0, min(entry.Size(), info.Size())-1) / chunk * chunk
		case len(other) == len(name) && strings.HasPrefix(other, prefix) && strings.HasSuffix(other, ".part"):
			if err := c.to.remove(c.to.join(dir, other)); err != nil {
				return "", 0, fmt.Errorf("remove %s: %w", c.to.label(c.to.join(dir, other)), err)
			}
		}
	}
	return part, offset, nil
}

// fill copies from an offset on.
func (c *copier) fill(ctx context.Context, in io.Reader, from, part string, offset int64, info fs.FileInfo) error {
	flag := os.O_WRONLY | os.O_CREATE
	if offset == 0 {
		flag |= os.O_TRUNC
	}
	out, err := c.to.write(part, flag, info.Mode().Perm())
	if err != nil {
		return fmt.Errorf("write %s: %w", c.to.label(part), err)
	}
	if err = seekBoth(in, out, offset); err != nil {
		return errors.Join(fmt.Errorf("go on with %s: %w", c.to.label(part), err), out.Close())
	}
	done, err := c.pour(ctx, in, out, from, offset, info.Size())
	if err == nil && done < info.Size() {
		err = fmt.Errorf("read %s: it ends after %d of %d bytes", c.from.label(from), done, info.Size())
	}
	if closed := out.Close(); err == nil && closed != nil {
		err = fmt.Errorf("write %s: %w", c.to.label(part), closed)
	}
	return err
}

func seekBoth(in io.Reader, out io.Writer, offset int64) error {
	if offset == 0 {
		return nil
	}
	for _, side := range []any{in, out} {
		seeker, ok := side.(io.Seeker)
		if !ok {
			return errors.ErrUnsupported
		}
		if _, err := seeker.Seek(offset, io.SeekStart); err != nil {
			return err
		}
	}
	return nil
}

// stream copies to what is no regular file.
func (c *copier) stream(ctx context.Context, in io.Reader, from, to string, info fs.FileInfo) error {
	out, err := c.to.write(to, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write %s: %w", c.to.label(to), err)
	}
	if _, err := c.pour(ctx, in, out, from, 0, info.Size()); err != nil {
		return errors.Join(err, out.Close())
	}
	c.tell(Progress{Name: from, Done: info.Size(), Total: info.Size(), End: true})
	return out.Close()
}

// pour copies until the end, and returns how much of the file has been copied then.
func (c *copier) pour(ctx context.Context, in io.Reader, out io.Writer, from string, done, size int64) (int64, error) {
	buffer := c.buffer
	if size == 0 {
		// The kernel's own files have no size, and give less at once than is asked for, which SFTP takes for the end
		// where many requests are under way.
		buffer = buffer[:32<<10]
	}
	for {
		if ctx.Err() != nil {
			return done, fmt.Errorf("copy %s: %w", c.from.label(from), context.Cause(ctx))
		}
		n, err := io.ReadFull(in, buffer)
		if n > 0 {
			if _, writeErr := out.Write(buffer[:n]); writeErr != nil {
				return done, fmt.Errorf("write the copy of %s: %w", c.from.label(from), writeErr)
			}
			done += int64(n)
			c.tell(Progress{Name: from, Done: done, Total: max(done, size)})
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return done, nil
		}
		if err != nil {
			return done, fmt.Errorf("read %s: %w", c.from.label(from), err)
		}
	}
}

func (c *copier) tell(p Progress) {
	if c.report != nil {
		c.report(p)
	}
}
