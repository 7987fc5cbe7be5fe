//go:build linux

package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// snapdState is snapd's state file, in Ubuntu's images.
const snapdState = "/var/lib/snapd/state.json"

// snapdIdentity are the members of snapd's state by which the store knows a machine or a person, below "data": see
// AuthState in snapd's overlord/auth. snapd makes those that it needs anew, and registers the machine as another one.
var snapdIdentity = [][]string{
	{"auth", "device", "serial"},
	{"auth", "device", "key-id"},
	{"auth", "device", "session-macaroon"},
	{"auth", "users"},
	{"auth", "macaroon-key"},
	{"refresh-privacy-key"},
}

// forgetSnapdIdentity removes them.
func forgetSnapdIdentity(root string) error {
	state, left, err := withoutIdentity(root)
	if err != nil || len(left) == 0 {
		return err
	}
	path := filepath.Join(root, snapdState)
	if err := overwrite(path); err != nil {
		return err
	}
	return os.WriteFile(path, state, 0o600)
}

// noSnapdIdentity says which are there.
func noSnapdIdentity(root string) error {
	_, left, err := withoutIdentity(root)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%s holds %s, by which the store would take all instances for one", snapdState,
			strings.Join(left, ", "))
	}
	return err
}

// withoutIdentity is snapd's state without what identifies the machine, and what it has of that.
func withoutIdentity(root string) (state []byte, left []string, err error) {
	text, err := os.ReadFile(filepath.Join(root, snapdState))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	state = text
	for _, path := range snapdIdentity {
		without, found, readErr := withoutMember(state, append([]string{"data"}, path...))
		if readErr != nil {
			return nil, nil, fmt.Errorf("read %s: %w", snapdState, readErr)
		}
		if found {
			state, left = without, append(left, strings.Join(path, "."))
		}
	}
	return state, left, nil
}

// withoutMember is JSON without the member of a path; all else in it stays as it is written. A member that is empty is
// not there.
func withoutMember(text []byte, path []string) (without []byte, found bool, err error) {
	var object map[string]json.RawMessage
	if err = json.Unmarshal(text, &object); err != nil {
		return nil, false, err
	}
	value, ok := object[path[0]]
	if !ok || slices.Contains([]string{"null", `""`, "[]", "{}"}, string(bytes.TrimSpace(value))) {
		return text, false, nil
	}
	if len(path) == 1 {
		delete(object, path[0])
	} else if object[path[0]], found, err = withoutMember(value, path[1:]); err != nil || !found {
		return text, false, err
	}
	without, err = json.Marshal(object)
	return without, true, err
}

// assertionHeader matches the start of one of snapd's assertions, and signKey the header by which it is signed.
var (
	assertionHeader = regexp.MustCompile(`^type: [a-z0-9-]+\n`)
	signKey         = []byte("\nsign-key-sha3-384: ")
)

// isAssertion tells whether a file is one of snapd's assertions: a public statement with the name of the key by which
// it is signed, which a secret scanner takes for a key.
func isAssertion(name string, text []byte) bool {
	return (strings.HasPrefix(name, "/var/lib/snapd/assertions/") || strings.HasPrefix(name, "/var/lib/snapd/seed/")) &&
		assertionHeader.Match(text) && bytes.Contains(text, signKey)
}
