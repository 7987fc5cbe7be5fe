package builder

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"strings"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// sealScript removes what belongs to this one instance and then looks whether it is gone.
//
//go:embed seal.sh
var sealScript string

// sealStep is the last that is done to the instance.
type sealStep struct{}

// Run seals the machine.
func (*sealStep) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	b := state.Get(stateKey).(*bake)
	b.ui.Say("Sealing: removing keys, machine-id and the traces of this build...")
	var stdout, stderr bytes.Buffer
	command := "sudo -n /bin/sh -eu -s"
	if b.config.Comm.SSHUsername == "root" {
		command = "/bin/sh -eu -s"
	}
	cmd := &packersdk.RemoteCmd{Command: command, Stdin: strings.NewReader(sealScript), Stdout: &stdout, Stderr: &stderr}
	comm := state.Get("communicator").(packersdk.Communicator)
	if err := comm.Start(ctx, cmd); err != nil {
		return b.fail(state, fmt.Errorf("seal: %w", err))
	}
	if status := cmd.Wait(); status != 0 {
		return b.fail(state, fmt.Errorf("seal: exit status %d: %s%s", status, stdout.String(), stderr.String()))
	}
	return multistep.ActionContinue
}

// Cleanup has nothing to undo.
func (*sealStep) Cleanup(multistep.StateBag) {}
