package access

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/pkg/sftp"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
)

// Files are the files of an instance.
type Files struct {
	conn   *Client
	client *sftp.Client
	root   bool
}

// rootServer starts the SFTP server, wherever the distribution has it, as root.
const rootServer = `sudo -n sh -c '
for dir in /usr/lib/openssh /usr/libexec/openssh /usr/libexec /usr/lib/ssh /usr/lib; do
	[ -x $dir/sftp-server ] && exec $dir/sftp-server
done
echo no sftp-server is installed >&2
exit 127'`

// Files opens the instance's files: those of the user who is logged in or, as root, all.
func (c *Client) Files(root bool) (*Files, error) {
	options := []sftp.ClientOption{sftp.UseConcurrentWrites(true)}
	if !root {
		client, err := sftp.NewClient(c.target, options...)
		if err != nil {
			return nil, fmt.Errorf("open the files of %s by SFTP: %w", c.id, err)
		}
		return &Files{
			conn:   c,
			client: client,
		}, nil
	}
	session, err := c.target.NewSession()
	if err != nil {
		return nil, fmt.Errorf("open the files of %s by SFTP: %w", c.id, err)
	}
	var complaints bytes.Buffer
	session.Stderr = &complaints
	in, err := session.StdinPipe()
	if err != nil {
		return nil, errors.Join(err, session.Close())
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, errors.Join(err, session.Close())
	}
	if err = session.Start(rootServer); err != nil {
		return nil, errors.Join(fmt.Errorf("open the files of %s by sudo and SFTP: %w", c.id, err), session.Close())
	}
	client, err := sftp.NewClientPipe(out, in, options...)
	if err != nil {
		_ = session.Wait() // what it complains of is whole then
		return nil, fmt.Errorf("open the files of %s by sudo and SFTP: %w: %s", c.id, err,
			plaintext.Lines(strings.TrimSpace(complaints.String())))
	}
	return &Files{
		conn:   c,
		client: client,
		root:   true,
	}, nil
}

// Close ends the SFTP session.
func (f *Files) Close() error { return f.client.Close() }

// Download copies files of the instance to this machine. Sources may be patterns.
func (f *Files) Download(ctx context.Context, what Copy) error {
	there := &instanceTree{
		id:     f.conn.id,
		client: f.client,
	}
	var sources []string
	for _, name := range what.Sources {
		found, err := there.expand(home(name))
		if err != nil {
			return fmt.Errorf("read %s: %w", there.label(name), err)
		}
		sources = append(sources, found...)
	}
	return f.copy(ctx, there, localTree{}, what, sources, what.Target)
}

// Upload copies files of this machine to the instance.
func (f *Files) Upload(ctx context.Context, what Copy) error {
	there := &instanceTree{
		id:     f.conn.id,
		client: f.client,
	}
	return f.copy(ctx, localTree{}, there, what, what.Sources, home(what.Target))
}

func (f *Files) copy(ctx context.Context, from source, to target, what Copy, sources []string, name string) error {
	// SFTP knows no context: its connection is closed instead.
	stop := context.AfterFunc(ctx, func() { f.conn.Close() })
	defer stop()
	c := &copier{
		from:      from,
		to:        to,
		recursive: what.Recursive,
		report:    what.Report,
		buffer:    make([]byte, chunk),
	}
	err := c.all(ctx, sources, name)
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	if errors.Is(err, fs.ErrPermission) && !f.root {
		return fmt.Errorf("%w\nhint: --sudo does it as root", err)
	}
	return err
}

// home is a path on an instance without the tilde, which is a shell's and where SFTP begins anyway.
func home(name string) string {
	if name == "" || name == "~" {
		return "."
	}
	if rest, ok := strings.CutPrefix(name, "~/"); ok && rest != "" {
		return rest
	}
	return name
}

// instanceTree is the side of the instance.
type instanceTree struct {
	id     string
	client *sftp.Client
}

// expand returns the paths that match a shell pattern: the name of an existing file is no pattern.
func (t *instanceTree) expand(name string) ([]string, error) {
	if !strings.ContainsAny(name, "*?[") {
		return []string{name}, nil
	}
	if _, err := t.client.Lstat(name); err == nil {
		return []string{name}, nil
	}
	found, err := t.client.Glob(name)
	if err == nil && len(found) == 0 {
		err = fs.ErrNotExist
	}
	return found, err
}

func (t *instanceTree) label(name string) string              { return t.id + ":" + plaintext.Line(name) }
func (t *instanceTree) join(dir, name string) string          { return path.Join(dir, name) }
func (t *instanceTree) split(name string) (dir, base string)  { return path.Dir(name), path.Base(name) }
func (t *instanceTree) stat(name string) (fs.FileInfo, error) { return t.client.Stat(name) }
func (t *instanceTree) remove(name string) error              { return t.client.Remove(name) }

// real follows the last link of a path itself, as not every server does.
func (t *instanceTree) real(name string) (string, error) {
	for range maxLinks {
		whole, err := t.client.RealPath(name)
		if err != nil {
			return "", err
		}
		to, err := t.client.ReadLink(whole)
		if err != nil { // it is no link
			return whole, nil
		}
		if name = to; !path.IsAbs(to) {
			name = path.Join(path.Dir(whole), to)
		}
	}
	return "", errors.New("too many links")
}

// maxLinks is the number of symbolic links that Linux follows in one path.
const maxLinks = 40

func (t *instanceTree) list(dir string) ([]fs.FileInfo, error) { return t.client.ReadDir(dir) }

func (t *instanceTree) open(name string) (io.ReadCloser, error) { return t.client.Open(name) }

func (t *instanceTree) mkdir(name string, mode fs.FileMode) error {
	if err := t.client.Mkdir(name); err != nil {
		return err
	}
	return t.client.Chmod(name, mode&^notOthers)
}

// notOthers are the mode bits that a copy on an instance does not get, as with sshd's umask: writable by group and
// others.
const notOthers = 0o022

func (t *instanceTree) write(name string, flag int, _ fs.FileMode) (io.WriteCloser, error) {
	file, err := t.client.OpenFile(name, flag)
	if err != nil || flag&os.O_CREATE == 0 {
		return file, err
	}
	if err := file.Chmod(0o600); err != nil { // before there is anything in it
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// settle keeps mode and owner of what it replaces.
func (t *instanceTree) settle(part, name string, mode fs.FileMode, old fs.FileInfo) error {
	mode &^= notOthers
	if old != nil {
		mode = old.Mode().Perm()
		made, err := t.client.Stat(part)
		if err != nil {
			return err
		}
		has, wanted := owner(made), owner(old)
		if has != nil && wanted != nil && (has.UID != wanted.UID || has.GID != wanted.GID) {
			if err := t.client.Chown(part, int(wanted.UID), int(wanted.GID)); err != nil {
				return err
			}
		}
	}
	if err := t.client.Chmod(part, mode); err != nil {
		return err
	}
	return t.client.PosixRename(part, name)
}

func owner(info fs.FileInfo) *sftp.FileStat {
	stat, _ := info.Sys().(*sftp.FileStat)
	return stat
}

// localTree is the side of this machine.
type localTree struct{}

func (localTree) label(name string) string     { return name }
func (localTree) join(dir, name string) string { return filepath.Join(dir, name) }
func (localTree) split(name string) (dir, base string) {
	return filepath.Dir(name), filepath.Base(name)
}
func (localTree) stat(name string) (fs.FileInfo, error) { return os.Stat(name) }
func (localTree) remove(name string) error              { return os.Remove(name) }

func (localTree) real(name string) (string, error) {
	whole, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(whole)
}

func (localTree) list(dir string) ([]fs.FileInfo, error) {
	file, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.Readdir(-1)
}

func (localTree) open(name string) (io.ReadCloser, error) { return os.Open(name) }

func (localTree) mkdir(name string, mode fs.FileMode) error { return os.Mkdir(name, mode) }

// write leaves it to the umask what others may do.
func (localTree) write(name string, flag int, mode fs.FileMode) (io.WriteCloser, error) {
	return os.OpenFile(name, flag, mode|0o600)
}

// settle keeps the mode of what it replaces.
func (localTree) settle(part, name string, mode fs.FileMode, old fs.FileInfo) error {
	if old == nil {
		made, err := os.Stat(part)
		if err != nil {
			return err
		}
		mode &= made.Mode().Perm()
	} else {
		mode = old.Mode().Perm()
	}
	if err := os.Chmod(part, mode); err != nil {
		return err
	}
	return os.Rename(part, name)
}
