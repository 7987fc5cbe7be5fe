// Package remote runs plays on a machine through Packer's communicator: it puts the agent there once, asks it for
// facts, and streams a play to it while its events come back. It works with every builder whose machines are Linux.
package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/agentbin"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// Options are the options of a run of a play.
type Options struct {
	// Check changes nothing and shows what would change.
	Check bool
	// Candidates are packages whose available versions the play depends on.
	Candidates []string
}

// waits are the programs, beside cloud-init, that must have ended before facts are gathered: apt may have to read its
// lists for that.
func (o Options) waits() []string {
	if len(o.Candidates) == 0 {
		return nil
	}
	return []string{"apt"}
}

// Build makes a play for a machine of these facts. agent is the program that the machine runs plays with, for plays
// that put it into the image.
type Build func(facts task.Facts, agent task.Blob) (task.Play, error)

// Provision waits for the end of cloud-init, gathers facts, has the play built from them, and makes it so. Each task's
// outcome and the recap are told through ui. The recap is returned also with an error.
func Provision(
	ctx context.Context,
	ui packersdk.Ui,
	comm packersdk.Communicator,
	o Options,
	build Build,
) (task.Recap, error) {
	a, err := connect(ctx, comm)
	if err != nil {
		return task.Recap{}, err
	}
	if err = a.settle(ctx, ui, o.waits()...); err != nil {
		return task.Recap{}, err
	}
	facts, err := a.facts(ctx, o.Candidates)
	if err != nil {
		return task.Recap{}, err
	}
	play, err := build(facts, a.program)
	if err != nil {
		return task.Recap{}, err
	}
	if err := play.Validate(); err != nil {
		return task.Recap{}, fmt.Errorf("play %s: %w", play.Name, err)
	}
	return a.apply(ctx, ui, play, o.Check)
}

// agent is the agent on a machine.
type agent struct {
	comm    packersdk.Communicator
	command string // how it is run, as a shell reads it
	program task.Blob
}

// connect finds out what the machine is and whether it has the agent, in one round trip, and uploads it if not.
func connect(ctx context.Context, comm packersdk.Communicator) (*agent, error) {
	probe, err := run(
		ctx,
		comm,
		`printf '%s\n' "$(uname -s)" "$(uname -m)" "$(id -u)" "$HOME"; ls -d "$HOME"/.goldsmith-agent-*/agent `+
			`2>/dev/null; true`,
		nil,
	)
	if err != nil {
		return nil, fmt.Errorf("look at the machine: %w", err)
	}
	answers := strings.Split(strings.TrimSpace(probe), "\n")
	if len(answers) < 4 {
		return nil, fmt.Errorf(
			"look at the machine: its shell answers %q; a POSIX shell is needed",
			probe[:min(len(probe), 500)],
		)
	}
	system, machine, uid, home := answers[0], answers[1], answers[2], answers[3]
	if system != "Linux" {
		return nil, fmt.Errorf("look at the machine: it runs %q; Goldsmith's provisioners work on Linux", system)
	}
	arch := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[machine]
	if arch == "" {
		return nil, fmt.Errorf(
			"look at the machine: its architecture is %q; there are agents for x86_64 and aarch64",
			machine,
		)
	}
	if !safePath.MatchString(home) {
		return nil, fmt.Errorf(
			"look at the machine: the home directory %q has characters that no home directory should have",
			home,
		)
	}
	blob, err := agentbin.Open(arch)
	if err != nil {
		return nil, err
	}
	dir := fmt.Sprintf("%s/.goldsmith-agent-%s", home, strings.TrimPrefix(blob.Digest, "sha256:")[:12])
	a := &agent{comm: comm, command: dir + "/agent", program: blob}
	if uid != "0" {
		a.command = "sudo -n " + a.command
	}
	for _, there := range answers[4:] {
		if there == dir+"/agent" {
			return a, nil
		}
	}
	return a, upload(ctx, comm, blob, dir)
}

var safePath = regexp.MustCompile(`^/[A-Za-z0-9_./-]*$`)

// upload puts the agent into a directory that only its user can enter, and gives it its name last, so that an upload
// that broke off is not taken for an agent. It goes by standard input: not every machine has scp or SFTP.
func upload(ctx context.Context, comm packersdk.Communicator, blob task.Blob, dir string) error {
	content, err := blob.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	command := fmt.Sprintf(
		"umask 077 && mkdir -p %[1]s && cat >%[1]s/upload && chmod 700 %[1]s/upload && mv %[1]s/upload %[1]s/agent",
		dir,
	)
	if _, err := run(ctx, comm, command, content); err != nil {
		return fmt.Errorf("upload the agent to %s: %w", dir, err)
	}
	return nil
}

func becomeRoot(err error) error {
	return fmt.Errorf("become root: %w\nhint: the SSH user must be root, or be allowed sudo without a password", err)
}

func (a *agent) facts(ctx context.Context, candidates []string) (task.Facts, error) {
	var facts task.Facts
	out, err := run(ctx, a.comm, strings.Join(append([]string{a.command, "facts"}, candidates...), " "), nil)
	if err != nil {
		if strings.Contains(err.Error(), "sudo:") {
			return facts, becomeRoot(err)
		}
		return facts, fmt.Errorf("gather facts: %w", err)
	}
	if err := json.Unmarshal([]byte(out), &facts); err != nil {
		return facts, fmt.Errorf("gather facts: the agent answers %q: %w", out[:min(len(out), 500)], err)
	}
	return facts, nil
}

// apply streams the play and follows the events.
func (a *agent) apply(ctx context.Context, ui packersdk.Ui, play task.Play, check bool) (task.Recap, error) {
	f := &follower{ui: PlainUi(ui), play: play.Name, check: check}
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(task.Encode(writer, play, check)) }()
	defer reader.Close()
	events := newLines(f.line)
	var stderr tail
	out := newOutput(events, eventsLimit)
	cmd := &packersdk.RemoteCmd{Command: a.command + " apply", Stdin: reader, Stdout: out, Stderr: &stderr}
	status, err := wait(ctx, a.comm, cmd)
	err = errors.Join(err, out.end())
	events.flush()
	switch {
	case ctx.Err() != nil:
		return f.recap, fmt.Errorf("play %s: %w", play.Name, ctx.Err())
	case f.failure != nil:
		return f.recap, fmt.Errorf("play %s: %w", play.Name, f.failure)
	case err != nil || status != 0 || !f.done:
		return f.recap, f.broken(status, err, stderr.String())
	}
	return f.recap, nil
}

// run runs a command to its end and returns its standard output.
func run(ctx context.Context, comm packersdk.Communicator, command string, stdin io.Reader) (string, error) {
	var stdout bytes.Buffer
	var stderr tail
	out := newOutput(&stdout, answerLimit)
	status, err := wait(ctx, comm, &packersdk.RemoteCmd{Command: command, Stdin: stdin, Stdout: out, Stderr: &stderr})
	if err = errors.Join(err, out.end()); err != nil {
		return "", err
	}
	if status != 0 {
		return "", exitError(status, &stderr)
	}
	return stdout.String(), nil
}

// exitError is a command that ended with a status, and with what it complained of.
func exitError(status int, stderr *tail) error {
	return fmt.Errorf("exit status %d: %s", status, plaintext.Lines(strings.TrimSpace(stderr.String())))
}

// wait starts a command and waits for its end or for the context's, whichever comes first. After that nothing is
// written to the command's standard error any more; its standard output is to be an output, which the caller ends.
func wait(ctx context.Context, comm packersdk.Communicator, cmd *packersdk.RemoteCmd) (int, error) {
	complaints := newOutput(cmd.Stderr, math.MaxInt64)
	cmd.Stderr = complaints
	defer func() { _ = complaints.end() }() // the command's own error is told
	if err := comm.Start(ctx, cmd); err != nil {
		return 0, err
	}
	ended := make(chan int, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case status := <-ended:
		if status == packersdk.CmdDisconnect {
			return status, errors.New("the connection to the machine broke off")
		}
		return status, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
