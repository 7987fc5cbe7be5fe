package packerstep

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/communicator"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// fakeStep fails as often as it is told, and notes what is done with it.
type fakeStep struct {
	id    string
	fails int
	did   *[]string
}

func (s *fakeStep) Run(_ context.Context, state multistep.StateBag) multistep.StepAction {
	*s.did = append(*s.did, "run "+s.id)
	if s.fails > 0 {
		s.fails--
		state.Put("error", errors.New("boom"))
		return multistep.ActionHalt
	}
	return multistep.ActionContinue
}

func (s *fakeStep) Cleanup(multistep.StateBag) { *s.did = append(*s.did, "clean "+s.id) }

// people answers one line after the other; the SDK's Ui wants a terminal.
type people struct {
	packersdk.BasicUi
	answers *bufio.Scanner
	out     *bytes.Buffer
}

func (p *people) Ask(question string) (string, error) {
	p.out.WriteString(question)
	if !p.answers.Scan() {
		return "", io.EOF
	}
	return p.answers.Text(), nil
}

func run(config common.PackerConfig, answers string) (did []string, said string) {
	var out bytes.Buffer
	ui := &people{
		BasicUi: packersdk.BasicUi{Writer: &out, ErrorWriter: &out},
		answers: bufio.NewScanner(strings.NewReader(answers)),
		out:     &out,
	}
	steps := []multistep.Step{&fakeStep{id: "a", did: &did}, &fakeStep{id: "b", fails: 1, did: &did}}
	state := new(multistep.BasicStateBag)
	NewRunner(steps, config, ui).Run(context.Background(), state)
	return did, out.String()
}

func TestOnError(t *testing.T) {
	for _, test := range []struct {
		mode, answers string
		want          []string
		said          string
	}{
		{"", "", []string{"run a", "run b", "clean b", "clean a"}, ""},
		{"cleanup", "", []string{"run a", "run b", "clean b", "clean a"}, ""},
		{"abort", "", []string{"run a", "run b"}, `skipping cleanup of step "fakeStep"`},
		{"ask", "c\n", []string{"run a", "run b", "clean b", "clean a"}, "boom"},
		{"ask", "a\n", []string{"run a", "run b"}, "boom"},
		{"ask", "r\n", []string{"run a", "run b", "run b", "clean b", "clean a"}, "boom"},
	} {
		t.Run(test.mode+" "+strings.TrimSpace(test.answers), func(t *testing.T) {
			did, said := run(common.PackerConfig{PackerOnError: test.mode}, test.answers)
			if !slices.Equal(did, test.want) {
				t.Errorf("did %q, want %q", did, test.want)
			}
			if !strings.Contains(said, test.said) {
				t.Errorf("said %q, want %q in it", said, test.said)
			}
		})
	}
}

func TestDebugPauses(t *testing.T) {
	_, said := run(common.PackerConfig{PackerDebug: true}, strings.Repeat("\n", 8))
	for _, want := range []string{"Pausing after run of", "Pausing before cleanup of"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in\n%s", want, said)
		}
	}
}

// hook notes what it is run with, and may wait for the end of its context.
type hook struct {
	data any
	wait bool
	err  error
}

func (h *hook) Run(ctx context.Context, name string, _ packersdk.Ui, _ packersdk.Communicator, data any) error {
	h.data = data
	if h.wait {
		<-ctx.Done()
	}
	return h.err
}

func provisionState(h *hook) multistep.StateBag {
	state := new(multistep.BasicStateBag)
	state.Put("hook", h)
	state.Put("ui", &packersdk.BasicUi{Reader: strings.NewReader(""), Writer: io.Discard, ErrorWriter: io.Discard})
	state.Put("instance_id", "i-1")
	state.Put("generated_data", map[string]any{"SourceAMI": "ami-1"})
	config := &communicator.Config{Type: "ssh"}
	config.SSHHost, config.SSHPort, config.SSHUsername = "10.0.0.1", 22, "admin"
	state.Put("communicator_config", config)
	return state
}

func TestProvisionTellsWhatPackerPromises(t *testing.T) {
	t.Setenv("PACKER_RUN_UUID", "run-1")
	h := &hook{}
	state := provisionState(h)
	if action := Provision(context.Background(), state); action != multistep.ActionContinue {
		t.Fatalf("the action is %v, want to continue", action)
	}
	data := h.data.(map[string]any)
	for _, want := range []struct {
		name  string
		value any
	}{
		{"ID", "i-1"},
		{"SourceAMI", "ami-1"},
		{"Host", "10.0.0.1"},
		{"Port", 22},
		{"User", "admin"},
		{"ConnType", "ssh"},
		{"PackerRunUUID", "run-1"},
		{"PackerHTTPAddr", "ERR_HTTP_ADDR_NOT_IMPLEMENTED_BY_BUILDER"},
	} {
		if data[want.name] != want.value {
			t.Errorf("%s is %v, want %v", want.name, data[want.name], want.value)
		}
	}
	if kept, _ := state.Get("generated_data").(map[string]any); kept["Host"] != "10.0.0.1" {
		t.Errorf("post-processors are told %v", kept)
	}
}

func TestProvisionFailsAndEnds(t *testing.T) {
	boom := errors.New("boom")
	state := provisionState(&hook{err: boom})
	if action := Provision(context.Background(), state); action != multistep.ActionHalt || state.Get("error") != boom {
		t.Errorf("the action is %v with %v, want a halt with %v", action, state.Get("error"), boom)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if action := Provision(ctx, provisionState(&hook{wait: true})); action != multistep.ActionHalt {
		t.Errorf("a cancelled run: the action is %v, want a halt", action)
	}
}
