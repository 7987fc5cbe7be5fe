package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"syscall"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/engine"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/task"
)

// apply reads a play from standard input and makes it so, with events on standard output. A failed task is told by its
// event; the exit code says only that not all went well.
func apply(ctx context.Context, _ []string) error {
	syscall.Umask(plainUmask)
	spool, err := os.MkdirTemp("", "goldsmith-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(spool)
	out := json.NewEncoder(os.Stdout)
	emit := func(e task.Event) { _ = out.Encode(e) } // fails where nobody reads it: see endWithConnection
	play, check, err := task.Decode(os.Stdin, spool)
	if err != nil {
		emit(task.Event{Event: task.EventError, Error: err.Error()})
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go endWithConnection(cancel)
	recap, err := engine.Run(ctx, play, check, emit)
	if err != nil && recap.Failed == 0 {
		emit(task.Event{Event: task.EventError, Error: err.Error()})
	}
	if err != nil {
		return errors.New("the play failed")
	}
	return nil
}

// endWithConnection ends the run when whoever reads its events is gone: nobody would learn what it does. Standard
// output is closed then, and poll(2) tells.
func endWithConnection(cancel context.CancelFunc) {
	if waitForHangup(os.Stdout) == nil {
		cancel()
	}
}
