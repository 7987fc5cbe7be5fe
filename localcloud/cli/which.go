package cli

import (
	"context"
	"net"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/localcloud/daemon"
)

// running has a directory for each local cloud that is up, or that ended in a crash.
const running = "/run/goldsmith"

// EnvOfRunning is the command that makes a shell use a local cloud that is up on this machine, the default one rather
// than another, or empty if none is. Whether a cloud is up is told by its endpoint: its files are root's.
func EnvOfRunning(ctx context.Context) string {
	return envOfRunning(running, func(name string) bool { return answers(ctx, name) })
}

func envOfRunning(dir string, answers func(name string) bool) string {
	names := []string{defaultName()}
	entries, _ := os.ReadDir(dir) // where it cannot be read, the default one is all that is known
	for _, entry := range entries {
		if name := entry.Name(); entry.IsDir() && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if answers(name) {
			return `eval "$(goldsmith cloud env` + nameFlag(name) + `)"`
		}
	}
	return ""
}

func answers(ctx context.Context, name string) bool {
	address, err := daemon.Endpoint(name)
	if err != nil {
		return false // it is no cloud's name
	}
	endpoint, err := url.Parse(address)
	if err != nil {
		return false
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", endpoint.Host)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
