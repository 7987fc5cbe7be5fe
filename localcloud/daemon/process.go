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
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/durable"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/host/lockfile"
)

// Running says of a cloud that is up where it is reached; it is the content of its ready file, daemon.json.
type Running struct {
	PID      int       `json:"pid"`
	Endpoint string    `json:"endpoint"`
	Since    time.Time `json:"since"`
	// Manners is the text of the cloud's manners.
	Manners string `json:"manners,omitempty"`
}

// ErrDown says that a cloud is not up.
var ErrDown = errors.New("it is not up")

var errNotRoot = errors.New("namespaces and mounts need root\nhint: run it with sudo")

// progressFD is the file descriptor on which a daemon tells its progress to the process that started it.
const progressFD = 3

// stopDeadline is how long a daemon may take to end: its machines are powered off.
const stopDeadline = 90 * time.Second

// Endpoint is the URL of the API of a cloud of this name, whether it is up or not.
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
	held, err := lockfile.Held(daemonLock(name))
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
	unlock, err := lockfile.Lock(ctx, startLock(name))
	if err != nil {
		return Running{}, fmt.Errorf("start cloud %s: %w", name, err)
	}
	defer unlock()
	if running, findErr := Find(name); findErr == nil && running.answers(ctx) {
		return running, nil
	}
	if err = checkPrograms(exec.LookPath); err != nil {
		return Running{}, fmt.Errorf("start cloud %s: %w", name, err)
	}
	if err = stop(ctx, name); err != nil { // what a crash left, one that just ends, or one that never became ready
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
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })()
	for lines := bufio.NewScanner(reader); lines.Scan(); {
		last = lines.Text()
		progress(last)
	}
	if ctx.Err() != nil {
		return last, errors.Join(ctx.Err(), cmd.Wait())
	}
	return last, cmd.Process.Release()
}

// FromStarter returns the functions by which a daemon that Start started reports its progress, and the end of it.
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
		return host.Destroy(context.WithoutCancel(ctx), config)
	})
}

func locked(ctx context.Context, name string, do func(context.Context, string) error) error {
	if err := host.CheckName(name); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("stop cloud %s: %w", name, errNotRoot)
	}
	unlock, err := lockfile.Lock(ctx, startLock(name))
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
	return host.Clear(context.WithoutCancel(ctx), config)
}

// stopProcess asks the process that holds the daemon's lock to end, and makes it if it does not.
func stopProcess(ctx context.Context, name string) error {
	path := daemonLock(name)
	for _, step := range []struct {
		signal   syscall.Signal
		deadline time.Duration
	}{{syscall.SIGTERM, stopDeadline}, {syscall.SIGKILL, 5 * time.Second}} {
		held, err := lockfile.Held(path)
		if err != nil || !held {
			return err
		}
		if err = signalHolder(path, name, step.signal); err != nil {
			if held, lost := lockfile.Held(path); lost == nil && !held { // it ended by itself meanwhile
				return nil
			}
			return err
		}
		waiting, cancel := context.WithTimeout(ctx, step.deadline)
		unlock, err := lockfile.Lock(waiting, path)
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

// readyFile is the ready file as it was written last. Whoever looks sees it as a whole.
type readyFile struct {
	mu      sync.Mutex
	runDir  string
	running Running
}

// begin makes the file appear.
func (f *readyFile) begin(runDir string, r Running) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.runDir = runDir
	return f.writeLocked(r)
}

// change writes the file anew after do, unless that fails.
func (f *readyFile) change(do func(*Running)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.runDir == "" {
		return errors.New("it is not up yet")
	}
	r := f.running
	do(&r)
	return f.writeLocked(r)
}

func (f *readyFile) writeLocked(r Running) error {
	content, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(readyPath(f.runDir), content, 0o644); err != nil {
		return err
	}
	f.running = r
	return nil
}
