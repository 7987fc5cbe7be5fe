package packerstep

import (
	"context"
	"log"
	"os"

	"github.com/hashicorp/packer-plugin-sdk/communicator"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// Provision runs the provisioners through the state bag's communicator, with what the bag holds as generated_data and
// what Packer's contextual variables promise. It leaves all of that in the bag, for post-processors.
func Provision(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	connection, _ := state.Get("communicator").(packersdk.Communicator)
	hook := state.Get("hook").(packersdk.Hook)
	ui := state.Get("ui").(packersdk.Ui)
	data := hookData(state)
	state.Put("generated_data", data)
	ended := make(chan error, 1)
	go func() { ended <- hook.Run(ctx, packersdk.HookProvision, ui, connection, data) }()
	select {
	case err := <-ended:
		if err != nil {
			state.Put(stateError, err)
			return multistep.ActionHalt
		}
		return multistep.ActionContinue
	case <-ctx.Done():
		log.Printf("provision: %v", context.Cause(ctx))
		return multistep.ActionHalt
	}
}

// hookData are the values of build.NAME for provisioners, by name.
func hookData(state multistep.StateBag) map[string]any {
	data, ok := state.Get("generated_data").(map[string]any)
	if !ok {
		data = map[string]any{}
	}
	data["ID"] = "ERR_ID_NOT_IMPLEMENTED_BY_BUILDER"
	if id, made := state.GetOk("instance_id"); made {
		data["ID"] = id
	}
	data["PackerRunUUID"] = os.Getenv("PACKER_RUN_UUID")
	data["PackerHTTPIP"] = "ERR_HTTP_IP_NOT_IMPLEMENTED_BY_BUILDER"
	data["PackerHTTPPort"] = "ERR_HTTP_PORT_NOT_IMPLEMENTED_BY_BUILDER"
	data["PackerHTTPAddr"] = "ERR_HTTP_ADDR_NOT_IMPLEMENTED_BY_BUILDER"
	config, ok := state.Get("communicator_config").(*communicator.Config)
	if !ok {
		return data
	}
	data["Host"] = config.Host()
	data["Port"] = config.Port()
	data["User"] = config.User()
	data["Password"] = config.Password()
	data["ConnType"] = config.Type
	data["SSHPublicKey"] = string(config.SSHPublicKey)
	data["SSHPrivateKey"] = string(config.SSHPrivateKey)
	data["SSHPrivateKeyFile"] = config.SSHPrivateKeyFile
	data["SSHAgentAuth"] = config.SSHAgentAuth
	data["WinRMPassword"] = config.WinRMPassword
	return data
}
