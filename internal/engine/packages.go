package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// packageResult is what a package task came to when its row was looked at.
type packageResult struct {
	diff string
	err  error
}

// checkPackages looks at a whole row of neighbouring package tasks when the first of them is due: one transaction of
// apt does for all what many would do more slowly. Each task keeps an outcome of its own.
func (e *engine) checkPackages(ctx context.Context, index int) (*change, error) {
	if result, ok := e.packages[index]; ok {
		if result.diff == "" || result.err != nil {
			return nil, result.err
		}
		return &change{diff: result.diff, apply: func(context.Context) error { return nil }}, nil
	}
	row := e.packageRow(index)
	plan, err := e.planPackages(ctx, row)
	if err != nil {
		return nil, err
	}
	for i, diff := range plan.diffs {
		e.packages[index+i] = packageResult{diff: diff}
	}
	if len(plan.arguments) == 0 {
		return nil, nil
	}
	transaction := func(ctx context.Context) error { return e.apt(ctx, plan) }
	if plan.diffs[0] != "" {
		return &change{diff: plan.diffs[0], apply: transaction}, nil
	}
	if e.dry {
		return nil, nil
	}
	// The first task has nothing to do, a later one has: the work is done now all the same.
	return nil, transaction(ctx)
}

// packageRow are the package tasks from index on, without a gap; handlers stand alone.
func (e *engine) packageRow(index int) []task.Package {
	if index >= len(e.play.Tasks) {
		return []task.Package{e.play.Handlers[index-len(e.play.Tasks)].Spec.(task.Package)}
	}
	var row []task.Package
	for _, t := range e.play.Tasks[index:] {
		spec, ok := t.Spec.(task.Package)
		if !ok {
			break
		}
		row = append(row, spec)
	}
	return row
}

// packagePlan is one transaction.
type packagePlan struct {
	arguments  []string // of apt-get install; a name with a minus after it is removed
	recommends bool
	diffs      []string // by task; empty where there is nothing to do
}

func (e *engine) planPackages(ctx context.Context, row []task.Package) (packagePlan, error) {
	var names []string
	for _, spec := range row {
		names = append(names, spec.Names...)
	}
	installed, err := installedPackages(ctx, e.run, names)
	if err != nil {
		return packagePlan{}, err
	}
	var candidates map[string]string
	if needsCandidates(row, installed) {
		if candidates, err = findCandidates(ctx, e.run, names); err != nil {
			return packagePlan{}, err
		}
	}
	return planRow(row, installed, candidates)
}

func needsCandidates(row []task.Package, installed map[string]string) bool {
	return slices.ContainsFunc(row, func(spec task.Package) bool {
		return spec.State == task.Latest || spec.State != task.Absent && slices.ContainsFunc(spec.Names, func(name string) bool { return installed[name] == "" })
	})
}

// planRow is the transaction that brings a row of tasks about. All packages that apt does not have are named at once.
func planRow(row []task.Package, installed, candidates map[string]string) (packagePlan, error) {
	plan := packagePlan{diffs: make([]string, len(row))}
	var unknown []string
	for i, spec := range row {
		var shown []string
		for _, name := range spec.Names {
			is := installed[name]
			switch {
			case spec.State == task.Absent && is != "":
				plan.arguments = append(plan.arguments, name+"-")
				shown = append(shown, fmt.Sprintf("purge %s %s", name, is))
			case spec.State == task.Absent:
			case is == "" && candidates[name] == "":
				unknown = append(unknown, name)
			case is == "" || spec.State == task.Latest && is != candidates[name]:
				plan.arguments = append(plan.arguments, name)
				plan.recommends = plan.recommends || spec.Recommends
				shown = append(shown, strings.TrimSpace(fmt.Sprintf("install %s %s", name, candidates[name])))
			}
		}
		plan.diffs[i] = strings.Join(shown, "\n")
	}
	if len(unknown) > 0 {
		return packagePlan{}, fmt.Errorf("install %s: apt has no such package; is the name right for this release, and is its source configured?", strings.Join(unknown, ", "))
	}
	return plan, nil
}

// apt runs a plan. Configuration files that somebody changed stay as they are. dpkg need not sync each file to the
// disk: an image is taken of a machine that was stopped cleanly.
func (e *engine) apt(ctx context.Context, plan packagePlan) error {
	argv := []string{"apt-get", "install", "--yes", "--purge", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
		"-o", "Dpkg::Options::=--force-unsafe-io", "-o", lockTimeout, "-o", "Dpkg::Use-Pty=0"}
	if !plan.recommends {
		argv = append(argv, "--no-install-recommends")
	}
	_, err := e.run(ctx, program{argv: append(argv, plan.arguments...), environment: aptEnvironment})
	return err
}

// lockTimeout is apt's own patience with dpkg's lock. It is short, as it is silent: who has the lock is said between two
// attempts.
const lockTimeout = "DPkg::Lock::Timeout=5"

var aptEnvironment = []string{"DEBIAN_FRONTEND=noninteractive", "APT_LISTCHANGES_FRONTEND=none", "NEEDRESTART_MODE=l"}

// installedPackages are the versions of the packages that are installed; dpkg knows the others not at all or only by
// what they left.
func installedPackages(ctx context.Context, run runner, names []string) (map[string]string, error) {
	out, err := run(ctx, program{argv: append([]string{"dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status} ${Version}\n"}, names...)})
	var failed *commandError
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	installed := map[string]string{}
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[1] == "installed" {
			installed[fields[0]] = fields[2]
		}
	}
	return installed, nil
}

// findCandidates are the versions that apt would install. Its lists are read anew where there are none, or where one of
// the packages is not in them.
func findCandidates(ctx context.Context, run runner, names []string) (map[string]string, error) {
	updated := false
	if lists, err := filepath.Glob("/var/lib/apt/lists/*Packages*"); err != nil || len(lists) == 0 {
		if err := updateLists(ctx, run); err != nil {
			return nil, err
		}
		updated = true
	}
	for {
		out, err := run(ctx, program{argv: append([]string{"apt-cache", "policy"}, names...)})
		if err != nil {
			return nil, err
		}
		candidates := parsePolicy(out)
		complete := !slices.ContainsFunc(names, func(name string) bool { return candidates[name] == "" })
		if complete || updated {
			return candidates, nil
		}
		if err := updateLists(ctx, run); err != nil {
			return nil, err
		}
		updated = true
	}
}

func updateLists(ctx context.Context, run runner) error {
	_, err := run(ctx, program{argv: []string{"apt-get", "update", "-o", lockTimeout, "-o", "APT::Update::Error-Mode=any"}, environment: aptEnvironment})
	return err
}

// parsePolicy reads `apt-cache policy`.
func parsePolicy(out string) map[string]string {
	candidates := map[string]string{}
	name := ""
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, " ") {
			name = strings.TrimSuffix(strings.TrimSpace(line), ":")
			continue
		}
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "Candidate: "); ok && version != "(none)" {
			candidates[name] = version
		}
	}
	return candidates
}
