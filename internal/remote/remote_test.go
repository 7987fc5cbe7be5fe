package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/agentbin"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// TestMain builds the agent that the tests put on their machine.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "goldsmith-remote-")
	if err == nil {
		agent := filepath.Join(dir, "agent")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", agent, "../../cmd/goldsmith-agent").
			CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		os.Setenv(agentbin.Variable, agent)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// machine is a communicator to this machine's own shell, in a home of its own, with a sudo that lets everybody in.
type machine struct {
	home string

	mu       sync.Mutex
	commands []string
	// cut, if a command contains it, breaks the connection off while that runs.
	cut string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{home: t.TempDir()}
	if err := os.Mkdir(m.home+"/bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.home+"/bin/sudo", []byte("#!/bin/sh\nshift\nexec \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return m
}

// replace puts a program in the place of one that the machine has.
func (m *machine) replace(t *testing.T, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.home, "bin", name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) Start(ctx context.Context, cmd *packersdk.RemoteCmd) error {
	m.mu.Lock()
	m.commands = append(m.commands, cmd.Command)
	m.mu.Unlock()
	shell := exec.CommandContext(ctx, "/bin/sh", "-c", cmd.Command)
	shell.Env = append(os.Environ(), "HOME="+m.home, "PATH="+m.home+"/bin:"+os.Getenv("PATH"))
	shell.Stdin, shell.Stdout, shell.Stderr = cmd.Stdin, cmd.Stdout, cmd.Stderr
	shell.WaitDelay = time.Second
	if err := shell.Start(); err != nil {
		return err
	}
	go func() {
		if m.cut != "" && strings.Contains(cmd.Command, m.cut) {
			time.Sleep(300 * time.Millisecond)
			cmd.SetExited(packersdk.CmdDisconnect)
			_ = shell.Process.Kill()
			_ = shell.Wait()
			return
		}
		_ = shell.Wait() // its exit code is told
		cmd.SetExited(shell.ProcessState.ExitCode())
	}()
	return nil
}

func (m *machine) ran() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.commands)
}

var errUntold = errors.New("nobody told of this")

func (m *machine) Upload(string, io.Reader, *os.FileInfo) error        { return errUntold }
func (m *machine) UploadDir(string, string, []string) error            { return errUntold }
func (m *machine) Download(string, io.Writer) error                    { return errUntold }
func (m *machine) DownloadDir(src, dst string, exclude []string) error { return errUntold }

// touching is a play that makes a file.
func touching(path string) func(task.Facts, task.Blob) (task.Play, error) {
	return func(task.Facts, task.Blob) (task.Play, error) {
		return task.Play{
			Name:  "test",
			Tasks: []task.Task{{Name: "touch it", Spec: task.File{Path: path, Content: task.Bytes([]byte("x\n"))}}},
		}, nil
	}
}

func TestProvisionTwice(t *testing.T) {
	m, path := newMachine(t), filepath.Join(t.TempDir(), "made")
	recap, err := Provision(t.Context(), packersdk.TestUi(t), m, Options{}, touching(path))
	if err != nil || recap.Changed != 1 {
		t.Fatalf("first: %+v, %v", recap, err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "x\n" {
		t.Errorf("made %q, %v", text, err)
	}
	if n := m.ran(); n != 5 {
		t.Errorf(
			"%d commands for the first run, 5 are due: a look, the upload, the wait, facts, the play: %q",
			n,
			m.commands,
		)
	}
	recap, err = Provision(t.Context(), packersdk.TestUi(t), m, Options{}, touching(path))
	if err != nil || recap.Changed != 0 || recap.OK != 1 {
		t.Errorf("second: %+v, %v", recap, err)
	}
	if n := m.ran(); n != 9 {
		t.Errorf("%d commands for the second run, 4 are due", n-5)
	}
	info, err := os.Stat(filepath.Dir(onlyAgent(t, m)))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("others may look into the agent's directory: %v, %v", info.Mode(), err)
	}
}

func onlyAgent(t *testing.T, m *machine) string {
	t.Helper()
	found, err := filepath.Glob(m.home + "/.goldsmith-agent-*/*")
	if err != nil || len(found) != 1 || filepath.Base(found[0]) != "agent" {
		t.Fatalf("the agent's directory holds %v, %v", found, err)
	}
	return found[0]
}

func TestCheckChangesNothing(t *testing.T) {
	m, path := newMachine(t), filepath.Join(t.TempDir(), "made")
	recap, err := Provision(t.Context(), packersdk.TestUi(t), m, Options{Check: true}, touching(path))
	if err != nil || recap.Changed != 1 {
		t.Errorf("got %+v, %v", recap, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("check made the file: %v", err)
	}
}

func TestFailuresSayWhatAndWhere(t *testing.T) {
	failing := func(task.Facts, task.Blob) (task.Play, error) {
		return task.Play{Name: "test", Tasks: []task.Task{
			{Name: "good", Spec: task.Command{Argv: []string{"true"}}},
			{Name: "the one", Spec: task.Command{Shell: "echo the reason >&2; exit 3"}}}}, nil
	}
	sleeping := func(task.Facts, task.Blob) (task.Play, error) {
		return task.Play{Name: "test", Tasks: []task.Task{{Name: "long", Spec: task.Command{Shell: "sleep 5"}}}}, nil
	}
	invalid := func(task.Facts, task.Blob) (task.Play, error) {
		return task.Play{Name: "test", Tasks: []task.Task{{Name: "bad", Spec: task.Package{}}}}, nil
	}
	for _, c := range []struct {
		name  string
		set   func(*testing.T, *machine)
		build func(task.Facts, task.Blob) (task.Play, error)
		want  []string
	}{
		{"task", nil, failing, []string{"play test", `"the one"`, "command", "exit status 3", "the reason"}},
		{"invalid play", nil, invalid, []string{`"bad"`, "names"}},
		{
			"another system",
			func(t *testing.T, m *machine) { m.replace(t, "uname", "echo FreeBSD") },
			failing,
			[]string{"FreeBSD", "Linux"},
		},
		{
			"another architecture",
			func(t *testing.T, m *machine) { m.replace(t, "uname", "test $1 = -s && echo Linux || echo riscv64") },
			failing,
			[]string{"riscv64"},
		},
		{"sudo wants a password", func(t *testing.T, m *machine) {
			m.replace(t, "id", "echo 1000")
			m.replace(t, "sudo", "echo 'sudo: a password is required' >&2; exit 1")
		}, failing, []string{"become root", "a password is required", "hint:"}},
		{"connection breaks off", func(_ *testing.T, m *machine) { m.cut = " apply" }, sleeping, []string{"broke off"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			if c.set != nil {
				c.set(t, m)
			}
			_, err := Provision(t.Context(), packersdk.TestUi(t), m, Options{}, c.build)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q in it", err, want)
				}
			}
		})
	}
}

func TestInterruptedRunEndsAtOnce(t *testing.T) {
	m := newMachine(t)
	ctx, cancel := context.WithCancel(t.Context())
	build := func(task.Facts, task.Blob) (task.Play, error) {
		time.AfterFunc(200*time.Millisecond, cancel)
		return task.Play{Name: "test", Tasks: []task.Task{{Name: "long", Spec: task.Command{Shell: "sleep 30"}}}}, nil
	}
	ended := make(chan error, 1)
	go func() {
		_, err := Provision(ctx, packersdk.TestUi(t), m, Options{}, build)
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	case <-t.Context().Done():
		t.Error("it goes on")
	}
}
