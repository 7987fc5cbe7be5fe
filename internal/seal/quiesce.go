//go:build linux

package seal

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/manifest"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/settle"
)

// writers are units that write to the disk while they run or when they end; they are stopped, so that what is removed
// stays removed. Servers come first: their keys and logs must not be written again.
var writers = []string{
	"goldsmith-webapp.service",
	"nginx.service",
	"mysql.service",
	"mariadb.service",
	"cron.service",
	"anacron.service",
	"unattended-upgrades.service",
	"snapd.socket",
	"snapd.service",
	"apt-daily.timer",
	"apt-daily-upgrade.timer",
	"apt-daily.service",
	"apt-daily-upgrade.service",
	"man-db.timer",
	"dpkg-db-backup.timer",
	"logrotate.timer",
	"motd-news.timer",
	"update-notifier-download.timer",
	"systemd-tmpfiles-clean.timer",
	"fstrim.timer",
	"rsyslog.service",
	"syslog.socket",
	"acct.service",
	"sysstat.service",
	// These save a random seed and a record of the shutdown when they are stopped: now, and not after the seal.
	"systemd-random-seed.service",
	"systemd-update-utmp.service",
}

const auditd = "auditd.service"

// quiesce stops what writes. Databases end in their own time and cleanly: their logs must be replayed by nobody.
func quiesce(ctx context.Context) error {
	// SSH is up before the end of cloud-init, which has yet to write its results, and they must not be in an image.
	if err := settle.CloudInit(ctx, func(string) {}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	have, err := loaded(ctx, slices.Concat(writers, []string{auditd}))
	if err != nil {
		return err
	}
	stopped := slices.DeleteFunc(slices.Clone(have), func(unit string) bool { return unit == auditd })
	if err := run(ctx, append([]string{"systemctl", "stop"}, stopped...)...); err != nil {
		return fmt.Errorf("stop the services: %w", err)
	}
	// auditd refuses to be stopped by systemd, on purpose; it ends by a signal.
	if slices.Contains(have, auditd) {
		_ = run(ctx, "systemctl", "kill", "--signal=TERM", auditd) // an inactive one has nobody to tell
	}
	// The journal goes on in memory.
	if _, err := os.Stat("/var/log/journal"); err == nil {
		if err := run(ctx, "journalctl", "--relinquish-var"); err != nil {
			return fmt.Errorf("take the journal off the disk: %w", err)
		}
	}
	return nil
}

// loaded are those of the units that the machine has.
func loaded(ctx context.Context, units []string) ([]string, error) {
	show := append([]string{"show", "--property=Id,LoadState"}, units...)
	out, err := exec.CommandContext(ctx, "systemctl", show...).Output()
	if err != nil {
		return nil, fmt.Errorf("find out which services there are: systemctl show: %w", err)
	}
	var have []string
	for block := range strings.SplitSeq(string(out), "\n\n") {
		if id, ok := strings.CutPrefix(
			strings.TrimSpace(strings.Split(strings.TrimSpace(block), "\n")[0]),
			"Id=",
		); ok &&
			strings.Contains(block, "LoadState=loaded") {
			have = append(have, id)
		}
	}
	return have, nil
}

func run(ctx context.Context, argv ...string) error {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// observe fills in what the machine runs and has installed.
func observe(ctx context.Context, m *manifest.Manifest, arch string) (err error) {
	if m.OS, err = manifest.ReadOS("/", arch); err != nil {
		return err
	}
	if m.Packages, err = manifest.ReadPackages("/"); err != nil {
		return err
	}
	if m.Units, err = units(ctx); err != nil {
		return err
	}
	if m.Running, err = running(ctx); err != nil {
		return err
	}
	sockets, err := instance.Sockets("/proc/net")
	for _, s := range sockets {
		m.Sockets = append(m.Sockets, s.String())
	}
	return err
}

func units(ctx context.Context) (map[string]string, error) {
	out, err := exec.CommandContext(ctx, "systemctl", "list-unit-files", "--no-legend", "--no-pager", "--plain").
		Output()
	if err != nil {
		return nil, fmt.Errorf("list the unit files: %w", err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) >= 2 {
			all[fields[0]] = fields[1]
		}
	}
	return all, nil
}

func running(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, "systemctl", "list-units", "--type=service,socket,timer", "--state=active",
		"--no-legend", "--no-pager", "--plain").
		Output()
	if err != nil {
		return nil, fmt.Errorf("list the active units: %w", err)
	}
	var all []string
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 0 && !strings.Contains(fields[0], "@") {
			all = append(all, fields[0])
		}
	}
	return all, nil
}
