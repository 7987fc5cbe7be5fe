package engine

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/osrelease"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// Facts finds out about the machine, and which version of each of these packages apt would install.
func Facts(ctx context.Context, packages []string) (task.Facts, error) {
	return facts(ctx, packages, task.Machine{Run: patient(execute, func(string) {})})
}

func facts(ctx context.Context, packages []string, m task.Machine) (task.Facts, error) {
	f := task.Facts{Arch: runtime.GOARCH, CPUs: runtime.NumCPU()}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return f, fmt.Errorf("find out the operating system: %w", err)
	}
	f.OS = parseOSRelease(string(release))
	memory, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return f, fmt.Errorf("find out the size of the memory: %w", err)
	}
	f.MemoryMB = parseMemory(string(memory))
	if f.Hostname, err = os.Hostname(); err != nil {
		return f, fmt.Errorf("find out the host name: %w", err)
	}
	f.Database = database(ctx, m)
	if len(packages) > 0 {
		if f.Candidates, err = task.PackageCandidates(ctx, m, packages); err != nil {
			return f, fmt.Errorf("find out what apt would install: %w", err)
		}
		for _, name := range packages {
			f.Candidates[name] += "" // also those that apt does not have
		}
		if f.Installed, err = task.InstalledPackages(ctx, m, packages); err != nil {
			return f, fmt.Errorf("find out what is installed: %w", err)
		}
	}
	return f, nil
}

// parseOSRelease reads os-release(5).
func parseOSRelease(text string) task.OSFacts {
	values := osrelease.Parse(text)
	return task.OSFacts{
		ID:       values["ID"],
		Version:  values["VERSION_ID"],
		Codename: values["VERSION_CODENAME"],
		Pretty:   values["PRETTY_NAME"],
	}
}

// parseMemory reads the total of proc_meminfo(5), in MiB.
func parseMemory(text string) int {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kilobytes, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			return kilobytes / 1024
		}
	}
	return 0
}

var serverVersion = regexp.MustCompile(`Ver (\d+\.\d+\.\d+)`)

// database is the server that is installed, as its own program says.
func database(ctx context.Context, m task.Machine) *task.DatabaseFacts {
	for _, server := range []string{"/usr/sbin/mariadbd", "/usr/sbin/mysqld"} {
		out, err := m.Run(ctx, task.Program{Argv: []string{server, "--no-defaults", "--version"}})
		if err != nil {
			continue // not there, most of the time
		}
		match := serverVersion.FindStringSubmatch(out)
		if match == nil {
			continue
		}
		flavor := "mysql"
		if strings.Contains(out, "MariaDB") {
			flavor = "mariadb"
		}
		return &task.DatabaseFacts{Flavor: flavor, Version: match[1]}
	}
	return nil
}
