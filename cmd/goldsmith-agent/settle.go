package main

import (
	"context"
	"fmt"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/settle"
)

// waitSettled waits for the end of cloud-init and then, as the arguments say, has apt's timers stop or waits for apt.
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
			"stop-apt-timers": settle.StopAptTimers,
			"apt":             settle.Apt,
		}[argument]
		if !ok {
			return fmt.Errorf("usage: settle [stop-apt-timers] [apt]: got %q", argument)
		}
		if err := do(ctx, say); err != nil {
			return err
		}
	}
	return nil
}
