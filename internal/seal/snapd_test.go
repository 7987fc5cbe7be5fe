//go:build linux

package seal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSnapdForgetsNothingElse: the state is snapd's, and numbers, members and snaps in it stay as they are written.
func TestSnapdForgetsNothingElse(t *testing.T) {
	const (
		state = `{"data":{"auth":{"last-id":1,"users":[],"device":{"brand":"generic","key-id":"k",` +
			`"model":"generic-classic","serial":"s","session-macaroon":"m"}},"refresh-privacy-key":"r",` +
			`"seeded":true,"snaps":{"core22":{"sequence":[{"revision":"1380"}]}}},"last-change-id":1234567890123456789}`
		want = `{"data":{"auth":{"device":{"brand":"generic","model":"generic-classic"},"last-id":1,"users":[]},` +
			`"seeded":true,"snaps":{"core22":{"sequence":[{"revision":"1380"}]}}},"last-change-id":1234567890123456789}`
	)
	for name, c := range map[string]struct{ before, after, left string }{
		"registered":     {state, want, "auth.device.serial, auth.device.key-id"},
		"not registered": {want, want, ""},
		"preseeded":      {`{"data":{"preseeded":true}}`, `{"data":{"preseeded":true}}`, ""},
	} {
		root := t.TempDir()
		write(t, root, snapdState, c.before)
		err := noSnapdIdentity(root)
		if (err == nil) != (c.left == "") || err != nil && !strings.Contains(err.Error(), c.left) {
			t.Errorf("%s: got %v", name, err)
		}
		if err = forgetSnapdIdentity(root); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		text, err := os.ReadFile(filepath.Join(root, snapdState))
		if err != nil || string(text) != c.after {
			t.Errorf("%s: got %s, %v", name, text, err)
		}
	}
	torn := t.TempDir()
	write(t, torn, snapdState, `{"data":`)
	if noSnapdIdentity(torn) == nil || forgetSnapdIdentity(torn) == nil {
		t.Error("a state that cannot be read is taken for one without an identity")
	}
}

// TestAssertionsAreNoSecrets by an assertion as snapd has it; the same text elsewhere is judged, and so is another text
// there.
func TestAssertionsAreNoSecrets(t *testing.T) {
	const assertion = "type: account-key\nauthority-id: canonical\nrevision: 2\n" +
		"public-key-sha3-384: BWDEoaqyr25nF5SNCvEv2v7QnM9QsfCc0PBMYD_i2NGSQ32EF2d4D0hqUel3m8ul\n" +
		"account-id: canonical\nname: store\nsince: 2016-04-01T00:00:00.0Z\nbody-length: 4\n" +
		"sign-key-sha3-384: -CvQKAwRQ5h3Ffn10FILJoEZUXOv6km9FwA80-Rcj-f-6jadQ89VRswHNiEB9Lxk\n\nAcbB\n\nAcLB\n"
	root := t.TempDir()
	for _, path := range []string{
		"/var/lib/snapd/assertions/asserts-v0/account-key/BWDEoaqyr25nF5SN/active",
		"/var/lib/snapd/seed/assertions/generic-classic.model",
		"/etc/app/copy",
	} {
		write(t, root, path, assertion)
	}
	write(t, root, "/var/lib/snapd/seed/notes", "api_key = x\n")
	in, err := inspect(t.Context(), root, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var judged []string
	for _, text := range in.texts {
		judged = append(judged, text.Path)
	}
	if got := strings.Join(judged, " "); got != "/etc/app/copy /var/lib/snapd/seed/notes" {
		t.Errorf("judged are %s", got)
	}
}
