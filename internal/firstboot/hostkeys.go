package firstboot

import (
	"log/slog"
	"os"
	"path/filepath"
	"regexp"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
)

// sshDir has the host keys.
const sshDir = "/etc/ssh"

// tellHostKeys writes the SSH host keys to the console, from where whoever logs in learns them. cloud-init does so at
// the first boot alone, and the console forgets: it starts anew with the instance, and keeps its end only.
func tellHostKeys() {
	keys, err := hostKeys(sshDir)
	if err == nil && len(keys) > 0 {
		err = toConsole(instance.HostKeys(keys))
	}
	if err != nil {
		slog.Warn("the SSH host keys were not written to the console", "reason", err) // the instance serves without
	}
}

var publicKey = regexp.MustCompile(`^[a-z0-9-]+ [A-Za-z0-9+/]+=*`)

// hostKeys are the public host keys, without their comments.
func hostKeys(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "ssh_host_*_key.pub"))
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if key := publicKey.Find(text); key != nil { // an empty file is no reason to keep back the others
			keys = append(keys, string(key))
		}
	}
	return keys, nil
}
