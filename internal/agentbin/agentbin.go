// Package agentbin holds the agent's program for each architecture that the plugin was built for. `make agent` puts
// them here before the plugin is built.
package agentbin

import (
	"bytes"
	"compress/gzip"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// The README is among it so that there is something to embed before the first agent is built; anything else that lies
// there, half an agent say, is not, as it would change the plugin.
//
//go:embed bin/*.[gm][zd]
var bin embed.FS

// Variable names an environment variable with the path of an agent that is used in place of the one built in.
const Variable = "GOLDSMITH_AGENT"

var (
	mu       sync.Mutex
	unpacked = map[string]task.Blob{}
)

// Open is the agent for Linux on an architecture, by Go's name for it.
func Open(arch string) (task.Blob, error) {
	if path := os.Getenv(Variable); path != "" {
		blob, err := task.FileBlob(path)
		if err != nil {
			return task.Blob{}, fmt.Errorf("read the agent that $%s names: %w", Variable, err)
		}
		return blob, nil
	}
	mu.Lock()
	defer mu.Unlock()
	if blob, ok := unpacked[arch]; ok {
		return blob, nil
	}
	content, err := unpack("bin/goldsmith-agent-linux-" + arch + ".gz")
	if errors.Is(err, fs.ErrNotExist) {
		return task.Blob{}, fmt.Errorf(
			"find the agent for linux/%s: the plugin was built without it\nhint: make build ARCHES=%q",
			arch,
			arch,
		)
	}
	if err != nil {
		return task.Blob{}, fmt.Errorf("unpack the agent for linux/%s: %w", arch, err)
	}
	unpacked[arch] = task.Bytes(content)
	return unpacked[arch], nil
}

func unpack(name string) ([]byte, error) {
	packed, err := bin.ReadFile(name)
	if err != nil {
		return nil, err
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(reader)
}
