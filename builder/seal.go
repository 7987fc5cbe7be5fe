package builder

import (
	"context"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/seal"
)

// sealStep is the last that is done to the instance. A goldsmith-seal provisioner has done it already, with the options
// that it has, and nothing may have been written since; without one it is done here, as it is by default.
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
	mark, err := remote.ReadMark(ctx, comm)
	if err != nil {
		return err
	}
	if mark != nil {
		b.manifest = mark.Digest
		return remote.Unchanged(ctx, comm)
	}
	b.ui.Say("Sealing: removing and checking for keys, identities and traces of this build; looking for secrets...")
	request := seal.Request{Name: b.config.AMIName, Source: b.source.id, Secrets: [][]byte{[]byte(b.keys.hostPrivate)}}
	result, err := remote.Seal(ctx, b.ui, comm, request, nil)
	b.manifest = result.Digest
	return err
}
