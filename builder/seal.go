package builder

import (
	"context"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/remote"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/seal"
)

// seal is the last that is done to the instance.
func (b *bake) seal(ctx context.Context) (err error) {
	request := seal.Request{
		Name:    b.image.name,
		Source:  b.source.id,
		Secrets: [][]byte{[]byte(b.machine.keys.hostPrivate)},
	}
	b.image.manifest, err = sealMachine(ctx, b.job.ui, connection(b.state), request)
	return err
}

// sealMachine has the machine be sealed, and returns the digest of its manifest. A goldsmith-seal provisioner has done
// it already, with the options that it has, and nothing may have been written since; without one it is done here, as it
// is by default.
func sealMachine(
	ctx context.Context, ui packersdk.Ui, comm packersdk.Communicator, request seal.Request,
) (manifest string, err error) {
	mark, err := remote.ReadMark(ctx, comm)
	if err != nil {
		return "", err
	}
	if mark != nil {
		return mark.Digest, remote.Unchanged(ctx, comm)
	}
	ui.Say("Sealing: removing and checking for keys, identities and traces of this build; looking for secrets...")
	result, err := remote.Seal(ctx, ui, comm, request, nil)
	return result.Digest, err
}
