package firstboot

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/access"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// TestHostKeysAreReadBack reads from a console the host keys that an instance wrote to it.
func TestHostKeysAreReadBack(t *testing.T) {
	const ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDtqJ7zOtqQtYqOo0CpvDXNlMV3HeJDpjrASKGLWdop2"
	dir := t.TempDir()
	if keys, err := hostKeys(dir); err != nil || len(keys) > 0 {
		t.Errorf("without keys: got %q, %v", keys, err)
	}
	for name, text := range map[string]string{
		"ssh_host_ed25519_key.pub": ed25519 + " root@golden-web\n",
		"ssh_host_ed25519_key":     "secret",
		"ssh_config":               "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := hostKeys(dir)
	if err != nil || !slices.Equal(keys, []string{ed25519}) {
		t.Fatalf("got %q, %v", keys, err)
	}
	if got := access.HostKeys([]byte("boot\n" + instance.HostKeys(keys) + "\nlogin:")); !slices.Equal(got, keys) {
		t.Errorf("read back: %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "ssh_host_rsa_key.pub"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if more, err := hostKeys(dir); err != nil || !slices.Equal(more, keys) {
		t.Errorf("with an empty file: got %q, %v", more, err)
	}
}
