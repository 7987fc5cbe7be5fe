package main

import (
	"context"
	"errors"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/firstboot"
)

func init() {
	commands["firstboot"] = func(ctx context.Context, _ []string) error { return firstboot.Run(ctx) }
	commands["database"] = func(ctx context.Context, _ []string) error { return firstboot.Account(ctx) }
	commands["verify"] = func(ctx context.Context, _ []string) error { return firstboot.Verify(ctx) }
	commands["certificate"] = func(_ context.Context, arguments []string) error {
		if len(arguments) != 2 || arguments[0] != "--throwaway" {
			return errors.New("usage: certificate --throwaway PATH")
		}
		return firstboot.Throwaway(arguments[1])
	}
}
