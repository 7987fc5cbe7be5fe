package task

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Package is Debian packages that are installed or not. Neighbouring package tasks are one transaction of apt. While
// another program has one of apt's locks, such as apt's own daily work, the task waits for five minutes, and says who
// has it.
type Package struct {
	// The packages' names.
	Names []string `json:"names" mapstructure:"names" required:"true"`
	// `present` (the default), `latest`, or `absent`, which purges.
	State string `json:"state,omitempty" mapstructure:"state"`
	// Install recommended packages too. The default is false.
	Recommends bool `json:"recommends,omitempty" mapstructure:"recommends"`
}

// Kind is "package".
func (Package) Kind() string { return "package" }

// Validate reports what is wrong with the description.
func (p Package) Validate() error {
	return errors.Join(
		nonEmpty("names", p.Names),
		eachName("names", packageName, p.Names),
		oneOf("state", p.State, Present, Latest, Absent),
	)
}

// Check looks at this task's packages alone. A play's neighbours are looked at together, by CheckPackages.
func (p Package) Check(ctx context.Context, m Machine) (Difference, error) {
	plan, err := CheckPackages(ctx, m, []Package{p})
	if err != nil || plan.Shown[0] == "" {
		return nil, err
	}
	return plan, nil
}

// PackagePlan is the difference of a row of package tasks: one transaction of apt does for all what many would do more
// slowly.
type PackagePlan struct {
	// Shown is the difference of each task; empty where there is none.
	Shown      []string
	arguments  []string // of apt-get install; a name with a minus after it is removed
	recommends bool
}

// Empty tells whether all of the tasks are so.
func (p PackagePlan) Empty() bool { return len(p.arguments) == 0 }

// String is the difference of the first task, which has the transaction made.
func (p PackagePlan) String() string { return p.Shown[0] }

// CheckPackages compares what is installed, and where it matters what could be, with a row of tasks.
func CheckPackages(ctx context.Context, m Machine, row []Package) (PackagePlan, error) {
	var names []string
	for _, spec := range row {
		names = append(names, spec.Names...)
	}
	installed, err := InstalledPackages(ctx, m, names)
	if err != nil {
		return PackagePlan{}, err
	}
	var candidates map[string]string
	if needsCandidates(row, installed) {
		if candidates, err = PackageCandidates(ctx, m, names); err != nil {
			return PackagePlan{}, err
		}
	}
	return planRow(row, installed, candidates)
}

func needsCandidates(row []Package, installed map[string]string) bool {
	missing := func(name string) bool { return installed[name] == "" }
	return slices.ContainsFunc(row, func(spec Package) bool {
		return spec.State == Latest || spec.State != Absent && slices.ContainsFunc(spec.Names, missing)
	})
}

// planRow is the transaction that brings a row of tasks about. All packages that apt does not have are named at once.
func planRow(row []Package, installed, candidates map[string]string) (PackagePlan, error) {
	plan := PackagePlan{Shown: make([]string, len(row))}
	var unknown []string
	for i, spec := range row {
		var shown []string
		for _, name := range spec.Names {
			is := installed[name]
			switch {
			case spec.State == Absent && is != "":
				plan.arguments = append(plan.arguments, name+"-")
				shown = append(shown, fmt.Sprintf("purge %s %s", name, is))
			case spec.State == Absent:
			case is == "" && candidates[name] == "":
				unknown = append(unknown, name)
			case is == "" || spec.State == Latest && is != candidates[name]:
				plan.arguments = append(plan.arguments, name)
				plan.recommends = plan.recommends || spec.Recommends
				shown = append(shown, strings.TrimSpace(fmt.Sprintf("install %s %s", name, candidates[name])))
			}
		}
		plan.Shown[i] = strings.Join(shown, "\n")
	}
	if len(unknown) > 0 {
		return PackagePlan{}, fmt.Errorf("install %s: apt has no such package; "+
			"is the name right for this release, and is its source configured?", strings.Join(unknown, ", "))
	}
	return plan, nil
}

// Apply runs the transaction. Configuration files that somebody changed stay as they are. dpkg need not sync each file
// to the disk: an image is taken of a machine that was stopped cleanly.
func (p PackagePlan) Apply(ctx context.Context, m Machine) error {
	argv := []string{
		"apt-get", "install", "--yes", "--purge",
		"-o", "Dpkg::Options::=--force-confdef",
		"-o", "Dpkg::Options::=--force-confold",
		"-o", "Dpkg::Options::=--force-unsafe-io",
		"-o", lockTimeout,
		"-o", "Dpkg::Use-Pty=0",
	}
	if !p.recommends {
		argv = append(argv, "--no-install-recommends")
	}
	install := Program{Argv: append(argv, p.arguments...), Environment: aptEnvironment}
	_, err := m.Run(ctx, install)
	if !packageScriptFailed(err) {
		return err
	}
	// A script that failed for a cause that lasts fails again, and apt's first answer is the one that tells it.
	configure := Program{Argv: []string{"dpkg", "--configure", "--pending"}, Environment: aptEnvironment}
	if _, again := m.Run(ctx, configure); again != nil {
		return err
	}
	_, err = m.Run(ctx, install)
	return err
}

// packageScriptFailed tells whether apt did all of its own work and a package's script failed. Some do so by chance:
// that of Debian's mysql-server 9.7 ends its first server by a statement, and if the machine is busy the server takes
// that for a failure, with its data complete. dpkg wants to be asked once more then, as after any failure of a script.
func packageScriptFailed(err error) bool {
	var failed *CommandError
	return errors.As(err, &failed) && strings.Contains(failed.Stderr, "dpkg returned an error code")
}

// lockTimeout is apt's own patience with dpkg's lock. It is short, as it is silent: who has the lock is said between
// two attempts.
const lockTimeout = "DPkg::Lock::Timeout=5"

var aptEnvironment = []string{"DEBIAN_FRONTEND=noninteractive", "APT_LISTCHANGES_FRONTEND=none", "NEEDRESTART_MODE=l"}

// InstalledPackages are the versions of the packages that are installed; dpkg knows the others not at all or only by
// what they left.
func InstalledPackages(ctx context.Context, m Machine, names []string) (map[string]string, error) {
	query := []string{"dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status} ${Version}\n"}
	out, err := m.Run(ctx, Program{Argv: append(query, names...)})
	var failed *CommandError
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	installed := map[string]string{}
	for each := range strings.Lines(out) {
		if fields := strings.Fields(each); len(fields) == 3 && fields[1] == "installed" {
			installed[fields[0]] = fields[2]
		}
	}
	return installed, nil
}

// PackageCandidates are the versions that apt would install. Its lists are read anew where there are none, or where one
// of the packages is not in them.
func PackageCandidates(ctx context.Context, m Machine, names []string) (map[string]string, error) {
	updated := false
	if lists, err := filepath.Glob("/var/lib/apt/lists/*Packages*"); err != nil || len(lists) == 0 {
		if err := updateLists(ctx, m); err != nil {
			return nil, err
		}
		updated = true
	}
	for {
		out, err := m.Run(ctx, Program{Argv: append([]string{"apt-cache", "policy"}, names...)})
		if err != nil {
			return nil, err
		}
		candidates := parsePolicy(out)
		complete := !slices.ContainsFunc(names, func(name string) bool { return candidates[name] == "" })
		if complete || updated {
			return candidates, nil
		}
		if err := updateLists(ctx, m); err != nil {
			return nil, err
		}
		updated = true
	}
}

func updateLists(ctx context.Context, m Machine) error {
	_, err := m.Run(ctx, Program{
		Argv:        []string{"apt-get", "update", "-o", lockTimeout, "-o", "APT::Update::Error-Mode=any"},
		Environment: aptEnvironment,
	})
	return err
}

// parsePolicy reads `apt-cache policy`.
func parsePolicy(out string) map[string]string {
	candidates := map[string]string{}
	name := ""
	for each := range strings.Lines(out) {
		if !strings.HasPrefix(each, " ") {
			name = strings.TrimSuffix(strings.TrimSpace(each), ":")
			continue
		}
		if version, ok := strings.CutPrefix(strings.TrimSpace(each), "Candidate: "); ok && version != "(none)" {
			candidates[name] = version
		}
	}
	return candidates
}
