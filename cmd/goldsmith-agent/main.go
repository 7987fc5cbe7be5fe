// Command goldsmith-agent is Goldsmith's program on an instance: while an image is baked it finds facts and applies
// plays, and on an instance of the image it does the first boot and verifies that the instance is ready.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/firstboot"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/instance"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/version"
)

// commands are the agent's subcommands. They are called by Goldsmith and by units, not by people.
var commands = map[string]func(ctx context.Context, arguments []string) error{
	"settle":      waitSettled,
	"facts":       facts,
	"apply":       apply,
	"firstboot":   firstBoot,
	"data":        data,
	"database":    database,
	"verify":      verify,
	"console":     console,
	"certificate": certificate,
	"seal":        sealMachine,
	"watch-seal":  watchSeal,
	"--version":   printVersion,
}

// plainUmask is for what goes into an image: there files have the modes that their tasks and packages say, also where
// the image's own sessions have a stricter mask. Units of the first boot keep theirs.
const plainUmask = 0o022

func printVersion(context.Context, []string) error {
	_, err := fmt.Println("goldsmith-agent", version.Number())
	return err
}

func main() {
	// A closed connection ends the agent as an interrupt would: after the step under way.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "goldsmith-agent: this program is run by Goldsmith")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "goldsmith-agent %s: %v\n", os.Args[1], err)
		os.Exit(exitCode(err))
	}
}

// exitCode tells the failures apart that the caller goes on after in another way.
func exitCode(err error) int {
	if errors.Is(err, firstboot.ErrNoRoom) {
		return instance.ExitNoRoom
	}
	return 1
}
