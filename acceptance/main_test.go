//go:build acceptance

package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/awsconfig"
)

// cloudName keeps the tests away from the cloud that a developer of this machine uses.
const cloudName = "test"

// stackName is the stack that TestMain brings up and the tests look at.
const stackName = "golden"

var (
	repository string
	api        *ec2.Client
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	var err error
	if repository, err = filepath.Abs(".."); err != nil {
		return fail(err)
	}
	os.Setenv("GOLDSMITH_CLOUD", cloudName)
	// Under nohup commands would ignore a closed terminal too, which one of the tests is about.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	home, err := os.MkdirTemp("", "goldsmith-acceptance-")
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(home)
	// Keys of the stack go to a home of the tests' own; Go's caches stay where they are.
	for _, name := range []string{"GOMODCACHE", "GOCACHE", "GOPATH"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			return fail(fmt.Errorf("go env %s: %w", name, err))
		}
		os.Setenv(name, strings.TrimSpace(string(value)))
	}
	os.Setenv("HOME", home)
	defer func() {
		if err := stream("make", "-s", "clean"); err != nil {
			code = fail(err)
		}
		if err := stream(goldsmith(), "cloud", "down", "--destroy", "--yes"); err != nil {
			code = fail(err)
		}
		if left := kernelState(); len(left) > 0 {
			code = fail(fmt.Errorf("left on the host after make clean:\n%s", strings.Join(left, "\n")))
		}
	}()
	// What a run that was killed left in the tests' cloud goes first.
	for _, command := range [][]string{
		{"make", "-s", "goldsmith"}, {goldsmith(), "cloud", "down", "--destroy", "--yes"},
	} {
		if err := stream(command[0], command[1:]...); err != nil {
			return fail(err)
		}
	}
	if err := stream("make", "golden", "STACK="+stackName); err != nil {
		return fail(err)
	}
	if err := useCloud(); err != nil {
		return fail(err)
	}
	return m.Run()
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "acceptance:", err)
	return 1
}

func goldsmith() string { return filepath.Join(repository, ".build", "goldsmith") }

// useCloud makes this process, and all that it starts, a client of the local cloud and of the built plugin.
func useCloud() error {
	out, err := exec.Command(goldsmith(), "cloud", "env").Output()
	if err != nil {
		return fmt.Errorf("goldsmith cloud env: %w", err)
	}
	for _, match := range regexp.MustCompile(`(?m)^export (\w+)=['"]?([^'"\n]*)['"]?$`).FindAllStringSubmatch(string(out), -1) {
		os.Setenv(match[1], match[2])
	}
	os.Setenv("PACKER_PLUGIN_PATH", filepath.Join(repository, ".build", "plugins"))
	os.Setenv("PACKER_CONFIG_DIR", filepath.Join(repository, ".build", "packer"))
	os.Setenv("CHECKPOINT_DISABLE", "1")
	conf, err := awsconfig.Load(context.Background(), awsconfig.Options{})
	if err != nil {
		return err
	}
	api = ec2.NewFromConfig(conf)
	return nil
}

// stream runs a command in the repository with its output on the screen.
func stream(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = repository
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}

// output runs a command in the repository and returns what it printed, both streams together.
func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = repository
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must is output for commands that have to succeed.
func must(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := output(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// onInstance runs a shell command on an instance, by its name, over SSH.
func onInstance(t testing.TB, name, command string) (string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(goldsmith(), "cloud", "ssh", name, "--", command)
	cmd.Dir = repository
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("on %s: %s: %w: %s", name, command, err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), err
}

// mustOnInstance is onInstance for commands that have to succeed.
func mustOnInstance(t testing.TB, name, command string) string {
	t.Helper()
	out, err := onInstance(t, name, command)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// decode reads JSON or fails the test with the text that was none.
func decode(t testing.TB, r io.Reader, into any) {
	t.Helper()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("not the expected JSON: %v\n%s", err, text)
	}
}
