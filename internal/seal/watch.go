//go:build linux

package seal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// pathsTold is the largest number of paths in Changes.
const pathsTold = 20

// afterSeal are patterns of files that a machine goes on writing by itself until it has stopped: records of logins,
// leases, the state of clocks and of network managers. ~ is each user's home directory; ** at the end is everything
// below.
var afterSeal = []string{
	"/var/log/wtmp",
	"/var/log/btmp",
	"/var/log/lastlog",
	"/var/log/faillog",
	"/var/log/wtmp.db",
	"/var/lib/wtmpdb/**",
	"/var/lib/lastlog/**",
	"/var/lib/systemd/timers/**",
	"/var/lib/systemd/network/**",
	"/var/lib/systemd/random-seed",
	"/var/lib/systemd/linger/**",
	"/var/lib/systemd/timesync/**",
	"/var/lib/private/systemd/timesync/**",
	"/var/lib/chrony/**",
	"/var/lib/ntp/**",
	"/var/lib/ntpsec/**",
	"/var/lib/dhcp/**",
	"/var/lib/dhclient/**",
	"/var/lib/dhcpcd/**",
	"/var/lib/NetworkManager/**",
	"/etc/resolv.conf",
	"/var/lib/amazon/ssm/**",
	"~/.cache/motd.legal-displayed",
}

// stamp are the inode fields by which a change of a file is seen. No program can set the time of its last change
// (ctime), and a clock that is set back does not matter either: it is compared for equality.
type stamp struct {
	changed syscall.Timespec
	size    int64
	mode    uint32
	owner   [2]uint32
}

// snapshot is the state of all files of the image.
type snapshot struct {
	root  string
	files map[string]stamp
}

// look notes the state of the files below root that are part of an image.
func look(root string) (snapshot, error) {
	s := snapshot{root, map[string]stamp{}}
	homes, err := homeDirectories(root)
	if err != nil {
		return s, err
	}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		elsewhere := path != root && (mountedReadOnly(path, info) || mountedInMemory(path, info))
		if d.IsDir() && (elsewhere || slices.Contains(notOnDisk, inside(root, path))) {
			return fs.SkipDir
		}
		if byItself(root, path, homes) {
			return nil
		}
		is := stampOf(info)
		if d.IsDir() { // what is in it changes these, and is noted by itself
			is.changed, is.size = syscall.Timespec{}, 0
		}
		s.files[path] = is
		return nil
	})
	return s, err
}

func stampOf(info fs.FileInfo) stamp {
	stat := info.Sys().(*syscall.Stat_t)
	return stamp{changed: stat.Ctim, size: stat.Size, mode: stat.Mode, owner: [2]uint32{stat.Uid, stat.Gid}}
}

// byItself says whether a path is one that a machine goes on writing by itself.
func byItself(root, path string, homes []string) bool {
	return slices.ContainsFunc(afterSeal, func(pattern string) bool {
		bases := []string{root}
		if rest, ok := strings.CutPrefix(pattern, "~"); ok {
			bases, pattern = homes, rest
		}
		return slices.ContainsFunc(bases, func(base string) bool {
			whole := filepath.Join(base, pattern)
			if below, ok := strings.CutSuffix(whole, "/**"); ok {
				return path == below || strings.HasPrefix(path, below+"/")
			}
			return path == whole
		})
	})
}

// changes are the files that are new or not as they were. What is gone is no matter: nothing of it is in the image.
func (s snapshot) changes() (Changes, error) {
	now, err := look(s.root)
	if err != nil {
		return Changes{}, err
	}
	var changed []string
	for path, is := range now.files {
		if was, known := s.files[path]; !known || was != is {
			changed = append(changed, inside(s.root, path))
		}
	}
	slices.Sort(changed)
	return Changes{Paths: changed[:min(len(changed), pathsTold)], Count: len(changed)}, nil
}

// Watch notes the state of the machine, says so by closing ready, and then tells everybody who reads Since what was
// changed since then. It returns only with an error.
func Watch(ready io.Closer) error { return watch("/", Since, ready) }

func watch(root, since string, ready io.Closer) error {
	sealed, err := look(root)
	if err != nil {
		return fmt.Errorf("note the state of the files: %w", err)
	}
	if err := errors.Join(layPipe(since), ready.Close()); err != nil {
		return err
	}
	for {
		pipe, err := os.OpenFile(since, os.O_WRONLY, 0) // waits for a reader
		if err != nil {
			return err
		}
		// A new pipe for the next one: a reader must not get two answers, nor wait for one that was given to another.
		if err = layPipe(since); err != nil {
			return err
		}
		changes, err := sealed.changes()
		if err == nil {
			_ = json.NewEncoder(pipe).Encode(changes) // a reader that is gone again is no matter
		}
		if err = errors.Join(err, pipe.Close()); err != nil {
			return err
		}
	}
}

// layPipe puts a new named pipe in the place of what is there.
func layPipe(path string) error {
	next := path + ".next"
	err := errors.Join(removeFile(next)(""), syscall.Mkfifo(next, 0o644), os.Chmod(next, 0o644))
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		return fmt.Errorf("make the pipe %s: %w", path, err)
	}
	return nil
}

// StartWatch starts a process that does what Watch does, as the agent's command of that name, and outlives the one that
// starts it. The program's own file may be gone.
func StartWatch(ctx context.Context, command string) error {
	noted, ready, err := os.Pipe()
	if err != nil {
		return err
	}
	defer noted.Close()
	watcher := exec.Command("/proc/self/exe", command)
	watcher.Args[0] = "goldsmith-agent"
	watcher.Dir = "/"
	watcher.ExtraFiles = []*os.File{ready}
	watcher.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = errors.Join(watcher.Start(), ready.Close())
	if err != nil {
		return fmt.Errorf("watch what is changed after the seal: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = watcher.Process.Kill() })
	defer stop()
	if _, err := noted.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("watch what is changed after the seal: %w", err)
	}
	if _, err := os.Stat(Since); err != nil || ctx.Err() != nil { // it ended without having noted anything
		return fmt.Errorf("watch what is changed after the seal: it ended: %w", errors.Join(err, ctx.Err()))
	}
	return watcher.Process.Release()
}
