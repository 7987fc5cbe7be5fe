package settle

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// booted is a machine with systemd, which shows these answers of systemctl one after the other, the last of them for
// ever.
func booted(t *testing.T, answers ...string) (m machine, said, asked *[]string) {
	t.Helper()
	said, asked = &[]string{}, &[]string{}
	m = machine{
		root: t.TempDir(),
		say:  func(text string) { *said = append(*said, text) },
		systemctl: func(_ context.Context, arguments ...string) (string, error) {
			*asked = append(*asked, strings.Join(arguments, " "))
			answer := answers[0]
			answers = answers[min(1, len(answers)-1):]
			return answer, nil
		},
	}
	put(t, m.root, "run/systemd/system/x", "")
	return m, said, asked
}

func put(t *testing.T, root, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, path), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBusyUnits(t *testing.T) {
	for _, c := range []struct{ name, shown, want string }{
		{
			"all done",
			"Id=cloud-init-local.service\nActiveState=active\nJob=\n\nId=cloud-final.service\nActiveState=active\n",
			"",
		},
		{"not there", "Id=cloud-init.service\nActiveState=inactive\n", ""},
		{"failed", "Id=cloud-final.service\nActiveState=failed\nJob=0\n", ""},
		{
			"at work",
			"Id=cloud-init.service\nActiveState=active\n\nId=cloud-final.service\nActiveState=activating\nJob=120\n",
			"cloud-final.service is activating",
		},
		{
			"about to be", "Job=77\nId=cloud-final.service\nActiveState=inactive\n",
			"cloud-final.service is about to start",
		},
		{"empty", "", ""},
	} {
		m, _, _ := booted(t, c.shown)
		if got, err := m.busyUnits(t.Context(), cloudInitUnits); got != c.want || err != nil {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
	}
}

func TestCloudInit(t *testing.T) {
	const busy = "Id=cloud-final.service\nActiveState=activating\n"
	const done = "Id=cloud-final.service\nActiveState=active\n"
	synctest.Test(t, func(t *testing.T) {
		m, said, _ := booted(t, slices.Concat(slices.Repeat([]string{busy}, 200), []string{done})...)
		put(
			t,
			m.root,
			"run/cloud-init/result.json",
			`{"v1":{"errors":["('scripts-user',\n RuntimeError('1 failed'))"]}}`,
		)
		began := time.Now()
		if err := m.cloudInit(t.Context()); err != nil || time.Since(began) != 40*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		const waiting = "waiting for cloud-init: cloud-final.service is activating"
		if want := []string{
			waiting,
			waiting,
			"cloud-init has ended, with errors: ('scripts-user', RuntimeError('1 failed'))",
		}; !slices.Equal(
			*said,
			want,
		) {
			t.Errorf("said %q", *said)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m, said, asked := booted(t, done)
		if err := m.cloudInit(t.Context()); err != nil || len(*said) > 0 || len(*asked) != 1 {
			t.Errorf("it had ended: %v, said %q, asked %q", err, *said, *asked)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m, _, _ := booted(t, busy)
		if err := m.cloudInit(
			t.Context(),
		); err == nil ||
			!strings.Contains(err.Error(), "not ended after 10m0s: cloud-final.service is activating\nhint: ") {
			t.Errorf("it never ends: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m, _, _ := booted(t, busy)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.cloudInit(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("interrupted: %v", err)
		}
	})
	m, _, asked := booted(t, busy)
	m.root = t.TempDir()
	if err := m.cloudInit(t.Context()); err != nil || len(*asked) > 0 {
		t.Errorf("without systemd: %v, asked %q", err, *asked)
	}
}

func TestStopAptTimers(t *testing.T) {
	m, said, asked := booted(
		t,
		"Id=apt-daily.timer\nActiveState=active\n\nId=apt-daily-upgrade.timer\nActiveState=inactive\n",
		"",
	)
	if err := m.stopAptTimers(t.Context()); err != nil || (*asked)[1] != "stop apt-daily.timer" || len(*said) != 1 {
		t.Errorf("got %v, asked %q, said %q", err, *asked, *said)
	}
	m, said, asked = booted(
		t,
		"Id=apt-daily.timer\nActiveState=inactive\n\nId=apt-daily-upgrade.timer\nActiveState=inactive\n",
	)
	if err := m.stopAptTimers(t.Context()); err != nil || len(*asked) != 1 || len(*said) > 0 {
		t.Errorf("there is nothing to stop: %v, asked %q, said %q", err, *asked, *said)
	}
}

// TestMain is also the program that holds a lock, when it is called so: a process's own locks do not hold it up.
func TestMain(m *testing.M) {
	path := os.Getenv("GOLDSMITH_TEST_LOCK")
	if path == "" {
		os.Exit(m.Run())
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		err = syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK})
	}
	fmt.Println(err)
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the test lets go
}

// lock has another process lock a file as apt does, until the returned function is called.
func lock(t *testing.T, path string) (pid int, release func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "GOLDSMITH_TEST_LOCK="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "<nil>\n" {
		t.Fatalf("lock %s: %q, %v", path, line, err)
	}
	return cmd.Process.Pid, func() { in.Close(); _ = cmd.Wait() }
}

func TestApt(t *testing.T) {
	for _, path := range aptLocks {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			m, _, _ := booted(t, "Id=apt-daily.service\nActiveState=inactive\n")
			if err := m.apt(t.Context()); err != nil {
				t.Errorf("without locks: %v", err)
			}
			put(t, m.root, path, "")
			if err := m.apt(t.Context()); err != nil {
				t.Errorf("%s, which nobody has: %v", path, err)
			}
			pid, release := lock(t, filepath.Join(m.root, path))
			got, err := m.lockHolder()
			if want := fmt.Sprintf("/%s is held by settle.test (process %d)", path, pid); got != want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
			waiting := make(chan string, 1)
			m.say = func(text string) {
				waiting <- text
				release()
			}
			if err := m.apt(t.Context()); err != nil || !strings.Contains(<-waiting, path) {
				t.Errorf("%s was let go: %v", path, err)
			}
		})
	}
}

// TestAptThatIsAtWork has apt's daily work go on without a lock, between two steps.
func TestAptThatIsAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, said, _ := booted(t, "Id=apt-daily-upgrade.service\nActiveState=activating\n")
		err := m.apt(t.Context())
		if err == nil ||
			!strings.Contains(
				err.Error(),
				"wait for apt: it has not ended after 5m0s: apt-daily-upgrade.service is activating",
			) ||
			len(*said) != 10 {
			t.Errorf("got %v, said %q", err, *said)
		}
	})
}
