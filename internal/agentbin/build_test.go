package agentbin_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuildDependsOnSourcesAlone builds what goes into images from two copies of this checkout: one that is no work
// tree of git, and one elsewhere that is, with a commit, a changed README, an untracked file, and a shell of its own
// mind.
func TestBuildDependsOnSourcesAlone(t *testing.T) {
	plain := checkout(t, "plain")
	first := builtIn(t, plain)
	if len(first) != 3 {
		t.Fatalf("built %v, want the agent, the compressed agent and the web app", first)
	}

	dirty := checkout(t, "a work tree/that is dirty")
	run(t, dirty, nil, "git", "init", "--quiet")
	run(t, dirty, nil, "git", "add", ".")
	who := []string{
		"GIT_AUTHOR_NAME=A",
		"GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=A",
		"GIT_COMMITTER_EMAIL=a@example.com",
	}
	run(t, dirty, who, "git", "commit", "--quiet", "--no-gpg-sign", "--no-verify", "--message", "All")
	for _, name := range []string{"README.md", "notes.txt", "internal/agentbin/bin/half.gz.new"} {
		if err := os.WriteFile(filepath.Join(dirty, name), []byte("another text\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second := builtIn(t, dirty, "GOFLAGS=-ldflags=-X=main.name=value", "CGO_ENABLED=1", "GOAMD64=v3", "GOARM64=v9.0")
	if !maps.Equal(first, second) {
		t.Errorf("built\n%v\nand of the same sources\n%v", first, second)
	}
}

// TestEachProgramIsBuiltTheSameWay asks make for its commands: to link the plugin, which counts for the digest of
// what an image is made of, takes too long here.
func TestEachProgramIsBuiltTheSameWay(t *testing.T) {
	commands := run(t, "../..", nil, "make", "--dry-run", "--always-make", "plugin", "webapp", "goldsmith")
	count := 0
	for line := range strings.Lines(commands) {
		if !strings.Contains(line, "go build") {
			continue
		}
		count++
		for _, want := range []string{"GOFLAGS=-buildvcs=false ", "CGO_ENABLED=0 ", " -trimpath "} {
			if !strings.Contains(line, want) {
				t.Errorf("%q is missing in %s", want, line)
			}
		}
	}
	if count < 4 {
		t.Errorf("%d programs are built, want 4:\n%s", count, commands)
	}
}

// TestBothArchitectures asks make for what it would build for two processors.
func TestBothArchitectures(t *testing.T) {
	commands := run(t, "../..", nil, "make", "--dry-run", "--always-make", "ARCHES=amd64 arm64", "build")
	for _, want := range []string{"GOARCH=amd64", "GOARCH=arm64"} {
		for _, program := range []string{"./cmd/goldsmith-agent", "./webapp"} {
			found := false
			for line := range strings.Lines(commands) {
				found = found || strings.Contains(line, want) && strings.HasSuffix(strings.TrimSpace(line), program)
			}
			if !found {
				t.Errorf("%s is not built with %s:\n%s", program, want, commands)
			}
		}
	}
}

// checkout is a copy of this one, without what was built in it.
func checkout(t *testing.T, name string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), name)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel("../..", path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch inside {
			case ".git", ".build", ".tools":
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, inside), 0o700)
		}
		if !d.Type().IsRegular() || inside == ".git" || filepath.Ext(path) == ".gz" {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, inside), content, info.Mode().Perm())
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// builtIn builds the agent and the web app there, and returns their digests.
func builtIn(t *testing.T, dir string, environment ...string) map[string]string {
	t.Helper()
	run(t, dir, environment, "make", "--no-print-directory", "agent", "webapp")
	digests := map[string]string{}
	for _, pattern := range []string{
		".build/goldsmith-agent-linux-*",
		".build/webapp-linux-*",
		"internal/agentbin/bin/*.gz",
	} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			digests[filepath.Base(path)] = fmt.Sprintf("%x", sha256.Sum256(content))
		}
	}
	return digests
}

// run runs a command without what a make that runs these tests has put into the environment.
func run(t *testing.T, dir string, environment []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "MAKE") && !strings.HasPrefix(pair, "MFLAGS=") && !strings.HasPrefix(pair, "GIT_") {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	cmd.Env = append(cmd.Env, environment...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
