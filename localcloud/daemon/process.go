package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
)

// Running says of a cloud that is up where it is reached; it is the content of its ready file, daemon.json.
type Running struct {
	PID      int       `json:"pid"`
	Endpoint string    `json:"endpoint"`
	Since    time.Time `json:"since"`
}

// ErrDown says that a cloud is not up.
var ErrDown = errors.New("it is not up")

var errNotRoot = errors.New("namespaces and mounts need root\nhint: run it with sudo")

// progressFD is the file descriptor on which a daemon tells its progress to the process that started it.
const progressFD = 3

// stopDeadline is how long a daemon may take to end: its machines are powered off.
const stopDeadline = 90 * time.Second

// Endpoint is where a cloud of this name has its API, whether it is up or not.
func Endpoint(name string) (string, error) {
	config, err := hostConfig(name)
	if err != nil {
		return "", err
	}
	addresses, err := host.AddressesOf(config)
	if err != nil {
		return "", err
	}
	return "http://" + addresses.API.String(), nil
}

// Find tells whether a cloud is up; its error is ErrDown if it is not.
func Find(name string) (Running, error) {
	config, err := hostConfig(name)
	if err != nil {
		return Running{}, fmt.Errorf("find: %w", err)
	}
	held, err := lockHeld(daemonLock(name))
	if errors.Is(err, fs.ErrPermission) {
		return Running{}, fmt.Errorf("find cloud %s: %w\nhint: run it with sudo", name, err)
	}
	if err != nil {
		return Running{}, fmt.Errorf("find cloud %s: %w", name, err)
	}
	content, err := os.ReadFile(readyPath(config.RunDir))
	if !held || errors.Is(err, fs.ErrNotExist) {
		return Running{}, fmt.Errorf("find cloud %s: %w", name, ErrDown)
	}
	if err != nil {
		return Running{}, fmt.Errorf("find cloud %s: %w", name, err)
	}
	var running Running
	if err := json.Unmarshal(content, &running); err != nil {
		return Running{}, fmt.Errorf("read %s: %w", readyPath(config.RunDir), err)
	}
	return running, nil
}

// Start starts a daemon as a process of its own that outlives this one, and waits until it serves. argv is the command
// that runs Serve with FromStarter's Progress. If ctx ends first, so does the daemon.
func Start(ctx context.Context, name string, argv []string, progress func(string)) (Running, error) {
	config, err := hostConfig(name)
	if err != nil {
		return Running{}, fmt.Errorf("start: %w", err)
	}
	if os.Geteuid() != 0 {
		return Running{}, fmt.Errorf("start cloud %s: %w", name, errNotRoot)
	}
	unlock, err := lock(ctx, startLock(name))
	if err != nil {
		return Running{}, fmt.Errorf("start cloud %s: %w", name, err)
	}
	defer unlock()
	if running, err := Find(name); err == nil && running.answers(ctx) {
		return running, nil
	}
	if err := stop(ctx, name); err != nil { // what a crash left, one that just ends, or one that never became ready
		return Running{}, err
	}
	last, err := spawn(ctx, argv, progress)
	if err != nil {
		return Running{}, fmt.Errorf("start cloud %s: %w", name, err)
	}
	running, err := Find(name)
	if errors.Is(err, ErrDown) {
		return Running{}, fmt.Errorf("start cloud %s: %s\nhint: the whole story is in %s", name, last, logPath(config))
	}
	return running, err
}

// answers tells whether the cloud really serves: a process that is being killed holds its lock for a moment more.
func (r Running) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Endpoint+"/latest/checkip", nil)
	if err != nil {
		return false
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusForbidden // nobody signed it
}

// spawn starts the daemon and passes its progress on until it closes that; what it said last is returned.
func spawn(ctx context.Context, argv []string, progress func(string)) (last string, err error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer reader.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.ExtraFiles = []*os.File{writer}
	// Go makes the new mount namespace's mounts private, so that nothing mounted in it is seen outside.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Unshareflags: syscall.CLONE_NEWNS}
	err = cmd.Start()
	writer.Close()
	if err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	for lines := bufio.NewScanner(reader); lines.Scan(); {
		last = lines.Text()
		progress(last)
	}
	if ctx.Err() != nil {
		return last, errors.Join(ctx.Err(), cmd.Wait())
	}
	return last, cmd.Process.Release()
}

// FromStarter is how a daemon that Start started tells its progress, and that there is no more to tell.
func FromStarter() (progress func(string), done func()) {
	// Machines and their helpers are not to keep the starter waiting.
	unix.CloseOnExec(progressFD)
	pipe := os.NewFile(progressFD, "progress")
	progress = func(line string) { fmt.Fprintln(pipe, strings.ReplaceAll(strings.TrimSpace(line), "\n", "; ")) }
	return progress, func() { pipe.Close() }
}

// startLock is held by whoever starts a cloud, stops or destroys it, so that none of them meets another half way.
func startLock(name string) string { return filepath.Join(runRoot, name+".start.lock") }

// Stop ends a cloud's daemon, if there is one, and clears what a crashed one left. What users made is kept.
func Stop(ctx context.Context, name string) error { return locked(ctx, name, stop) }

// Exists tells whether there is a cloud of this name, up or down.
func Exists(name string) (bool, error) {
	config, err := hostConfig(name)
	if err != nil {
		return false, err
	}
	return host.Exists(config)
}

// Destroy stops a cloud and removes all that users made in it.
func Destroy(ctx context.Context, name string) error {
	return locked(ctx, name, func(ctx context.Context, name string) error {
		if err := stop(ctx, name); err != nil {
			return err
		}
		config, err := hostConfig(name)
		if err != nil {
			return err
		}
		return host.Destroy(config)
	})
}

func locked(ctx context.Context, name string, do func(context.Context, string) error) error {
	if err := host.CheckName(name); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("stop cloud %s: %w", name, errNotRoot)
	}
	unlock, err := lock(ctx, startLock(name))
	if err != nil {
		return fmt.Errorf("stop cloud %s: %w", name, err)
	}
	defer unlock()
	return do(ctx, name)
}

func stop(ctx context.Context, name string) error {
	if err := stopProcess(ctx, name); err != nil {
		return fmt.Errorf("stop cloud %s: %w", name, err)
	}
	config, err := hostConfig(name)
	if err != nil {
		return err
	}
	return host.Clear(config)
}

// stopProcess asks the process that holds the daemon's lock to end, and makes it if it does not.
func stopProcess(ctx context.Context, name string) error {
	path := daemonLock(name)
	for _, step := range []struct {
		signal   syscall.Signal
		deadline time.Duration
	}{{syscall.SIGTERM, stopDeadline}, {syscall.SIGKILL, 5 * time.Second}} {
		held, err := lockHeld(path)
		if err != nil || !held {
			return err
		}
		if err := signalHolder(path, name, step.signal); err != nil {
			if held, lost := lockHeld(path); lost == nil && !held { // it ended by itself meanwhile
				return nil
			}
			return err
		}
		waiting, cancel := context.WithTimeout(ctx, step.deadline)
		unlock, err := lock(waiting, path)
		cancel()
		if err == nil {
			unlock()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("the process that holds %s does not end", path)
}

func readyPath(runDir string) string { return filepath.Join(runDir, "daemon.json") }

// writeReady makes the ready file appear as a whole.
func writeReady(runDir string, r Running) error {
	content, err := json.Marshal(r)
	if err != nil {
		return err
	}
	temporary := readyPath(runDir) + ".new"
	if err := os.WriteFile(temporary, content, 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, readyPath(runDir))
}

// daemonLock is held by a daemon for as long as it lives, in a file that says which process it is. It is not in the run
// directory, which is cleared.
func daemonLock(name string) string { return filepath.Join(runRoot, name+".lock") }

func lockDaemon(name string) (unlock func(), err error) {
	f, err := openLock(daemonLock(name))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("cloud %s has a daemon already: lock %s: %w", name, f.Name(), err), f.Close())
	}
	start, err := startOf(os.Getpid())
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintf(f, "%d %d", os.Getpid(), start)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}

// openLock opens a lock that is root's alone: who may open a file may lock it, and so keep all others waiting.
func openLock(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil { // older versions made it for all to read
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// lockHeld tells whether a process holds a lock.
func lockHeld(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}

// holder is the process that took a lock, by its id and when it started: the id may be another process's by now.
type holder struct {
	pid   int
	start uint64 // in the kernel's ticks since the machine's start; 0 if a version wrote it that did not say
}

func lockHolder(path string) (holder, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return holder{}, err
	}
	pid, start, timed := strings.Cut(strings.TrimSpace(string(content)), " ")
	var h holder
	h.pid, err = strconv.Atoi(pid)
	if err == nil && timed {
		h.start, err = strconv.ParseUint(start, 10, 64)
	}
	if err != nil || h.pid < 2 {
		return holder{}, fmt.Errorf("read %s: %.60q is no process", path, content)
	}
	return h, nil
}

// signalHolder sends a signal to the daemon that a lock names, and to no other process that has its id now.
func signalHolder(path, name string, signal syscall.Signal) error {
	h, err := lockHolder(path)
	if err != nil {
		return err
	}
	process, err := unix.PidfdOpen(h.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hold process %d: %w", h.pid, err)
	}
	defer unix.Close(process)
	// From here on the id cannot go to another process without the signal going nowhere.
	same, err := h.isDaemon(name)
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%s is locked, and process %d, which it names, is not the cloud's daemon\n"+
			"hint: see who locks it: sudo fuser -v %s", path, h.pid, path)
	}
	if err := unix.PidfdSendSignal(process, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end process %d: %w", h.pid, err)
	}
	return nil
}

// isDaemon tells whether the process of this id is the one that took the lock.
func (h holder) isDaemon(name string) (bool, error) {
	if h.start == 0 {
		command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", h.pid))
		return strings.Contains(string(command), "\x00cloud\x00serve\x00--name\x00"+name+"\x00"), err
	}
	start, err := startOf(h.pid)
	return start == h.start, err
}

// startOf is when a process started, in ticks since the machine's start: field 22 of /proc/PID/stat. The second field,
// the program's name, may hold spaces and parentheses.
func startOf(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("read when process %d started: %.60q", pid, stat)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// lock waits for a lock until ctx ends.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
