package main

import (
	"context"
	"fmt"
	"os"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/osrelease"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/settle"
)

// waitSettled waits for the end of cloud-init and then, as the arguments say, tells of the system if no test of ours
// runs on it, has apt's timers stop or waits for apt.
// What is waited for goes to standard output.
func waitSettled(ctx context.Context, arguments []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go endWithConnection(cancel)
	say := func(text string) { fmt.Println(text) }
	if err := settle.CloudInit(ctx, say); err != nil {
		return err
	}
	for _, argument := range arguments {
		do, ok := map[string]func(context.Context, func(string)) error{
			"tell-system":     tellSystem,
			"stop-apt-timers": settle.StopAptTimers,
			"apt":             settle.Apt,
		}[argument]
		if !ok {
			return fmt.Errorf("usage: settle [tell-system] [stop-apt-timers] [apt]: got %q", argument)
		}
		if err := do(ctx, say); err != nil {
			return err
		}
	}
	return nil
}

func tellSystem(_ context.Context, say func(string)) error {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return err
	}
	if note := osrelease.Untested(osrelease.Parse(string(text))); note != "" {
		say(note)
	}
	return nil
}
