package main

import (
	"context"
	"errors"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/firstboot"
)

func firstBoot(ctx context.Context, _ []string) error { return firstboot.Run(ctx) }

func database(ctx context.Context, _ []string) error { return firstboot.Account(ctx) }

func data(ctx context.Context, arguments []string) error {
	verbs := map[string]func(context.Context) error{
		"take":      firstboot.TakeData,
		"release":   firstboot.ReleaseData,
		"hand-over": firstboot.HandOver,
		"resume":    firstboot.Resume,
		"room":      firstboot.Room,
	}
	if len(arguments) != 1 || verbs[arguments[0]] == nil {
		return errors.New("usage: data take|release|hand-over|resume|room")
	}
	return verbs[arguments[0]](ctx)
}

func verify(ctx context.Context, _ []string) error { return firstboot.Verify(ctx) }

func certificate(_ context.Context, arguments []string) error {
	if len(arguments) != 2 || arguments[0] != "--throwaway" {
		return errors.New("usage: certificate --throwaway PATH")
	}
	return firstboot.Throwaway(arguments[1])
}
