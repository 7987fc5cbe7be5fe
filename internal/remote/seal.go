package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/leaks"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/seal"
)

// ErrNotSealed says that a machine holds what must not be in an image.
var ErrNotSealed = errors.New("the machine is not fit for an image")

// Seal seals a machine, and applies a secret scanner's rules to what no package brought. allow are findings that are
// none, as "RULE PATH" with a pattern for the path. The result is returned also with ErrNotSealed.
func Seal(
	ctx context.Context,
	ui packersdk.Ui,
	comm packersdk.Communicator,
	request seal.Request,
	allow []string,
) (seal.Result, error) {
	a, err := connect(ctx, comm)
	if err != nil {
		return seal.Result{}, err
	}
	result, err := a.seal(ctx, request, func(texts []seal.Text) ([]seal.Fault, error) { return judge(texts, allow) })
	if err != nil {
		return result, fmt.Errorf("seal the machine: %w", err)
	}
	ui = PlainUi(ui)
	for _, note := range result.Notes {
		ui.Say("note: " + note)
	}
	if len(result.Faults) == 0 {
		if err := result.Manifest.Keep(); err != nil {
			return result, err
		}
		ui.Sayf("sealed: %d packages, %d files that are not a package's; manifest %s",
			result.Packages, result.Files, result.Digest)
		return result, nil
	}
	var told []string
	for _, fault := range result.Faults {
		ui.Error("seal: " + fault.String())
		told = append(told, plaintext.Line(fault.String()))
	}
	return result, fmt.Errorf("%w:\n  %s", ErrNotSealed, strings.Join(told, "\n  "))
}

// sinceLimit is how long a sealed machine may take to say what was changed: it looks at each file once.
const sinceLimit = 5 * time.Minute

// ReadMark returns the mark of a sealed machine; nil if it is not sealed. It uses no sudo, which a sealed machine may
// have no more.
func ReadMark(ctx context.Context, comm packersdk.Communicator) (*seal.Mark, error) {
	text, err := run(ctx, comm, "if [ -e "+seal.Marker+" ]; then cat "+seal.Marker+"; fi", nil)
	if err != nil {
		return nil, fmt.Errorf("look whether the machine is sealed: %w", err)
	}
	if text == "" {
		return nil, nil
	}
	var mark seal.Mark
	if err := json.Unmarshal([]byte(text), &mark); err != nil {
		return nil, fmt.Errorf("look whether the machine is sealed: %s: %w", seal.Marker, err)
	}
	return &mark, nil
}

// Unchanged looks whether something was written on a sealed machine since: nobody has looked at that, and there is no
// way to seal it again, as nobody can become root any more.
func Unchanged(ctx context.Context, comm packersdk.Communicator) error {
	limited, cancel := context.WithTimeout(ctx, sinceLimit)
	defer cancel()
	text, err := run(limited, comm, "cat "+seal.Since, nil)
	var changes seal.Changes
	if err == nil {
		strict := json.NewDecoder(strings.NewReader(text))
		strict.DisallowUnknownFields()
		err = strict.Decode(&changes)
	}
	if err != nil {
		return fmt.Errorf("look what was written after the seal: %s: %w", seal.Since, err)
	}
	if changes.Count == 0 {
		return nil
	}
	told := []string{fmt.Sprintf("%d files were written after goldsmith-seal had looked:", changes.Count)}
	for _, path := range changes.Paths {
		told = append(told, "  "+plaintext.Line(path))
	}
	if more := changes.Count - len(changes.Paths); more > 0 {
		told = append(told, fmt.Sprintf("  and %d more", more))
	}
	return fmt.Errorf(
		"%w: %s\nhint: put goldsmith-seal last, and stop before it what writes by itself",
		ErrNotSealed,
		strings.Join(told, "\n"),
	)
}

// seal speaks with the agent while it seals: the request goes there, texts come back, what was found in them goes
// there, and the result comes back.
func (a *agent) seal(ctx context.Context, request seal.Request, find seal.Judge) (result seal.Result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdin, toAgent := io.Pipe()
	fromAgent, stdout := io.Pipe()
	defer stdin.Close()
	defer fromAgent.Close()
	talked := make(chan error, 1)
	go func() {
		talked <- talk(json.NewEncoder(toAgent), json.NewDecoder(io.LimitReader(fromAgent, sealLimit)),
			request, find, &result)
		toAgent.Close()
		_, _ = io.Copy(io.Discard, fromAgent) // nobody must wait for a reader
	}()
	var stderr tail
	status, err := wait(
		ctx,
		a.comm,
		&packersdk.RemoteCmd{Command: a.command + " seal", Stdin: stdin, Stdout: stdout, Stderr: &stderr},
	)
	stdout.Close()
	stdin.Close()
	talkErr := <-talked
	if err == nil && status != 0 {
		err = exitError(status, &stderr)
	}
	return result, errors.Join(err, talkErr)
}

// talk sends the request to the agent, judges the texts that it finds, and reads its result.
func talk(out *json.Encoder, in *json.Decoder, request seal.Request, find seal.Judge, result *seal.Result) error {
	if err := out.Encode(request); err != nil {
		return err
	}
	var texts []seal.Text
	if err := in.Decode(&texts); err != nil {
		return err
	}
	faults, err := find(texts)
	if err != nil {
		return err
	}
	if err := out.Encode(faults); err != nil {
		return err
	}
	return in.Decode(result)
}

func judge(texts []seal.Text, allow []string) ([]seal.Fault, error) {
	faults := []seal.Fault{}
	for _, text := range texts {
		found, err := leaks.Find(text.Path, text.Content)
		if err != nil {
			return nil, err
		}
		for _, leak := range found {
			if !allowed(allow, leak.Rule, text.Path) {
				faults = append(
					faults,
					seal.Fault{
						Item: "secret scanner",
						Path: text.Path,
						Text: fmt.Sprintf("line %d: %s", leak.Line, leak.Rule),
					},
				)
			}
		}
	}
	return faults, nil
}

// ParseAllow checks one allowed finding of a secret scanner.
func ParseAllow(entry string) error {
	rule, pattern, ok := strings.Cut(entry, " ")
	if !ok || rule == "" || !strings.HasPrefix(pattern, "/") {
		return fmt.Errorf("%q: a rule and a path are needed, as in \"generic-api-key /etc/app/*.conf\"", entry)
	}
	if _, err := filepath.Match(pattern, "/"); err != nil {
		return fmt.Errorf("%q: %w", entry, err)
	}
	return nil
}

func allowed(allow []string, rule, path string) bool {
	for _, entry := range allow {
		r, pattern, _ := strings.Cut(entry, " ")
		if match, _ := filepath.Match(pattern, path); r == rule && match {
			return true
		}
	}
	return false
}
