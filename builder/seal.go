package builder

import (
	"context"
	"strconv"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/seal"
)

// seal is the last that is done to the instance.
func (b *bake) seal(ctx context.Context) error {
	request := seal.Request{
		Name:    b.image.name,
		Source:  b.source.id,
		Secrets: [][]byte{[]byte(b.machine.keys.hostPrivate)},
	}
	mark, err := sealMachine(ctx, b.job.ui, connection(b.state), request)
	b.image.manifest, b.image.description = mark.Digest, ""
	if mark.Description > 0 {
		b.image.description = strconv.Itoa(mark.Description)
	}
	return err
}

// sealMachine has the machine be sealed, and returns its mark. A goldsmith-seal provisioner has done it already, with
// the options that it has, and nothing may have been written since; without one it is done here, as it is by default.
func sealMachine(
	ctx context.Context, ui packersdk.Ui, comm packersdk.Communicator, request seal.Request,
) (seal.Mark, error) {
	mark, err := remote.ReadMark(ctx, comm)
	if err != nil {
		return seal.Mark{}, err
	}
	if mark != nil {
		return *mark, remote.Unchanged(ctx, comm)
	}
	ui.Say("Sealing: removing and checking for keys, identities and traces of this build; looking for secrets...")
	result, err := remote.Seal(ctx, ui, comm, request, nil)
	return result.Mark, err
}
