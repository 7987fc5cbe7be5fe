package firstboot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/imagespec"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// The checks are repeated until all pass, or until this long after the first, if the settings do not say how long.
const (
	verifyInterval = 200 * time.Millisecond
	verifyDeadline = 120 * time.Second
	checkLimit     = 10 * time.Second
	// sayEvery is the least time between two lines that say what is waited for, and repeatEvery the most.
	sayEvery    = 5 * time.Second
	repeatEvery = time.Minute
)

// check is one thing that has to be so for the instance to be ready.
type check struct {
	name string
	// limit is the time that one run may take; 0 is checkLimit.
	limit time.Duration
	run   func(context.Context) (detail string, err error)
}

// Verify waits until all checks of the image and of the instance's settings pass, and writes a report as one line to
// the console, after the SSH host keys. On a machine that is no instance of a stack it verifies nothing, unless the
// first boot failed.
func Verify(ctx context.Context) error {
	tellHostKeys()
	i, err := readInstance()
	if errors.Is(err, fs.ErrNotExist) {
		if _, active := unitActive(ctx, instance.FirstBootUnit); active == nil {
			return nil
		}
	} else if err != nil {
		return err
	}
	checks, answered, err := readChecks(i)
	if err != nil {
		return err
	}
	report := wait(ctx, i, checks, tell)
	report.Answers = answered
	line, err := instance.ConsoleLine(instance.ReportPrefix, report)
	if err != nil {
		return err
	}
	keepReport(instance.ReadyDir, line)
	if err := tell(line); err != nil {
		return err
	}
	if !report.Ready {
		return errors.New("the instance is not ready: " + failures(report))
	}
	return nil
}

// descriptionCheck is the name of the check that fails if the image's description cannot be read.
const descriptionCheck = "description"

// readChecks are the checks of an instance, and the HTTP requests that it answers to others. Where first boot failed
// nothing is known of the tier: then the image's are taken, to tell what runs nevertheless.
func readChecks(i Instance) ([]check, []instance.Answer, error) {
	assertions, err := instance.Assertions(instance.AssertDir)
	if err != nil {
		return nil, nil, err
	}
	d, err := i.describe()
	for _, kind := range []string{instance.KindData, instance.KindService} {
		if i.Settings.Kind == "" && errors.Is(err, imagespec.ErrNotForKind) {
			d, err = imagespec.Read(instance.DescriptionDir, kind)
		}
	}
	checks := checksOf(d, i, assertions)
	if err != nil {
		fault := err
		checks = append(
			checks,
			check{name: descriptionCheck, run: func(context.Context) (string, error) { return "", fault }},
		)
	}
	return checks, d.Answers(), nil
}

func failures(report instance.Report) string {
	var failed []string
	for _, c := range report.Checks {
		if !c.OK {
			failed = append(
				failed,
				c.Name+" ("+strings.Join(strings.Fields(c.Detail), " ")+")",
			) // one line of the console
		}
	}
	return strings.Join(failed, ", ")
}

// wait repeats the checks. A unit that failed is not waited for: nothing mends it.
func wait(ctx context.Context, i Instance, checks []check, say func(string) error) instance.Report {
	began := time.Now()
	said, at := "", began
	limit := cmp.Or(time.Duration(i.Settings.Deadline)*time.Second, verifyDeadline)
	for deadline := began.Add(limit); ; {
		report := once(ctx, i, checks)
		// Whoever reads the console must not have to wait for the end to learn what is being waited for, and sees that
		// it still is.
		missing, quiet := failures(report), time.Since(at)
		if !report.Ready && (missing != said && quiet > sayEvery || quiet >= repeatEvery) {
			line := fmt.Sprintf("%s%s, for %s", instance.WaitingPrefix, missing, time.Since(began).Round(time.Second))
			_ = say(line) // the report at the end has it too
			said, at = missing, time.Now()
		}
		if report.Ready || hopeless(report) || time.Now().After(deadline) || ctx.Err() != nil {
			return report
		}
		select {
		case <-ctx.Done():
		case <-time.After(verifyInterval):
		}
	}
}

// hopeless tells whether something failed that no waiting mends: the description, or a unit, as systemd says so only of
// one that it does not start again.
func hopeless(report instance.Report) bool {
	return slices.ContainsFunc(report.Checks, func(c instance.Check) bool {
		return strings.HasPrefix(c.Name, "unit ") && strings.HasPrefix(c.Detail, "failed") ||
			c.Name == descriptionCheck && !c.OK
	})
}

func once(ctx context.Context, i Instance, checks []check) instance.Report {
	report := instance.Report{
		Ready:      true,
		Tier:       i.Settings.Tier,
		InstanceID: i.Identity.InstanceID,
		ImageID:    i.Identity.ImageID,
		Time:       time.Now().UTC(),
		Uptime:     uptime(),
	}
	for _, c := range checks {
		limited, cancel := context.WithTimeout(ctx, cmp.Or(c.limit, checkLimit))
		detail, err := c.run(limited)
		cancel()
		if err != nil {
			report.Ready = false
			detail = err.Error()
		}
		report.Checks = append(report.Checks, instance.Check{Name: c.name, OK: err == nil, Detail: detail})
	}
	return report
}

// uptime is the age of process 1, in seconds: in a container the kernel's own says nothing of the machine.
func uptime() float64 {
	info, err := os.Stat("/proc/1")
	if err != nil {
		return 0
	}
	return time.Since(info.ModTime()).Seconds()
}

// checksOf are the checks of the image's description, those of every instance, and the user's assertions.
func checksOf(d imagespec.Description, i Instance, assertions []instance.Assertion) []check {
	checks := []check{unitCheck(instance.FirstBootUnit, "")}
	if d.Data != nil {
		checks = append(checks, unitCheck(instance.DataUnit, ""))
	}
	for _, u := range d.Units {
		checks = append(checks, unitCheck(u.Name, logOf(d, u.Name)))
	}
	if d.Setup != nil {
		checks = append(checks, unitCheck(instance.DatabaseUnit, ""))
	}
	checks = append(checks, portChecks(d.Ports, i)...)
	if c := d.Certificate; c != nil {
		checks = append(checks, check{name: "certificate", run: func(context.Context) (string, error) {
			return certificateCovers(c.Path, i.Identity.PublicName(), i.OwnCertificate)
		}})
	}
	for _, p := range d.Probes {
		checks = append(checks, probeCheck(d, p, i))
	}
	checks = append(checks, check{name: "failed units", run: noFailedUnit}, check{name: "reachable", run: reachable})
	for _, a := range assertions {
		checks = append(checks, assertionCheck("assert "+a.Name, a, i))
	}
	return checks
}

func logOf(d imagespec.Description, unit string) string {
	for _, l := range d.Logs {
		if l.Unit == unit && l.Path != "" {
			return l.Path
		}
	}
	return ""
}

// unitCheck is the check of a unit. Why it failed may be in a log of its own.
func unitCheck(name, log string) check {
	return check{name: "unit " + name, run: func(ctx context.Context) (string, error) {
		state, err := unitActive(ctx, name)
		if err != nil && log != "" && strings.HasPrefix(state, "failed") {
			if reason := lastErrors(log); reason != "" {
				state += ": " + reason
				err = errors.New(state)
			}
		}
		return state, err
	}}
}

// lastErrors are the last lines of a server's log that say that something is wrong; none if there is no such log.
func lastErrors(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "[ERROR]") {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return strings.Join(found[max(0, len(found)-5):], "\n")
}

// unitActive asks systemd; its answer is the detail.
func unitActive(ctx context.Context, unit string) (string, error) {
	out, err := exec.CommandContext(ctx, "systemctl", "is-active", unit).Output()
	state := strings.TrimSpace(string(out))
	if err == nil {
		return state, nil
	}
	if state == "" {
		state = err.Error()
	}
	if state == "failed" {
		state += lastWords(ctx, unit)
	}
	return state, errors.New(state)
}

// lastWords are the last ten lines in the journal of a failed unit. The units that are asked about never write a
// secret.
func lastWords(ctx context.Context, unit string) string {
	last := []string{"--no-pager", "--output=cat", "--lines=10", "--unit=" + unit, "_TRANSPORT=stdout"}
	out, err := exec.CommandContext(ctx, "journalctl", last...).Output()
	if text := strings.TrimSpace(string(out)); err == nil && text != "" {
		return ": " + text
	}
	return ""
}
