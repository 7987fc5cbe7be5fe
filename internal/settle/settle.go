// Package settle waits, on the machine on which it runs, until that has ended what it does by itself after a boot:
// cloud-init, and apt's daily work.
package settle

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// cloudInitLimit is how long cloud-init may take. It runs user-data's scripts, too.
	cloudInitLimit = 10 * time.Minute
	// aptLimit is how long another program may have apt's locks.
	aptLimit = 5 * time.Minute

	interval = 200 * time.Millisecond
	// sayAfter is when it is first said what is waited for, and sayEvery how often after that.
	sayAfter = time.Second
	sayEvery = 30 * time.Second
)

// cloudInitUnits are cloud-init's, by the names of all its versions.
var cloudInitUnits = []string{
	"cloud-init-local.service",
	"cloud-init-main.service",
	"cloud-init-network.service",
	"cloud-init.service",
	"cloud-config.service",
	"cloud-final.service",
}

// aptTimers start apt's daily work, and aptUnits do it.
var (
	aptTimers = []string{"apt-daily.timer", "apt-daily-upgrade.timer"}
	aptUnits  = []string{"apt-daily.service", "apt-daily-upgrade.service"}
)

// aptLocks are all that apt and dpkg lock, below the root.
var aptLocks = []string{
	"var/lib/apt/lists/lock",
	"var/cache/apt/archives/lock",
	"var/lib/dpkg/lock-frontend",
	"var/lib/dpkg/lock",
}

// machine has the accesses to the machine, which tests replace.
type machine struct {
	root      string
	systemctl func(ctx context.Context, arguments ...string) (string, error)
	say       func(string)
}

func here(say func(string)) machine {
	return machine{root: "/", say: say, systemctl: func(ctx context.Context, arguments ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "systemctl", arguments...).Output()
		return string(out), err
	}}
}

// CloudInit waits for the end of cloud-init, if the machine has it. SSH is up before that. say is told what is waited
// for, and what cloud-init calls an error, which is none here.
func CloudInit(ctx context.Context, say func(string)) error { return here(say).cloudInit(ctx) }

// StopAptTimers keeps apt's daily work from beginning until the next boot. They stay enabled.
func StopAptTimers(ctx context.Context, say func(string)) error { return here(say).stopAptTimers(ctx) }

// Apt waits until no other program works with apt or dpkg.
func Apt(ctx context.Context, say func(string)) error { return here(say).apt(ctx) }

func (m machine) cloudInit(ctx context.Context) error {
	waited, err := m.wait(
		ctx,
		cloudInitLimit,
		"cloud-init",
		func(ctx context.Context) (string, error) { return m.busyUnits(ctx, cloudInitUnits) },
	)
	if err != nil {
		return fmt.Errorf("%w\nhint: on the machine, cat /var/log/cloud-init-output.log", err)
	}
	if waited {
		m.say("cloud-init has ended" + m.complaints())
	}
	return nil
}

// complaints are the errors in cloud-init's result, as text to add to a message; empty if there are none.
func (m machine) complaints() string {
	text, err := os.ReadFile(filepath.Join(m.root, "run/cloud-init/result.json"))
	if err != nil {
		return ""
	}
	var result struct {
		V1 struct {
			Errors []string `json:"errors"`
		} `json:"v1"`
	}
	if json.Unmarshal(text, &result) != nil || len(result.V1.Errors) == 0 {
		return ""
	}
	return ", with errors: " + strings.Join(strings.Fields(strings.Join(result.V1.Errors, "; ")), " ")
}

func (m machine) stopAptTimers(ctx context.Context) error {
	if !m.systemd() {
		return nil
	}
	out, err := m.systemctl(ctx, append([]string{"show", "--property=Id,ActiveState"}, aptTimers...)...)
	if err != nil {
		return fmt.Errorf("ask systemd for apt's timers: %w", err)
	}
	var active []string
	for _, unit := range units(out) {
		if unit["ActiveState"] == "active" {
			active = append(active, unit["Id"])
		}
	}
	if len(active) == 0 {
		return nil
	}
	if _, err := m.systemctl(ctx, append([]string{"stop"}, active...)...); err != nil {
		return fmt.Errorf("stop %s: %w", strings.Join(active, ", "), err)
	}
	m.say("stopped until the next boot: " + strings.Join(active, ", "))
	return nil
}

func (m machine) apt(ctx context.Context) error {
	_, err := m.wait(ctx, aptLimit, "apt", func(ctx context.Context) (string, error) {
		if holder, err := m.lockHolder(); holder != "" || err != nil {
			return holder, err
		}
		return m.busyUnits(ctx, aptUnits)
	})
	return err
}

// wait looks until nothing is busy any more. It tells whether there was something to be waited for.
func (m machine) wait(
	ctx context.Context,
	limit time.Duration,
	what string,
	busy func(context.Context) (string, error),
) (waited bool, err error) {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	last, next := "", time.Now().Add(sayAfter)
	for {
		now, err := busy(limited)
		switch {
		case ctx.Err() != nil:
			return waited, fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case limited.Err() != nil:
			return waited, fmt.Errorf("wait for %s: it has not ended after %s: %s", what, limit, cmp.Or(last, now))
		case err != nil:
			return waited, fmt.Errorf("wait for %s: %w", what, err)
		case now == "":
			return waited, nil
		}
		if !time.Now().Before(next) {
			m.say("waiting for " + what + ": " + now)
			waited, next = true, time.Now().Add(sayEvery)
		}
		last = now
		select {
		case <-limited.Done():
		case <-time.After(interval):
		}
	}
}

// systemd tells whether the machine was booted with it.
func (m machine) systemd() bool {
	_, err := os.Stat(filepath.Join(m.root, "run/systemd/system"))
	return err == nil
}

// busyUnits names those of the units that are being started, or are about to be; empty if there is none.
func (m machine) busyUnits(ctx context.Context, names []string) (string, error) {
	if !m.systemd() {
		return "", nil
	}
	out, err := m.systemctl(ctx, append([]string{"show", "--property=Id,ActiveState,Job"}, names...)...)
	if err != nil {
		return "", fmt.Errorf("ask systemd for %s: %w", strings.Join(names, ", "), err)
	}
	var busy []string
	for _, unit := range units(out) {
		switch state := unit["ActiveState"]; {
		case state == "activating" || state == "deactivating":
			busy = append(busy, unit["Id"]+" is "+state)
		case job.MatchString(unit["Job"]):
			busy = append(busy, unit["Id"]+" is about to start")
		}
	}
	return strings.Join(busy, ", "), nil
}

var job = regexp.MustCompile(`^[1-9][0-9]*$`)

// units parses systemctl show's output: a map of properties for each unit.
func units(shown string) []map[string]string {
	var all []map[string]string
	for block := range strings.SplitSeq(strings.TrimSpace(shown), "\n\n") {
		unit := map[string]string{}
		for line := range strings.Lines(block) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				unit[name] = value
			}
		}
		all = append(all, unit)
	}
	return all
}

// lockHolder says who has one of apt's locks; empty if nobody has.
func (m machine) lockHolder() (string, error) {
	for _, path := range aptLocks {
		pid, err := holder(filepath.Join(m.root, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if pid != 0 {
			return fmt.Sprintf("/%s is held by %s", path, program(pid)), nil
		}
	}
	return "", nil
}

// holder is the process that has locked a file, as apt does that; 0 if none has, -1 if it is not one of this machine's.
func holder(path string) (int, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(file.Fd(), unix.F_GETLK, &lock); err != nil {
		return 0, fmt.Errorf("look who has locked %s: %w", path, err)
	}
	if lock.Type == unix.F_UNLCK {
		return 0, nil
	}
	return cmp.Or(int(lock.Pid), -1), nil
}

func program(pid int) string {
	if pid < 0 {
		return "a program outside of this machine"
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("%s (process %d)", strings.TrimSpace(string(name)), pid)
}
