package access

import (
	"slices"
	"testing"
)

func TestHostKeys(t *testing.T) {
	const boot = "[  1.0] cloud-init[70]: -----BEGIN SSH HOST KEY KEYS-----\r\nssh-ed25519 OLD root@x\r\n-----END SSH HOST KEY KEYS-----\r\n"
	for _, c := range []struct {
		name, console string
		want          []string
	}{
		{"none yet", "booting\n", nil},
		{"half of them", "-----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 AAAA root@x\n", nil},
		{"one boot", boot, []string{"ssh-ed25519 OLD"}},
		{"the last boot counts", boot + "-----BEGIN SSH HOST KEY KEYS-----\necdsa-sha2-nistp256 NEW1 root@x\nssh-ed25519 NEW2 root@x\n-----END SSH HOST KEY KEYS-----\n",
			[]string{"ecdsa-sha2-nistp256 NEW1", "ssh-ed25519 NEW2"}},
		{"what is no key", "-----BEGIN SSH HOST KEY KEYS-----\n[  OK  ] Started something.\nssh-ed25519 AAAA root@x\n-----END SSH HOST KEY KEYS-----\n", []string{"ssh-ed25519 AAAA"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := HostKeys([]byte(c.console)); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
