package main

import (
	"context"
	"errors"

	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/firstboot"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/firstboot/mysql"
	"github.com/goldsmith-ami/packer-plugin-goldsmith/internal/mysqlsetup"
)

// setups are the kinds of server that the agent knows.
var setups = firstboot.Setups{mysqlsetup.Name: mysql.New}

func firstBoot(ctx context.Context, _ []string) error { return firstboot.Run(ctx, setups) }

func database(ctx context.Context, _ []string) error { return firstboot.StartSetup(ctx, setups) }

func data(ctx context.Context, arguments []string) error {
	verb := ""
	if len(arguments) == 1 {
		verb = arguments[0]
	}
	switch verb {
	case "take":
		return firstboot.TakeData(ctx, setups)
	case "release":
		return firstboot.ReleaseData(ctx, setups)
	case "hand-over":
		return firstboot.HandOver(ctx, setups)
	case "resume":
		return firstboot.Resume(ctx, setups)
	case "keep-address":
		return firstboot.KeepAddress(ctx, setups)
	case "room":
		return firstboot.Room(ctx)
	}
	return errors.New("usage: data take|release|hand-over|resume|keep-address|room")
}

func verify(ctx context.Context, _ []string) error { return firstboot.Verify(ctx) }

func console(ctx context.Context, _ []string) error { return firstboot.Repeat(ctx) }

func certificate(_ context.Context, arguments []string) error {
	if len(arguments) != 2 || arguments[0] != "--throwaway" {
		return errors.New("usage: certificate --throwaway PATH")
	}
	return firstboot.Throwaway(arguments[1], "www-data")
}
