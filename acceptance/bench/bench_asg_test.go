//go:build acceptance

package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/acceptance/rig"
)

// groupSizes are the numbers of web instances that are compared.
var groupSizes = []int{1, 2, 5, 10, 20}

// BenchmarkGroup tells how deploying grows with the number of web instances: a stack with a group of that size from
// nothing, until all are healthy; and an instance refresh of the whole group at once, until all old ones are gone.
// There is one round: it takes minutes.
func BenchmarkGroup(b *testing.B) {
	raiseInotify(b)
	file := filepath.Join(b.TempDir(), "stack.hcl")
	timed := func(args ...string) (time.Duration, string) {
		var stderr bytes.Buffer
		cmd := exec.Command(rig.Goldsmith(), append(args, "--file", file)...)
		cmd.Stderr = &stderr
		started := time.Now()
		if err := cmd.Run(); err != nil {
			b.Fatalf("%v: %v\n%s", args, err, stderr.String())
		}
		return time.Since(started), stderr.String()
	}
	var made, refreshed []float64
	for b.Loop() {
		if len(made) > 0 {
			continue
		}
		for _, size := range groupSizes {
			rig.WriteSeveral(b, file, fmt.Sprintf("count = %d\n  scaling = \"asg\"", size),
				"min_healthy_percentage = 0")
			took, _ := timed("deploy", "--bake-time", "0s", "--drain-time", "0s")
			made = append(made, took.Seconds())
			took, said := timed("deploy", "--replace", "web", "--bake-time", "0s", "--drain-time", "0s")
			refreshed = append(refreshed, took.Seconds())
			if !strings.Contains(said, "Successful, 100 %") || len(rig.Members(b)) != size {
				b.Fatalf("%d instances after a refresh of %d:\n%s", len(rig.Members(b)), size, said)
			}
			timed("destroy", "--yes")
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\n%9s %12s %6s %12s %6s\n", "instances", "from nothing", "ratio", "refresh", "ratio")
	for i, size := range groupSizes {
		fmt.Fprintf(&table, "%9d %10.1f s %6.1f %10.1f s %6.1f\n", size, made[i], made[i]/made[0], refreshed[i],
			refreshed[i]/refreshed[0])
		b.ReportMetric(made[i], fmt.Sprintf("made-%d-s", size))
		b.ReportMetric(refreshed[i], fmt.Sprintf("refreshed-%d-s", size))
	}
	b.ReportMetric(0, "ns/op")
	b.Log(table.String())
}

// raiseInotify lets the host have as many inotify instances as forty machines need, as long as the benchmark goes on:
// of Debian's 128 a machine takes five or so, and units that get none fail.
func raiseInotify(b *testing.B) {
	b.Helper()
	const path, wanted = "/proc/sys/fs/inotify/max_user_instances", 1024
	before, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	if limit, err := strconv.Atoi(strings.TrimSpace(string(before))); err != nil || limit >= wanted {
		return
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(wanted)), 0o644); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.WriteFile(path, before, 0o644); err != nil {
			b.Error(err)
		}
	})
}
