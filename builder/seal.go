package builder

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/seal"
)

// sealStep is the last that is done to the instance. A goldsmith-seal provisioner has done it already, with the options
// that it has; without one it is done here, as it is by default.
type sealStep struct{ b *bake }

// Run seals the machine, if it is not.
func (s *sealStep) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	comm := state.Get("communicator").(packersdk.Communicator)
	if err := s.b.seal(ctx, comm); err != nil {
		return s.b.fail(state, err)
	}
	return multistep.ActionContinue
}

// Cleanup has nothing to undo.
func (*sealStep) Cleanup(multistep.StateBag) {}

func (b *bake) seal(ctx context.Context, comm packersdk.Communicator) error {
	mark, err := readMark(ctx, comm)
	if err != nil {
		return err
	}
	if mark == nil {
		b.ui.Say("Sealing: removing and checking for keys, identities and traces of this build; looking for secrets...")
		result, err := remote.Seal(ctx, b.ui, comm, seal.Request{Name: b.config.AMIName, Source: b.source.id, Secrets: []string{b.keys.hostPrivate}}, nil)
		if err != nil {
			return err
		}
		mark = &result.Mark
	}
	b.manifest = mark.Digest
	return nil
}

// readMark is what a sealed machine says; nil if it does not. A sealed one may have no sudo any more.
func readMark(ctx context.Context, comm packersdk.Communicator) (*seal.Mark, error) {
	var stdout bytes.Buffer
	cmd := &packersdk.RemoteCmd{Command: "if [ -e " + seal.Marker + " ]; then cat " + seal.Marker + "; fi", Stdout: &stdout}
	if err := comm.Start(ctx, cmd); err != nil {
		return nil, fmt.Errorf("look whether the machine is sealed: %w", err)
	}
	if status := cmd.Wait(); status != 0 {
		return nil, fmt.Errorf("look whether the machine is sealed: exit status %d", status)
	}
	if stdout.Len() == 0 {
		return nil, nil
	}
	var mark seal.Mark
	if err := json.Unmarshal(stdout.Bytes(), &mark); err != nil {
		return nil, fmt.Errorf("look whether the machine is sealed: %s: %w", seal.Marker, err)
	}
	return &mark, nil
}
