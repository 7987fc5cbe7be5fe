//go:build linux

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

// runDir has a directory for each local cloud that is up, or that ended in a crash.
const runDir = "/run/goldsmith"

// Running returns the names of the local clouds that are up on this machine, the default one alone where it is, and the
// command that makes a shell use one of them. Whether a cloud is up is told by its endpoint: its files are root's.
func Running(ctx context.Context) (names []string, env string) {
	names = answering(runDir, func(name string) bool { return answers(ctx, name) })
	switch len(names) {
	case 0:
		return nil, ""
	case 1:
		return names, `eval "$(goldsmith cloud env` + nameFlag(names[0]) + `)"`
	}
	// Another's cloud is not to be used by chance.
	return names, `eval "$(goldsmith cloud env --name NAME)", with the name of yours`
}

func answering(dir string, isUp func(name string) bool) (found []string) {
	names := []string{defaultName()}
	entries, _ := os.ReadDir(dir) // where it cannot be read, the default one is all that is known
	for _, entry := range entries {
		if name := entry.Name(); entry.IsDir() && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		if !isUp(name) {
			continue
		}
		if name == defaultName() {
			return []string{name}
		}
		found = append(found, name)
	}
	return found
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
