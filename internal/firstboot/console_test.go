package firstboot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// reportOf is a directory with a report of this age, by the test's own clock; no report where the age is negative.
func reportOf(t *testing.T, age time.Duration) string {
	t.Helper()
	dir := t.TempDir()
	if age >= 0 {
		keepReport(dir, "REPORT")
		at := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(dir, reportFile), at, at); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReportIsRepeated(t *testing.T) {
	second := func(all ...int) (times []time.Duration) {
		for _, s := range all {
			times = append(times, time.Duration(s)*time.Second)
		}
		return times
	}
	for _, c := range []struct {
		name  string
		age   time.Duration
		after []time.Duration // when it is said
	}{
		{"a new one", 0, second(0, 5, 15, 35, 75, 155)},
		{"an old one", time.Hour, second(0)},
		{"none", -1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir, began := reportOf(t, c.age), time.Now()
				var said []time.Duration
				keys := 0
				err := repeat(t.Context(), dir, func() { keys++ }, func(line string) error {
					if line != "REPORT" {
						t.Errorf("it says %q", line)
					}
					said = append(said, time.Since(began))
					return nil
				})
				if err != nil || !slices.Equal(said, c.after) || keys != max(1, len(c.after)) {
					t.Errorf("got %v, at %v, want %v; the keys %d times", err, said, c.after, keys)
				}
			})
		})
	}
}

// TestRepeatingNeverFails: a unit that failed makes the instance a sick one at its next report.
func TestRepeatingNeverFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := reportOf(t, 0)
		broken := func(string) error { return errors.New("no console") }
		if err := repeat(t.Context(), dir, func() {}, broken); err != nil {
			t.Error(err)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if err := repeat(ended, dir, func() {}, func(string) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

// TestStandbyIsRepeated while the volume is waited for, which may take long.
func TestStandbyIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		enough := errors.New("enough")
		var said []time.Duration
		_, err := waitForVolume(t.Context(), nil, func() error {
			if said = append(said, time.Since(began)); len(said) == 6 {
				return enough
			}
			return nil
		})
		seconds := time.Second
		want := []time.Duration{5 * seconds, 15 * seconds, 35 * seconds, 75 * seconds, 135 * seconds, 195 * seconds}
		if !errors.Is(err, enough) || !slices.Equal(said, want) {
			t.Errorf("got %v at %v, want %v", err, said, want)
		}
	})
}
