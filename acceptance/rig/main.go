//go:build acceptance

// Package rig brings up the cloud and the stack that a package of acceptance tests looks at, and has the questions that
// several of them ask.
package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

// cloudPrefix keeps the tests away from the clouds that a developer of this machine uses.
const cloudPrefix = "test-"

// StackName is the stack that Main brings up and the tests look at.
const StackName = "golden"

var (
	// cloudName is the cloud of this package's tests; packages run side by side, each on its own.
	cloudName string
	// Repository is the copy of the checkout that the tests run in, so that a build in the checkout disturbs nothing.
	Repository string
	// API is a client of the local cloud's EC2.
	API *ec2.Client
)

// Main runs a package's tests on the cloud test-NAME: it brings the cloud and its stack up by `make golden`, and at the
// end it takes them down and looks for what is left on the host. With KEEP=1 in the environment a cloud that is up is
// used as it is, and stays.
func Main(m *testing.M, name string) (code int) { return run(m, name, bringUp) }

// MainOfCloud is Main for tests that make their stacks themselves: the cloud and what bakes are there, and no stack.
func MainOfCloud(m *testing.M, name string) (code int) {
	return run(m, name, func(bool) error { return require("make", "-j2", "build", "env-packer", "cloud") })
}

func run(m *testing.M, name string, bringUp func(keep bool) error) (code int) {
	cloudName = cloudPrefix + name
	keep := os.Getenv("KEEP") == "1"
	if err := prepare(); err != nil {
		return fail(err)
	}
	if !keep {
		// What a run that was killed left in the tests' cloud goes first.
		if err := destroy(); err != nil {
			return fail(err)
		}
		defer func() {
			if err := tearDown(); err != nil {
				code = fail(err)
			}
		}()
	}
	if err := bringUp(keep); err != nil {
		return fail(err)
	}
	if err := useCloud(); err != nil {
		return fail(err)
	}
	defer func() {
		if err := keepTrail(); err != nil {
			code = fail(err)
		}
	}()
	return m.Run()
}

// keepTrail writes the cloud's trail where acceptance/policies reads those of all clouds of a run.
func keepTrail() error {
	all, err := exec.Command(Goldsmith(), "cloud", "trail", "--json").Output()
	if err != nil {
		return fmt.Errorf("goldsmith cloud trail: %w", err)
	}
	path := filepath.Join(filepath.Dir(filepath.Dir(Repository)), "trails", cloudName+".jsonl")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, all, 0o600)
}

// bringUp brings the cloud and its stack up. With keep a stack that serves is taken as it is, and only what runs here
// is built anew: an image is baked again by make golden, or once the stack was destroyed.
func bringUp(keep bool) error {
	if keep && serves() {
		fmt.Fprintln(os.Stderr, "acceptance: the stack that is up is used; its images are not baked anew")
		return require("make", "build", "env-packer")
	}
	fmt.Fprintf(os.Stderr, "acceptance: make golden, in %s\n", Repository)
	return require("make", "golden", "STACK="+StackName)
}

// serves tells whether a cloud is up from before on which both tiers of the stack serve.
func serves() bool {
	if _, err := os.Stat(Goldsmith()); err != nil || useCloud() != nil {
		return false
	}
	out, err := exec.Command(Goldsmith(), "status", "--stack", StackName, "--json").Output()
	return err == nil && bytes.Count(out, []byte(`"role": "serving"`)) == 2
}

// prepare copies the checkout and sets the environment of everything that the tests start.
func prepare() error {
	source, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return err
	}
	// Under nohup commands would ignore a closed terminal too, which one of the tests is about.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	own := filepath.Join(source, ".build", "acceptance", cloudName)
	Repository = filepath.Join(own, "checkout")
	if err := os.RemoveAll(outputs()); err != nil {
		return err
	}
	if err := copyCheckout(source, Repository); err != nil {
		return fmt.Errorf("copy the checkout: %w", err)
	}
	// Go's caches stay where they are when the home is another.
	for _, name := range []string{"GOMODCACHE", "GOCACHE", "GOPATH"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			return fmt.Errorf("go env %s: %w", name, err)
		}
		os.Setenv(name, strings.TrimSpace(string(value)))
	}
	home := filepath.Join(own, "home")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	os.Setenv("HOME", home)
	os.Setenv("GOLDSMITH_CLOUD", cloudName)
	// What commands print is looked at by tests, and by people in the log of CI.
	os.Setenv("PACKER_NO_COLOR", "1")
	// Set by the make that runs the tests, for its own checkout.
	for _, name := range []string{
		"TIMINGS", "PACKER_PLUGIN_PATH", "PACKER_CONFIG_DIR", "MAKEFLAGS", "MFLAGS", "MAKELEVEL",
	} {
		os.Unsetenv(name)
	}
	return nil
}

// copyCheckout makes target what source is: the files that git tracks or would, with their times, and the tools that
// were built once. What was built in target before stays.
func copyCheckout(source, target string) error {
	if err := removeAllBut(target, ".build"); err != nil {
		return err
	}
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = source
	names, err := list.Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(source, name), filepath.Join(target, name)); err != nil {
			return err
		}
	}
	return os.Symlink(filepath.Join(source, ".tools"), filepath.Join(target, ".tools"))
}

// removeAllBut makes dir where it is not, and removes what is in it but for the entry kept.
func removeAllBut(dir, kept string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == kept {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies a regular file with its mode and time: make compares times. A file that git knows and that was
// deleted is not there in the copy either.
func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(to, content, info.Mode().Perm()); err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}

// destroy removes the tests' cloud, with what it keeps.
func destroy() error {
	if err := require("make", "-s", "goldsmith"); err != nil {
		return err
	}
	return require(Goldsmith(), "cloud", "down", "--destroy", "--yes")
}

// tearDown ends the cloud as a user would, and fails when something of it is left on the host. What failed tests kept
// of their commands' outputs stays.
func tearDown() error {
	if err := require("make", "-s", "clean"); err != nil {
		return err
	}
	if err := destroy(); err != nil {
		return err
	}
	if left := KernelState(); len(left) > 0 {
		return fmt.Errorf("left on the host after make clean:\n%s", strings.Join(left, "\n"))
	}
	if _, err := os.Stat(outputs()); err == nil {
		return removeAllBut(filepath.Dir(Repository), filepath.Base(outputs()))
	}
	return os.RemoveAll(filepath.Dir(Repository))
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "acceptance:", err)
	return 1
}

func Goldsmith() string { return filepath.Join(Repository, ".build", "goldsmith") }

// useCloud makes this process, and all that it starts, a client of the local cloud and of the built plugin.
func useCloud() error {
	out, err := exec.Command(Goldsmith(), "cloud", "env").Output()
	if err != nil {
		return fmt.Errorf("goldsmith cloud env: %w", err)
	}
	exports := regexp.MustCompile(`(?m)^export (\w+)=['"]?([^'"\n]*)['"]?$`)
	for _, match := range exports.FindAllStringSubmatch(string(out), -1) {
		os.Setenv(match[1], match[2])
	}
	os.Setenv("PACKER_PLUGIN_PATH", filepath.Join(Repository, ".build", "plugins"))
	os.Setenv("PACKER_CONFIG_DIR", filepath.Join(Repository, ".build", "packer"))
	os.Setenv("CHECKPOINT_DISABLE", "1")
	conf, err := awsconfig.Load(context.Background(), awsconfig.Options{})
	if err != nil {
		return err
	}
	API = ec2.NewFromConfig(conf)
	return nil
}

// OnInstance runs a shell command on an instance, by its name, over SSH.
func OnInstance(t testing.TB, name, command string) (string, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(Goldsmith(), "cloud", "ssh", name, "--", command)
	cmd.Dir = Repository
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("on %s: %s: %w: %s", name, command, err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), err
}

// MustOnInstance is OnInstance for commands that have to succeed.
func MustOnInstance(t testing.TB, name, command string) string {
	t.Helper()
	out, err := OnInstance(t, name, command)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Decode reads JSON or fails the test with the text that was none.
func Decode(t testing.TB, r io.Reader, into any) {
	t.Helper()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("not the expected JSON: %v\n%s", err, text)
	}
}
