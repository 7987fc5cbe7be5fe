package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/engine"
)

// facts prints the machine's facts; the arguments are packages whose candidates are wanted.
func facts(ctx context.Context, arguments []string) error {
	found, err := engine.Facts(ctx, arguments)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}
