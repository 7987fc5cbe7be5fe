package engine

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// What apt and dpkg say, word for word.
const (
	listsTaken = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (apt-get)\n" +
		"N: Be aware that removing the lock file is not a solution and may break your system.\n" +
		"E: Unable to lock directory /var/lib/apt/lists/\n"
	archivesTaken = "E: Could not get lock /var/cache/apt/archives/lock. It is held by process 812 (python3)\n" +
		"E: Unable to lock directory /var/cache/apt/archives/\n"
	olderTaken = "E: Could not get lock /var/lib/dpkg/lock-frontend - open (11: Resource temporarily unavailable)\n" +
		"E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?\n"
	dpkgTaken = "dpkg: error: dpkg frontend lock was locked by another process with pid 812\n" +
		"Note: removing the lock file is always wrong, and can end up damaging the\n"
	noRights = "E: Could not open lock file /var/lib/apt/lists/lock - open (13: Permission denied)\n" +
		"E: Unable to lock directory /var/lib/apt/lists/\n"
	notRoot      = "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), are you root?\n"
	noSuchThing  = "E: Unable to locate package lockfile\n"
	noConnection = "E: Failed to fetch http://packages.example/debian/dists/trixie/InRelease  Could not connect\n"
)

func TestTakenLock(t *testing.T) {
	for said, want := range map[string]string{
		listsTaken:    "Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (apt-get)",
		archivesTaken: "Could not get lock /var/cache/apt/archives/lock. It is held by process 812 (python3)",
		olderTaken:    "Could not get lock /var/lib/dpkg/lock-frontend - open (11: Resource temporarily unavailable)",
		dpkgTaken:     "dpkg frontend lock was locked by another process with pid 812",
		noRights:      "", notRoot: "", noSuchThing: "", noConnection: "", "": "",
	} {
		if got := takenLock(&task.CommandError{Stderr: said, Err: errors.New("exit status 100")}); got != want {
			t.Errorf("%q: got %q, want %q", said, got, want)
		}
	}
	if takenLock(nil) != "" || takenLock(errors.New(listsTaken)) != "" {
		t.Error("what is no program's failure is taken for a lock")
	}
}

// locked is a machine without bc, on which apt's programs find a lock taken for a time.
type locked struct {
	began time.Time
	lasts time.Duration
	said  string
	ran   []string
	done  bool
}

func (l *locked) run(_ context.Context, p task.Program) (string, error) {
	l.ran = append(l.ran, p.Argv[0]+" "+p.Argv[1])
	switch p.Argv[0] {
	case "dpkg-query":
		return "", nil
	case "apt-cache":
		return "bc:\n  Candidate: 1.07\n", nil
	}
	if time.Since(l.began) < l.lasts {
		return "", &task.CommandError{Argv: p.Argv, Stderr: l.said, Err: errors.New("exit status 100")}
	}
	l.done = true
	return "", nil
}

func TestPackageWhileAptIsBusy(t *testing.T) {
	play := task.Play{Name: "p", Tasks: []task.Task{{Name: "install bc", Spec: task.Package{Names: []string{"bc"}}}}}
	for _, c := range []struct {
		name, said string
		lasts      time.Duration
		want       string // of the error
		waits      string // what is said meanwhile
	}{
		{"lists", listsTaken, 4 * time.Minute, "", "/var/lib/apt/lists/lock. It is held by process 812 (apt-get)"},
		{
			"archives",
			archivesTaken,
			15 * time.Second,
			"",
			"/var/cache/apt/archives/lock. It is held by process 812 (python3)",
		},
		{"dpkg", dpkgTaken, 15 * time.Second, "", "pid 812"},
		{"for ever", listsTaken, time.Hour, "held by process 812 (apt-get), for 5m0s: apt-get", "812"},
		{"not for the lock", noConnection, time.Hour, "Could not connect", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &locked{began: time.Now(), lasts: c.lasts, said: c.said}
				var waits []string
				_, err := newEngine(play, false, func(e task.Event) {
					if e.Waits != "" {
						waits = append(waits, e.Waits)
					}
				}, task.Machine{Run: m.run}).all(t.Context())
				if c.want == "" && (err != nil || !m.done) ||
					c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
					t.Errorf("got %v after %d programs", err, len(m.ran))
				}
				if told := slices.ContainsFunc(
					waits,
					func(text string) bool { return strings.Contains(text, c.waits) },
				); told != (c.waits != "") {
					t.Errorf("said %q", waits)
				}
				if c.name == "not for the lock" && time.Since(m.began) > 0 {
					t.Errorf("it was tried again for %s", time.Since(m.began))
				}
			})
		})
	}
}

func TestFactsWhileAptIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &locked{began: time.Now(), lasts: 15 * time.Second, said: listsTaken}
		// A package that is not in the lists has them read anew.
		patiently := task.Machine{Run: patient(m.run, func(string) {})}
		if _, err := task.PackageCandidates(t.Context(), patiently, []string{"not-there"}); err != nil || !m.done {
			t.Errorf("got %v after %q", err, m.ran)
		}
	})
}
