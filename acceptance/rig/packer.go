//go:build acceptance

package rig

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Packer is the Packer that `make golden` used.
func Packer(t testing.TB) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(Repository, "scripts", "packer")).Output()
	if err != nil {
		t.Fatalf("scripts/packer: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// Bake is a build file of one source and its provisioners.
type Bake struct {
	Name         string            // of the AMI; the default is another one for each run
	Data         string            // blocks before the source
	Source       string            // attributes of the source, over the defaults
	Provisioners string            // provisioner blocks
	Files        map[string]string // written beside it
	Environment  []string          // over this process's
	Validate     bool              // packer validate instead of build
	// interrupt sends SIGINT, or signal, once a line of output matches.
	Interrupt *regexp.Regexp
	Signal    syscall.Signal
	// at runs once, when a line of output matches.
	At   *regexp.Regexp
	Then func()
}

const Header = `
packer {
  required_plugins {
    goldsmith = { source = "github.com/goldsmith-ami/goldsmith", version = ">= 0.1.0" }
  }
}
`

// sourceDefaults is a bake that works; a fault test replaces what it is about.
var sourceDefaults = map[string]string{
	"region":                      `"us-east-1"`,
	"instance_type":               `"t3.micro"`,
	"ssh_username":                `"admin"`,
	"ssh_timeout":                 `"60s"`,
	"associate_public_ip_address": `true`,
	"subnet_filter": `{ filters = { "tag:goldsmith:stack" = "` + StackName +
		`", "tag:goldsmith:subnet" = "public" } }`,
	"source_ami_filter": `{ filters = { name = "debian-13-amd64-*" }, owners = ["136693071363"], most_recent = true }`,
}

var attribute = regexp.MustCompile(`(?m)^(\w+)\s*(=|\{)`)

func (b Bake) text(name string) string {
	var source strings.Builder
	given := map[string]bool{}
	for _, match := range attribute.FindAllStringSubmatch(b.Source, -1) {
		given[match[1]] = true
	}
	for key, replaced := range map[string]string{"subnet_id": "subnet_filter", "source_ami": "source_ami_filter"} {
		given[replaced] = given[replaced] || given[key]
	}
	for key, value := range sourceDefaults {
		switch {
		case given[key]:
		case strings.HasPrefix(value, "{"):
			fmt.Fprintf(
				&source,
				"%s %s\n",
				key,
				strings.NewReplacer("{ filters", "{\nfilters", ", owners", "\nowners", ", most", "\nmost", " }", "\n}").
					Replace(value),
			)
		default:
			fmt.Fprintf(&source, "%s = %s\n", key, value)
		}
	}
	return Header + b.Data + fmt.Sprintf(
		"source \"goldsmith-ami\" \"t\" {\nami_name = %q\n%s%s\n}\nbuild {\nsources = [\"source.goldsmith-ami.t\"]\n"+
			"%s\n}\n",
		name,
		source.String(),
		b.Source,
		b.Provisioners,
	)
}

// Run runs Packer and returns its output and whether it succeeded.
func (b Bake) Run(t testing.TB) (string, error) {
	t.Helper()
	dir := t.TempDir()
	name := cmp.Or(b.Name, fmt.Sprintf("t-%d", time.Now().UnixNano()))
	for file, content := range b.Files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "t.pkr.hcl"), []byte(b.text(name)), 0o644); err != nil {
		t.Fatal(err)
	}
	verb := "build"
	if b.Validate {
		verb = "validate"
	}
	cmd := exec.Command(Packer(t), verb, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), b.Environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	watcher := &LineWatcher{On: func(line string) {
		if b.Interrupt != nil && b.Interrupt.MatchString(line) {
			b.Interrupt = nil
			// As a terminal does at ctrl-C: to all of the foreground group, plugins included.
			_ = syscall.Kill(-cmd.Process.Pid, cmp.Or(b.Signal, syscall.SIGINT))
		}
		if b.At != nil && b.At.MatchString(line) {
			b.At = nil
			go b.Then()
		}
	}}
	cmd.Stdout, cmd.Stderr = watcher, watcher
	err := cmd.Run()
	return watcher.All.String(), err
}

// LineWatcher keeps all output and shows each whole line to on.
type LineWatcher struct {
	All, line bytes.Buffer
	On        func(string)
}

func (w *LineWatcher) Write(p []byte) (int, error) {
	w.All.Write(p)
	for _, c := range p {
		if c != '\n' {
			w.line.WriteByte(c)
			continue
		}
		w.On(w.line.String())
		w.line.Reset()
	}
	return len(p), nil
}

// RunUntil runs the command and, at the first line of its output that matches, then, which is given its process. It
// returns the whole output.
func RunUntil(t testing.TB, line *regexp.Regexp, then func(*os.Process), args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(Goldsmith(), args...)
	cmd.Dir = Repository
	seen := false
	watcher := &LineWatcher{On: func(text string) {
		if !seen && line.MatchString(text) {
			seen = true
			then(cmd.Process)
		}
	}}
	cmd.Stdout, cmd.Stderr = watcher, watcher
	err := cmd.Run()
	if !seen {
		t.Errorf("%v: no line matches %s:\n%s", err, line, End(t, watcher.All.String()))
	}
	return watcher.All.String(), err
}
