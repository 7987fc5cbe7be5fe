package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/seal"
)

// watchSeal stays until the machine is stopped, and tells what was changed since the seal. Its caller waits until the
// third descriptor is closed.
func watchSeal(context.Context, []string) error {
	signal.Ignore(syscall.SIGHUP)
	signal.Reset(syscall.SIGTERM) // the machine's end must not wait for it
	return seal.Watch(os.NewFile(3, "ready"))
}

// sealMachine reads a request from standard input and seals the machine. Before the end it writes the texts that are to
// be judged and reads the faults that were found in them; the result is last. Each of the four is one JSON value.
func sealMachine(ctx context.Context, _ []string) error {
	syscall.Umask(plainUmask)
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var request seal.Request
	if err := in.Decode(&request); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go endWithConnection(cancel)
	result, err := seal.Run(ctx, request, func(texts []seal.Text) (faults []seal.Fault, err error) {
		if err := out.Encode(texts); err != nil {
			return nil, err
		}
		return faults, in.Decode(&faults)
	})
	if err != nil {
		return err
	}
	if len(result.Faults) == 0 {
		if err := seal.StartWatch(ctx, "watch-seal"); err != nil {
			return errors.Join(err, os.Remove(seal.Marker))
		}
	}
	return out.Encode(result)
}
