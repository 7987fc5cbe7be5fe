package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/leaks"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/plaintext"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/seal"
)

// ErrNotSealed says that a machine holds what must not be in an image.
var ErrNotSealed = errors.New("the machine is not fit for an image")

// Seal seals a machine, and applies a secret scanner's rules to what no package brought. allow are findings that are
// none, as "RULE PATH" with a pattern for the path. The result is returned also with ErrNotSealed.
func Seal(ctx context.Context, ui packersdk.Ui, comm packersdk.Communicator, request seal.Request, allow []string) (seal.Result, error) {
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
		ui.Message("note: " + note)
	}
	if len(result.Faults) == 0 {
		if err := result.Manifest.Keep(); err != nil {
			return result, err
		}
		ui.Message(fmt.Sprintf("sealed: %d packages, %d files that are not a package's; manifest %s", result.Packages, result.Files, result.Digest))
		return result, nil
	}
	var lines []string
	for _, fault := range result.Faults {
		ui.Error("seal: " + fault.String())
		lines = append(lines, plaintext.Line(fault.String()))
	}
	return result, fmt.Errorf("%w:\n  %s", ErrNotSealed, strings.Join(lines, "\n  "))
}

// seal speaks with the agent while it seals: the request goes there, texts come back, what was found in them goes there,
// and the result comes back.
func (a *agent) seal(ctx context.Context, request seal.Request, judge seal.Judge) (result seal.Result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdin, toAgent := io.Pipe()
	fromAgent, stdout := io.Pipe()
	defer stdin.Close()
	defer fromAgent.Close()
	talked := make(chan error, 1)
	go func() {
		talked <- func() error {
			out, in := json.NewEncoder(toAgent), json.NewDecoder(io.LimitReader(fromAgent, sealLimit))
			if err := out.Encode(request); err != nil {
				return err
			}
			var texts []seal.Text
			if err := in.Decode(&texts); err != nil {
				return err
			}
			faults, err := judge(texts)
			if err != nil {
				return err
			}
			if err := out.Encode(faults); err != nil {
				return err
			}
			return in.Decode(&result)
		}()
		toAgent.Close()
		io.Copy(io.Discard, fromAgent) // nobody must wait for a reader
	}()
	var stderr tail
	status, err := wait(ctx, a.comm, &packersdk.RemoteCmd{Command: a.command + " seal", Stdin: stdin, Stdout: stdout, Stderr: &stderr})
	stdout.Close()
	stdin.Close()
	talk := <-talked
	if err == nil && status != 0 {
		err = exitError(status, &stderr)
	}
	return result, errors.Join(err, talk)
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
				faults = append(faults, seal.Fault{Item: "secret scanner", Path: text.Path, Text: fmt.Sprintf("line %d: %s", leak.Line, leak.Rule)})
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
