package hangup

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// TestMain is also the process that the tests send signals to: it goes back once its context has ended.
func TestMain(m *testing.M) {
	if os.Getenv("GOLDSMITH_TEST_WORKER") == "" {
		// What ignores a closed terminal, as under nohup, has its children ignore it too; what listens to it has not.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
		os.Exit(m.Run())
	}
	ctx, stop := Context(context.Background())
	defer stop()
	fmt.Println("at work")
	<-ctx.Done()
	for range 3 {
		fmt.Fprintln(os.Stderr, "going back")
	}
	_ = os.WriteFile(os.Getenv("GOLDSMITH_TEST_WORKER"), []byte("all is as it was"), 0o600) // the tests look for it
	os.Exit(1)
}

func TestItGoesBackWhateverEndsIt(t *testing.T) {
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		gone   bool // nobody reads what it says any more
	}{
		{"interrupt", syscall.SIGINT, false},
		{"request to end", syscall.SIGTERM, false},
		{"closed terminal", syscall.SIGHUP, false},
		{"closed terminal, and nobody reads", syscall.SIGHUP, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			left := t.TempDir() + "/left"
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "GOLDSMITH_TEST_WORKER="+left)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			said, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err = cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if line != "at work\n" {
				t.Fatalf("%q, %v", line, err)
			}
			if c.gone {
				out.Close()
				said.Close()
			}
			if err = cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			if !c.gone {
				if _, err = io.Copy(io.Discard, said); err != nil {
					t.Error(err)
				}
			}
			err = cmd.Wait()
			if text, _ := os.ReadFile(left); string(text) != "all is as it was" {
				t.Errorf("it ended with %v, and did not go back", err)
			}
		})
	}
}

// Under nohup a closed terminal ends nothing.
func TestNohup(t *testing.T) {
	left := t.TempDir() + "/left"
	cmd := exec.Command("/bin/sh", "-c", `trap "" HUP; exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), "GOLDSMITH_TEST_WORKER="+left)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if ignored := mask(t, string(status), "SigIgn:"); ignored&1 == 0 {
		t.Errorf("a closed terminal is not ignored: %x", ignored)
	}
	if err = cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // the worker's exit code is never 0
}

func mask(t *testing.T, status, name string) (value uint64) {
	t.Helper()
	_, rest, _ := strings.Cut(status, name)
	if _, err := fmt.Sscanf(rest, "%x", &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestPluginEndsItsWorkAndWaitsForIt(t *testing.T) {
	var w Work
	ctx, done := w.Begin(t.Context())
	back := false
	go func() {
		<-ctx.Done()
		back = true
		done()
	}()
	w.End()
	if !back {
		t.Error("it did not wait until the work had gone back")
	}
}
