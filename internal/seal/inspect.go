//go:build linux

package seal

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/manifest"
)

// notOnDisk are directories of a running machine that are no part of its image.
var notOnDisk = []string{"/proc", "/sys", "/dev", "/run"}

// notListed are directories whose files are looked through and not listed: what dpkg knows, which the manifest has in
// its own way, and data and caches, which are never the same twice.
var notListed = []string{"/var/lib/dpkg/", "/var/lib/mysql/", "/var/cache/", "/var/lib/systemd/catalog/"}

const (
	// textAtMost is the size up to which a text file is shown to the secret scanner's rules.
	textAtMost = 1 << 20
	// pemAtMost is the size of the part of a file, from its beginning, that is searched for private keys.
	pemAtMost = 4 << 20
	// readers is the number of files that are read at a time.
	readers = 4
)

// inspection holds the findings of one walk over the file system.
type inspection struct {
	mu     sync.Mutex
	faults []Fault
	files  []manifest.File
	texts  []Text
}

// inspect reads every file once: it looks for secrets and private keys, and notes what is not as its package made it.
func inspect(ctx context.Context, root string, needles []needle, owned map[string]string) (*inspection, error) {
	var in inspection
	work := make(chan string)
	var group sync.WaitGroup
	var failure error
	for range readers {
		group.Go(func() {
			for path := range work {
				if err := in.read(root, path, needles, owned); err != nil && !errors.Is(err, fs.ErrNotExist) {
					in.mu.Lock()
					failure = errors.Join(failure, err)
					in.mu.Unlock()
				}
			}
		})
	}
	err := eachFile(root, func(path string) error {
		select {
		case work <- path:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(work)
	group.Wait()
	if err = errors.Join(err, failure); err != nil {
		return nil, fmt.Errorf("read the file system: %w", err)
	}
	slices.SortFunc(in.files, func(a, b manifest.File) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(in.texts, func(a, b Text) int { return strings.Compare(a.Path, b.Path) })
	slices.SortFunc(in.faults, func(a, b Fault) int { return strings.Compare(a.Path+a.Text, b.Path+b.Text) })
	return &in, nil
}

// eachFile calls visit for each regular file and link on the machine's own disk.
func eachFile(root string, visit func(path string) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if d.IsDir() {
			info, gone := d.Info()
			if slices.Contains(notOnDisk, inside(root, path)) ||
				gone == nil && path != root && mountedReadOnly(path, info) {
				return fs.SkipDir
			}
			return nil
		}
		if d.Type()&(fs.ModeSocket|fs.ModeNamedPipe|fs.ModeDevice|fs.ModeCharDevice) != 0 {
			return nil
		}
		return visit(path)
	})
}

// inside is a path as the machine itself has it.
func inside(root, path string) string {
	return "/" + strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
}

func (in *inspection) read(root, path string, needles []needle, owned map[string]string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	name := inside(root, path)
	record := manifest.File{
		Path:  name,
		Mode:  fmt.Sprintf("%04o", permissions(info)),
		Size:  info.Size(),
		Owner: ownerOf(info),
	}
	sum, packaged := owned[name]
	if info.Mode()&fs.ModeSymlink != 0 {
		return in.readLink(path, record, packaged)
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	sha := sha256.New()
	hashes := []io.Writer{sha}
	var theirs hash.Hash
	if sum != "" {
		theirs = md5.New() // what Debian's packages carry; it tells accidents and edits, and proves nothing
		hashes = []io.Writer{theirs}
	}
	var head bytes.Buffer
	stream := io.TeeReader(file, io.MultiWriter(append(hashes, &limited{&head, pemAtMost})...))
	err = search(stream, needles, func(n needle) { in.fault("file system", name, n.String()) })
	if err == nil {
		_, err = io.Copy(io.Discard, stream) // without needles nothing was read yet
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	unchanged := sum != "" && hex.EncodeToString(theirs.Sum(nil)) == sum
	if unchanged {
		if info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) == 0 {
			return nil
		}
		record.Package = true
		in.add(record)
		return nil
	}
	if sum != "" { // it was not hashed this way
		if record.Digest, err = digestOf(path); err != nil {
			return err
		}
		record.Package, record.Changed = true, true
	} else {
		record.Package, record.Digest = packaged, "sha256:"+hex.EncodeToString(sha.Sum(nil))
	}
	if !strings.HasPrefix(name, "/var/lib/dpkg/") {
		in.judge(name, head.Bytes(), info.Size())
	}
	if listed(name) {
		in.add(record)
	}
	return nil
}

// readLink notes a link that is no package's.
func (in *inspection) readLink(path string, record manifest.File, packaged bool) error {
	if packaged {
		return nil
	}
	var err error
	if record.Link, err = os.Readlink(path); err != nil {
		return err
	}
	in.add(record)
	return nil
}

// listed tells whether a file that is no package's belongs into the manifest: caches do not.
func listed(name string) bool {
	return !slices.ContainsFunc(notListed, func(dir string) bool { return strings.HasPrefix(name, dir) }) &&
		!strings.Contains(name, "/__pycache__/")
}

// judge looks for private keys, and notes texts for the scanner's rules.
func (in *inspection) judge(name string, head []byte, size int64) {
	for _, key := range privateKeys(head) {
		in.fault("private key", name, key)
	}
	if size <= textAtMost && isText(head) && !isAssertion(name, head) {
		in.mu.Lock()
		in.texts = append(in.texts, Text{name, bytes.Clone(head)})
		in.mu.Unlock()
	}
}

func (in *inspection) add(file manifest.File) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.files = append(in.files, file)
}

func (in *inspection) fault(item, path, text string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.faults = append(in.faults, Fault{item, path, text})
}

// limited takes the first bytes of a stream and lets the rest pass.
type limited struct {
	buffer *bytes.Buffer
	most   int
}

func (l *limited) Write(p []byte) (int, error) {
	l.buffer.Write(p[:min(len(p), max(0, l.most-l.buffer.Len()))])
	return len(p), nil
}

var beginKey = regexp.MustCompile(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----`)

// privateKeys are the whole private keys in PEM that a text holds, by their kind. A mere mention of the header is none.
func privateKeys(text []byte) []string {
	var found []string
	for _, at := range beginKey.FindAllIndex(text, -1) {
		if block, _ := pem.Decode(text[at[0]:]); block != nil && strings.HasSuffix(block.Type, "PRIVATE KEY") &&
			len(block.Bytes) >= 32 {
			found = append(found, block.Type)
		}
	}
	return found
}

func isText(b []byte) bool { return len(b) > 0 && !bytes.Contains(b[:min(len(b), 8<<10)], []byte{0}) }

func digestOf(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}

func permissions(info fs.FileInfo) uint32 { return info.Sys().(*syscall.Stat_t).Mode & 0o7777 }

func ownerOf(info fs.FileInfo) string {
	stat := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", stat.Uid, stat.Gid)
}

func links(info fs.FileInfo) uint64 { return uint64(info.Sys().(*syscall.Stat_t).Nlink) }

// packageFiles are the files of all installed packages, with their MD5 where the package says it. Paths are as the
// machine has them; where /bin is a link to /usr/bin, both names are there.
func packageFiles(root string) (map[string]string, error) {
	owned := map[string]string{}
	dir := filepath.Join(root, "/var/lib/dpkg/info")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return owned, nil
	}
	if err != nil {
		return nil, err
	}
	add := func(path, sum string) {
		owned[path] = sum
		for _, merged := range []string{"/bin/", "/sbin/", "/lib/", "/lib64/"} {
			if strings.HasPrefix(path, merged) {
				owned["/usr"+path] = sum
			}
		}
	}
	// Sums after names: a name alone must not hide its sum.
	for _, suffix := range []string{".list", ".md5sums"} {
		for _, entry := range entries {
			if filepath.Ext(entry.Name()) != suffix {
				continue
			}
			file, err := os.Open(filepath.Join(dir, entry.Name()))
			if err != nil {
				return nil, err
			}
			for scanner := bufio.NewScanner(file); scanner.Scan(); {
				if suffix == ".list" {
					add(scanner.Text(), "")
				} else if sum, path, ok := strings.Cut(scanner.Text(), "  "); ok {
					add("/"+path, sum)
				}
			}
			file.Close()
		}
	}
	return owned, conffileSums(root, owned)
}

// conffileSums adds the sums of configuration files, which only dpkg's status has.
func conffileSums(root string, owned map[string]string) error {
	packages, err := manifest.ReadPackages(root)
	if err != nil {
		return err
	}
	for _, p := range packages {
		for path, sum := range p.Conffiles {
			owned[path] = sum
		}
	}
	return nil
}
