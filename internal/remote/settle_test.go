package remote

import (
	"bytes"
	"strings"
	"testing"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// TestSettle has the agent say what it waits for, and fail.
func TestSettle(t *testing.T) {
	for _, c := range []struct{ name, agent, said, want string }{
		{"nothing to wait for", "exit 0", "", ""},
		{
			"it waits",
			`echo "waiting for cloud-init: cloud-final.service is activating"; echo "stopped until the next boot: ` +
				`apt-daily.timer"`,
			"cloud-final.service is activating",
			"",
		},
		{
			"it waits in vain",
			`echo "goldsmith-agent settle: wait for apt: it has not ended after 5m0s: x" >&2; exit 1`,
			"",
			"wait until the machine has booted: exit status 1: wait for apt: it has not ended",
		},
		{"no rights", `echo "sudo: a password is required" >&2; exit 1`, "", "become root: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.replace(t, "agent", c.agent)
			var said bytes.Buffer
			ui := &packersdk.BasicUi{Writer: &said, ErrorWriter: &said}
			err := (&agent{comm: m, command: "agent"}).settle(t.Context(), ui, "apt")
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
				t.Errorf("got %v", err)
			}
			if !strings.Contains(said.String(), c.said) || m.commands[0] != "agent settle apt" {
				t.Errorf("ran %q, said %q", m.commands, said.String())
			}
		})
	}
}
