package access

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// testKey is a host key; another n is another key.
func testKey(t *testing.T, n byte) string {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	public, err := ssh.NewPublicKey(ed25519.NewKeyFromSeed(seed).Public())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
}

func TestHostKeys(t *testing.T) {
	const begin, end = "-----BEGIN SSH HOST KEY KEYS-----\n", "-----END SSH HOST KEY KEYS-----\n"
	old, one, two := testKey(t, 0), testKey(t, 1), testKey(t, 2)
	boot := "[  1.0] cloud-init[70]: -----BEGIN SSH HOST KEY KEYS-----\r\n" + old +
		" root@x\r\n-----END SSH HOST KEY KEYS-----\r\n"
	block := "\n" + instance.HostKeys([]string{one, two}) + "\n"
	torn := one[:40] + "[ 12.1] audit: x\n" + one[40:] + "\n"
	for _, c := range []struct {
		name, console string
		want          []string
	}{
		{"none yet", "booting\n", nil},
		{"half of them", begin + old + " root@x\n", nil},
		{"one boot", boot, []string{old}},
		{"the last boot counts", boot + "GOLDSMITH-WAITING x\n" + block, []string{one, two}},
		{"what is no key", begin + "[  OK  ] Started something.\n" + one + " root@x\n" + end, []string{one}},
		{"repeated", block + block + block, []string{one, two}},
		{"the last one is not whole yet", boot + block + begin + one + "\n", []string{one, two}},
		{"the last one is torn", block + begin + torn + end, []string{one, two}},
		{"one key of two is torn", boot + begin + torn + two + "\n" + end, []string{two}},
		{
			"its end is torn, and another follows",
			block + begin + one + "\n-----END SSH HO[ 1.2] x\n" + boot,
			[]string{old},
		},
		{"its begin is torn", block + "-----BEGIN SSH HO[ 1.2] x\n" + old + "\n" + end, []string{one, two}},
		{"the kernel before a key", begin + "[   12.345678] random: crng init done " + one + "\n" + end, []string{one}},
		{"the console begins in a block", one + "\n" + end + block, []string{one, two}},
		{"empty block", block + begin + end, []string{one, two}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := HostKeys([]byte(c.console)); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	got := HostKeys(fmt.Appendf(nil, "%s%s", boot, strings.ReplaceAll(block, "\n", "\r\n")))
	if !slices.Equal(got, []string{one, two}) {
		t.Errorf("with the line ends of a terminal: got %q", got)
	}
}
