package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// storePath is the path of this machine's copy of a manifest, by its digest.
func storePath(digest string) (string, error) {
	sum, ok := strings.CutPrefix(digest, "sha256:")
	if !ok || len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%q is no digest of a manifest", digest)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(home, ".goldsmith", "manifests", sum+".json"), nil
}

// Keep keeps a manifest on this machine, so that images can be compared by their digests' tags.
func (m *Manifest) Keep() error {
	documents, digest, err := m.Documents()
	if err != nil {
		return err
	}
	path, err := storePath(digest)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the manifest: %w", err)
	}
	if err := os.WriteFile(path, documents["manifest.json"], 0o600); err != nil {
		return fmt.Errorf("keep the manifest: %w", err)
	}
	return nil
}

// ErrNotKept says that this machine has no manifest of a digest.
var ErrNotKept = errors.New("its manifest is not on this machine")

// Kept is a manifest that this machine has.
func Kept(digest string) (*Manifest, error) {
	path, err := storePath(digest)
	if err != nil {
		return nil, err
	}
	m, err := Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotKept
	}
	return m, err
}

// Read reads a manifest from a file.
func Read(path string) (*Manifest, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read the manifest %s: %w", path, err)
	}
	return &m, nil
}
